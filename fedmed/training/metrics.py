"""How good a segmentation is: Dice, the 95th percentile of the Hausdorff distance, and sensitivity.

What tools differ in is settled here, so that missing a lesion never improves a mean:
- reference empty, prediction not (spurious), or the other way round (missed): Dice 0, HD95 the image diagonal, marked;
- both empty: Dice 1, HD95 0, marked `empty`;
- sensitivity where the reference is empty is undefined: value None, to be left out and counted.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch

from fedmed.cases import reading
from fedmed.errors import FedmedError
from fedmed.training import cache, inference, networks
from fedmed.training.monai_parts import compute_dice, compute_hausdorff_distance

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from fedmed.cases.case import Case
    from fedmed.preprocessing import Preprocessing
    from fedmed.recipe import Segmentation
    from fedmed.training.cache import Cache, Tensors
    from fedmed.training.networks import Params


@dataclass(frozen=True)
class Score:
    """One metric of one label of one case. `value` is None where it is undefined."""

    metric: str
    label: int
    value: float | None
    missed: bool  # the reference has this label, the prediction has none of it
    spurious: bool  # the prediction has this label, the reference has none of it
    empty: bool  # neither has it


@dataclass(frozen=True)
class CaseScores:
    """All scores of one case, by its alias."""

    case: str
    rows: tuple[Score, ...]


def evaluate(
    recipe: Segmentation,
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
) -> list[CaseScores]:
    """Predict and score each case, in its own grid, in the order given; `progress(done, total)` behind each.

    Raises FedmedError FM-TRN-03 for a case without a label, FM-TEN-01, FM-RES-04, and what reading a case raises.
    """
    network = networks.loaded(recipe, params, device)
    scores = []
    for case in cases:
        make = partial(_seen, case, root, recipe, label_map, preprocessing)
        seen = cache.prepared(disk, "scored", case, recipe, label_map, preprocessing, make).tensors
        reference, grid = seen["reference"].numpy(), seen["grid"].numpy()
        standardised = inference.Standardised(seen["image"], seen["affine"], reference.shape, grid)
        predicted = inference.predict_standardised(network, standardised, recipe, device)
        scores.append(CaseScores(case.case, tuple(score(predicted, reference, grid, recipe, absent))))
        if progress:
            progress(len(scores), len(cases))
    return scores


def _seen(
    case: Case,
    root: Path,
    recipe: Segmentation,
    label_map: Mapping[int, int],
    preprocessing: Preprocessing | None,
) -> Tensors:
    """What the network sees of a case, as `inference.Standardised`; its reference and affine in the case's own grid."""
    volume = reading.read(case, root, recipe.data, label_map)
    if volume.label is None:
        raise FedmedError("FM-TRN-03", f"case {case.case}: no reference segmentation to compare with")
    seen = inference.standardised(volume, recipe, preprocessing)
    reference = torch.from_numpy(np.ascontiguousarray(volume.label))
    return {"image": seen.image, "affine": seen.affine, "reference": reference, "grid": torch.tensor(seen.grid)}


def score(
    predicted: NDArray[np.uint8],
    reference: NDArray[np.uint8],
    affine: NDArray[np.float64],
    recipe: Segmentation,
    absent: frozenset[int] = frozenset(),
) -> list[Score]:
    """Every metric of the recipe for every label but `absent` ones.

    Both maps [X, Y, Z] lie on the grid of `affine` (mm).
    """
    spacing = np.linalg.norm(affine[:3, :3], axis=0).tolist()
    rows = []
    for label in sorted(recipe.data.labels.keys() - absent):
        ours, truth = predicted == label, reference == label
        missed, spurious, empty = truth.any() > ours.any(), ours.any() > truth.any(), not (ours.any() or truth.any())
        for metric in recipe.evaluation.metrics:
            value = METRICS[metric](ours, truth, spacing)
            rows.append(Score(metric, label, value, bool(missed), bool(spurious), bool(empty)))
    return rows


def dice(ours: NDArray[np.bool_], truth: NDArray[np.bool_], spacing: list[float]) -> float:  # noqa: ARG001
    """2 |A and B| / (|A| + |B|) (Dice 1945), 1 where both are empty."""
    return float(compute_dice(_batch(ours), _batch(truth), ignore_empty=False))


def hd95(ours: NDArray[np.bool_], truth: NDArray[np.bool_], spacing: list[float]) -> float:
    """The larger of the two directed 95th percentiles of the distances between the surfaces, in mm."""
    if not ours.any() and not truth.any():
        return 0.0
    if not ours.any() or not truth.any():
        return math.hypot(*(size * step for size, step in zip(truth.shape, spacing, strict=True)))
    distance = compute_hausdorff_distance(
        _batch(ours), _batch(truth), include_background=True, percentile=95, spacing=spacing
    )
    return float(distance)


def sensitivity(ours: NDArray[np.bool_], truth: NDArray[np.bool_], spacing: list[float]) -> float | None:  # noqa: ARG001
    """The share of the reference's voxels that was found; undefined for an empty reference."""
    return float((ours & truth).sum() / truth.sum()) if truth.any() else None


def _batch(mask: NDArray[np.bool_]) -> torch.Tensor:
    return torch.from_numpy(mask)[None, None].float()


METRICS: dict[str, Callable[[NDArray[np.bool_], NDArray[np.bool_], list[float]], float | None]] = {
    "dice": dice,
    "hd95": hd95,
    "sensitivity": sensitivity,
}
