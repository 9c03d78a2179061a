"""Reads the pixels of one DICOM series of single-frame MR or CT images into a volume on a regular grid.

Values are modality values (PS3.3 C.7.6.16.2.9, C.11.1): every slice's own rescale slope and intercept or modality LUT
is applied, windows never are. MONOCHROME1 says that low values are shown bright. CT numbers are physical and stay as
they are; MR signal is relative, so the stored values of an MR are turned within their range, as they would be shown.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fedmed.cases import paths, pixels, series, stack
from fedmed.errors import FedmedError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray


def read(root: Path, relative: Sequence[str], where: str) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """The volume [column, row, slice], and its affine to RAS+ mm; the order of the files does not matter.

    Raises FedmedError FM-DAT-15, -16, -22, -23, -25 and -32 to -41.
    """
    slices = [series.read_header(root, path, where) for path in relative]
    images = [one for one in slices if one is not None]
    if len(images) < len(slices):
        raise FedmedError("FM-DAT-33", f"{where}: {len(slices) - len(images)} files are no DICOM image any more")
    ordered, affine = stack.stacked(images, where)
    volume = np.empty((len(ordered), ordered[0].rows, ordered[0].columns), dtype=np.float32)
    for index, one in enumerate(ordered):
        values = _values(paths.locate(root, one.path, where), where)
        if values.shape != volume.shape[1:]:
            raise FedmedError("FM-DAT-33", f"{where}: the pixels of a file do not fill its rows and columns")
        volume[index] = values
    if not np.isfinite(volume).all():
        raise FedmedError("FM-DAT-22", f"{where}: voxels are NaN or infinity")
    return volume.transpose(2, 1, 0), affine


def frame_of_reference(root: Path, relative: Sequence[str], where: str) -> str:
    """FrameOfReferenceUID of a series, empty where it says none. Raises FedmedError FM-DAT-15, -16 or -33."""
    header = series.read_header(root, relative[0], where)
    return header.frame_of_reference if header else ""


def _values(path: Path, where: str) -> NDArray[Any]:
    """Modality values of one file, [row, column]."""
    data, stored = pixels.stored(path, where)
    with pixels.damage(path, where):
        if data.PhotometricInterpretation == "MONOCHROME1" and data.get("Modality") == "MR":
            stored = _turned(stored, int(data.BitsStored), bool(data.PixelRepresentation))
        return pixels.modality(stored, data)


def _turned(stored: NDArray[Any], bits: int, signed: bool) -> NDArray[np.int64]:
    """Stored values mirrored within the range of their bits, so the same for every slice: of 12 bits 0 becomes 4095."""
    lowest_and_highest = -1 if signed else (1 << bits) - 1
    return lowest_and_highest - stored.astype(np.int64)
