"""Reads the pixels of one DICOM series of single-frame MR or CT images into a volume on a regular grid.

Values are modality values (PS3.3 C.7.6.16.2.9, C.11.1): every slice's own rescale slope and intercept or modality LUT
is applied, windows never are. MONOCHROME1 says that low values are shown bright. CT numbers are physical and stay as
they are; MR signal is relative, so the stored values of an MR are turned within their range, as they would be shown.
"""

from __future__ import annotations

import logging
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pydicom
from pydicom.pixels import apply_modality_lut, get_decoder, pixel_array
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from fedmed.cases import paths, series, stack
from fedmed.errors import FedmedError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

logging.getLogger("openjpeg").addHandler(logging.NullHandler())  # damage gets a code here, not a line on the screen


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


def _values(path: Path, where: str) -> NDArray[np.floating[Any]]:
    """Modality values of one file, [row, column]."""
    with paths.open_file(path, where) as stream, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            data = pydicom.dcmread(stream, force=True)
            syntax = data.file_meta.get("TransferSyntaxUID")
            if syntax is None:  # no preamble, no meta group: pydicom found out by trying
                syntax = ImplicitVRLittleEndian if data.original_encoding[0] else ExplicitVRLittleEndian
                data.file_meta.TransferSyntaxUID = syntax
            _check_decoder(syntax, where)
            stored = pixel_array(data, raw=True)
            if data.PhotometricInterpretation == "MONOCHROME1" and data.get("Modality") == "MR":
                stored = _turned(stored, int(data.BitsStored), bool(data.PixelRepresentation))
            values: NDArray[np.floating[Any]] = apply_modality_lut(stored, data)
        except FedmedError:
            raise
        except Exception as error:  # pydicom and four decoders answer damage with exceptions of every kind
            raise FedmedError(
                "FM-DAT-33", f"{where}: the pixels of a file cannot be decoded", local=f"{path}: {error}"
            ) from error
    return values


def _turned(stored: NDArray[Any], bits: int, signed: bool) -> NDArray[np.int64]:
    """Stored values mirrored within the range of their bits, so the same for every slice: of 12 bits 0 becomes 4095."""
    lowest_and_highest = -1 if signed else (1 << bits) - 1
    return lowest_and_highest - stored.astype(np.int64)


def _check_decoder(syntax: Any, where: str) -> None:
    """Raises FedmedError FM-DAT-34 with the name of the transfer syntax and of what would read it."""
    name = syntax.name if syntax.is_transfer_syntax and not syntax.is_private else "an unknown transfer syntax"
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError as error:
        raise FedmedError("FM-DAT-34", f"{where}: no decoder reads {name}", local=str(syntax)) from error
    if not decoder.is_available:
        needs = " or ".join(decoder.missing_dependencies)
        raise FedmedError("FM-DAT-34", f"{where}: {name} needs {needs}")
