"""Each reading rule against what the DICOM standard says, worked out here from the tags, voxel by voxel.

The oracle uses pydicom for the tags and nothing of fedmed: bytes are unpacked here, and a pixel lies where PS3.3
C.7.6.2.1.1 puts it. What fedmed gives is compared by position in the patient, so neither side's order matters.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedmed.cases import dicom, reading

from . import phantoms, segs

if TYPE_CHECKING:
    from pathlib import Path

    from pydicom.dataset import Dataset

COLUMNS, ROWS, SLICES = phantoms.SHAPE
OBLIQUE = phantoms.directions()
PLANES = {  # row direction, column direction, from one slice to the next; LPS
    "axial": ([1, 0, 0], [0, 1, 0], [0, 0, 1]),
    "axial from above": ([1, 0, 0], [0, 1, 0], [0, 0, -1]),
    "axial, face down": ([-1, 0, 0], [0, -1, 0], [0, 0, 1]),
    "coronal": ([1, 0, 0], [0, 0, -1], [0, 1, 0]),
    "sagittal": ([0, 1, 0], [0, 0, -1], [-1, 0, 0]),
    "sagittal from the left": ([0, 1, 0], [0, 0, -1], [1, 0, 0]),
    "oblique": (OBLIQUE[:, 0], OBLIQUE[:, 1], OBLIQUE[:, 2]),
    "oblique, rows upwards": (OBLIQUE[:, 0], -OBLIQUE[:, 1], OBLIQUE[:, 2]),
}
planes = pytest.mark.parametrize("plane", PLANES)
Places = dict[tuple[float, ...], float]


def series(plane: str, array: np.ndarray | None = None, **options: Any) -> list[Dataset]:
    rows, columns, step = (np.array(one, dtype=float) for one in PLANES[plane])
    datasets = phantoms.slices(array, **options)
    for index, one in enumerate(datasets):
        one.ImageOrientationPatient = [*rows.tolist(), *columns.tolist()]
        one.ImagePositionPatient = (np.array([-11.0, 23.0, 5.0]) + step * phantoms.SPACING[2] * index).tolist()
    return datasets


def shuffled(datasets: list[Dataset], seed: int = 3) -> list[Dataset]:
    """The slices in another order, each with the InstanceNumber of another one."""
    order = np.random.default_rng(seed).permutation(len(datasets))
    for number, one in zip(order.tolist(), datasets, strict=True):
        one.InstanceNumber = number * 7 % len(datasets)
    return [datasets[index] for index in order]


def positions(one: Any, orientation: Any, spacing: Any, rows: int, columns: int) -> np.ndarray:
    """LPS of every pixel [row, column, 3]: S + X * column spacing * column + Y * row spacing * row."""
    along_row, along_column = np.reshape(np.array(orientation, dtype=float), (2, 3))
    row, column = np.mgrid[:rows, :columns][..., None]
    start = np.array(one.ImagePositionPatient, dtype=float)
    return start + along_row * float(spacing[1]) * column + along_column * float(spacing[0]) * row


def key(position: np.ndarray) -> tuple[float, ...]:
    return tuple((np.round(position, 3) + 0.0).tolist())


def of_tags(folder: Path) -> Places:
    """Value at each position, from the files: sign, unused bits, MONOCHROME1 of MR, slope and intercept."""
    found: Places = {}
    for file in folder.iterdir():
        one = pydicom.dcmread(file)
        stored = np.frombuffer(one.PixelData, "<u2").reshape(one.Rows, one.Columns).astype(np.int64)
        stored &= (1 << one.BitsStored) - 1
        if one.PixelRepresentation == 1:
            stored = np.where(stored >> (one.BitsStored - 1), stored - (1 << one.BitsStored), stored)
        if one.PhotometricInterpretation == "MONOCHROME1" and one.Modality == "MR":
            lowest = -(1 << (one.BitsStored - 1)) if one.PixelRepresentation else 0
            stored = (1 << one.BitsStored) - 1 + 2 * lowest - stored  # the mirror image within the range
        values = stored * float(one.get("RescaleSlope", 1)) + float(one.get("RescaleIntercept", 0))
        places = positions(one, one.ImageOrientationPatient, one.PixelSpacing, one.Rows, one.Columns)
        found.update(zip(map(key, places.reshape(-1, 3)), values.reshape(-1).tolist(), strict=True))
    return found


def of_fedmed(array: np.ndarray, affine: np.ndarray) -> Places:
    """Value at each position in LPS, from a volume and its affine to RAS."""
    index = np.argwhere(np.ones(array.shape, dtype=bool))
    places = (index @ affine[:3, :3].T + affine[:3, 3]) * [-1, -1, 1]
    return dict(zip(map(key, places), array.reshape(-1).tolist(), strict=True))


def same(first: Places, second: Places) -> None:
    assert first.keys() == second.keys()
    np.testing.assert_allclose([first[place] for place in first], [second[place] for place in first], rtol=1e-6)


def read(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    return dicom.read(folder, sorted(file.name for file in folder.iterdir()), "case-1 T1")


@planes
@pytest.mark.parametrize("modality", ["MR", "CT"])
def test_every_voxel_lies_where_the_tags_put_it(tmp_path: Path, plane: str, modality: str) -> None:
    """Names and InstanceNumbers lie, pixels are not square, each slice has a slope of its own."""
    datasets = series(plane, modality=modality)
    for index, one in enumerate(datasets):
        one.RescaleSlope, one.RescaleIntercept = 0.5 + index / 8, 3 * index - 1024
    phantoms.save(tmp_path, shuffled(datasets))
    array, affine = read(tmp_path)
    assert np.linalg.det(affine[:3, :3]) > 0, "slices are in order along the cross product of rows and columns"
    same(of_fedmed(array, affine), of_tags(tmp_path))


@planes
def test_the_corners_of_the_grid(tmp_path: Path, plane: str) -> None:
    """The affine against the tags of the first and the last slice, corner by corner."""
    datasets = series(plane)
    phantoms.save(tmp_path, shuffled(datasets))
    _, affine = read(tmp_path)
    rows, columns, step = (np.array(one, dtype=float) for one in PLANES[plane])
    ends = (datasets[0], datasets[-1]) if np.cross(rows, columns) @ step > 0 else (datasets[-1], datasets[0])
    for k, one in zip((0, SLICES - 1), ends, strict=True):
        places = positions(one, one.ImageOrientationPatient, one.PixelSpacing, ROWS, COLUMNS)
        for i in (0, COLUMNS - 1):
            for j in (0, ROWS - 1):
                left, posterior, superior = places[j, i]
                np.testing.assert_allclose((affine @ [i, j, k, 1])[:3], [-left, -posterior, superior], atol=1e-9)


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("bits", [10, 12, 16])
@pytest.mark.parametrize("modality", ["MR", "CT"])
def test_monochrome1_signs_and_unused_bits(tmp_path: Path, signed: bool, bits: int, modality: str) -> None:
    datasets = shuffled(series("oblique", modality=modality))
    for index, one in enumerate(datasets):
        stored = np.random.default_rng(index).integers(0, 1 << 16, (ROWS, COLUMNS))  # unused bits hold anything
        one.PixelData = stored.astype("<u2").tobytes()
        one.PhotometricInterpretation, one.PixelRepresentation = "MONOCHROME1", int(signed)
        one.BitsStored, one.HighBit = bits, bits - 1
        one.RescaleSlope, one.RescaleIntercept = 1 + index / 2, -index
    phantoms.save(tmp_path, datasets)
    same(of_fedmed(*read(tmp_path)), of_tags(tmp_path))


def of_segmentation(mask: Path) -> Places:
    """Segment number at each position that a frame marks, from the bits of the file."""
    one = pydicom.dcmread(mask)
    bits = np.unpackbits(np.frombuffer(one.PixelData, np.uint8), bitorder="little")
    frames = bits[: one.NumberOfFrames * one.Rows * one.Columns].reshape(-1, one.Rows, one.Columns)
    shared = one.SharedFunctionalGroupsSequence[0]
    orientation = shared.PlaneOrientationSequence[0].ImageOrientationPatient
    spacing = shared.PixelMeasuresSequence[0].PixelSpacing
    found: Places = {}
    for group, pixels in zip(one.PerFrameFunctionalGroupsSequence, frames, strict=True):
        places = positions(group.PlanePositionSequence[0], orientation, spacing, one.Rows, one.Columns)
        number = group.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        found.update((key(place), number) for place in places[pixels == 1])
    return found


def masked(root: Path, image: list[Dataset], mask: Dataset) -> tuple[np.ndarray, Places]:
    """The mask that fedmed reads, and its marked voxels by position."""
    names = tuple(f"series/{name}" for name in phantoms.save(root / "series", shuffled(image)))
    mask.save_as(root / "mask.dcm", enforce_file_format=True)
    data = phantoms.recipe(labels={1: "tumour", 2: "edema"}).data
    volume = reading.read_files("case-1", {"T1": names}, "mask.dcm", root, data, {})
    marked = {place: number for place, number in of_fedmed(volume.label, volume.affine).items() if number}
    same(of_fedmed(volume.image[0], volume.affine), of_tags(root / "series"))
    return volume.label, marked


def recut(frames: list[segs.Frame], image: list[Dataset], columns: int, rows: int) -> tuple[list[segs.Frame], Dataset]:
    """The same frames with their columns and rows running the other way where -1, and a slice that says so."""
    first = image[0]
    places = positions(first, first.ImageOrientationPatient, first.PixelSpacing, ROWS, COLUMNS)
    corner = places[0 if rows > 0 else -1, 0 if columns > 0 else -1] - places[0, 0]
    turned = [
        (number, pixels[::rows, ::columns], (np.array(position) + corner).tolist())
        for number, pixels, position in frames
    ]
    like = phantoms.slices()[0]
    like.FrameOfReferenceUID, direction = first.FrameOfReferenceUID, np.array(first.ImageOrientationPatient)
    like.ImageOrientationPatient = (direction * np.repeat([columns, rows], 3)).tolist()
    return turned, like


@pytest.mark.slow
@planes
@pytest.mark.parametrize("columns", [1, -1])
@pytest.mark.parametrize("rows", [1, -1])
def test_a_segmentation_lies_where_its_frames_say(tmp_path: Path, plane: str, columns: int, rows: int) -> None:
    """Frames shuffled over both segments, none for an empty slice, their axes flipped against the image's."""
    image = series(plane)
    frames, like = recut(segs.frames(segs.two(), image), image, columns, rows)
    order = np.random.default_rng(5).permutation(len(frames))
    mask, marked = masked(tmp_path, image, segs.segmentation([frames[index] for index in order], like))
    assert len(frames) < 2 * SLICES
    same(marked, of_segmentation(tmp_path / "mask.dcm"))
    assert np.bincount(mask.reshape(-1)).tolist()[1:] == [one.sum() for one in segs.two().values()]


@pytest.mark.parametrize("plane", ["axial", "sagittal", "oblique"])
@pytest.mark.parametrize("across", [False, True])
def test_a_segmentation_cut_along_another_axis_of_the_image(tmp_path: Path, plane: str, across: bool) -> None:
    """Frames along the columns of the image: their rows are its slices, their columns its rows; or across."""
    image = series(plane)
    along, down, step = (np.array(one, dtype=float) for one in PLANES[plane])
    start = np.array(image[0].ImagePositionPatient, dtype=float)
    frames = [
        (number, voxels[index] if across else voxels[index].T, (start + along * phantoms.SPACING[0] * index).tolist())
        for number, voxels in segs.two().items()
        for index in range(COLUMNS)
        if voxels[index].any()
    ]
    like = phantoms.slices()[0]
    like.FrameOfReferenceUID = image[0].FrameOfReferenceUID
    row, column = (step, down) if across else (down, step)
    like.ImageOrientationPatient = [*row.tolist(), *column.tolist()]
    like.PixelSpacing = [1.2, 2.5] if across else [2.5, 1.2]
    _, marked = masked(tmp_path, image, segs.segmentation(frames, like))
    same(marked, of_segmentation(tmp_path / "mask.dcm"))


@settings(max_examples=8)
@given(order=st.permutations(range(8)), plane=st.sampled_from(sorted(PLANES)))
def test_any_order_of_the_frames_gives_the_same_mask(tmp_path: Path, order: list[int], plane: str) -> None:
    image = series(plane)
    frames = segs.frames(segs.two(), image)
    mask, _ = masked(tmp_path, image, segs.segmentation([frames[index] for index in order], image[0]))
    again, _ = masked(tmp_path, image, segs.segmentation(frames, image[0]))
    np.testing.assert_array_equal(mask, again)
