"""The grid of an image on which a DICOM mask is drawn, by frames or by contours, and what must not happen there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fedmed.errors import FedmedError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Bytes = NDArray[np.uint8]

CLASH = 255  # in the mask while it is drawn; classes go to 32


@dataclass(frozen=True)
class Grid:
    """The image that a mask belongs to: its voxels, its affine to RAS+ mm, and for DICOM its FrameOfReferenceUID."""

    shape: tuple[int, ...]
    affine: NDArray[np.float64]
    frame_of_reference: str | None


def check_reference(own: str, grid: Grid, what: str, where: str) -> None:
    """Positions can only be compared in one frame of reference (PS3.3 C.7.4.1). Raises FedmedError FM-DAT-39, -55.

    `own` is that of `what`, the mask.
    """
    if grid.frame_of_reference is None:
        return
    if not own or not grid.frame_of_reference:
        which = what if grid.frame_of_reference else "the image"
        raise FedmedError("FM-DAT-39", f"{where}: FrameOfReferenceUID is missing in {which}")
    if own != grid.frame_of_reference:
        message = f"{where}: {what} has another FrameOfReferenceUID than the image"
        raise FedmedError("FM-DAT-55", message, local=f"{own} and {grid.frame_of_reference}")


def draw(plane: Bytes, drawn: NDArray[np.bool_], target: int) -> None:
    """Write a class into a slice of the mask; a voxel that has another class already becomes a CLASH."""
    if target:
        other = drawn & (plane != 0) & (plane != target)
        plane[drawn] = target
        plane[other] = CLASH


def check_clashes(mask: Bytes, where: str) -> None:
    """Raises FedmedError FM-DAT-58 where voxels were given several classes."""
    if clashes := int(np.count_nonzero(mask == CLASH)):
        raise FedmedError("FM-DAT-58", f"{where}: {clashes} voxels lie in segments of different classes")
