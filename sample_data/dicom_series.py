"""Write a volume as a DICOM MR series whose bytes depend on the volume and the seed alone."""

from __future__ import annotations

import hashlib
import uuid
from typing import TYPE_CHECKING

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, JPEGLSLossless, MRImageStorage, RLELossless

if TYPE_CHECKING:
    from pathlib import Path

SYNTAXES = {"plain": ExplicitVRLittleEndian, "rle": RLELossless, "jpeg-ls": JPEGLSLossless}


def uid(*parts: object) -> str:
    """A UID under 2.25 (those of UUIDs), the same for the same parts."""
    digest = hashlib.sha256("|".join(map(str, parts)).encode()).digest()
    return f"2.25.{uuid.UUID(bytes=digest[:16], version=5).int}"


def write_series(
    folder: Path,
    image: np.ndarray,
    affine: np.ndarray,
    patient: dict[str, str],
    scanner: dict[str, object],
    syntax: str,
    names: list[int],
    skip: int | None = None,
) -> None:
    """One file a slice: image[column, row, slice], affine voxel to RAS. Slice `skip` is left out, if any."""
    folder.mkdir(parents=True, exist_ok=True)
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine  # DICOM counts to the left and to the back
    for k in range(image.shape[2]):
        if k == skip:
            continue
        ds = _common(patient, scanner)
        _place(ds, lps, k)
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = uid(patient["uid"], "slice", k)
        ds.InstanceNumber = image.shape[2] - k if scanner["counts_down"] else k + 1
        _pixels(ds, np.ascontiguousarray(image[:, :, k].T))
        if syntax != "plain":
            ds.compress(SYNTAXES[syntax], generate_instance_uid=False)
        ds.save_as(folder / f"IM{names[k]:04d}.dcm", enforce_file_format=True)


def _common(patient: dict[str, str], scanner: dict[str, object]) -> Dataset:
    """What all slices share: the modules of an MR Image, with dates that never change."""
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID = MRImageStorage
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.file_meta.ImplementationClassUID = uid("fedmed", "sample_data")
    ds.file_meta.ImplementationVersionName = "SAMPLE_DATA"  # not pydicom's version: it would change the bytes
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.ImageType = ["ORIGINAL", "PRIMARY", "M"]
    ds.StudyDate = ds.SeriesDate = "20200101"
    ds.StudyTime = ds.SeriesTime = "080000"
    ds.PatientName, ds.PatientID = f"Phantom^{patient['id']}", patient["id"]
    ds.PatientBirthDate, ds.PatientSex, ds.PatientAge = "", patient["sex"], patient["age"]
    ds.AccessionNumber = ds.ReferringPhysicianName = ds.StudyID = ""
    ds.Modality, ds.PatientPosition, ds.SeriesNumber, ds.BodyPartExamined = "MR", "HFS", 3, "BRAIN"
    ds.StudyInstanceUID = uid(patient["uid"], "study")
    ds.SeriesInstanceUID = uid(patient["uid"], "series")
    ds.FrameOfReferenceUID = uid(patient["uid"], "frame")
    ds.PositionReferenceIndicator, ds.Laterality = "", ""
    ds.ScanningSequence, ds.SequenceVariant, ds.ScanOptions = ["SE", "IR"], "SK", ""
    ds.MRAcquisitionType, ds.EchoTrainLength = "2D", 16
    for keyword, value in scanner.items():
        if keyword != "counts_down":
            setattr(ds, keyword, value)
    return ds


def _place(ds: Dataset, lps: np.ndarray, k: int) -> None:
    """Position, orientation and spacing of slice k; rounded, because a decimal string has 16 characters."""
    step = np.sqrt(np.sum(lps[:3, :3] ** 2, axis=0))
    position = lps[:3, 3] + k * lps[:3, 2]
    orientation = np.concatenate([lps[:3, 0] / step[0], lps[:3, 1] / step[1]])
    ds.ImagePositionPatient = [f"{v:.6f}" for v in position + 0.0]
    ds.ImageOrientationPatient = [f"{v:.10f}" for v in np.round(orientation, 10) + 0.0]  # + 0.0: no minus zero
    ds.PixelSpacing = [f"{step[1]:.4f}", f"{step[0]:.4f}"]  # between rows first
    ds.SpacingBetweenSlices = f"{step[2]:.4f}"
    normal = np.cross(lps[:3, 0] / step[0], lps[:3, 1] / step[1])
    ds.SliceLocation = f"{position @ normal + 0.0:.4f}"


def _pixels(ds: Dataset, rows: np.ndarray) -> None:
    ds.Rows, ds.Columns = rows.shape
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
    ds.PixelData = rows.astype("<u2").tobytes()
    ds["PixelData"].VR = "OW"
