"""Small studies made for the tests: every voxel has its own value, so that any turned or swapped axis shows."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import nibabel
import numpy as np
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, MRImageStorage, generate_uid

from fedmed.errors import FedmedError
from fedmed.recipe import Segmentation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SHAPE = (7, 6, 10)  # columns, rows, slices
SPACING = (0.8, 1.2, 2.5)  # along columns, rows, slices, in mm
OBLIQUE = np.linalg.qr(np.array([[0.9, 0.1, 0.2], [-0.2, 0.8, 0.3], [0.1, -0.4, 1.0]]))[0]


def recipe(**data: Any) -> Segmentation:
    fields = {"modality": "MR", "channels": ("T1",), "labels": {1: "tumour"}, "spacing": (1, 1, 1), **data}
    return Segmentation.model_validate(
        {
            "schema": 1,
            "name": "phantom",
            "task": "segmentation",
            "seed": 7,
            "data": fields,
            "network": {"name": "UNet", "channels": (8, 16), "strides": (2,)},
            "training": {
                "patch_size": (32, 32, 32),
                "batch_size": 1,
                "local_steps": 1,
                "optimizer": {"client_lr": 0.001},
            },
        }
    )


def ramp(shape: tuple[int, int, int] = SHAPE) -> np.ndarray:
    """[column, row, slice], all values different."""
    return np.arange(np.prod(shape), dtype=np.int16).reshape(shape)


def directions(oblique: bool = True) -> np.ndarray:
    """Columns are the row direction, the column direction and their cross product, in LPS."""
    turned = OBLIQUE.copy() if oblique else np.eye(3)
    turned[:, 2] = np.cross(turned[:, 0], turned[:, 1])
    return turned


def slices(
    array: np.ndarray | None = None, *, modality: str = "MR", oblique: bool = True, patient: str = "Nansen^F"
) -> list[Dataset]:
    """One single-frame data set for each slice, 12 bits of 16, explicit little endian, unsigned."""
    array = ramp() if array is None else array
    axes, series, frame_of_reference = directions(oblique), generate_uid(), generate_uid()
    found = []
    for index in range(array.shape[2]):
        one = Dataset()
        one.file_meta = FileMetaDataset()
        one.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        one.SOPClassUID = MRImageStorage if modality == "MR" else CTImageStorage
        one.SOPInstanceUID = generate_uid()
        one.file_meta.MediaStorageSOPClassUID = one.SOPClassUID
        one.file_meta.MediaStorageSOPInstanceUID = one.SOPInstanceUID
        one.Modality, one.PatientID, one.PatientName = modality, patient, patient
        one.StudyInstanceUID, one.SeriesInstanceUID, one.SeriesDescription = series, series, "T1w axial"
        one.FrameOfReferenceUID = frame_of_reference
        one.InstanceNumber = array.shape[2] - index
        one.Rows, one.Columns = array.shape[1], array.shape[0]
        one.PixelSpacing = [SPACING[1], SPACING[0]]
        one.ImageOrientationPatient = [float(value) for value in (*axes[:, 0], *axes[:, 1])]
        one.ImagePositionPatient = [float(v) for v in np.array([-11.0, 23.0, 5.0]) + axes[:, 2] * SPACING[2] * index]
        one.SamplesPerPixel, one.PhotometricInterpretation = 1, "MONOCHROME2"
        one.BitsAllocated, one.BitsStored, one.HighBit, one.PixelRepresentation = 16, 12, 11, 0
        one.PixelData = np.ascontiguousarray(array[:, :, index].T).astype("<u2").tobytes()
        found.append(one)
    return found


def move(one: Dataset, mm: float) -> None:
    """Shift a slice along its normal."""
    normal = np.cross(one.ImageOrientationPatient[:3], one.ImageOrientationPatient[3:])
    one.ImagePositionPatient = [float(v) for v in np.array(one.ImagePositionPatient, dtype=float) + normal * mm]


def save(folder: Path, datasets: list[Dataset], *, name: Callable[[int], str] = "{:03d}.dcm".format) -> list[str]:
    """Write the data sets; returns the file names in the order of `datasets`."""
    folder.mkdir(parents=True, exist_ok=True)
    names = [name(index) for index in range(len(datasets))]
    for file, one in zip(names, datasets, strict=True):
        one.save_as(folder / file, enforce_file_format=True)
    return names


def expected_affine(*, oblique: bool = True) -> np.ndarray:
    """RAS affine of `slices`, written out from the definition in PS3.3 C.7.6.2.1.1."""
    affine = np.eye(4)
    affine[:3, :3] = directions(oblique) * SPACING
    affine[:3, 3] = [-11.0, 23.0, 5.0]
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine


def write_nifti(path: Path, array: np.ndarray, affine: np.ndarray | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nibabel.Nifti1Image(array, expected_affine(oblique=False) if affine is None else affine)
    image.header.set_xyzt_units("mm")
    nibabel.save(image, path)
    return path


def mask(shape: tuple[int, int, int] = SHAPE, size: int = 2) -> np.ndarray:
    label = np.zeros(shape, dtype=np.uint8)
    label[1 : 1 + size, 1:3, 2:5] = 1
    return label


def attempt(call: Callable[[], Any]) -> tuple[Any, str]:
    """(what the call gives, "") or (None, the code it was refused with); anything else fails the test."""
    try:
        return call(), ""
    except FedmedError as error:
        return None, error.code


@contextmanager
def refuses(code: str, *words: str) -> Iterator[None]:
    """The block ends in this code, and the message says these words and no name of a patient."""
    with pytest.raises(FedmedError) as caught:
        yield
    assert caught.value.code == code, caught.value
    for word in words:
        assert word in caught.value.message
    assert "Nansen" not in caught.value.message
