"""Decodes the pixels of one DICOM file, whatever its transfer syntax, and gives them as modality values.

What is common to a slice of a series and to a radiograph; what differs, as windows do, is left to the readers.
"""

from __future__ import annotations

import logging
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import pydicom
from pydicom.pixels import get_decoder, pixel_array
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from fedmed.cases import paths
from fedmed.errors import FedmedError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    Numbers = NDArray[Any]

logging.getLogger("openjpeg").addHandler(logging.NullHandler())  # damage gets a code here, not a line on the screen


def stored(path: Path, where: str) -> tuple[Any, Numbers]:
    """The data set of a single-frame file, and its stored values [row, column].

    Raises FedmedError FM-DAT-16, -33 (damaged) or -34 (no decoder).
    """
    data = dataset(path, where)
    with damage(path, where):
        return data, pixel_array(data, raw=True)


def frames(data: Any, count: int, path: Path, where: str) -> Iterator[Numbers]:
    """The stored values [row, column] of `count` frames of a data set, decoded one at a time.

    Raises FedmedError FM-DAT-33 (damaged), also where there are fewer.
    """
    decoded = get_decoder(data.file_meta.TransferSyntaxUID).iter_array(data, raw=True)
    for _ in range(count):
        with damage(path, where):
            values, _ = next(decoded)
        yield values


def dataset(path: Path, where: str, max_bytes: int | None = None) -> Any:
    """The data set of a file whose pixels can be decoded, with its transfer syntax in file_meta.

    Raises FedmedError FM-DAT-16, -25 (more than max_bytes), -33 (damaged) or -34 (no decoder).
    """
    with paths.open_file(path, where) as stream, damage(path, where):
        size = path.stat().st_size
        if max_bytes is not None and size > max_bytes:
            raise FedmedError("FM-DAT-25", f"{where}: a file of {size} bytes, expected at most {max_bytes}")
        data = pydicom.dcmread(stream, force=True)
        syntax = data.file_meta.get("TransferSyntaxUID")
        if syntax is None:  # no preamble, no meta group: pydicom found out by trying
            syntax = ImplicitVRLittleEndian if data.original_encoding[0] else ExplicitVRLittleEndian
            data.file_meta.TransferSyntaxUID = syntax
        _check_decoder(syntax, where)
        return data


def modality(values: Numbers, data: Any) -> Numbers:
    """Stored values through the modality LUT, or rescale slope and intercept (PS3.3 C.11.1). Use within `damage`."""
    if data.get("ModalityLUTSequence"):
        return looked_up(values, data.ModalityLUTSequence[0], data)
    if "RescaleSlope" in data and "RescaleIntercept" in data:
        return values.astype(np.float64) * float(data.RescaleSlope) + float(data.RescaleIntercept)
    return values


def looked_up(values: Numbers, item: Any, data: Any) -> NDArray[np.int64]:
    """Values through a LUT; those before its first or after its last entry get that one (PS3.3 C.11.1.1, C.11.2.1.1).

    Not pydicom's own: with entries of 8 bits it wraps around after the 256th, and it takes no modality LUT of 12 bits.
    """
    count, first, _ = (int(number) for number in item.LUTDescriptor)
    if first >= 1 << 15 and int(data.get("PixelRepresentation") or 0):  # a negative number, written as unsigned
        first -= 1 << 16
    table = _entries(item.LUTData, count or 1 << 16, is_little_endian=data.original_encoding[1] is not False)
    return table[np.clip(np.rint(values).astype(np.int64) - first, 0, len(table) - 1)]


def _entries(raw: Any, count: int, *, is_little_endian: bool) -> NDArray[np.int64]:
    """LUTData is a list of numbers (US) or bytes (OW): words, or packed bytes where entries have 8 bits."""
    if isinstance(raw, bytes):
        words = "<u2" if is_little_endian else ">u2"
        raw = np.frombuffer(raw, words, count) if len(raw) >= 2 * count else np.frombuffer(raw, np.uint8, count)
    table = np.asarray(raw, dtype=np.int64).reshape(-1)
    if len(table) < count:
        raise ValueError(f"a LUT of {len(table)} entries, where {count} are declared")
    return table[:count]


@contextmanager
def damage(path: Path, where: str, what: str = "the pixels of a file cannot be decoded") -> Iterator[None]:
    """What pydicom and its decoders raise inside, FM-DAT-33: they answer damage with exceptions of every kind."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        except FedmedError:
            raise
        except Exception as error:
            raise FedmedError("FM-DAT-33", f"{where}: {what}", local=f"{path}: {error}") from error


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
