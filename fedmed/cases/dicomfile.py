"""Opens a DICOM file as a data set, within bounds, and takes numbers and codes out of it.

The one place where bytes become tags: whatever reads a header or pixels comes through here.
"""

from __future__ import annotations

import os
import zlib
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import pydicom
from pydicom.filereader import data_element_generator, read_preamble
from pydicom.uid import DeflatedExplicitVRLittleEndian

from fedmed.errors import FedmedError

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

FIRST_GROUPS = (b"\x02\x00", b"\x08\x00", b"\x00\x08")  # a data set without preamble begins in group 0002 or 0008
MAX_BYTES = 4 << 30  # of a file, also after it was inflated: the largest volume that is read, with 64 bits a voxel
MIN_INFLATED, MAX_RATIO = 64 << 20, 64  # images deflate to a half or a third, an empty one to a hundredth
CHUNK = 1 << 20


def parse(stream: BinaryIO, where: str, **how: Any) -> Any:
    """pydicom's data set of a file, also of one without preamble; `how` is dcmread's.

    Raises FedmedError FM-DAT-25, and what pydicom raises at damage.
    """
    if stream.seek(0, os.SEEK_END) > MAX_BYTES:
        raise FedmedError("FM-DAT-25", f"{where}: a file of {stream.tell()} bytes, expected at most {MAX_BYTES}")
    stream.seek(0)
    start = stream.read(4096)
    if DeflatedExplicitVRLittleEndian.encode() in start:
        _check_inflated(stream, where)
    stream.seek(0)
    return pydicom.dcmread(stream, force=True, **how)


def _check_inflated(stream: BinaryIO, where: str) -> None:
    """Refuse a deflated file (PS3.5 A.5) that would fill the memory: 1 MB may become 1 GB. Raises FM-DAT-25."""
    size = stream.seek(0, os.SEEK_END)
    stream.seek(0)
    read_preamble(stream, force=True)
    for _ in data_element_generator(stream, is_implicit_VR=False, is_little_endian=True, stop_when=_behind_meta):
        pass
    allowed = min(MAX_BYTES, MIN_INFLATED + MAX_RATIO * size)
    inflater, inflated = zlib.decompressobj(-zlib.MAX_WBITS), 0
    while not inflater.eof and (chunk := inflater.unconsumed_tail or stream.read(CHUNK)):
        inflated += len(inflater.decompress(chunk, CHUNK))
        if inflated > allowed:
            raise FedmedError("FM-DAT-25", f"{where}: a deflated file of {size} bytes becomes over {allowed} bytes")


def _behind_meta(tag: Any, _vr: str | None, _length: int) -> bool:
    return bool(tag >> 16 != 2)


def numbers(data: Any, keyword: str, count: int) -> tuple[float, ...] | None:
    """A tag's finite numbers; None where it is missing or anything else, which matters only if it is needed."""
    found = data.get(keyword)
    try:
        values = tuple(float(value) for value in ((found,) if count == 1 else found or ()))
    except (TypeError, ValueError):
        return None
    return values if len(values) == count and np.isfinite(values).all() else None


def code(data: Any, keywords: Sequence[str], allowed: Collection[str]) -> str:
    """The first of the tags that says one of the allowed codes, in capitals; else nothing: the rest is free text."""
    for keyword in keywords:
        value = str(data.get(keyword) or "").strip().upper()
        if value in allowed:
            return value
    return ""
