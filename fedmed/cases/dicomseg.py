"""Reads a DICOM segmentation (PS3.3 A.51, C.8.20) as the mask of an image: frame by frame, by position in the patient.

BINARY, FRACTIONAL and LABELMAP. Of a fractional segment a voxel belongs to it from half of MaximumFractionalValue on,
whether the values are probabilities or occupancies. Nothing is resampled: every frame must lie on a slice of the
image, whose axes may have another order or direction; a slice without a frame is background.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from nibabel.orientations import io_orientation
from pydicom.uid import RLELossless

from fedmed.cases import canvas, dicomfile, functional, geometry, labels, paths, pixels
from fedmed.errors import FedmedError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from fedmed.cases.canvas import Grid
    from fedmed.recipe_fields import Data

    Bytes = NDArray[np.uint8]
    Floats = NDArray[np.float64]

KINDS = {  # SegmentationType by SOP class (PS3.3 A.51, A.94)
    "1.2.840.10008.5.1.4.1.1.66.4": ("BINARY", "FRACTIONAL"),
    "1.2.840.10008.5.1.4.1.1.66.7": ("LABELMAP",),
}
MAX_BYTES = 1 << 30


@dataclass(frozen=True)
class Frame:
    """Where a frame lies, in mm and LPS, and the segment it shows: None in a label map, whose pixels say it."""

    segment: int | None
    position: tuple[float, ...]
    orientation: tuple[float, ...]
    spacing: tuple[float, ...]


@dataclass(frozen=True)
class Place:
    """Slice `index` along `axis` of the image, and how a frame's [column, row] is turned to lie in it."""

    axis: int
    index: int
    flips: tuple[bool, bool]
    swapped: bool

    def turned(self, values: NDArray[Any]) -> NDArray[Any]:
        """A frame [row, column] along the two other axes of the image, in their order."""
        flipped = values.T[:: -1 if self.flips[0] else 1, :: -1 if self.flips[1] else 1]
        return flipped.T if self.swapped else flipped


def read(
    root: Path, relative: str, grid: Grid, data: Data, label_map: Mapping[int, int], where: str
) -> tuple[Bytes, float]:
    """The mask [X, Y, Z] in the recipe's classes, on the image's grid; and the farthest corner of a frame in mm.

    Segment numbers become classes as the values of a mask do. A segment whose class is 0 leaves no trace, so it may
    overlap any other.

    Raises FedmedError FM-DAT-15, -16, -25, -28, -29, -33, -34, -39 and -54 to -58.
    """
    path = paths.locate(root, relative, where)
    found = pixels.dataset(path, where, MAX_BYTES)
    with pixels.damage(path, where, "the header of a segmentation cannot be read"):
        threshold = _threshold(found, where)
        canvas.check_reference(str(found.get("FrameOfReferenceUID") or ""), grid, "the segmentation", where)
        frames = _frames(found, where)
        size = int(found.Columns), int(found.Rows)
        background = int(found.get("PixelPaddingValue") or 0)
    places, off = _places(frames, size, grid, data.grid_tolerance, where)
    mask = np.zeros(grid.shape, dtype=np.uint8)
    decoded = pixels.frames(found, range(len(frames)), path, where)
    for frame, place, values in zip(frames, places, decoded, strict=True):
        if values.shape != size[::-1]:
            raise FedmedError("FM-DAT-33", f"{where}: the pixels of a frame do not fill its rows and columns")
        plane = np.moveaxis(mask, place.axis, 0)[place.index]
        for number, drawn in _segments(frame, values, threshold, background):
            target = labels.to_class(number, data, label_map, where, f"segment {number}")
            canvas.draw(plane, place.turned(drawn), target)
    canvas.check_clashes(mask, where)
    return mask, off


def _threshold(found: Any, where: str) -> int:
    """The value from which on a pixel belongs to the segment. Raises FedmedError FM-DAT-34 or -54."""
    kind = found.get("SegmentationType")
    if kind not in KINDS.get(str(found.get("SOPClassUID")), ()):
        raise FedmedError("FM-DAT-54", f"{where}: expected a binary, fractional or labelmap segmentation of voxels")
    if found.get("SamplesPerPixel") != 1:
        raise FedmedError("FM-DAT-54", f"{where}: expected a segmentation with 1 sample a pixel")
    if found.file_meta.TransferSyntaxUID == RLELossless and found.BitsAllocated == 1:
        raise FedmedError("FM-DAT-34", f"{where}: no decoder reads RLE Lossless with 1 bit a pixel")
    if kind != "FRACTIONAL":
        return 1
    highest = found.get("MaximumFractionalValue")
    if not isinstance(highest, int) or not 1 <= highest < 1 << int(found.BitsStored):
        raise FedmedError("FM-DAT-54", f"{where}: MaximumFractionalValue is missing or unusable")
    return (highest + 1) // 2


def _frames(found: Any, where: str) -> list[Frame]:
    """What the functional groups say of each frame (PS3.3 C.7.6.16); what it does not say itself, the shared ones do.

    Raises FedmedError FM-DAT-33 or -39.
    """
    count = int(found.get("NumberOfFrames") or 1)
    label_map = found.SegmentationType == "LABELMAP"
    said = [_said(groups, label_map=label_map) for groups in functional.of_frames(found, count, where)]
    for index, keyword in enumerate(
        ("ReferencedSegmentNumber", "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing")
    ):
        if missing := sum(one[index] is None for one in said):
            raise FedmedError("FM-DAT-39", f"{where}: {keyword} is missing or unusable in {missing} of {count} frames")
    return [Frame(None if label_map else one[0], *one[1:]) for one in said]


def _said(groups: tuple[Any, ...], *, label_map: bool) -> tuple[Any, ...]:
    """Segment (0 in a label map), position, orientation and spacing of a frame; None for what nobody says."""
    identified = functional.macro(groups, "SegmentIdentificationSequence")
    segment = 0 if label_map else identified.get("ReferencedSegmentNumber")
    return (
        segment if isinstance(segment, int) else None,
        dicomfile.numbers(functional.macro(groups, "PlanePositionSequence"), "ImagePositionPatient", 3),
        dicomfile.numbers(functional.macro(groups, "PlaneOrientationSequence"), "ImageOrientationPatient", 6),
        dicomfile.numbers(functional.macro(groups, "PixelMeasuresSequence"), "PixelSpacing", 2),
    )


def _places(
    frames: Sequence[Frame], size: tuple[int, int], grid: Grid, tolerance: float, where: str
) -> tuple[list[Place], float]:
    """The slice of the image that each frame of `size` (columns, rows) lies on, and the farthest corner in mm.

    Raises FedmedError FM-DAT-23, -29, -39, -56 or -57.
    """
    allowed = tolerance * min(geometry.spacing(grid.affine))
    found = [_place(frame, size, grid, allowed, where) for frame in frames]
    off = [distance for _, distance in found if distance > allowed]
    if off:
        raise FedmedError(
            "FM-DAT-56",
            f"{where}: {len(off)} of {len(frames)} frames lie on no slice of the image, "
            f"up to {max(off):.2f} mm from the nearest",
        )
    places = [place for place, _ in found]
    different = {(frame.segment, place.axis, place.index) for frame, place in zip(frames, places, strict=True)}
    if len(different) < len(frames):
        raise FedmedError("FM-DAT-57", f"{where}: {len(frames)} frames show {len(different)} slices of segments")
    return places, max((distance for _, distance in found), default=0.0)


def _place(frame: Frame, size: tuple[int, int], grid: Grid, allowed: float, where: str) -> tuple[Place, float]:
    """The slice nearest to a frame, and how far the frame's farthest corner lies from it, in mm.

    Within the slice it may lie `allowed` mm off.

    Raises FedmedError FM-DAT-23, -29 or -39.
    """
    plane = _affine(frame, where)
    axes, signs = io_orientation(np.linalg.inv(grid.affine) @ plane).T
    column, row, axis = (int(number) for number in axes)
    flips = bool(signs[0] < 0), bool(signs[1] < 0)
    corners = np.array([(i, j, 0, 1) for i in (0, size[0] - 1) for j in (0, size[1] - 1)], dtype=np.float64)
    there = np.zeros_like(corners)  # the same corners as voxels of the image's slice 0
    there[:, 3] = 1
    for target, flipped, source in ((column, flips[0], 0), (row, flips[1], 1)):
        there[:, target] = grid.shape[target] - 1 - corners[:, source] if flipped else corners[:, source]
    offsets = (corners @ plane.T - there @ grid.affine.T)[:, :3]
    step = grid.affine[:3, axis]
    height = float((np.linalg.inv(grid.affine[:3, :3]) @ offsets.mean(axis=0))[axis])
    sideways = float(np.linalg.norm(offsets - height * step, axis=1).max())
    if (grid.shape[column], grid.shape[row]) != size or sideways > allowed:
        shown = f"frames of {size[0]} x {size[1]} of {frame.spacing[1]:.3g} x {frame.spacing[0]:.3g} mm"
        expected = geometry.shown(grid.shape, grid.affine)
        raise FedmedError(
            "FM-DAT-29", f"{where}: {shown}, expected slices of {expected}; corners lie up to {sideways:.2f} mm apart"
        )
    index = int(np.clip(np.rint(height), 0, grid.shape[axis] - 1))
    distance = float(np.linalg.norm(offsets - index * step, axis=1).max())
    return Place(axis, index, flips, swapped=column > row), distance


def _affine(frame: Frame, where: str) -> Floats:
    """Of (column, row, 0, 1) to RAS+ mm (PS3.3 C.7.6.2.1.1). Raises FedmedError FM-DAT-23 or -39."""
    geometry.check_spacing(frame.spacing, where)
    directions = np.reshape(np.asarray(frame.orientation), (2, 3))
    if np.abs(directions @ directions.T - np.eye(2)).max() > geometry.MAX_COSINE:
        raise FedmedError("FM-DAT-39", f"{where}: ImageOrientationPatient is not two unit vectors at right angles")
    affine = np.eye(4)
    affine[:3, 0] = directions[0] * frame.spacing[1]  # PixelSpacing is (between rows, between columns)
    affine[:3, 1] = directions[1] * frame.spacing[0]
    affine[:3, 2] = np.cross(directions[0], directions[1])
    affine[:3, 3] = frame.position
    return geometry.lps_to_ras(affine)


def _segments(
    frame: Frame, values: NDArray[Any], threshold: int, background: int
) -> Iterator[tuple[int, NDArray[np.bool_]]]:
    """The segments that a frame shows any pixel of, each with its pixels [row, column].

    In a label map every pixel is a segment number, but those with PixelPaddingValue, else 0.
    """
    if frame.segment is None:
        for number in np.unique(values).tolist():
            if number != background:
                yield number, values == number
    elif (drawn := values >= threshold).any():
        yield frame.segment, drawn
