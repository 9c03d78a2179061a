"""Reads NIfTI-1 and NIfTI-2 images (.nii, .nii.gz) by their header, and repairs nothing.

nibabel's loader mends broken headers in silence (a zero spacing becomes 1 mm); here the raw header is judged first and
a fault becomes a code. Refused: 4-D, no orientation, contradicting sform and qform, truncation, NaN.
"""

from __future__ import annotations

import gzip
import io
import logging
import math
import zlib
from typing import TYPE_CHECKING, Any, BinaryIO

import nibabel
import numpy as np

from fedmed.cases import geometry, paths
from fedmed.errors import FedmedError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

logging.getLogger("nibabel.global").handlers.clear()  # it prints to stderr, whatever the program wants

SUFFIXES = (".nii", ".nii.gz")
MAX_OFFSET = 64 << 20  # header extensions beyond this are no header extensions
MAX_TAIL = 1 << 20
GZIP_RATIO = 1032  # deflate cannot expand further, so a small file cannot hold a large image
NOT_MILLIMETRES = {1: "metres", 3: "micrometres"}


def is_nifti(path: str) -> bool:
    return path.endswith(SUFFIXES)


def read(path: Path, where: str) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """The image [X, Y, Z] with scl_slope and scl_inter applied, and its affine to RAS+ mm.

    Raises FedmedError FM-DAT-16 to -25.
    """
    with paths.open_file(path, where) as stream:
        try:
            packed = stream.peek(2)[:2] == b"\x1f\x8b"  # type: ignore[attr-defined]
            plain = gzip.GzipFile(fileobj=stream) if packed else stream
            header, head = _header(plain, where)
            shape, size = _shape(header, where)
            if packed and path.stat().st_size * GZIP_RATIO < size:
                raise _damaged(where, f"the header declares {size} bytes, more than the file can hold")
            raw = _body(plain, head, size, where)
        except (OSError, EOFError, zlib.error) as error:
            raise _damaged(where, "the file is truncated or corrupt", local=str(error)) from error
    affine = _affine(header, shape, where)
    geometry.check(affine, where)
    return _scaled(header, raw, shape, where), affine


def _header(stream: Any, where: str) -> tuple[Any, bytes]:
    """The raw header, unmended, and the bytes it was read from."""
    head = stream.read(540)
    sizes = {head[:4].hex(): kind for kind, number in (("1", 348), ("2", 540)) for head in _both_orders(number)}
    kind = sizes.get(head[:4].hex())
    header_class = nibabel.Nifti2Header if kind == "2" else nibabel.Nifti1Header
    if kind is None or len(head) < header_class.template_dtype.itemsize:
        raise _damaged(where, "not a NIfTI file")
    header = header_class.from_fileobj(io.BytesIO(head), check=False)
    if header["magic"].item().rstrip(b"\0")[:3] not in (b"n+1", b"n+2"):
        raise _damaged(where, "not a single-file NIfTI image")
    return header, head


def _both_orders(number: int) -> tuple[bytes, bytes]:
    return number.to_bytes(4, "little"), number.to_bytes(4, "big")


def _shape(header: Any, where: str) -> tuple[tuple[int, int, int], int]:
    """The 3-D shape, and the bytes from the start of the file to the last voxel."""
    rank = int(header["dim"][0])
    sizes = [int(size) for size in header["dim"][1 : rank + 1]]
    if not 1 <= rank <= 7 or min(sizes) < 1:
        raise _damaged(where, "the header declares an impossible shape")
    while len(sizes) > 3 and sizes[-1] == 1:
        sizes.pop()
    if len(sizes) != 3:
        raise FedmedError("FM-DAT-20", f"{where}: image has {len(sizes)} axes, expected 3")
    geometry.check_size(tuple(sizes), where)
    try:
        dtype = header.get_data_dtype()
    except Exception as error:  # nibabel answers an unknown code with several kinds of exception
        raise FedmedError("FM-DAT-21", f"{where}: unknown voxel type, expected integer or float") from error
    if dtype.kind not in "iuf":
        raise FedmedError("FM-DAT-21", f"{where}: voxel type is colour or complex, expected integer or float")
    offset = float(header["vox_offset"])
    if not header.single_vox_offset <= offset <= MAX_OFFSET:
        raise _damaged(where, "the header declares an impossible offset")
    x, y, z = sizes
    return (x, y, z), int(offset) + x * y * z * dtype.itemsize


def _body(stream: BinaryIO | gzip.GzipFile, head: bytes, size: int, where: str) -> bytes:
    """Exactly `size` bytes of the file; the rest is read too, because gzip keeps its checksum at the very end."""
    raw = head + stream.read(max(0, size - len(head)))
    if len(raw) < size:
        raise _damaged(where, f"the file ends after {len(raw)} of {size} bytes")
    tail = 0
    while chunk := stream.read(1 << 16):
        tail += len(chunk)
        if tail > MAX_TAIL:
            raise _damaged(where, "the file goes on after the image")
    return raw


def _affine(header: Any, shape: tuple[int, int, int], where: str) -> NDArray[np.float64]:
    """sform where it is set, else qform (NIfTI-1 methods 3 and 2); both set must say the same."""
    unit = int(header["xyzt_units"]) & 7
    if unit in NOT_MILLIMETRES:
        raise FedmedError("FM-DAT-23", f"{where}: spacing is in {NOT_MILLIMETRES[unit]}, expected millimetres")
    geometry.check_spacing(tuple(float(step) for step in header["pixdim"][1:4]), where)
    if header["pixdim"][0] == 0:
        header["pixdim"][0] = 1  # the standard: a qfac of 0 is read as 1
    try:
        sform, qform = header.get_sform(coded=True)[0], header.get_qform(coded=True)[0]
    except Exception as error:  # a quaternion that is none, or a qfac that is neither 1 nor -1
        raise _damaged(where, "the header's orientation cannot be computed", local=str(error)) from error
    if sform is None and qform is None:
        raise FedmedError("FM-DAT-19", f"{where}: sform_code and qform_code are 0, expected one of them set")
    affine = np.asarray(qform if sform is None else sform, dtype=np.float64)
    if not np.isfinite(affine).all():
        raise _damaged(where, "the header's orientation is not finite")
    if sform is not None and qform is not None and not geometry.coincide(shape, affine, qform):
        apart = geometry.farthest_mm(shape, affine, qform)
        raise FedmedError(
            "FM-DAT-18",
            f"{where}: sform and qform place a corner {apart:.2f} mm apart, expected at most a tenth of a voxel edge",
        )
    return affine


def _scaled(header: Any, raw: bytes, shape: tuple[int, int, int], where: str) -> NDArray[np.float32]:
    """Stored values times scl_slope plus scl_inter, as float32; a slope of 0 means none."""
    stored = np.frombuffer(raw, header.get_data_dtype(), math.prod(shape), int(header["vox_offset"]))
    stored = stored.reshape(shape, order="F")
    try:
        slope, intercept = header.get_slope_inter()
    except Exception as error:  # a slope without a finite intercept
        raise _damaged(where, "scl_slope and scl_inter are not finite") from error
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows is found as infinity below
        if slope is not None and (slope, intercept) != (1.0, 0.0):
            stored = stored * float(slope) + float(intercept)
        image = stored.astype(np.float32)
    if not np.isfinite(image).all():
        count = int(np.count_nonzero(~np.isfinite(image)))
        raise FedmedError("FM-DAT-22", f"{where}: {count} voxels are NaN or infinity")
    return image


def _damaged(where: str, what: str, local: str = "") -> FedmedError:
    return FedmedError("FM-DAT-17", f"{where}: {what}", local=local)
