"""Radiographs made for the tests, lopsided, so that whatever is turned, mirrored or inverted shows."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian, generate_uid

from fedmed.cases.case import Case, Geometry
from fedmed.recipe import Classification

if TYPE_CHECKING:
    from pathlib import Path

ROWS, COLUMNS = 24, 16


def recipe(**data: Any) -> Classification:
    fields = {"modality": "XR", "channels": ("XR",), "labels": {1: "fracture"}, "image_size": (32, 32), **data}
    return Classification.model_validate(
        {
            "schema": 1,
            "name": "film",
            "task": "classification",
            "seed": 7,
            "data": fields,
            "network": {"name": "DenseNet121"},
            "training": {"batch_size": 2, "local_steps": 1, "optimizer": {"client_lr": 0.001}},
        }
    )


def film() -> np.ndarray:
    """[row, column] of 12 bits: a ramp, a bright marker at the top left, a dark bar at the bottom right."""
    levels = (np.arange(ROWS * COLUMNS) * 5 + 700).reshape(ROWS, COLUMNS)
    levels[1:4, 1:3] = 4000
    levels[-3:, -7:] = 90
    return levels


def dataset(levels: np.ndarray | None = None, *, modality: str = "DX", patient: str = "Nansen^F") -> Dataset:
    """12 bits of 16, explicit little endian, unsigned, without window or spacing."""
    levels = film() if levels is None else levels
    one = Dataset()
    one.file_meta = FileMetaDataset()
    one.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    one.SOPClassUID = one.file_meta.MediaStorageSOPClassUID = DigitalXRayImageStorageForPresentation
    one.SOPInstanceUID = one.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    one.Modality, one.PatientID, one.PatientName = modality, patient, patient
    one.StudyInstanceUID, one.SeriesInstanceUID = generate_uid(), generate_uid()
    one.Rows, one.Columns = levels.shape
    one.SamplesPerPixel, one.PhotometricInterpretation = 1, "MONOCHROME2"
    one.BitsAllocated, one.BitsStored, one.HighBit, one.PixelRepresentation = 16, 12, 11, 0
    one.PixelData = np.ascontiguousarray(levels).astype("<u2").tobytes()
    return one


def lut(entries: np.ndarray, first: int, bits: int, *, packed: bool = False) -> Dataset:
    """An item of a modality or VOI LUT sequence; `packed` puts entries of 8 bits side by side."""
    item = Dataset()
    item.LUTDescriptor = [len(entries), first, bits]
    item["LUTDescriptor"].VR = "SS" if first < 0 else "US"
    item.LUTData = entries.astype(np.uint8 if packed else "<u2").tobytes()
    item["LUTData"].VR = "OW"
    return item


def save(path: Path, one: Dataset) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    one.save_as(path, enforce_file_format=True)
    return path


def case(*names: str, label: int | None = None, channels: tuple[str, ...] = ("XR",)) -> Case:
    image = dict(zip(channels, ((name,) for name in names), strict=True))
    return Case("case-1", "patient-1", "", image, label, {}, Geometry((1, 1, 1), (0.0, 0.0, 0.0), ""))


def with_orientation(jpeg: bytes, orientation: int) -> bytes:
    """A JPEG with an EXIF block of one entry: tag 0x0112, as a phone writes it."""
    tiff = b"II*\0" + struct.pack("<IHHHIHHI", 8, 1, 0x0112, 3, 1, orientation, 0, 0)
    exif = b"Exif\0\0" + tiff
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + jpeg[2:]
