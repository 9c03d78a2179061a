"""Scores of cases, whatever the task."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, cast

import torch

from fedmed import recipe as recipes
from fedmed.training import objective

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from fedmed.cases.case import Case
    from fedmed.preprocessing import Preprocessing
    from fedmed.recipe import Recipe
    from fedmed.training.cache import Cache
    from fedmed.training.localisation import Located
    from fedmed.training.metrics import CaseScores
    from fedmed.training.networks import Params
    from fedmed.training.rated import Rated
    from fedmed.training.tabular import Followed

    Scored = Sequence[CaseScores] | Sequence[Rated] | Sequence[Followed] | Sequence[Located]

LEAST = 1e-12  # of a probability whose logarithm is taken


def evaluate(
    recipe: Recipe,
    params: Params,
    cases: Sequence[Case],
    *,
    root: Path,
    label_map: Mapping[int, int],
    absent: frozenset[int] = frozenset(),
    device: torch.device,
    preprocessing: Preprocessing | None = None,
    disk: Cache | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Scored:
    """As `metrics.evaluate` for segmentation, `tabular.evaluate` for tables, and `evaluate` of the module of the task's
    name for the others. Of `absent` classes, which these cases never label, nothing is scored.
    """
    if isinstance(recipe, recipes.Tabular | recipes.Survival):
        from fedmed.training import tabular  # noqa: PLC0415 - each task loads its own: a table needs no monai

        return tabular.evaluate(
            recipe, params, cases, label_map=label_map, device=device, preprocessing=preprocessing, progress=progress
        )
    from fedmed.training import classification, localisation, metrics  # noqa: PLC0415

    where: dict[str, Any] = {"root": root, "label_map": label_map, "device": device}
    where |= {"preprocessing": preprocessing, "disk": disk}
    if isinstance(recipe, recipes.Classification):
        return classification.evaluate(recipe, params, cases, **where, absent=absent, progress=progress)
    if isinstance(recipe, recipes.Localisation):
        return localisation.evaluate(recipe, params, cases, **where, absent=absent, progress=progress)
    if not isinstance(recipe, recipes.Segmentation):
        raise TypeError(type(recipe).__name__)
    return metrics.evaluate(recipe, params, cases, **where, absent=absent, progress=progress)


def loss(recipe: Recipe, scored: Scored) -> float | None:
    """How unlikely the truth is, over a fold: the mean of -log of the true class's probability, or Cox's partial
    likelihood over all rows together. None where that says nothing: without cases, of a survival without events, and
    for tasks that are not about a class or a time.
    """
    if isinstance(recipe, recipes.Classifying):
        rated = cast("Sequence[Rated]", scored)
        terms = [-math.log(max(each.probabilities[each.truth], LEAST)) for each in rated]
        return math.fsum(terms) / len(terms) if terms else None
    if isinstance(recipe, recipes.Survival):
        followed = cast("Sequence[Followed]", scored)
        risks = torch.tensor([[each.risk] for each in followed], dtype=torch.float64)
        outcomes = torch.tensor([[each.time, each.event] for each in followed], dtype=torch.float64)
        return objective.cox_loss(risks, outcomes).item() if any(each.event for each in followed) else None
    return None
