"""The one reader of the whole federation: a case's channels and label, on one grid, as numbers.

Training, evaluation, prediction and the data check all see a case through `read` and nothing else.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from fedmed.cases import canvas, dicom, dicomseg, geometry, labels, nifti, paths, rtstruct, shifts
from fedmed.cases.case import Volume
from fedmed.errors import FedmedError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from fedmed.cases.case import Case
    from fedmed.cases.series import Slice
    from fedmed.recipe_fields import Data

    Floats = NDArray[np.float32]
    Affine = NDArray[np.float64]


def read(case: Case, root: Path, data: Data, label_map: Mapping[int, int]) -> Volume:
    """A case on the grid of its first channel, channels in the recipe's order.

    Another channel or the label may have its axes in another order or direction: they are permuted and flipped, never
    resampled. Grids count as the same when no corner lies farther apart than the recipe's `grid_tolerance`. What a
    virtual site does to its images (`shifts`) is done here.

    Raises FedmedError FM-DAT-11, -15 to -41, -54 to -58, -64, -71 and -73.
    """
    label = case.label if isinstance(case.label, str) else None
    volume = read_files(case.case, case.image, label, root, data, label_map)
    if case.shift is None:
        return volume
    outside = data.zero_is_outside
    image = shifts.apply(volume.image, case.shift, case.case, zero_is_outside=outside, bounded=False)
    return replace(volume, image=image)


def read_files(
    alias: str,
    image: Mapping[str, tuple[str, ...]],
    label: str | None,
    root: Path,
    data: Data,
    label_map: Mapping[int, int],
    known: Mapping[str, Sequence[Slice]] | None = None,
) -> Volume:
    """As `read`, before there is a Case. `known` has the headers of the channels that are DICOM series, if they were
    read already.
    """
    channels: list[Floats] = []
    affine: Affine | None = None
    for channel in data.channels:
        where = f"{alias} {channel}"
        if not image.get(channel):
            raise FedmedError("FM-DAT-11", f"{where}: no image")
        array, grid = _image(root, image[channel], data, where, (known or {}).get(channel))
        if array.min() == array.max():
            raise FedmedError("FM-DAT-26", f"{where}: every voxel is {float(array.min()):g}")
        if affine is None:
            affine = grid
        else:
            array, _ = _onto(array, grid, channels[0].shape, affine, data, "FM-DAT-27", where)
        channels.append(array)
    if affine is None:  # a recipe has at least one channel
        raise FedmedError("FM-DAT-11", f"{alias}: no image")
    stack = channels[0][None] if len(channels) == 1 else np.stack(channels)
    if label is None:
        return Volume(stack, affine, None)
    where = f"{alias} label"
    if nifti.is_nifti(label):
        array, grid = nifti.read(paths.locate(root, label, where), where)
        array, off = _onto(array, grid, channels[0].shape, affine, data, "FM-DAT-29", where)
        return Volume(stack, affine, _classes(array, data, label_map, where), off)
    frame = _frame_of_reference(root, image[data.channels[0]], where)
    target = canvas.Grid(channels[0].shape, affine, frame)
    reader = rtstruct if rtstruct.is_structure_set(root, label, where) else dicomseg
    mask, off = reader.read(root, label, target, data, label_map, where)
    return Volume(stack, affine, mask, off)


def _frame_of_reference(root: Path, relative: tuple[str, ...], where: str) -> str | None:
    """None where the image is NIfTI, which has none."""
    return None if nifti.is_nifti(relative[0]) else dicom.frame_of_reference(root, relative, where)


def _image(
    root: Path, relative: tuple[str, ...], data: Data, where: str, known: Sequence[Slice] | None
) -> tuple[Floats, Affine]:
    if len(relative) == 1 and nifti.is_nifti(relative[0]):
        return nifti.read(paths.locate(root, relative[0], where), where)
    return dicom.read(root, relative, where, data, known)


def _onto(
    array: Floats, grid: Affine, shape: tuple[int, ...], affine: Affine, data: Data, code: str, where: str
) -> tuple[Floats, float]:
    """`array` on the grid of the first channel, and the farthest corner in mm.

    Raises FedmedError `code` with both geometries.
    """
    same, distance = geometry.onto(array, grid, shape, affine, data.grid_tolerance)
    if same is None:
        raise FedmedError(
            code,
            f"{where}: {geometry.shown(array.shape, grid)}, expected {geometry.shown(shape, affine)}; "
            f"corners lie up to {distance:.2f} mm apart",
        )
    return same, distance


def _classes(array: Floats, data: Data, label_map: Mapping[int, int], where: str) -> NDArray[np.uint8]:
    """The mask in the recipe's classes. Where label_map is given it must name every value but 0.

    Raises FedmedError FM-DAT-28.
    """
    mask = np.zeros(array.shape, dtype=np.uint8)
    for stored in np.unique(array).tolist():
        value = round(stored)
        if abs(stored - value) > 1e-3:  # a mask saved with a scale factor is off by less
            raise FedmedError("FM-DAT-28", f"{where}: value {stored:g}, expected whole numbers")
        if target := labels.to_class(value, data, label_map, where, f"value {value}"):
            mask[array == stored] = target
    return mask
