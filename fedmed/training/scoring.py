"""Scores of cases, whatever the task."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fedmed import recipe as recipes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    import torch

    from fedmed.cases.case import Case
    from fedmed.preprocessing import Preprocessing
    from fedmed.recipe import Recipe
    from fedmed.training.cache import Cache
    from fedmed.training.localisation import Located
    from fedmed.training.metrics import CaseScores
    from fedmed.training.networks import Params
    from fedmed.training.rated import Rated
    from fedmed.training.tabular import Followed


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
) -> Sequence[CaseScores] | Sequence[Rated] | Sequence[Followed] | Sequence[Located]:
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
