"""Reads a radiograph, a single DICOM image of modality CR, DX or RG, as a viewer would show it.

The order is that of PS3.3 C.11 and PS3.4 N.2: stored values, modality LUT or rescale, VOI LUT or window, and what
MONOCHROME1 turns at the very end (C.7.6.3.1.2). Presentation LUT Shape repeats what the photometric interpretation
says (C.8.11.3.1.2), so it is not looked at. Nothing is turned, mirrored or resized: row 0 is the top, as stored.

CR and DX are the defined terms of today's radiographs, RG of digitised film (C.7.3.1.1.1); fluoroscopy (RF) is not a
radiograph, and DR is no defined term.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fedmed.cases import dicomfile, geometry, paths, pixels
from fedmed.errors import FedmedError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

GREY = ("MONOCHROME1", "MONOCHROME2")


def read(root: Path, relative: str, where: str) -> tuple[NDArray[np.float32], tuple[float, float] | None]:
    """What is shown, [row, column], 0 the darkest and 1 the brightest grey; and mm between rows and between columns.

    The first VOI LUT is used where there is one, else the first window, else all grey levels that occur. Padding is
    as dark as the darkest shown value. PixelSpacing wins over ImagerPixelSpacing: the latter is measured on the
    detector, where everything is larger, and a file has both when the former was corrected for that (PS3.3
    10.7.1.3). None where a file has neither.

    Raises FedmedError FM-DAT-15, -16, -22, -23, -25, -33, -34, -40 or -64 to -66.
    """
    path = paths.locate(root, relative, where)
    data, frames = pixels.read(path, where)
    stored = next(frames)
    photometric = str(data.get("PhotometricInterpretation") or "")
    if photometric not in GREY or stored.ndim != 2:
        raise FedmedError("FM-DAT-40", f"{where}: pixels in colour or by a palette, expected greyscale")
    with pixels.damage(path, where):
        values = pixels.modality(stored, data)
        padding = pixels.padding(stored, data)
        if not np.isfinite(values).all():
            raise FedmedError("FM-DAT-22", f"{where}: pixels are NaN or infinity")
        shown = _shown(values, padding, data)
        if photometric == "MONOCHROME1":
            shown = 1 - shown
        if padding.any():
            shown[padding] = 0.0 if padding.all() else shown[~padding].min()
        spacing = _spacing(data)
    if spacing is not None:
        geometry.check_spacing(spacing, where)
    return shown.astype(np.float32), spacing


def _spacing(data: Any) -> tuple[float, float] | None:
    """A 0 is how some devices write that they do not know."""
    for keyword in ("PixelSpacing", "ImagerPixelSpacing"):
        found = dicomfile.numbers(data, keyword, 2)
        if found is not None and all(found):
            return found[0], found[1]
    return None


def _shown(values: NDArray[Any], padding: NDArray[np.bool_], data: Any) -> Floats:
    """Modality values through VOI LUT or window (PS3.3 C.11.2), onto 0 to 1."""
    if data.get("VOILUTSequence"):
        item = data.VOILUTSequence[0]
        bits = int(item.LUTDescriptor[2])
        return np.clip(pixels.looked_up(values, item, data) / float((1 << bits) - 1), 0.0, 1.0)
    window = _first(data, "WindowCenter"), _first(data, "WindowWidth")
    function = str(data.get("VOILUTFunction") or "LINEAR").upper()
    if window[0] is not None and window[1] is not None and window[1] > 0:
        return _windowed(values.astype(np.float64), window[0], window[1], function)
    inside = values[~padding] if not padding.all() else values
    low, high = float(inside.min()), float(inside.max())
    return np.clip((values - low) / ((high - low) or 1.0), 0.0, 1.0)


def _windowed(values: Floats, centre: float, width: float, function: str) -> Floats:
    """Not pydicom's own: with a negative rescale slope it shows low values bright."""
    if function == "SIGMOID":  # C.11.2.1.3.1
        return 1 / (1 + np.exp(np.clip(-4 * (values - centre) / width, -700, 700)))
    if function == "LINEAR":  # C.11.2.1.2.1
        centre, width = centre - 0.5, width - 1
    elif function != "LINEAR_EXACT":  # C.11.2.1.3.2
        raise ValueError("an unknown VOI LUT function")
    if width <= 0:
        return (values > centre).astype(np.float64)
    return np.clip((values - centre) / width + 0.5, 0.0, 1.0)


def _first(data: Any, keyword: str) -> float | None:
    """The first of several windows; None where there is none, or no number."""
    value = data.get(keyword)
    try:
        number = float(value if isinstance(value, int | float | str) else value[0])
    except (TypeError, ValueError, IndexError):
        return None
    return number if np.isfinite(number) else None
