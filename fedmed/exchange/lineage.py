"""What the models that a workspace holds say of the ones before them: how good each was over all sites."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedmed.exchange import archived, bodies

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from fedmed.exchange.workspace import Workspace


PLACES = 9  # of a number in a statement


@dataclass(frozen=True)
class Best:
    """The model with the best value of a metric on the sites' validation cases, and where its file lies."""

    round: int
    metric: str
    value: float
    file: Path


def history(workspace: Workspace, metric: str) -> dict[int, float]:
    """By round, the pooled value of the model of that round, as the model behind it says; of the newest, nothing."""
    found: dict[int, float] = {}
    for known in workspace.record.models():
        body = archived.read_archived(workspace, known.id).predicate.body
        rows = body.pooled if isinstance(body, bodies.Model) else []
        _, value = bodies.overall(rows, metric)
        found |= {} if value is None else {known.round_number - 1: value}
    return found


def improved(values: Mapping[int, float], *, lower_is_better: bool, by: float = 0.0) -> int | None:
    """The last round whose value is better than that of every round before it by more than `by`; None without any."""
    best: int | None = None
    for round_ in sorted(values):
        gain = 0.0 if best is None else round(values[round_] - values[best], PLACES)
        if best is None or (-gain if lower_is_better else gain) > by:
            best = round_
    return best
