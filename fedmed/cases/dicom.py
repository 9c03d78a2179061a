"""Reads the pixels of one DICOM series of MR, CT or PET images into a volume on a regular grid.

Slices are single files, or frames of files with functional groups. Values are modality values (PS3.3 C.7.6.16.2.9,
C.11.1): every slice's own rescale slope and intercept or modality LUT is applied, windows never are. MONOCHROME1 says
that low values are shown bright. CT numbers are physical and stay as they are; MR signal is relative, so the stored
values of an MR are turned within their range, as they would be shown.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fedmed.cases import paths, pixels, series, stack
from fedmed.errors import FedmedError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from fedmed.cases.series import Slice
    from fedmed.recipe_fields import Data

AIR_HU = -1000.0


def read(
    root: Path, relative: Sequence[str], where: str, rule: Data | None = None, known: Sequence[Slice] | None = None
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """The volume [column, row, slice], and its affine to RAS+ mm; the order of the files does not matter.

    Where one file holds several stacks, as a localizer and the series, the one that fits the `rule` is read. Who has
    read the headers already gives them as `known`.

    Raises FedmedError FM-DAT-15, -16, -22, -23, -25, -30 to -41 and -64 to -66.
    """
    ordered, affine = stack.stacked(known or slices(root, relative, where, rule), where)
    volume: NDArray[np.float32] | None = None
    for index, values in _decoded(root, ordered, where):
        if volume is None:  # only now: a damaged header may ask for more memory than its pixels ever fill
            volume = np.empty((len(ordered), ordered[0].rows, ordered[0].columns), dtype=np.float32)
        volume[index] = values
    if volume is None or not np.isfinite(volume).all():
        raise FedmedError("FM-DAT-22", f"{where}: voxels are NaN or infinity")
    return volume.transpose(2, 1, 0), affine


def slices(root: Path, relative: Sequence[str], where: str, rule: Data | None) -> list[Slice]:
    """The slices of a series, unordered. Raises FedmedError FM-DAT-15, -16, -25, -30 to -33 or -40."""
    files = [series.read_header(root, path, where) for path in relative]
    if missing := files.count(()):
        raise FedmedError("FM-DAT-33", f"{where}: {missing} files are no DICOM image any more")
    images = [one for found in files for one in found]
    if rule is not None and len(images) > len(files):
        return series.choose(series.Scan(tuple(images), 0), rule, where)
    return images


def frame_of_reference(root: Path, relative: Sequence[str], where: str) -> str:
    """FrameOfReferenceUID of a series, empty where it says none. Raises FedmedError FM-DAT-15, -16 or -33."""
    found = series.read_header(root, relative[0], where)
    return found[0].frame_of_reference if found else ""


def _decoded(root: Path, ordered: Sequence[Slice], where: str) -> Iterator[tuple[int, NDArray[Any]]]:
    """The place of each slice in the volume and its modality values [row, column], file by file."""
    by_file: dict[str, list[tuple[int, int]]] = {}
    for index, one in enumerate(ordered):
        by_file.setdefault(one.path, []).append((one.frame, index))
    for relative, places in by_file.items():
        path = paths.locate(root, relative, where)
        data = pixels.dataset(path, where)
        places.sort()
        stored = pixels.frames(data, [frame for frame, _ in places], path, where)
        for (frame, index), values in zip(places, stored, strict=True):
            if values.shape != (ordered[index].rows, ordered[index].columns):
                raise FedmedError("FM-DAT-33", f"{where}: the pixels of a file do not fill its rows and columns")
            with pixels.damage(path, where):
                found = _modality(values, data, frame)
            yield index, found


def _modality(stored: NDArray[Any], data: Any, frame: int) -> NDArray[Any]:
    """Modality values of a frame; padding becomes air in a CT, and in all else 0, which is outside the patient."""
    padding = pixels.padding(stored, data)
    if data.PhotometricInterpretation == "MONOCHROME1" and data.get("Modality") == "MR":
        stored = _turned(stored, int(data.BitsStored), bool(data.PixelRepresentation))
    values = pixels.modality(stored, data, frame)
    if padding.any():
        values = np.where(padding, AIR_HU if data.get("Modality") == "CT" else 0.0, values)
    return values


def _turned(stored: NDArray[Any], bits: int, signed: bool) -> NDArray[np.int64]:
    """Stored values mirrored within the range of their bits, so the same for every slice: of 12 bits 0 becomes 4095."""
    lowest_and_highest = -1 if signed else (1 << bits) - 1
    return lowest_and_highest - stored.astype(np.int64)
