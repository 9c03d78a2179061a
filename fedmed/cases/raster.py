"""Reads a radiograph that was exported as PNG or JPEG, told apart by content and never by name.

Such a file has no window, no spacing and no orientation in the patient; gamma and colour profiles are not applied.
"""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import ExifTags, Image, ImageOps

from fedmed.cases import geometry, paths
from fedmed.errors import FedmedError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

SUFFIXES = (".png", ".jpg", ".jpeg")
SIGNATURES = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff")


def is_named(path: str) -> bool:
    """Whether a name or a pattern ends as those of pictures do."""
    return path.lower().endswith(SUFFIXES)


def is_raster(path: Path, where: str) -> bool:
    """Whether a file begins as PNG or JPEG do. Raises FedmedError FM-DAT-16."""
    with paths.open_file(path, where) as stream:
        return stream.read(8).startswith(SIGNATURES)


def read(path: Path, where: str) -> Floats:
    """Grey levels [row, column] from 0 to 1, turned as EXIF says; 16-bit greyscale keeps its 16 bits.

    Colour or a palette counts as grey where red, green and blue are equal everywhere; of 16-bit RGB the upper 8 bits
    are compared and kept. Raises FedmedError FM-DAT-16, -25, -32 (animated), -40 (colour) or -48 (damaged).
    """
    with _opened(path, where) as image:
        geometry.check_picture(image.width, image.height, where)
        if getattr(image, "n_frames", 1) > 1:
            raise FedmedError("FM-DAT-32", f"{where}: several images in one file, expected one")
        image.load()
        return _grey(ImageOps.exif_transpose(image), where)


def is_turned(path: Path, where: str) -> bool:
    """Whether EXIF says that the image is to be turned or mirrored. Raises FedmedError FM-DAT-16 or -48."""
    with _opened(path, where) as image:
        return image.getexif().get(ExifTags.Base.Orientation) in range(2, 9)


@contextmanager
def _opened(path: Path, where: str) -> Iterator[Image.Image]:
    """An image whose pixels are not read yet; whatever pillow raises inside becomes a coded error."""
    with paths.open_file(path, where) as stream, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a decompression bomb has a code here
        try:
            yield Image.open(stream, formats=("PNG", "JPEG"))
        except FedmedError:
            raise
        except Image.DecompressionBombError as error:
            raise FedmedError("FM-DAT-25", f"{where}: more pixels than any radiograph has", local=str(error)) from error
        except Exception as error:  # pillow answers damage with exceptions of every kind
            raise damaged(where, "a PNG or JPEG file is truncated or corrupt", f"{path}: {error}") from error


def damaged(where: str, what: str, local: str = "") -> FedmedError:
    return FedmedError("FM-DAT-48", f"{where}: {what}", local=local)


def _grey(image: Image.Image, where: str) -> Floats:
    if image.mode in ("1", "L"):
        return _scaled(np.asarray(image.convert("L")), 255)
    if image.mode.startswith("I"):  # 16 bits; some versions of pillow open them with 32
        return _scaled(np.asarray(image), 65535)
    if image.mode not in ("LA", "P", "PA", "RGB", "RGBA"):
        raise FedmedError("FM-DAT-40", f"{where}: pixels in colour, expected greyscale")
    red, green, blue, alpha = np.moveaxis(np.asarray(image.convert("RGBA")), -1, 0)
    if alpha.min() < 255:
        raise FedmedError("FM-DAT-40", f"{where}: pixels are transparent, expected opaque greyscale")
    if (red != green).any() or (green != blue).any():
        raise FedmedError("FM-DAT-40", f"{where}: pixels in colour, expected greyscale")
    return _scaled(red, 255)


def _scaled(levels: NDArray[Any], brightest: int) -> Floats:
    return levels.astype(np.float32) / np.float32(brightest)
