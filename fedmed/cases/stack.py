"""Puts DICOM slices in order by their position along the normal, and refuses a stack that is no regular grid.

File names and InstanceNumber say nothing here: only ImagePositionPatient and ImageOrientationPatient do (PS3.3
C.7.6.2.1.1). Distances are in mm.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fedmed.cases import geometry, series
from fedmed.errors import FedmedError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from fedmed.cases.series import Slice

    Floats = NDArray[np.float64]

SAME_POSITION_MM = 0.005
STEP_SHARE, STEP_MM = 0.01, 0.01  # a step may differ from the median by 1 % and the rounding of two written positions


def stacked(slices: Sequence[Slice], where: str) -> tuple[list[Slice], Floats]:
    """The slices in order along the normal, and the affine of array [column, row, slice] to RAS+ mm.

    Raises FedmedError FM-DAT-23, -25, -32 and -35 to -41.
    """
    series.check_kind(slices, where)
    rows, columns, spacing = _plane(slices, where)
    normal = np.cross(rows, columns)
    positions = np.array([one.position for one in slices], dtype=np.float64)
    order = np.argsort(positions @ normal, kind="stable")
    positions = positions[order]
    step = _step(positions @ normal, where)
    geometry.check_spacing((*spacing, step), where)
    _check_shift(positions, normal, min(*spacing, step), where)
    affine = np.eye(4)
    affine[:3, 0] = rows * spacing[1]  # PixelSpacing is (between rows, between columns): PS3.3 10.7.1.3
    affine[:3, 1] = columns * spacing[0]
    affine[:3, 2] = normal * step
    affine[:3, 3] = positions[0]
    geometry.check_size((slices[0].columns, slices[0].rows, len(slices)), where)
    return [slices[index] for index in order], geometry.lps_to_ras(affine)


def _plane(slices: Sequence[Slice], where: str) -> tuple[Floats, Floats, tuple[float, ...]]:
    """Row direction, column direction and pixel spacing, which all slices must share."""
    first = slices[0]
    for keyword, values in (
        ("ImageOrientationPatient", [one.orientation for one in slices]),
        ("ImagePositionPatient", [one.position for one in slices]),
        ("PixelSpacing", [one.spacing for one in slices]),
    ):
        if missing := sum(value is None for value in values):
            raise FedmedError(
                "FM-DAT-39", f"{where}: {keyword} is missing or unusable in {missing} of {len(slices)} slices"
            )
    if len(series.grouped(slices)) > 1:
        raise FedmedError("FM-DAT-41", f"{where}: slices differ in series, size or orientation, expected one series")
    spacings = np.array([one.spacing for one in slices])
    if np.abs(spacings - spacings[0]).max() > 1e-3 * spacings[0].max():
        raise FedmedError("FM-DAT-41", f"{where}: slices differ in PixelSpacing, expected one")
    directions = np.reshape(np.asarray(first.orientation, dtype=np.float64), (2, 3))
    if np.abs(directions @ directions.T - np.eye(2)).max() > geometry.MAX_COSINE:
        raise FedmedError("FM-DAT-39", f"{where}: ImageOrientationPatient is not two unit vectors at right angles")
    return directions[0], directions[1], first.spacing or ()


def _step(along: Floats, where: str) -> float:
    """The distance between slices, from sorted positions along the normal."""
    steps = np.diff(along)
    twice = int(np.count_nonzero(steps <= SAME_POSITION_MM))
    if twice or not len(steps):
        places = len(along) - twice
        raise FedmedError("FM-DAT-35", f"{where}: {len(along)} slices lie at {places} positions")
    step = float(np.median(steps))
    allowed = STEP_SHARE * step + STEP_MM
    odd = np.flatnonzero(np.abs(steps - step) > allowed)
    if len(odd):
        at, gap = int(odd[0]) + 1, float(steps[odd[0]])
        found = f"{where}: {at} slices, then a step of {gap:.2f} mm where {step:.2f} mm is expected"
        times = np.rint(steps[odd] / step)
        if (times >= 2).all() and (np.abs(steps[odd] - times * step) <= times * allowed).all():
            raise FedmedError("FM-DAT-36", f"{found}; {int((times - 1).sum())} slices missing")
        raise FedmedError("FM-DAT-37", f"{found}; {len(odd)} of {len(steps)} steps differ")
    drift = float(np.abs(along - np.linspace(along[0], along[-1], len(along))).max())
    if drift > geometry.SAME_GRID * step:
        raise FedmedError("FM-DAT-37", f"{where}: a slice lies {drift:.2f} mm off an even grid of {step:.2f} mm")
    return float((along[-1] - along[0]) / (len(along) - 1))


def _check_shift(positions: Floats, normal: Floats, edge: float, where: str) -> None:
    """Slices of an untilted stack lie exactly above each other. Raises FedmedError FM-DAT-38."""
    offsets = positions - positions[0]
    height = offsets @ normal
    shift = np.linalg.norm(offsets - np.outer(height, normal), axis=1)
    if shift.max() > geometry.SAME_GRID * edge:
        degrees = np.degrees(np.arctan2(shift[-1], height[-1]))
        raise FedmedError(
            "FM-DAT-38",
            f"{where}: slices shift sideways by up to {shift.max():.2f} mm "
            f"over {height[-1]:.1f} mm ({degrees:.1f} degrees)",
        )
