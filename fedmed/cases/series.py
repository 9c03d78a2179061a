"""Finds the DICOM series of a folder and takes the one that the recipe means; never guesses between two.

Files are told apart by content: a file without preamble counts, a DICOMDIR does not, and what is not DICOM is counted
and left alone. Only headers are read here.
"""

from __future__ import annotations

import fnmatch
import os
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pydicom

from fedmed.cases import paths
from fedmed.errors import FedmedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from fedmed.recipe_fields import Data

    See = Callable[[Any, str], None]

TAGS = [
    "SOPClassUID", "Modality", "SeriesDescription", "PatientID", "IssuerOfPatientID", "SeriesInstanceUID",
    "SamplesPerPixel", "NumberOfFrames", "Rows", "Columns", "PixelSpacing",
    "ImagePositionPatient", "ImageOrientationPatient", "FrameOfReferenceUID",
]  # fmt: skip
FIRST_GROUPS = (b"\x02\x00", b"\x08\x00", b"\x00\x08")  # a data set without preamble begins in group 0002 or 0008
DICOMDIR = "1.2.840.10008.1.3.10"
SEGMENTATION = "SEG"  # see dicomseg.py
RADIOGRAPHS = ("CR", "DX", "RG")  # see radiograph.py
SAME_DIRECTION = 1e-3  # of a direction cosine: 0.06 degrees


@dataclass(frozen=True)
class Slice:
    """What the header of one file says about an image. Lengths in mm, patient axes LPS (PS3.3 C.7.6.2)."""

    path: str
    series: str
    patient: tuple[str, str]
    modality: str
    description: str
    rows: int
    columns: int
    frames: int
    samples: int
    orientation: tuple[float, ...] | None
    position: tuple[float, ...] | None
    spacing: tuple[float, ...] | None
    frame_of_reference: str


@dataclass(frozen=True)
class Scan:
    """The images of a folder, how many other files lie among them, and the paths of its segmentations."""

    slices: tuple[Slice, ...]
    ignored: int
    segmentations: tuple[str, ...] = ()


def scan(root: Path, relative: Iterable[str], where: str, see: See | None = None) -> Scan:
    """The header of every DICOM image among the files. Raises FedmedError FM-DAT-15, -16 or -33."""
    slices, segmentations, ignored = [], [], 0
    for path in relative:
        found = read_header(root, path, where, see)
        if found is None:
            ignored += 1
        elif found.modality == SEGMENTATION:
            segmentations.append(found.path)
        else:
            slices.append(found)
    return Scan(tuple(slices), ignored, tuple(segmentations))


def read_header(root: Path, relative: str, where: str, see: See | None = None) -> Slice | None:
    """One file's header; None where it is no DICOM image. `see` is shown the whole header of an image, and its path.

    Raises FedmedError FM-DAT-33 where it should be one (by its preamble or the name `.dcm`) and cannot be read: left
    out in silence, the last slice of a series would be missed by nobody.
    """
    if relative.rpartition("/")[2].upper() == "DICOMDIR":
        return None
    with paths.open_file(paths.locate(root, relative, where), where) as stream:
        start = stream.read(132)
        stream.seek(0, os.SEEK_SET)
        named = start[128:] == b"DICM" or relative.lower().endswith(".dcm")
        if not named and start[:2] not in FIRST_GROUPS:
            return None
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # pydicom tells of every odd value; ours are judged below
                tags = None if see else TAGS
                data = pydicom.dcmread(stream, force=True, stop_before_pixels=True, specific_tags=tags)
                found = _slice(data, relative)
                known = "SOPClassUID" in data or "Modality" in data or _is_directory(data)
        except Exception as error:  # the parser may raise anything on bytes it was not made for
            if not named:
                return None
            raise _damaged(where, str(error)) from error
    if named and not known:
        raise _damaged(where, relative)
    if see and found:
        see(data, relative)
    return found


def _slice(data: Any, relative: str) -> Slice | None:
    if "Rows" not in data or "Columns" not in data or _is_directory(data):
        return None
    return Slice(
        path=relative,
        series=str(data.get("SeriesInstanceUID") or ""),
        patient=(str(data.get("PatientID") or "").strip(), str(data.get("IssuerOfPatientID") or "").strip()),
        modality=str(data.get("Modality") or ""),
        description=str(data.get("SeriesDescription") or ""),
        rows=int(data.Rows),
        columns=int(data.Columns),
        frames=int(data.get("NumberOfFrames") or 1),
        samples=int(data.get("SamplesPerPixel") or 1),
        orientation=numbers(data, "ImageOrientationPatient", 6),
        position=numbers(data, "ImagePositionPatient", 3),
        spacing=numbers(data, "PixelSpacing", 2),
        frame_of_reference=str(data.get("FrameOfReferenceUID") or ""),
    )


def _is_directory(data: Any) -> bool:
    return str(getattr(data, "file_meta", {}).get("MediaStorageSOPClassUID", "")) == DICOMDIR


def numbers(data: Any, keyword: str, count: int) -> tuple[float, ...] | None:
    """A tag's finite numbers; None where it is missing or anything else, which matters only if it is needed."""
    try:
        values = tuple(float(value) for value in data.get(keyword) or ())
    except (TypeError, ValueError):
        return None
    return values if len(values) == count and np.isfinite(values).all() else None


def grouped(slices: Iterable[Slice]) -> list[list[Slice]]:
    """Slices by SeriesInstanceUID, orientation and size: scanners put localizers of three planes into one series."""
    groups: list[list[Slice]] = []
    for one in slices:
        for group in groups:
            if _together(group[0], one):
                group.append(one)
                break
        else:
            groups.append([one])
    return groups


def _together(first: Slice, second: Slice) -> bool:
    if (first.series, first.rows, first.columns) != (second.series, second.rows, second.columns):
        return False
    if first.orientation is None or second.orientation is None:
        return first.orientation is second.orientation
    return bool(np.abs(np.subtract(first.orientation, second.orientation)).max() <= SAME_DIRECTION)


def choose(found: Scan, data: Data, where: str) -> list[Slice]:
    """The one group of slices that fits the recipe's modality, description pattern and min_slices, unordered.

    For modality XR each image counts as a series, and its description is not looked at. Raises FedmedError FM-DAT-30
    (none fits), -31 (several fit), -32 (multi-frame) or -40 (colour).
    """
    single = data.modality == "XR"
    groups = [[one] for one in found.slices] if single else grouped(found.slices)
    fitting = [group for group in groups if _fits(group, data)]
    rule = f"{data.modality}, description {data.series.description!r}, at least {data.series.min_slices} slices"
    if single:
        rule = f"one image of modality {', '.join(RADIOGRAPHS)}"
    if not fitting:
        raise FedmedError("FM-DAT-30", f"{where}: no series fits ({rule}) among {_listed(groups, data)}")
    if len(fitting) > 1:
        raise FedmedError("FM-DAT-31", f"{where}: {len(fitting)} series fit ({rule}): {_listed(fitting, data)}")
    check_kind(fitting[0], where)
    return fitting[0]


def check_kind(slices: Sequence[Slice], where: str) -> None:
    """Refuse what is no stack of greyscale single frames. Raises FedmedError FM-DAT-32 or -40."""
    if any(one.frames > 1 for one in slices):
        frames = sum(one.frames for one in slices)
        raise FedmedError("FM-DAT-32", f"{where}: {frames} frames in {len(slices)} files, expected one frame a file")
    if any(one.samples != 1 for one in slices):
        raise FedmedError("FM-DAT-40", f"{where}: {slices[0].samples} samples a pixel, expected 1")


def _fits(group: list[Slice], data: Data) -> bool:
    if data.modality == "XR":
        return group[0].modality in RADIOGRAPHS
    named = fnmatch.fnmatchcase(group[0].description.lower(), data.series.description.lower())
    count = sum(one.frames for one in group)
    return group[0].modality == data.modality and named and count >= data.series.min_slices


def _listed(groups: list[list[Slice]], data: Data) -> str:
    """The candidates by count, size and plane: a description or a UID may name the patient."""
    lines = []
    for group in sorted(groups, key=len, reverse=True)[:8]:
        one = group[0]
        known = one.modality in (data.modality, *RADIOGRAPHS)
        kind = one.modality if known else "another modality"
        size = f"{one.columns} x {one.rows}"
        plane = "" if data.modality == "XR" else f" {_plane(one)}"
        lines.append(f"{sum(s.frames for s in group)} of {size}{plane} ({kind})")
    more = f" and {len(groups) - 8} more" if len(groups) > 8 else ""
    return ("; ".join(lines) or "no DICOM image") + more


def _plane(one: Slice) -> str:
    if one.orientation is None:
        return "without orientation"
    normal = np.abs(np.cross(one.orientation[:3], one.orientation[3:]))
    if normal.max() < 0.9:
        return "oblique"
    return ("sagittal", "coronal", "axial")[int(normal.argmax())]


def _damaged(where: str, local: str) -> FedmedError:
    return FedmedError("FM-DAT-33", f"{where}: the header of a DICOM file cannot be read", local=local)
