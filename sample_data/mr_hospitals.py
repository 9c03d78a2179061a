"""Three hospitals' MR volumes with a tumour: their scanners, their patients, and the files they keep."""

from __future__ import annotations

import gzip
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import nibabel as nib
import numpy as np
from dicom_series import write_series
from mr_phantom import Look, draw_head, render
from seeds import rng_for

if TYPE_CHECKING:
    from pathlib import Path

TASK = "mr-tumour"


@dataclass(frozen=True)
class Hospital:
    name: str
    patients: int
    axes: tuple[str, str, str]  # where each voxel axis goes: R, A, S or their opposites L, P, I
    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]
    look: Look
    centre: tuple[float, float, float] = (0.0, 0.0, 0.0)  # of the field of view, mm
    scanner: dict[str, object] | None = None  # None: the hospital keeps NIfTI
    syntaxes: tuple[str, ...] = ("plain",)
    oblique: tuple[float, ...] = (0.0,)  # turn within the slice, degrees, patient by patient
    broken: int | None = None  # the patient whose series misses a slice
    unlabelled: int | None = None  # the patient whom nobody has outlined
    rescale: tuple[float, ...] = field(default=(1.0,))


HOSPITALS = (
    Hospital(
        name="st-olav",
        patients=17,
        axes=("L", "P", "S"),  # axial
        shape=(40, 46, 24),
        spacing=(3.4, 3.4, 5.5),
        look=Look(
            tissue={
                "muscle": 0.7,
                "fat": 2.0,
                "skull": 0.15,
                "fluid": 0.3,
                "eye": 0.5,
                "grey": 1.2,
                "white": 1.0,
                "ventricle": 0.3,
                "vessel": 2.0,
                "spot": 0.3,
                "contrast": 0.85,
            },
            tumour_types={"solid": 0.95, "faint": 0.05},
            radius=(10, 17),
            spot=8.0,
            bias=0.05,
            noise=0.05,
            scale=400,
        ),
        scanner={
            "Manufacturer": "Phantom Works",
            "ManufacturerModelName": "Fjord 15",
            "MagneticFieldStrength": "1.5",
            "RepetitionTime": "9000",
            "EchoTime": "120",
            "InversionTime": "2500",
            "SliceThickness": "5.0",
            "SeriesDescription": "ax FLAIR",
            "counts_down": False,
        },
        oblique=(0.0, 0.0, 4.0, 0.0, -3.0),
        broken=9,
    ),
    Hospital(
        name="north-bay",
        patients=16,
        axes=("P", "I", "R"),  # sagittal
        shape=(46, 42, 22),
        spacing=(3.3, 3.3, 6.0),
        look=Look(
            tissue={
                "muscle": 0.9,
                "fat": 1.7,
                "skull": 0.3,
                "fluid": 0.6,
                "eye": 1.0,
                "grey": 0.8,
                "white": 1.0,
                "ventricle": 0.45,
                "vessel": 1.75,
                "spot": 1.75,
                "contrast": 0.75,
            },
            tumour_types={"ring": 1.0},
            radius=(11, 18),
            spot=5.5,
            bias=0.12,
            noise=0.06,
            scale=700,
        ),
        centre=(0.0, 0.0, -8.0),
        scanner={
            "Manufacturer": "Example Imaging",
            "ManufacturerModelName": "Tide 3T",
            "MagneticFieldStrength": "3",
            "RepetitionTime": "6000",
            "EchoTime": "90",
            "InversionTime": "2000",
            "SliceThickness": "6.0",
            "SeriesDescription": "FLAIR sag",
            "counts_down": True,
        },
        syntaxes=("rle", "jpeg-ls"),
        rescale=(0.5, 1.25, 2.0),
    ),
    Hospital(
        name="lakeside",
        patients=17,
        axes=("L", "S", "P"),  # coronal, stored left to right: a left-handed grid
        shape=(48, 46, 30),
        spacing=(2.9, 2.9, 5.0),
        look=Look(
            tissue={
                "muscle": 1.1,
                "fat": 0.8,
                "skull": 0.1,
                "fluid": 1.9,
                "eye": 2.1,
                "grey": 1.15,
                "white": 1.0,
                "ventricle": 2.0,
                "vessel": 0.3,
                "spot": 0.3,
                "contrast": 1.0,
            },
            tumour_types={"faint": 0.9, "solid": 0.1},
            radius=(8.5, 13.5),
            spot=4.5,
            bias=0.15,
            noise=0.08,
            scale=120,
        ),
        unlabelled=5,
    ),
)


def affine_of(hospital: Hospital, number: int, rng: np.random.Generator) -> np.ndarray:
    """Voxel to RAS millimetres; the patient never lies in the very middle."""
    directions = {"R": (0, 1), "L": (0, -1), "A": (1, 1), "P": (1, -1), "S": (2, 1), "I": (2, -1)}
    matrix = np.zeros((3, 3))
    for column, (letter, step) in enumerate(zip(hospital.axes, hospital.spacing, strict=True)):
        row, sign = directions[letter]
        matrix[row, column] = sign * step
    angle = np.radians(hospital.oblique[number % len(hospital.oblique)])
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ matrix
    middle = np.round(np.array(hospital.centre) + rng.uniform(-3, 3, 3), 1)
    affine[:3, 3] = np.round(middle - affine[:3, :3] @ ((np.array(hospital.shape) - 1) / 2), 6)
    return affine


def kind_of(hospital: Hospital, number: int, seed: int) -> str:
    """The type of tumour of one patient: shares that hold exactly over the hospital, order by chance."""
    shares = hospital.look.tumour_types
    edges = np.cumsum(list(shares.values()))
    place = rng_for(seed, TASK, hospital.name, "order").permutation(hospital.patients)[number - 1]
    return list(shares)[int(np.searchsorted(edges, (place + 0.5) / hospital.patients))]


def write_patient(out: Path, hospital: Hospital, number: int, seed: int) -> None:
    rng = rng_for(seed, TASK, hospital.name, number)
    affine = affine_of(hospital, number, rng)
    head = draw_head(rng, hospital.look, kind_of(hospital, number, seed))
    image, mask = render(rng, head, hospital.look, affine, hospital.shape)
    folder, case = out / TASK / hospital.name, f"p{number:03d}"
    if hospital.scanner is None:
        write_nifti(folder / "images" / f"{case}.nii.gz", image.astype(np.int16), affine)
    else:
        write_dicom(folder / "dicom" / case, hospital, number, seed, image, affine, rng)
    if number != hospital.unlabelled:
        masks = "labels" if hospital.scanner is None else "masks"
        write_nifti(folder / masks / f"{case}.nii.gz", mask, affine)


def write_dicom(folder: Path, hospital: Hospital, number: int, seed: int, image, affine, rng) -> None:
    """The series of one patient. File names say nothing of the order."""
    slope = hospital.rescale[number % len(hospital.rescale)]
    scanner = dict(hospital.scanner)
    if slope != 1.0:
        scanner |= {"RescaleSlope": f"{slope:g}", "RescaleIntercept": "0", "RescaleType": "US"}
    patient = {
        "id": f"{hospital.name.upper()}-{4000 + 7 * number}",
        "uid": f"{seed}|{TASK}|{hospital.name}|{number}",
        "sex": "FM"[number % 2],
        "age": f"{rng.integers(31, 80):03d}Y",
    }
    names = list(rng.permutation(hospital.shape[2]) + 1)
    syntax = hospital.syntaxes[number % len(hospital.syntaxes)]
    skip = hospital.shape[2] // 2 + 2 if number == hospital.broken else None
    write_series(folder, image, affine, patient, scanner, syntax, names, skip)


def write_nifti(path: Path, data: np.ndarray, affine: np.ndarray) -> None:
    """gzip without a time or a name in its header, so that the bytes depend on the data alone."""
    image = nib.Nifti1Image(data, affine)
    image.header.set_xyzt_units("mm")
    image.set_qform(affine, code=1)
    image.set_sform(affine, code=1)
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "wb") as raw, gzip.GzipFile("", "wb", 9, raw, mtime=0) as packed:
        packed.write(image.to_bytes())
