"""The fingerprint of a site's training cases, exact and with nothing left out: it stays here until it is floored."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from fedmed import recipe as recipes
from fedmed.cases import boxes, geometry, labels, pictures, reading
from fedmed.errors import FedmedError
from fedmed.fingerprint import HIGHEST, LOWEST, UNTOLD, Fingerprint, Grey, Lengths, Share, classes_of, counted

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from fedmed.cases.case import Case
    from fedmed.fingerprint import Axes
    from fedmed.recipe import OfPictures, Recipe, Rowwise, Segmentation

    Floats = NDArray[np.float32]


@dataclass
class _Sums:
    """What is kept of the cases that were read: a few numbers each."""

    grey: dict[str, list[tuple[float, float, float, float]]]
    spacing: list[tuple[float, ...]] = field(default_factory=list)
    shape: list[tuple[float, ...]] = field(default_factory=list)
    cases: Counter[int] = field(default_factory=Counter)
    voxels: Counter[int] = field(default_factory=Counter)


def measure(
    cases: Sequence[Case],
    recipe: Recipe,
    root: Path,
    label_map: Mapping[int, int],
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Fingerprint:
    """Read every case once; memory of one of them.

    Grey values are those of all voxels, in MR of those that are not 0, and where CT is segmented those of labelled
    voxels, so that tables and air do not count (nnU-Net). A case without such a voxel has no part in the grey values.
    Raises FedmedError FM-TRN-03, -04, and what reading a case raises.
    """
    if not cases:
        raise FedmedError("FM-TRN-04", "fingerprint: expected at least one training case, got none")
    if isinstance(recipe, recipes.Rowwise):
        return _of_rows(cases, recipe)
    if not isinstance(recipe, recipes.Imaging):
        raise TypeError(type(recipe).__name__)
    sums = _Sums({name: [] for name in recipe.data.channels})
    for done, case in enumerate(cases, start=1):
        if isinstance(recipe, recipes.OfPictures):
            _add_picture(sums, case, recipe, root, label_map)
        elif isinstance(recipe, recipes.Segmentation):
            _add_volume(sums, case, recipe, root, label_map)
        else:
            raise TypeError(type(recipe).__name__)
        progress(done, len(cases))
    return Fingerprint(
        num_cases=len(cases),
        channels={name: _grey(rows) for name, rows in sums.grey.items()},
        spacing=_axes(sums.spacing),
        shape=_axes(sums.shape),
        classes={label: Share(sums.cases[label], float(sums.voxels[label])) for label in classes_of(recipe)},
    )


def _add_volume(sums: _Sums, case: Case, recipe: Segmentation, root: Path, label_map: Mapping[int, int]) -> None:
    volume = reading.read(case, root, recipe.data, label_map)
    if volume.label is None:
        raise FedmedError("FM-TRN-03", f"case {case.case}: no reference segmentation to learn from")
    for name, channel in zip(recipe.data.channels, volume.image, strict=True):
        inside = volume.label > 0 if recipe.data.modality == "CT" else channel != 0
        sums.grey[name] += _facts(channel[inside])
    spacing, shape = geometry.along(volume.affine, volume.label.shape, recipe.data.axcodes)
    sums.spacing.append(spacing)
    sums.shape.append(shape)
    found, voxels = np.unique(volume.label[volume.label > 0], return_counts=True)
    sums.cases.update(found.tolist())
    sums.voxels.update(dict(zip(found.tolist(), voxels.tolist(), strict=True)))


def _add_picture(sums: _Sums, case: Case, recipe: OfPictures, root: Path, label_map: Mapping[int, int]) -> None:
    classes = _classes(case, recipe, label_map)
    picture = pictures.read(case, root, recipe.data, label_map)
    for name, channel in zip(recipe.data.channels, picture.slices.swapaxes(0, 1), strict=True):
        sums.grey[name] += _facts(channel[channel != 0] if recipe.data.zero_is_outside else channel.reshape(-1))
    sums.spacing.append(case.geometry.spacing)
    sums.shape.append(case.geometry.shape)
    sums.cases.update(classes)


def _classes(case: Case, recipe: OfPictures, label_map: Mapping[int, int]) -> set[int]:
    """The class of an image, or those of its boxes; 0 for none of them."""
    if isinstance(recipe, recipes.Localisation) and isinstance(case.label, tuple):
        return {box.label for box in boxes.to_classes(case.label, recipe.data, label_map, case.case)} or {0}
    if isinstance(recipe, recipes.Classification) and isinstance(case.label, int):
        return {labels.to_class(case.label, recipe.data, label_map, case.case)}
    raise FedmedError("FM-TRN-03", f"case {case.case}: no class and no boxes to learn from")


def _of_rows(cases: Sequence[Case], recipe: Rowwise) -> Fingerprint:
    rows = [case.row.inputs for case in cases if case.row]
    inputs: list[Grey] = []
    for place, column in enumerate(recipe.data.columns):
        known = [value for row in rows if (value := row[place]) is not None]
        levels = range(1, len(column.levels or ()))
        as_numbers = [[float(value == level) for value in known] for level in levels] or [known]
        inputs += [_over_rows(values) for values in as_numbers]
    nothing = Lengths(())
    axes = (nothing, nothing, nothing)
    return Fingerprint(len(cases), {}, axes, axes, {}, tuple(inputs))


def _over_rows(values: Sequence[float]) -> Grey:
    if not values:
        return UNTOLD
    return Grey(len(values), statistics.fmean(values), statistics.pstdev(values), None, None)


def _facts(values: Floats) -> list[tuple[float, float, float, float]]:
    """Mean, variance and both percentiles of a case's values; nothing where there are none."""
    if not values.size:
        return []
    low, high = np.percentile(values, (LOWEST, HIGHEST))
    return [(float(values.mean(dtype=np.float64)), float(values.var(dtype=np.float64)), float(low), float(high))]


def _grey(rows: Sequence[tuple[float, float, float, float]]) -> Grey:
    n = len(rows)
    if not n:
        return Grey(0, 0.0, 0.0, None, None)
    mean = math.fsum(row[0] for row in rows) / n
    variance = math.fsum(row[1] + (row[0] - mean) ** 2 for row in rows) / n
    low, high = (math.fsum(row[end] for row in rows) / n for end in (2, 3))
    return Grey(n, mean, math.sqrt(variance), low, high)


def _axes(rows: Sequence[tuple[float, ...]]) -> Axes:
    one, two, three = (counted(row[axis] for row in rows) for axis in range(3))
    return one, two, three
