"""Grids in the patient: spacing, orientation, and when two grids count as the same.

An affine maps voxel indices (i, j, k, 1) to RAS+ mm (NIfTI); DICOM's LPS+ is turned by `lps_to_ras`.
"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING

import numpy as np

from fedmed.errors import FedmedError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Affine = NDArray[np.float64]
    Shape = tuple[int, ...]

MIN_SPACING_MM, MAX_SPACING_MM = 0.01, 50.0
MAX_VOXELS = 2**29  # 2 GiB of float32: a whole-body CT of 512 x 512 x 2048
MAX_PIXELS = 2**26  # 8192 x 8192: twice a chest film digitised at 50 micrometres
SAME_GRID = 0.1  # of the shortest voxel edge, at the farthest corner: nearest neighbour would pick the same voxel
MAX_COSINE = 1e-3  # between two axes that should be at right angles: 0.06 degrees


def lps_to_ras(affine: Affine) -> Affine:
    """DICOM's patient axes (PS3.3 C.7.6.2.1.1: left, posterior, superior) to NIfTI's (right, anterior, superior)."""
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine


def spacing(affine: Affine) -> tuple[float, float, float]:
    """Length of a step along each voxel axis, in mm."""
    x, y, z = np.linalg.norm(affine[:3, :3], axis=0)
    return float(x), float(y), float(z)


def axcodes(affine: Affine) -> str:
    """Where the voxel axes point, for example LPS."""
    from nibabel import orientations  # noqa: PLC0415 - as long as the rest of this room, and rows of a table need none

    return "".join(orientations.aff2axcodes(affine))


def farthest_mm(shape: Shape, first: Affine, second: Affine) -> float:
    """The largest distance in mm between the two places that two affines give to a corner of the grid."""
    corners = np.array([(*corner, 1) for corner in itertools.product(*((0, size - 1) for size in shape))])
    return float(np.linalg.norm(corners @ (first - second).T, axis=1).max())


def coincide(shape: Shape, first: Affine, second: Affine) -> bool:
    """Whether no corner of the grid is farther apart than a tenth of the shortest voxel edge."""
    return farthest_mm(shape, first, second) <= SAME_GRID * min(spacing(first))


def shown(shape: Shape, affine: Affine) -> str:
    """A grid in words: voxels, spacing and axes."""
    steps = " x ".join(f"{step:.3g}" for step in spacing(affine))
    return f"{' x '.join(map(str, shape))} of {steps} mm {axcodes(affine)}"


def check(affine: Affine, where: str) -> None:
    """Refuse a grid that cannot be true. Raises FedmedError FM-DAT-23 (spacing) or FM-DAT-24 (angles)."""
    steps = spacing(affine)
    check_spacing(steps, where)
    directions = affine[:3, :3] / steps
    cosines = np.abs(directions.T @ directions - np.eye(3))
    if cosines.max() > MAX_COSINE:
        degrees = np.degrees(np.arcsin(min(1.0, float(cosines.max()))))
        raise FedmedError(
            "FM-DAT-24", f"{where}: axes are {degrees:.2f} degrees off a right angle, expected at most 0.06"
        )


def check_spacing(steps: tuple[float, ...], where: str) -> None:
    """Refuse a spacing that is not a finite number of mm between 0.01 and 50. Raises FedmedError FM-DAT-23."""
    if not all(MIN_SPACING_MM <= step <= MAX_SPACING_MM for step in steps):
        shown = " x ".join(f"{step:.4g}" for step in steps)
        raise FedmedError("FM-DAT-23", f"{where}: spacing is {shown} mm, expected 0.01 to 50 mm each way")


def check_size(shape: Shape, where: str) -> None:
    """Refuse more voxels than MAX_VOXELS, before anything is allocated. Raises FedmedError FM-DAT-25."""
    voxels = int(np.prod([int(size) for size in shape], dtype=object))
    if voxels > MAX_VOXELS:
        raise FedmedError("FM-DAT-25", f"{where}: {voxels} voxels, expected at most {MAX_VOXELS}")


def check_resampled(affine: Affine, shape: Shape, axes: str, steps: Sequence[float], where: str) -> None:
    """Refuse a grid that would have too many voxels with `steps` in mm along `axes`. Raises FedmedError FM-DAT-25."""
    spacing_, sizes = along(affine, shape, axes)
    grown = tuple(math.ceil(size * old / new) for size, old, new in zip(sizes, spacing_, steps, strict=True))
    check_size(grown, f"{where} at {' x '.join(f'{step:g}' for step in steps)} mm")


def check_picture(columns: int, rows: int, where: str) -> None:
    """Refuse more pixels than MAX_PIXELS, before anything is decoded. Raises FedmedError FM-DAT-25."""
    if columns * rows > MAX_PIXELS:
        raise FedmedError("FM-DAT-25", f"{where}: {columns} x {rows} pixels, expected at most {MAX_PIXELS}")


def turned(array: NDArray[np.float32], affine: Affine, codes: str) -> tuple[NDArray[np.float32], Affine]:
    """`array` [X, Y, Z, ...] and its affine with the axes permuted and flipped so that they point to `codes`.

    No value changes; an oblique axis counts as the one it is nearest to.
    """
    from nibabel import orientations  # noqa: PLC0415 - as above

    wanted = orientations.axcodes2ornt(codes)
    turn = orientations.ornt_transform(orientations.io_orientation(affine), wanted)
    moved = affine @ orientations.inv_ornt_aff(turn, array.shape[:3])
    return orientations.apply_orientation(array, turn), moved


def along(affine: Affine, shape: Shape, codes: str) -> tuple[tuple[float, ...], tuple[int, ...]]:
    """Spacing in mm and voxels along the axes that point to `codes`, of a grid that is not turned for it."""
    from nibabel import orientations  # noqa: PLC0415 - as above

    wanted = orientations.axcodes2ornt(codes)
    turn = orientations.ornt_transform(orientations.io_orientation(affine), wanted)
    source = np.argsort(turn[:, 0]).tolist()
    steps = spacing(affine)
    return tuple(steps[axis] for axis in source), tuple(shape[axis] for axis in source)


def onto(
    array: NDArray[np.float32], affine: Affine, shape: Shape, target: Affine, tolerance: float
) -> tuple[NDArray[np.float32] | None, float]:
    """`array` with its axes permuted and flipped onto the target grid, and the farthest corner in mm.

    No value changes. The array is None where the two grids do not coincide in the patient: where shapes differ or a
    corner lies farther than `tolerance` times the shortest voxel edge from where it should.
    """
    from nibabel import orientations  # noqa: PLC0415 - as above

    turn = orientations.io_orientation(np.linalg.inv(target) @ affine)
    if np.isnan(turn).any():
        return None, float("inf")
    turned = orientations.apply_orientation(array, turn)
    turned_affine = affine @ orientations.inv_ornt_aff(turn, array.shape)
    distance = farthest_mm(shape, target, turned_affine)
    same = turned.shape == tuple(shape) and distance <= tolerance * min(spacing(target))
    return (turned if same else None), distance
