"""The series of `phantoms.slices` as one enhanced multi-frame file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import EnhancedCTImageStorage, EnhancedMRImageStorage, EnhancedPETImageStorage, generate_uid

from . import phantoms

if TYPE_CHECKING:
    from collections.abc import Sequence

CLASSES = {"MR": EnhancedMRImageStorage, "CT": EnhancedCTImageStorage, "PT": EnhancedPETImageStorage}


def item(**tags: Any) -> Dataset:
    found = Dataset()
    for keyword, value in tags.items():
        setattr(found, keyword, value)
    return found


def enhanced(slices: Sequence[Dataset] | None = None, *, modality: str = "MR") -> Dataset:
    """One file; orientation and spacing are shared, position and rescale are each frame's own."""
    slices = phantoms.slices() if slices is None else slices
    one = phantoms.slices()[0]
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"):
        delattr(one, keyword)
    one.SOPClassUID = one.file_meta.MediaStorageSOPClassUID = CLASSES[modality]
    one.SOPInstanceUID = one.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    one.Modality, one.NumberOfFrames = modality, len(slices)
    one.Rows, one.Columns = slices[0].Rows, slices[0].Columns
    one.SharedFunctionalGroupsSequence = [
        item(
            PlaneOrientationSequence=[item(ImageOrientationPatient=slices[0].ImageOrientationPatient)],
            PixelMeasuresSequence=[item(PixelSpacing=slices[0].PixelSpacing, SpacingBetweenSlices="2.5")],
        )
    ]
    one.PerFrameFunctionalGroupsSequence = [
        item(
            FrameContentSequence=[item(StackID="1", InStackPositionNumber=number)],
            PlanePositionSequence=[item(ImagePositionPatient=each.ImagePositionPatient)],
            PixelValueTransformationSequence=[item(RescaleSlope="1", RescaleIntercept="0", RescaleType="US")],
        )
        for number, each in enumerate(slices, start=1)
    ]
    one.PixelData = b"".join(each.PixelData for each in slices)
    return one


def stacked(*files: Dataset) -> Dataset:
    """The frames of several such files in one, each file a stack with its own orientation."""
    first = files[0]
    shared = [one.SharedFunctionalGroupsSequence[0] for one in files]
    frames = []
    for number, (one, common) in enumerate(zip(files, shared, strict=True), start=1):
        for frame in one.PerFrameFunctionalGroupsSequence:
            frame.FrameContentSequence[0].StackID = str(number)
            frame.PlaneOrientationSequence = common.PlaneOrientationSequence
            frames.append(frame)
    for common in shared:
        del common.PlaneOrientationSequence
    first.PerFrameFunctionalGroupsSequence = frames
    first.NumberOfFrames = len(frames)
    first.PixelData = b"".join(one.PixelData for one in files)
    return first


def shuffled(slices: Sequence[Dataset], seed: int = 0) -> list[Dataset]:
    return [slices[index] for index in np.random.default_rng(seed).permutation(len(slices))]
