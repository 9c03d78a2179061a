"""DICOM segmentations made for the tests, of the slices that phantoms.py makes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from . import phantoms

if TYPE_CHECKING:
    from collections.abc import Mapping

LABELMAP = "1.2.840.10008.5.1.4.1.1.66.7"
BINARY = "1.2.840.10008.5.1.4.1.1.66.4"

Frame = tuple[int, np.ndarray, list[float]]


def two() -> dict[int, np.ndarray]:
    """Two segments [column, row, slice] that touch and do not overlap."""
    first, second = np.zeros((2, *phantoms.SHAPE), dtype=bool)
    first[1:4, 2:5, 3:7], second[4:6, 1:5, 5:9] = True, True
    return {1: first, 2: second}


def classes(segments: dict[int, np.ndarray]) -> np.ndarray:
    return sum(number * voxels.astype(np.uint8) for number, voxels in segments.items())


def frames(segments: Mapping[int, np.ndarray], image: list[Dataset]) -> list[Frame]:
    """(segment, pixels [row, column], position) of every slice [column, row, slice] that shows the segment."""
    return [
        (number, voxels[:, :, index].T, list(one.ImagePositionPatient))
        for number, voxels in segments.items()
        for index, one in enumerate(image)
        if voxels[:, :, index].any()
    ]


def segmentation(drawn: list[Frame], like: Dataset, *, kind: str = "BINARY", bits: int | None = None) -> Dataset:
    """The frames as they are given, on planes as those of `like`; every number of a label map in its pixels."""
    one = Dataset()
    one.file_meta = FileMetaDataset()
    one.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    one.SOPClassUID = LABELMAP if kind == "LABELMAP" else BINARY
    one.SOPInstanceUID = generate_uid()
    one.file_meta.MediaStorageSOPClassUID, one.file_meta.MediaStorageSOPInstanceUID = (
        one.SOPClassUID,
        one.SOPInstanceUID,
    )
    one.Modality, one.SegmentationType, one.PatientID = "SEG", kind, like.PatientID
    one.StudyInstanceUID, one.SeriesInstanceUID = like.StudyInstanceUID, generate_uid()
    one.FrameOfReferenceUID = like.FrameOfReferenceUID
    one.SamplesPerPixel, one.PhotometricInterpretation, one.PixelRepresentation = 1, "MONOCHROME2", 0
    one.BitsAllocated = one.BitsStored = bits or (1 if kind == "BINARY" else 8)
    one.HighBit, one.NumberOfFrames = one.BitsStored - 1, len(drawn)
    one.Rows, one.Columns = drawn[0][1].shape
    if kind == "FRACTIONAL":
        one.SegmentationFractionalType, one.MaximumFractionalValue = "PROBABILITY", 255
    orientation, measures = Dataset(), Dataset()
    orientation.ImageOrientationPatient, measures.PixelSpacing = like.ImageOrientationPatient, like.PixelSpacing
    one.SharedFunctionalGroupsSequence = [group(PlaneOrientationSequence=orientation, PixelMeasuresSequence=measures)]
    one.PerFrameFunctionalGroupsSequence = [described(number, position) for number, _, position in drawn]
    set_pixels(one, np.stack([pixels for _, pixels, _ in drawn]))
    return one


def described(number: int, position: list[float]) -> Dataset:
    segment, place = Dataset(), Dataset()
    segment.ReferencedSegmentNumber, place.ImagePositionPatient = number, position
    return group(SegmentIdentificationSequence=segment, PlanePositionSequence=place)


def group(**macros: Any) -> Dataset:
    found = Dataset()
    for keyword, item in macros.items():
        setattr(found, keyword, Sequence([item]))
    return found


def set_pixels(one: Dataset, stored: np.ndarray) -> None:
    """Write [frame, row, column]; single bits run on from frame to frame, the first in the lowest (PS3.5 8.1.1)."""
    if one.BitsAllocated == 1:
        raw = np.packbits(stored.astype(np.uint8).reshape(-1), bitorder="little").tobytes()
    else:
        raw = np.ascontiguousarray(stored).astype(f"<u{one.BitsAllocated // 8}").tobytes()
    one.PixelData = raw + b"\0" * (len(raw) % 2)
    one["PixelData"].VR = "OB" if one.BitsAllocated <= 8 else "OW"
