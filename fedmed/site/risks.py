"""From a survival model's risks of single cases, which stay here, to the rows of a report, which leave."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fedmed.exchange import bodies
from fedmed.exchange.bodies_reports import ModelName, Score
from fedmed.reporting import survival

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fedmed.recipe import Survival
    from fedmed.training.tabular import Followed


def rows(model: ModelName, followed: Sequence[Followed], recipe: Survival) -> list[Score]:
    """One row a metric; its `n` is the number of cases, or 0 where no two of them can be ordered."""
    time = np.array([each.time for each in followed], np.float64)
    event = np.array([each.event for each in followed], bool)
    risk = np.array([each.risk for each in followed], np.float64)
    value = survival.c_index(time, event, risk)
    return [Score.figure(model, metric, bodies.ALL, len(followed), value) for metric in recipe.evaluation.metrics]
