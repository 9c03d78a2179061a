"""A DICOM segmentation lands on its image by position, or is refused with what is wrong; its numbers are classes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from pydicom.uid import DeflatedExplicitVRLittleEndian, JPEG2000Lossless, RLELossless

from fedmed.cases import canvas, dicomseg, pixels, reading

from . import phantoms, segs

if TYPE_CHECKING:
    from pathlib import Path

    from pydicom.dataset import Dataset

NUMBERS = {1: "tumour", 2: "edema"}


def read(root: Path, image: list[Dataset], mask: Dataset, label_map: dict[int, int] | None = None) -> np.ndarray:
    names = [f"series/{name}" for name in phantoms.save(root / "series", image)]
    mask.save_as(root / "mask.dcm", enforce_file_format=True)
    data = phantoms.recipe(labels=NUMBERS).data
    label = reading.read_files("case-1", {"T1": tuple(names)}, "mask.dcm", root, data, label_map or {}).label
    assert label is not None
    assert (label.dtype, label.shape) == (np.uint8, phantoms.SHAPE)
    return label


def drawn(image: list[Dataset], **options: Any) -> Dataset:
    return segs.segmentation(segs.frames(segs.two(), image), image[0], **options)


def test_binary(tmp_path: Path) -> None:
    image = phantoms.slices()
    np.testing.assert_array_equal(read(tmp_path, image, drawn(image)), segs.classes(segs.two()))


@pytest.mark.parametrize("size", [(5, 9), (4, 6), (7, 7), (3, 1)])
def test_single_bits_run_on_from_frame_to_frame(tmp_path: Path, size: tuple[int, int]) -> None:
    stored = np.random.RandomState(0).rand(7, *size) < 0.5
    mask = segs.segmentation([(1, one, [0, 0, index]) for index, one in enumerate(stored)], phantoms.slices()[0])
    mask.save_as(tmp_path / "mask.dcm", enforce_file_format=True)
    _, decoded = pixels.read(tmp_path / "mask.dcm", "case-1")
    np.testing.assert_array_equal(list(decoded), stored)


@pytest.mark.parametrize(("highest", "low", "high"), [(255, 127, 128), (200, 99, 100), (1, 0, 1)])
@pytest.mark.parametrize("meaning", ["PROBABILITY", "OCCUPANCY"])
def test_fractional_from_half_of_the_maximum_on(
    tmp_path: Path, highest: int, low: int, high: int, meaning: str
) -> None:
    image = phantoms.slices()
    mask = drawn(image, kind="FRACTIONAL")
    mask.SegmentationFractionalType, mask.MaximumFractionalValue = meaning, highest
    segs.set_pixels(mask, np.where([one for _, one, _ in segs.frames(segs.two(), image)], high, low))
    np.testing.assert_array_equal(read(tmp_path, image, mask), segs.classes(segs.two()))


@pytest.mark.parametrize(("bits", "background"), [(8, None), (16, None), (8, 7)])
def test_label_map(tmp_path: Path, bits: int, background: int | None) -> None:
    """PixelPaddingValue says which number is no segment; 0 where it is absent."""
    image = phantoms.slices()
    whole = [(0, one, position) for _, one, position in segs.frames({1: np.ones(phantoms.SHAPE)}, image)]
    mask = segs.segmentation(whole, image[0], kind="LABELMAP", bits=bits)
    numbers = segs.classes(segs.two())
    segs.set_pixels(mask, np.where(numbers == 0, background or 0, numbers).transpose(2, 1, 0))
    if background is not None:
        mask.PixelPaddingValue = background
    np.testing.assert_array_equal(read(tmp_path, image, mask), numbers)


@pytest.mark.parametrize("kind", ["FRACTIONAL", "LABELMAP"])
@pytest.mark.parametrize("codec", [RLELossless, JPEG2000Lossless, DeflatedExplicitVRLittleEndian])
def test_compressed(tmp_path: Path, kind: str, codec: str) -> None:
    segments = {1: np.zeros((48, 40, 4), dtype=bool)}
    segments[1][5:30, 8:20, 1:3] = True
    image = phantoms.slices(phantoms.ramp((48, 40, 4)) % 4096)
    mask = segs.segmentation(segs.frames(segments, image), image[0], kind=kind)
    shown = np.stack([one for _, one, _ in segs.frames(segments, image)]).astype(np.uint8)
    segs.set_pixels(mask, shown * (1 if kind == "LABELMAP" else 255))
    if codec == DeflatedExplicitVRLittleEndian:
        mask.file_meta.TransferSyntaxUID = codec
    else:
        mask.compress(codec)
    mask.save_as(tmp_path / "mask.dcm", enforce_file_format=True)
    grid = canvas.Grid((48, 40, 4), phantoms.expected_affine(), image[0].FrameOfReferenceUID)
    found, _ = dicomseg.read(tmp_path, "mask.dcm", grid, phantoms.recipe().data, {}, "case-1 label")
    np.testing.assert_array_equal(found, segments[1])


def test_numbers_become_classes_as_the_values_of_a_mask_do(tmp_path: Path) -> None:
    image, voxels = phantoms.slices(), segs.two()
    other = {4: voxels[1], 9: voxels[2]}
    mask = segs.segmentation(segs.frames(other, image), image[0])
    with phantoms.refuses("FM-DAT-28", "segment 4, expected 0 to 2"):
        read(tmp_path, image, mask)
    with phantoms.refuses("FM-DAT-28", "segment 9 is not in label_map"):
        read(tmp_path, image, mask, {4: 1})
    np.testing.assert_array_equal(read(tmp_path, image, mask, {4: 2, 9: 1}), 2 * voxels[1] + voxels[2])
    np.testing.assert_array_equal(read(tmp_path, image, mask, {4: 0, 9: 1}), voxels[2])
    segs.set_pixels(mask, np.zeros((8, 6, 7)))  # a segment that shows nowhere needs no class
    assert read(tmp_path, image, mask).max() == 0


def test_overlapping_segments(tmp_path: Path) -> None:
    image, voxels = phantoms.slices(), segs.two()
    voxels[2][3, 2:4, 5] = True
    voxels[3] = voxels[1] & voxels[2]
    mask = segs.segmentation(segs.frames(voxels, image), image[0])
    with phantoms.refuses("FM-DAT-58", "2 voxels"):
        read(tmp_path, image, mask, {1: 1, 2: 2, 3: 1})
    np.testing.assert_array_equal(read(tmp_path, image, mask, {1: 1, 2: 1, 3: 1}), voxels[1] | voxels[2])
    np.testing.assert_array_equal(read(tmp_path, image, mask, {1: 1, 2: 0, 3: 0}), voxels[1])


@pytest.mark.parametrize(("mm", "off"), [(0.1, "0.10 mm"), (1.2, "1.20 mm"), (22.5, "15.00 mm")])
def test_frames_between_the_slices_or_beyond_them(tmp_path: Path, mm: float, off: str) -> None:
    image = phantoms.slices()
    mask = segs.segmentation(segs.frames({1: segs.two()[1]}, image), image[0])
    normal = np.cross(image[0].ImageOrientationPatient[:3], image[0].ImageOrientationPatient[3:])
    for group in mask.PerFrameFunctionalGroupsSequence[1:]:
        place = group.PlanePositionSequence[0]
        place.ImagePositionPatient = [float(v) for v in np.array(place.ImagePositionPatient) + mm * normal]
    with phantoms.refuses("FM-DAT-56", f"3 of 4 frames lie on no slice of the image, up to {off}"):
        read(tmp_path, image, mask)


def test_a_frame_within_the_tolerance_lies_on_its_slice(tmp_path: Path) -> None:
    image = phantoms.slices()
    mask = drawn(image)
    for group in mask.PerFrameFunctionalGroupsSequence:
        place = group.PlanePositionSequence[0]
        place.ImagePositionPatient = [round(float(value), 2) for value in place.ImagePositionPatient]
    np.testing.assert_array_equal(read(tmp_path, image, mask), segs.classes(segs.two()))


def test_another_plane(tmp_path: Path) -> None:
    image = phantoms.slices()

    def refused(words: str, mask: Dataset) -> None:
        with phantoms.refuses("FM-DAT-29", words, "expected slices of 7 x 6 x 10 of 0.8 x 1.2 x 2.5 mm"):
            read(tmp_path, image, mask)

    shared = [(number, one[:, :-1], position) for number, one, position in segs.frames(segs.two(), image)]
    refused("frames of 6 x 6 of 0.8 x 1.2 mm", segs.segmentation(shared, image[0]))
    mask = drawn(image)
    mask.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing = [1.2, 0.82]
    refused("0.82 x 1.2 mm", mask)
    mask = drawn(image)
    turned = phantoms.directions(oblique=False)
    mask.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence[0].ImageOrientationPatient = [
        *turned[:, 0],
        *turned[:, 1],
    ]
    refused("apart", mask)
    mask = drawn(image)
    for group in mask.PerFrameFunctionalGroupsSequence:
        group.PlanePositionSequence[0].ImagePositionPatient[0] += 0.3
    refused("corners lie up to 0.30 mm", mask)


def test_the_same_frame_twice(tmp_path: Path) -> None:
    image = phantoms.slices()
    frames = segs.frames(segs.two(), image)
    with phantoms.refuses("FM-DAT-57", "9 frames show 8 slices of segments"):
        read(tmp_path, image, segs.segmentation([*frames, frames[2]], image[0]))


def test_frame_of_reference(tmp_path: Path) -> None:
    image = phantoms.slices()
    mask = drawn(image)
    mask.FrameOfReferenceUID = "1.2.3"
    with phantoms.refuses("FM-DAT-55"):
        read(tmp_path, image, mask)
    phantoms.write_nifti(tmp_path / "t1.nii", phantoms.ramp(), phantoms.expected_affine())
    data = phantoms.recipe(labels=NUMBERS).data
    volume = reading.read_files("case-1", {"T1": ("t1.nii",)}, "mask.dcm", tmp_path, data, {})
    np.testing.assert_array_equal(volume.label, segs.classes(segs.two()))
    del mask.FrameOfReferenceUID
    with phantoms.refuses("FM-DAT-39", "FrameOfReferenceUID is missing in the segmentation"):
        read(tmp_path, image, mask)
    mask = drawn(image)
    for one in image:
        del one.FrameOfReferenceUID
    with phantoms.refuses("FM-DAT-39", "FrameOfReferenceUID is missing in the image"):
        read(tmp_path, image, mask)


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("SegmentationType", "SURFACE"),
        ("SegmentationType", None),
        ("SOPClassUID", "1.2.840.10008.5.1.4.1.1.4"),
        ("SOPClassUID", segs.LABELMAP),
        ("SamplesPerPixel", 3),
        ("MaximumFractionalValue", 0),
        ("MaximumFractionalValue", 256),
        ("MaximumFractionalValue", None),
    ],
)
def test_no_segmentation_that_can_be_read(tmp_path: Path, keyword: str, value: object) -> None:
    image = phantoms.slices()
    mask = drawn(image, kind="FRACTIONAL")
    setattr(mask, keyword, value)
    with phantoms.refuses("FM-DAT-54"):
        read(tmp_path, image, mask)


@pytest.mark.parametrize(
    ("sequence", "keyword"),
    [
        ("SegmentIdentificationSequence", "ReferencedSegmentNumber"),
        ("PlanePositionSequence", "ImagePositionPatient"),
        ("PlaneOrientationSequence", "ImageOrientationPatient"),
        ("PixelMeasuresSequence", "PixelSpacing"),
    ],
)
def test_functional_groups(tmp_path: Path, sequence: str, keyword: str) -> None:
    """What every frame says for itself counts as much as what they share; what nobody says is named."""
    image = phantoms.slices()
    mask = drawn(image)
    shared = mask.SharedFunctionalGroupsSequence[0]
    for group in mask.PerFrameFunctionalGroupsSequence:
        if sequence in shared:
            setattr(group, sequence, shared[sequence].value)
    if sequence in shared:
        delattr(shared, sequence)
    np.testing.assert_array_equal(read(tmp_path, image, mask), segs.classes(segs.two()))
    for group in mask.PerFrameFunctionalGroupsSequence[:2]:
        delattr(group, sequence)
    with phantoms.refuses("FM-DAT-39", f"{keyword} is missing or unusable in 2 of 8 frames"):
        read(tmp_path, image, mask)
    mask.PerFrameFunctionalGroupsSequence = mask.PerFrameFunctionalGroupsSequence[2:]
    with phantoms.refuses("FM-DAT-33", "8 frames, and functional groups for 6"):
        read(tmp_path, image, mask)


def test_orientation_spacing_and_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = phantoms.slices()
    mask = drawn(image)
    mask.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence[0].ImageOrientationPatient = [1, 0, 0, 1, 0, 0]
    with phantoms.refuses("FM-DAT-39", "unit vectors"):
        read(tmp_path, image, mask)
    mask = drawn(image)
    mask.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing = [0, 1]
    with phantoms.refuses("FM-DAT-23"):
        read(tmp_path, image, mask)
    monkeypatch.setattr(dicomseg, "MAX_BYTES", 1000)
    with phantoms.refuses("FM-DAT-25", "expected at most 1000"):
        read(tmp_path, image, drawn(image))


def test_single_bits_in_rle_have_no_decoder(tmp_path: Path) -> None:
    image = phantoms.slices()
    mask = drawn(image, kind="FRACTIONAL")
    mask.compress(RLELossless)
    mask.SegmentationType, mask.BitsAllocated, mask.BitsStored, mask.HighBit = "BINARY", 1, 1, 0
    with phantoms.refuses("FM-DAT-34", "RLE Lossless with 1 bit"):
        read(tmp_path, image, mask)


def test_fewer_pixels_than_frames(tmp_path: Path) -> None:
    image = phantoms.slices()
    mask = drawn(image)
    mask.PixelData = mask.PixelData[:-10]
    with phantoms.refuses("FM-DAT-33", "pixels"):
        read(tmp_path, image, mask)
    (tmp_path / "mask.dcm").write_bytes(b"")
    with phantoms.refuses("FM-DAT-54"):
        grid = canvas.Grid(phantoms.SHAPE, phantoms.expected_affine(), None)
        dicomseg.read(tmp_path, "mask.dcm", grid, phantoms.recipe().data, {}, "case-1 label")
