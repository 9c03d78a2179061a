"""Write a radiograph as DICOM, DX or CR, with bytes that depend on the picture and the seed alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from dicom_series import SYNTAXES, uid
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    ComputedRadiographyImageStorage,
    DigitalXRayImageStorageForPresentation,
    ExplicitVRLittleEndian,
)

if TYPE_CHECKING:
    from pathlib import Path

CLASSES = {"DX": DigitalXRayImageStorageForPresentation, "CR": ComputedRadiographyImageStorage}
TOP = 4095  # of twelve bits


def write_radiograph(path: Path, grey: np.ndarray, about: dict, device: dict, syntax: str, voi: str) -> None:
    """`grey` from 0 (black) to 1 (bone); `about` says whose wrist, `voi` how the grey values are to be shown."""
    ds = _common(about, device)
    (_digital if device["Modality"] == "DX" else _computed)(ds, about)
    stored = np.round(grey * TOP).astype(np.uint16)
    if ds.PhotometricInterpretation == "MONOCHROME1":  # the lowest number is shown brightest
        stored = TOP - stored
    _show(ds, stored, voi)
    ds.Rows, ds.Columns = stored.shape
    ds.SamplesPerPixel = 1
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
    ds.PixelData = stored.astype("<u2").tobytes()
    ds["PixelData"].VR = "OW"
    if syntax != "plain":
        ds.compress(SYNTAXES[syntax], generate_instance_uid=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    ds.save_as(path, enforce_file_format=True)


def _common(about: dict, device: dict) -> Dataset:
    """What DX and CR share, with dates that never change."""
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID = CLASSES[device["Modality"]]
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.file_meta.ImplementationClassUID = uid("fedmed", "sample_data")
    ds.file_meta.ImplementationVersionName = "SAMPLE_DATA"  # not pydicom's version: it would change the bytes
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = uid(about["uid"], about["case"])
    ds.SpecificCharacterSet = "ISO_IR 192"
    date = "20200101" if about["study"] == 1 else "20200801"
    ds.StudyDate = ds.SeriesDate = ds.AcquisitionDate = ds.ContentDate = date
    ds.StudyTime = ds.SeriesTime = ds.AcquisitionTime = ds.ContentTime = "080000"
    ds.PatientName, ds.PatientID = f"Phantom^{about['id']}", about["id"]
    ds.PatientBirthDate, ds.PatientSex, ds.PatientAge = "", about["sex"], f"{about['age']:03d}Y"
    ds.AccessionNumber = ds.ReferringPhysicianName = ds.StudyID = ""
    ds.StudyInstanceUID = uid(about["uid"], "study", about["study"])
    ds.SeriesInstanceUID = uid(about["uid"], "series", about["case"])
    ds.SeriesNumber, ds.InstanceNumber = 1, 1
    ds.BodyPartExamined, ds.ViewPosition = "WRIST", about["view"]
    ds.PatientOrientation = about["orientation"]
    ds.BurnedInAnnotation = "NO"  # a lead letter of the side names nobody
    ds.LossyImageCompression = "00"
    for keyword, value in device.items():
        setattr(ds, keyword, value)
    return ds


def _digital(ds: Dataset, about: dict) -> None:
    """DX: what its modules ask for, PixelSpacing among it."""
    ds.ImageType = ["ORIGINAL", "PRIMARY", ""]
    ds.PresentationIntentType, ds.PresentationLUTShape = "FOR PRESENTATION", "IDENTITY"
    ds.PhotometricInterpretation = "MONOCHROME2"
    ds.PixelIntensityRelationship, ds.PixelIntensityRelationshipSign = "LOG", -1
    ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = "0", "1", "US"
    ds.ImageLaterality = about["side"]
    ds.PixelSpacing = [f"{mm:.3f}" for mm in about["spacing"]]
    ds.ImagerPixelSpacing = [f"{1.06 * mm:.3f}" for mm in about["spacing"]]  # the limb lies above the detector
    ds.PixelSpacingCalibrationType = "GEOMETRY"
    ds.PixelSpacingCalibrationDescription = "at the limb"
    ds.DetectorType = "DIRECT"
    region = Dataset()
    region.CodeValue, region.CodingSchemeDesignator, region.CodeMeaning = "74670003", "SCT", "Wrist joint"
    ds.AnatomicRegionSequence, ds.AcquisitionContextSequence = [region], []


def _computed(ds: Dataset, about: dict) -> None:
    """CR: spacing at the plate only, and bone stored dark."""
    ds.ImageType = ["ORIGINAL", "PRIMARY"]
    ds.PhotometricInterpretation = "MONOCHROME1"
    ds.ImagerPixelSpacing = [f"{mm:.3f}" for mm in about["spacing"]]
    ds.Laterality = about["side"]


def _show(ds: Dataset, stored: np.ndarray, voi: str) -> None:
    """A window over the stored values, or a lookup table with a soft foot and shoulder."""
    low, high = int(stored.min()), int(stored.max())
    if voi == "window":
        ds.WindowCenter, ds.WindowWidth = str((low + high + 1) // 2), str(high - low + 1)
        return
    first, count = (low // 64) * 64, 512  # short: numbers past its end take its last value
    curve = np.round(TOP / (1 + np.exp(-np.linspace(-5, 5, count)))).astype("<u2")
    table = Dataset()
    table.LUTDescriptor = [count, max(first, (low + high) // 2 - count // 2), 12]
    table["LUTDescriptor"].VR = "US"
    table.LUTExplanation = "steep"
    table.LUTData = curve.tobytes()
    table["LUTData"].VR = "OW"
    ds.VOILUTSequence = [table]
