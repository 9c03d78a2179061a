"""Reads a DICOM structure set (RTSTRUCT: PS3.3 A.19, C.8.8.5, C.8.8.6) as the mask of an image: contour by contour.

A voxel belongs to a region (ROI) when its centre lies inside: within an odd number of the region's contours in its
plane. So holes are holes, be they contours of their own or joined to the outer one as a keyhole. A centre exactly on a
contour is inside where the region continues towards higher indices: regions that share a border share no voxel and
leave none out. Nothing is interpolated: every contour must lie on a slice of the image, and a slice without one stays
empty.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fedmed.cases import canvas, geometry, labels, paths, pixels, series
from fedmed.errors import FedmedError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from fedmed.cases.canvas import Bytes, Grid
    from fedmed.recipe_fields import Data

    Floats = NDArray[np.float64]

STORAGE = "1.2.840.10008.5.1.4.1.1.481.3"
CLOSED = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR")
MAX_BYTES = 1 << 28
MAX_VOXELS_AWAY = 1e6
DIGITS = 3  # of a voxel: contours are written with no more, and noise must not decide about a centre on a border
EDGES = 4096  # at a time, so that memory is bounded


def is_structure_set(root: Path, relative: str, where: str) -> bool:
    """Told by content, not by name. Raises FedmedError FM-DAT-15, -16 or -33."""
    found = series.read_header(root, relative, where)
    return bool(found) and found[0].modality == series.STRUCTURES


def read(
    root: Path, relative: str, grid: Grid, data: Data, label_map: Mapping[int, int], where: str
) -> tuple[Bytes, float]:
    """The mask [X, Y, Z] in the recipe's classes, on the image's grid; and the farthest contour from its slice in mm.

    ROI numbers become classes as the values of a mask do. A ROI whose class is 0 is not looked at, and one without
    contours needs no class. What reaches beyond the image within its slice is cut off.

    Raises FedmedError FM-DAT-15, -16, -25, -28, -33, -34, -39, -54 to -56, -58 and -71.
    """
    path = paths.locate(root, relative, where)
    found = pixels.dataset(path, where, MAX_BYTES)
    mask = np.zeros(grid.shape, dtype=np.uint8)
    off = 0.0
    with pixels.damage(path, where, "a structure set cannot be read"):
        if str(found.get("SOPClassUID")) != STORAGE:
            raise FedmedError("FM-DAT-54", f"{where}: expected a structure set of contours")
        frames = _frames_of_reference(found)
        for number, contours in _contours(found).items():
            target = labels.to_class(number, data, label_map, where, f"ROI {number}")
            if target:
                canvas.check_reference(frames.get(number, ""), grid, "the structure set", where)
                outlines = [_outline(one, grid, f"{where}: ROI {number}") for one in contours]
                off = max(off, _fill(mask, outlines, grid, data.grid_tolerance, target, f"{where}: ROI {number}"))
    canvas.check_clashes(mask, where)
    return mask, off


def _frames_of_reference(found: Any) -> dict[int, str]:
    """By ROI number; empty where nobody says it."""
    return {
        int(roi.ROINumber): str(roi.get("ReferencedFrameOfReferenceUID") or found.get("FrameOfReferenceUID") or "")
        for roi in found.get("StructureSetROISequence") or ()
    }


def _contours(found: Any) -> dict[int, list[Any]]:
    """The contours of each ROI that has some, by its number."""
    by_number: dict[int, list[Any]] = {}
    for roi in found.get("ROIContourSequence") or ():
        if roi.get("ContourSequence"):
            by_number.setdefault(int(roi.ReferencedROINumber), []).extend(roi.ContourSequence)
    return by_number


def _outline(contour: Any, grid: Grid, where: str) -> Floats:
    """The points [n, 3] of a closed contour in voxels of the image. Raises FedmedError FM-DAT-33 or -71."""
    if contour.get("ContourGeometricType") not in CLOSED:
        raise FedmedError("FM-DAT-71", f"{where}: a contour is no closed outline in one plane")
    points = _numbers(contour).reshape(-1, 3)
    if contour.get("NumberOfContourPoints") not in {None, len(points)}:
        raise FedmedError("FM-DAT-33", f"{where}: a contour has other points than it declares")
    in_voxels: Floats = np.c_[points * [-1, -1, 1], np.ones(len(points))] @ np.linalg.inv(grid.affine).T[:, :3]
    if not (np.abs(in_voxels) < MAX_VOXELS_AWAY).all():  # also where it is no number
        raise FedmedError("FM-DAT-33", f"{where}: a contour has points that cannot be true")
    return in_voxels


def _numbers(contour: Any) -> Floats:
    """The numbers of ContourData as they stand in the file: of each, pydicom would make an object of its own."""
    stored = contour.get_item("ContourData").value
    return np.array(stored.split(b"\\") if isinstance(stored, bytes) else stored, dtype=np.float64)


def _fill(mask: Bytes, outlines: Sequence[Floats], grid: Grid, tolerance: float, target: int, where: str) -> float:
    """Write a class into the mask where outlines enclose it; gives the farthest outline from its slice, in mm.

    They all lie along one axis of the image, that in which they are flat. Raises FedmedError FM-DAT-56.
    """
    steps = np.array(geometry.spacing(grid.affine))
    spread = np.array([np.ptp(outline, axis=0) * steps for outline in outlines]).max(axis=0)
    axis = int(spread.argmin())
    heights = [outline[:, axis] for outline in outlines]
    index = [int(np.clip(np.rint(height.mean()), 0, grid.shape[axis] - 1)) for height in heights]
    away = [float(np.abs(height - at).max() * steps[axis]) for height, at in zip(heights, index, strict=True)]
    allowed = tolerance * steps.min()
    beyond = [distance for distance in away if distance > allowed]
    if beyond:
        raise FedmedError(
            "FM-DAT-56",
            f"{where}: {len(beyond)} of {len(outlines)} contours lie on no slice of the image, "
            f"up to {max(beyond):.2f} mm from the nearest",
        )
    for at in sorted(set(index)):
        plane = np.moveaxis(mask, axis, 0)[at]
        here = [np.delete(outline, axis, axis=1) for outline, its in zip(outlines, index, strict=True) if its == at]
        points = np.concatenate(here)
        low = np.clip(np.floor(points.min(axis=0)), 0, plane.shape).astype(np.int64)
        high = np.clip(np.ceil(points.max(axis=0)) + 1, 0, plane.shape).astype(np.int64)
        part = plane[low[0] : high[0], low[1] : high[1]]
        canvas.draw(part, inside([np.round(outline - low, DIGITS) for outline in here], part.shape), target)
    return max(away)


def inside(outlines: Sequence[Floats], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Which centres of a grid of `shape` lie within an odd number of closed outlines [n, 2], in voxels.

    Scan lines: every edge that crosses a line toggles all centres beyond the crossing.
    """
    toggles = np.zeros((shape[0] + 1, shape[1]), dtype=bool)
    for outline in outlines:
        ends = np.stack([outline, np.roll(outline, -1, axis=0)], axis=1)
        upward = ends[:, 0, 1] <= ends[:, 1, 1]  # the same edge gives the same crossings whichever way it is walked
        low, high = np.where(upward[:, None], ends.swapaxes(0, 1), ends[:, ::-1].swapaxes(0, 1))
        for start in range(0, len(outline), EDGES):
            _toggle(toggles, low[start : start + EDGES], high[start : start + EDGES])
    return np.logical_xor.accumulate(toggles, axis=0)[:-1]


def _toggle(toggles: NDArray[np.bool_], low: Floats, high: Floats) -> None:
    """Turn over where edges from `low` to `high` [n, 2] cross a line of centres, once for each crossing."""
    first, stop = (np.clip(np.ceil(end[:, 1]).astype(np.int64), 0, toggles.shape[1]) for end in (low, high))
    counts = stop - first
    edge = np.repeat(np.arange(len(low)), counts)
    line = np.arange(len(edge)) - np.repeat(np.cumsum(counts) - counts - first, counts)
    share = (line - low[edge, 1]) / (high[edge, 1] - low[edge, 1])
    crossing = np.round(low[edge, 0] + share * (high[edge, 0] - low[edge, 0]), 2 * DIGITS)
    np.logical_xor.at(toggles, (np.clip(np.ceil(crossing).astype(np.int64), 0, len(toggles) - 1), line), True)
