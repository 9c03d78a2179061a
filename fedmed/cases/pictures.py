"""The one reader of two-dimensional images: radiographs, and the slices of volumes, each as a viewer shows it.

Nothing here resizes: that is training's work.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from fedmed.cases import geometry, labels, paths, radiograph, raster, reading, series, shifts
from fedmed.cases.case import Geometry, Picture
from fedmed.errors import FedmedError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from fedmed.cases.case import Case
    from fedmed.cases.series import See, Slice
    from fedmed.recipe_fields import Pictures, Slices

    Floats = NDArray[np.float32]


def read(case: Case, root: Path, data: Pictures, label_map: Mapping[int, int]) -> Picture:
    """A case's slices, channels in the recipe's order, and its class.

    Radiographs come in grey levels from 0 (darkest) to 1, volumes in modality values. What a virtual site does to its
    images (`shifts`) is done here.

    Raises FedmedError FM-DAT-11, -15 to -28, -30 to -41 and -48.
    """
    picture, _ = look(case.case, case.image, root, data)
    if case.shift is not None:
        films = data.slices is None or all(raster.is_named(files[0]) for files in case.image.values())
        channels = picture.slices.swapaxes(0, 1)
        outside = data.zero_is_outside
        shifted = shifts.apply(channels, case.shift, case.case, zero_is_outside=outside, bounded=films)
        picture = replace(picture, slices=np.ascontiguousarray(shifted.swapaxes(0, 1)))
    label = labels.to_class(case.label, data, label_map, case.case) if isinstance(case.label, int) else None
    return replace(picture, label=label)


def look(
    alias: str,
    image: Mapping[str, tuple[str, ...]],
    root: Path,
    data: Pictures,
    known: Mapping[str, Sequence[Slice]] | None = None,
) -> tuple[Picture, Geometry]:
    """As `read`, before there is a Case: without the class, but with the grid; `known` as in reading.read_files.

    The grid counts columns, rows and slices, also those that are not looked at; its spacing is 0 where no file says
    it and across a radiograph, which has no axcodes either. A slice of a volume that was saved as PNG or JPEG is read
    as a radiograph is.
    """
    single = all(raster.is_named(files[0]) for files in image.values() if files)
    if data.slices is not None and not single:
        return _volume(alias, image, root, data, data.slices, known)
    channels: list[Floats] = []
    spacing: tuple[float, float] | None = None
    for channel in data.channels:
        where = f"{alias} {channel}"
        if not image.get(channel):
            raise FedmedError("FM-DAT-11", f"{where}: no image")
        shown, steps = _radiograph(root, image[channel][0], data, where)
        if shown.min() == shown.max():
            raise FedmedError("FM-DAT-26", f"{where}: every pixel is {float(shown.min()):g}")
        if channels and shown.shape != channels[0].shape:
            (rows, columns), (height, width) = shown.shape, channels[0].shape
            message = f"{columns} x {rows} pixels, expected {width} x {height} as in the first channel"
            raise FedmedError("FM-DAT-27", f"{where}: {message}")
        channels.append(shown)
        spacing = spacing or steps
    rows, columns = channels[0].shape
    row_step, column_step = spacing or (0.0, 0.0)
    grid = Geometry((columns, rows, 1), (column_step, row_step, 0.0), "")
    return Picture(np.stack(channels)[None], spacing or (1.0, 1.0), None), grid


def header(root: Path, relative: str, where: str, see: See | None = None) -> Slice | None:
    """What the DICOM header of a radiograph says; None for PNG and JPEG.

    Raises FedmedError FM-DAT-32 (several frames), -33 or -48.
    """
    if raster.is_raster(paths.locate(root, relative, where), where):
        return None
    found = series.read_header(root, relative, where, see)
    if not found:
        raise raster.damaged(where, "neither a DICOM image nor PNG nor JPEG", relative)
    if len(found) > 1:
        raise FedmedError("FM-DAT-32", f"{where}: {len(found)} frames in one file, expected one image")
    return found[0]


def is_turned(root: Path, relative: str, where: str) -> bool:
    """Whether `read` shows the pixels in another orientation than they are stored in. Raises FedmedError FM-DAT-48."""
    path = paths.locate(root, relative, where)
    return raster.is_raster(path, where) and raster.is_turned(path, where)


def _radiograph(root: Path, relative: str, data: Pictures, where: str) -> tuple[Floats, tuple[float, float] | None]:
    found = header(root, relative, where)
    if found is None:
        return raster.read(paths.locate(root, relative, where), where), None
    series.choose(series.Scan((found,), 0), data, where)
    shown, spacing = radiograph.read(root, relative, where)
    if shown.shape != (found.rows, found.columns):
        raise FedmedError("FM-DAT-33", f"{where}: the pixels of a file do not fill its rows and columns")
    return shown, spacing


def _volume(
    alias: str,
    image: Mapping[str, tuple[str, ...]],
    root: Path,
    data: Pictures,
    rule: Slices,
    known: Mapping[str, Sequence[Slice]] | None,
) -> tuple[Picture, Geometry]:
    """The middle slices of a volume across the third of the axcodes, the first axis along a slice's columns.

    `middle` of all slices is rounded to the nearest number, half up, and is at least one; where as many cannot be
    left out on both sides, one more is left out at the end.
    """
    volume = reading.read_files(alias, image, None, root, data, {}, known)
    turned, affine = geometry.turned(np.moveaxis(volume.image, 0, -1), volume.affine, rule.axcodes)
    columns, rows, count, _ = turned.shape
    kept = max(1, int(rule.middle * count + 0.5))
    first = (count - kept) // 2
    slices = turned[:, :, first : first + kept].transpose(2, 3, 1, 0)
    steps = geometry.spacing(affine)
    column_step, row_step, step = (round(length, 6) for length in steps)
    grid = Geometry((columns, rows, count), (column_step, row_step, step), rule.axcodes)
    return Picture(np.ascontiguousarray(slices), (steps[1], steps[0]), None), grid
