"""DICOM structure sets made for the tests, of the slices that phantoms.py makes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, RTStructureSetStorage, generate_uid

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Outline = np.ndarray  # [n, 3], mm in LPS


def structure_set(
    rois: Mapping[int, Sequence[Outline]], like: Dataset, kind: str = "CLOSED_PLANAR", names: Sequence[str] = ()
) -> Dataset:
    """Regions with their contours, in the frame of reference of `like`."""
    one = Dataset()
    one.file_meta = FileMetaDataset()
    one.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    one.SOPClassUID = one.file_meta.MediaStorageSOPClassUID = RTStructureSetStorage
    one.SOPInstanceUID = one.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    one.Modality, one.PatientID = "RTSTRUCT", like.PatientID
    one.StudyInstanceUID, one.SeriesInstanceUID = like.StudyInstanceUID, generate_uid()
    one.StructureSetROISequence = [named(number, like.FrameOfReferenceUID) for number in rois]
    for roi, name in zip(one.StructureSetROISequence, names, strict=False):
        roi.ROIName = name
    one.ROIContourSequence = [drawn(number, outlines, kind) for number, outlines in rois.items()]
    return one


def named(number: int, frame_of_reference: str) -> Dataset:
    roi = Dataset()
    roi.ROINumber, roi.ROIName, roi.ReferencedFrameOfReferenceUID = number, "Nansen left", frame_of_reference
    return roi


def drawn(number: int, outlines: Sequence[Outline], kind: str) -> Dataset:
    roi = Dataset()
    roi.ReferencedROINumber, roi.ContourSequence = number, []
    for outline in outlines:
        contour = Dataset()
        contour.ContourGeometricType, contour.NumberOfContourPoints = kind, len(outline)
        contour.ContourData = [f"{value:.4f}" for value in outline.reshape(-1)]
        roi.ContourSequence.append(contour)
    return roi


def placed(pixels: np.ndarray, one: Dataset) -> Outline:
    """Points [n, 2] as (column, row) in a slice, to mm in LPS (PS3.3 C.7.6.2.1.1)."""
    along_row, along_column = np.reshape(np.array(one.ImageOrientationPatient, dtype=float), (2, 3))
    row_step, column_step = (float(value) for value in one.PixelSpacing)
    start = np.array(one.ImagePositionPatient, dtype=float)
    return start + np.outer(pixels[:, 0] * column_step, along_row) + np.outer(pixels[:, 1] * row_step, along_column)


def borders(mask: np.ndarray) -> list[np.ndarray]:
    """The closed borders of a mask [column, row] as points (column, row), along the edges of its pixels.

    Each edge between a pixel inside and one outside, walked with the inside on its left, joined end to end.
    """
    padded = np.pad(mask.astype(bool), 1)
    following: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for x, y in np.argwhere(padded):
        for (dx, dy), start, end in (
            ((0, -1), (0, 0), (1, 0)), ((1, 0), (1, 0), (1, 1)), ((0, 1), (1, 1), (0, 1)), ((-1, 0), (0, 1), (0, 0)),
        ):  # fmt: skip
            if not padded[x + dx, y + dy]:
                following.setdefault((x + start[0], y + start[1]), []).append((x + end[0], y + end[1]))
    found = []
    while following:
        path = [next(iter(following))]
        while path[-1] in following:
            ends = following[path[-1]]
            path.append(ends.pop())
            if not ends:
                del following[path[-2]]
        found.append(np.array(path[:-1], dtype=float) - 1.5)  # -1 for the padding, -0.5 from centre to corner
    return found


def outlines(voxels: np.ndarray, image: Sequence[Dataset]) -> list[Outline]:
    """The contours of a region [column, row, slice] on the slices of an image, holes included."""
    return [placed(border, one) for index, one in enumerate(image) for border in borders(voxels[:, :, index])]
