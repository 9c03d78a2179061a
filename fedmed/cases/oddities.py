"""What is odd about DICOM images that are read all the same: warnings, each with its code, for a person to look at.

An error refuses a case; a warning never does. Pure functions of headers and values; no message holds free text of a
file.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from fedmed.cases import series

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from fedmed.cases.doubts import Doubt
    from fedmed.cases.series import Slice

AIR_HU = -500.0  # air is -1000; noise, fat and a border half within the patient stay on their sides of this
GAP_SHARE, GAP_MM = 0.01, 0.01
MAX_MAGNIFICATION = 3  # on the detector against in the patient; mammograms of a small focus reach 2


def of_series(slices: Sequence[Slice], values: NDArray[np.float32], where: str) -> list[Doubt]:
    """Of the slices of one channel in reading order, none where it is no DICOM, and their volume [X, Y, Z].

    FM-DAT-59 (SpacingBetweenSlices says another distance), -60 (burned-in text), -61 (overlays) and -62 (a CT without
    air).
    """
    if not slices:
        return []
    found = [*_spaced(slices, where), *_drawn(slices, where)]
    if slices[0].modality == "CT" and (air := _without_air(values)) is not None:
        message = f"the border of the volume has a median of {air:.0f}, expected about -1000 HU"
        found.append(("FM-DAT-62", f"{where}: {message}; was the rescale slope or intercept lost?"))
    return found


def of_radiograph(header: Slice, where: str) -> list[Doubt]:
    """FM-DAT-60 (burned-in text), -61 (overlays) and -63 (the spacing is uncertain)."""
    found = _drawn([header], where)
    if header.spacing is None and header.detector_spacing is not None:
        message = "PixelSpacing is missing; ImagerPixelSpacing, of the detector, is used"
        found.append(("FM-DAT-63", f"{where}: {message}"))
    elif header.spacing and header.detector_spacing and all(header.spacing):
        ratio = header.detector_spacing[0] / header.spacing[0]
        if not 0.99 <= ratio <= MAX_MAGNIFICATION:
            message = f"ImagerPixelSpacing is {ratio:.3g} times PixelSpacing, expected 1 to {MAX_MAGNIFICATION}"
            found.append(("FM-DAT-63", f"{where}: {message}; PixelSpacing is used"))
    return found


def _spaced(slices: Sequence[Slice], where: str) -> list[Doubt]:
    first, last = slices[0].position, slices[-1].position
    if first is None or last is None or len(slices) < 2:
        return []
    step = float(np.linalg.norm(np.subtract(last, first))) / (len(slices) - 1)
    off = [one.gap for one in slices if one.gap is not None and abs(abs(one.gap) - step) > GAP_SHARE * step + GAP_MM]
    if not off:
        return []
    said = f"SpacingBetweenSlices is {abs(off[0]):.2f} mm in {len(off)} of {len(slices)} slices"
    return [("FM-DAT-59", f"{where}: {said}; by their positions, which count, they lie {step:.2f} mm apart")]


def _drawn(slices: Sequence[Slice], where: str) -> list[Doubt]:
    count = Counter(mark for one in slices for mark in one.marks)
    found = []
    if burned := count[series.BURNED_IN]:
        found.append(("FM-DAT-60", f"{where}: BurnedInAnnotation is YES in {burned} of {len(slices)} images"))
    if overlays := count[series.OVERLAY]:
        found.append(("FM-DAT-61", f"{where}: {overlays} of {len(slices)} images have overlays, which are not read"))
    return found


def _without_air(values: NDArray[np.float32]) -> float | None:
    """The median of the outermost rows and columns of all slices, where neither it nor the darkest hundredth is air."""
    border = np.concatenate([values[[0, -1]].ravel(), values[:, [0, -1]].ravel()])
    median = float(np.median(border))
    return median if median > AIR_HU and float(np.percentile(values, 1)) > AIR_HU else None
