"""What is odd about a label that can be used all the same: the data check shows it, and the case stays in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fedmed.cases import geometry

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fedmed.cases.case import Volume
    from fedmed.recipe_fields import Data

    Doubt = tuple[str, str]  # its code and message

ROUNDING = 0.01  # of the tolerance: below, two grids differ by how many digits a header keeps


def of_label(volume: Volume, data: Data, where: str) -> list[Doubt]:
    """Code and message of each doubt about the label of a volume; none where it has no label.

    Its grid (FM-DAT-67), no class at all (-68), a class of one voxel (-69), a class that touches the border (-70).
    """
    if volume.label is None:
        return []
    return [*of_grid(volume, data, where), *of_mask(volume.label, data, where)]


def of_grid(volume: Volume, data: Data, where: str) -> list[Doubt]:
    """The label's own grid was accepted as the image's, and differs from it by more than rounding."""
    shape = volume.image.shape[1:]
    allowed = data.grid_tolerance * min(geometry.spacing(volume.affine))
    if volume.label_off_mm <= ROUNDING * allowed:
        return []
    off = f"corners of the label's grid lie up to {volume.label_off_mm:.2g} mm from the image's"
    return [("FM-DAT-67", f"{where}: {off} ({geometry.shown(shape, volume.affine)}), accepted up to {allowed:.2g} mm")]


def of_mask(label: NDArray[np.uint8], data: Data, where: str) -> list[Doubt]:
    """What the voxels [X, Y, Z] of a mask, in the recipe's classes, say by themselves."""
    counts = np.bincount(label.reshape(-1), minlength=len(data.labels) + 1)
    if not counts[1:].any():
        return [("FM-DAT-68", f"{where}: no voxel of any class")]
    single = [f"{number} ({name})" for number, name in sorted(data.labels.items()) if counts[number] == 1]
    touching = [f"{number} ({name})" for number, name in sorted(data.labels.items()) if number in _at_border(label)]
    found = [("FM-DAT-69", f"{where}: one voxel alone of class {', '.join(single)}")] if single else []
    border = [("FM-DAT-70", f"{where}: class {', '.join(touching)} touches the border of the image")]
    return found + (border if touching else [])


def _at_border(label: NDArray[np.uint8]) -> set[int]:
    faces = [np.take(label, index, axis) for axis in range(label.ndim) for index in (0, -1)]
    return {int(number) for face in faces for number in np.unique(face)} - {0}
