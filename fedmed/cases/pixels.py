"""Decodes the pixels of one DICOM file, whatever its transfer syntax, and gives them as modality values.

What is common to a slice of a series and to a radiograph; what differs, as windows do, is left to the readers.
"""

from __future__ import annotations

import logging
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from pydicom.encaps import parse_basic_offsets
from pydicom.pixels import get_decoder
from pydicom.uid import (
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGExtended12Bit,
    RLELossless,
)

from fedmed.cases import codecs, dicomfile, functional, geometry, paths
from fedmed.errors import FedmedError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    Numbers = NDArray[Any]

PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
MAX_RUN = 64  # RLE writes at most 128 pixels into 2 bytes (PS3.5 G.3.1)

logging.getLogger("openjpeg").addHandler(logging.NullHandler())  # damage gets a code here, not a line on the screen


def read(path: Path, where: str) -> tuple[Any, Iterator[Numbers]]:
    """The data set of a file, and the stored values of all its frames, decoded one at a time: [row, column], in colour
    [row, column, sample].

    Raises FedmedError FM-DAT-16, -25, -33 (damaged), -34 (no decoder) or -64 to -66; also while frames are taken.
    """
    data = dataset(path, where)
    with damage(path, where):
        count = int(data.get("NumberOfFrames") or 1)
    return data, frames(data, range(count), path, where)


def frames(data: Any, indices: Sequence[int], path: Path, where: str) -> Iterator[Numbers]:
    """The stored values of some frames of a data set, rising from 0, decoded one at a time.

    Raises FedmedError FM-DAT-25 (larger than any image), -33 (damaged, or fewer frames) or -64 to -66.
    """
    with damage(path, where):
        _check_amount(data, where)
        syntax = data.file_meta.TransferSyntaxUID
        if syntax.is_encapsulated and syntax != RLELossless:
            decoded = codecs.decoded(data, indices, where)
        elif not syntax.is_encapsulated and syntax.is_little_endian and data.BitsAllocated == data.SamplesPerPixel == 1:
            decoded = _single_bits(data, indices)
        else:
            decoded = (values for values, _ in get_decoder(syntax).iter_array(data, raw=True, indices=indices))
    for _ in indices:
        with damage(path, where):
            values = next(decoded)
        yield values


def _single_bits(data: Any, indices: Sequence[int]) -> Iterator[Numbers]:
    """Frames of single bits, which run on from frame to frame within a byte, the first in the lowest (PS3.5 8.1.1).

    Not pydicom's own: where a frame begins within a byte and ends within the next but one, it takes one byte too few.
    """
    rows, columns = int(data.Rows), int(data.Columns)
    packed = np.frombuffer(data.PixelData, np.uint8)
    for index in indices:
        first, stop = index * rows * columns, (index + 1) * rows * columns
        bits = np.unpackbits(packed[first // 8 : -(-stop // 8)], bitorder="little")
        yield bits[first % 8 : first % 8 + rows * columns].reshape(rows, columns)


def _check_amount(data: Any, where: str) -> None:
    """Refuse pixels that are too many, far fewer or twice as many as the header says, before memory is asked for.

    Raises FedmedError FM-DAT-25, -33 or -65; use within `damage`.
    """
    keyword = next((keyword for keyword in PIXELS if keyword in data), None)
    if keyword is None:
        raise FedmedError("FM-DAT-65", f"{where}: no pixels in a file")
    geometry.check_picture(int(data.Columns), int(data.Rows), where)
    frames = int(data.get("NumberOfFrames") or 1)
    count = frames * int(data.Rows) * int(data.Columns) * int(data.SamplesPerPixel)
    said, there = count * int(data.BitsAllocated), 8 * len(data[keyword].value)
    syntax = data.file_meta.TransferSyntaxUID
    if syntax.is_encapsulated:
        more = len(parse_basic_offsets(data.PixelData)) > frames
    else:
        more = there >= 2 * said and there >= said + 16  # bits that fill up to an even number of bytes
    if more:  # the rest would be lost in silence
        raise FedmedError("FM-DAT-33", f"{where}: more frames in a file than its header says")
    if syntax == RLELossless and said > there * MAX_RUN:
        raise FedmedError("FM-DAT-33", f"{where}: fewer pixels in a file than its header says")


def dataset(path: Path, where: str, max_bytes: int | None = None) -> Any:
    """The data set of a file whose pixels can be decoded, with its transfer syntax in file_meta.

    Raises FedmedError FM-DAT-16, -25 (more than max_bytes), -33 (damaged) or -34 (no decoder).
    """
    with paths.open_file(path, where) as stream, damage(path, where):
        size = path.stat().st_size
        if max_bytes is not None and size > max_bytes:
            raise FedmedError("FM-DAT-25", f"{where}: a file of {size} bytes, expected at most {max_bytes}")
        data = dicomfile.parse(stream, where)
        syntax = data.file_meta.get("TransferSyntaxUID")
        if syntax is None:  # no preamble, no meta group: pydicom found out by trying
            implicit, little = data.original_encoding
            explicit = ExplicitVRBigEndian if little is False else ExplicitVRLittleEndian
            syntax = data.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else explicit
        _check_decoder(syntax, data.get("BitsStored"), where)
        return data


def modality(values: Numbers, data: Any, frame: int = 0) -> Numbers:
    """Stored values through the modality LUT, or rescale slope and intercept (PS3.3 C.11.1). Use within `damage`.

    In a file with functional groups the frame's own slope and intercept count (C.7.6.16.2.9).
    """
    says = functional.macro(functional.of_frame(data, frame), "PixelValueTransformationSequence") or data
    if says.get("ModalityLUTSequence"):
        return looked_up(values, says.ModalityLUTSequence[0], data)
    if "RescaleSlope" in says and "RescaleIntercept" in says:
        return values.astype(np.float64) * float(says.RescaleSlope) + float(says.RescaleIntercept)
    return values


def padding(stored: Numbers, data: Any) -> NDArray[np.bool_]:
    """Where nothing was exposed: PixelPaddingValue, to PixelPaddingRangeLimit where given (PS3.3 C.7.5.1.1.2), or
    their kin for floating-point pixels.
    """
    kind = next((keyword for keyword in PIXELS if keyword in data), PIXELS[0]).removesuffix("Data")
    value, limit = (data.get(f"{kind}Padding{part}") for part in ("Value", "RangeLimit"))
    if value is None:
        return np.zeros(stored.shape, dtype=bool)
    limits = [float(tag) for tag in (value, limit) if tag is not None]
    if kind == "Pixel":
        limits = [_as_stored(int(tag), data) for tag in limits]
    found: NDArray[np.bool_] = (stored >= min(limits)) & (stored <= max(limits))
    return found


def _as_stored(value: int, data: Any) -> int:
    """-2000 is also written as 63536, and the other way round: the tag's type is not always that of the pixels."""
    whole = 1 << int(data.BitsAllocated)
    if data.PixelRepresentation and value >= whole // 2:
        return value - whole
    return value + whole if not data.PixelRepresentation and value < 0 else value


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


def _check_decoder(syntax: Any, bits: Any, where: str) -> None:
    """Raises FedmedError FM-DAT-34 with the name of the transfer syntax and of what would read it."""
    name = syntax.name if syntax.is_transfer_syntax and not syntax.is_private else "an unknown transfer syntax"
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError as error:
        raise FedmedError("FM-DAT-34", f"{where}: no decoder reads {name}", local=str(syntax)) from error
    if not decoder.is_available:
        needs = " or ".join(decoder.missing_dependencies)
        raise FedmedError("FM-DAT-34", f"{where}: {name} needs {needs}")
    if syntax == JPEGExtended12Bit and bits != 8 and "pylibjpeg" not in decoder.available_plugins:
        raise FedmedError("FM-DAT-34", f"{where}: {name} with 12 bits needs pylibjpeg-libjpeg")
