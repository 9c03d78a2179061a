"""Finds the DICOM series of a folder and takes the one that the recipe means; never guesses between two.

Files are told apart by content: a file without preamble counts, a DICOMDIR does not, and what is not DICOM is counted
and left alone. Only headers are read here.
"""

from __future__ import annotations

import fnmatch
import unicodedata
import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from fedmed.cases import dicomfile, functional, paths, views
from fedmed.errors import FedmedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from fedmed.recipe_fields import Data

    See = Callable[[Any, str], None]

TAGS = [
    "SOPClassUID", "Modality", "SeriesDescription", "PatientID", "IssuerOfPatientID", "SeriesInstanceUID",
    "SamplesPerPixel", "NumberOfFrames", "Rows", "Columns", "PixelSpacing",
    "ImagePositionPatient", "ImageOrientationPatient", "FrameOfReferenceUID", "SpacingBetweenSlices",
    "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence", "ImagerPixelSpacing", "BurnedInAnnotation",
    "PhotometricInterpretation", "ImageLaterality", "Laterality", "ViewPosition", "BodyPartExamined",
]  # fmt: skip
OVERLAY_ROWS = [(group << 16) + 0x10 for group in range(0x6000, 0x6020, 2)]
DICOMDIR = "1.2.840.10008.1.3.10"
SEGMENTATION, STRUCTURES = "SEG", "RTSTRUCT"  # see dicomseg.py and rtstruct.py
RADIOGRAPHS = ("CR", "DX", "RG")  # see radiograph.py
GREY = ("MONOCHROME1", "MONOCHROME2", "")  # a file that does not say it is found damaged when its pixels are read
SAME_DIRECTION = 1e-3  # of a direction cosine: 0.06 degrees
BURNED_IN, OVERLAY = "burned in", "overlay"


@dataclass(frozen=True)
class Slice:
    """What a header says about one image. Lengths in mm, patient axes LPS (PS3.3 C.7.6.2).

    A file with functional groups gives one Slice for each `frame` (0-based), each in a `stack`; where a file does not
    say what its frames are, it is one Slice of several `frames`. `gap` is SpacingBetweenSlices, `marks` holds BURNED_IN
    and OVERLAY, `covariates` what views.py takes from it.
    A structure set has neither rows nor columns.
    """

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
    photometric: str = ""
    frame: int = 0
    stack: str = ""
    gap: float | None = None
    detector_spacing: tuple[float, ...] | None = None
    marks: frozenset[str] = frozenset()
    covariates: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Scan:
    """The images of a folder, how many other files lie among them, and the paths of its segmentations and structure
    sets.
    """

    slices: tuple[Slice, ...]
    ignored: int
    segmentations: tuple[str, ...] = ()


def scan(root: Path, relative: Iterable[str], where: str, see: See | None = None) -> Scan:
    """The header of every DICOM image among the files. Raises FedmedError FM-DAT-15, -16 or -33."""
    slices: list[Slice] = []
    segmentations: list[str] = []
    ignored = 0
    for path in relative:
        found = read_header(root, path, where, see)
        if not found:
            ignored += 1
        elif found[0].modality in {SEGMENTATION, STRUCTURES}:
            segmentations.append(path)
        else:
            slices += found
    return Scan(tuple(slices), ignored, tuple(segmentations))


def read_header(root: Path, relative: str, where: str, see: See | None = None) -> tuple[Slice, ...]:
    """The images in one file by its header, or its one structure set; none where it is neither. `see` is shown the
    whole header of a file with images, and its path.

    Raises FedmedError FM-DAT-33 where it should be one (by its preamble or the name `.dcm`) and cannot be read: left
    out in silence, the last slice of a series would be missed by nobody.
    """
    if relative.rpartition("/")[2].upper() == "DICOMDIR":
        return ()
    with paths.open_file(paths.locate(root, relative, where), where) as stream:
        start = stream.read(132)
        named = start[128:] == b"DICM" or relative.lower().endswith(".dcm")
        if not named and start[:2] not in dicomfile.FIRST_GROUPS:
            return ()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # pydicom tells of every odd value; ours are judged below
                tags = None if see else [*TAGS, *OVERLAY_ROWS]
                data = dicomfile.parse(stream, where, stop_before_pixels=True, specific_tags=tags)
                found = _slices(data, relative, where)
                known = "SOPClassUID" in data or "Modality" in data or _is_directory(data)
        except FedmedError:
            raise
        except Exception as error:  # the parser may raise anything on bytes it was not made for
            if not named:
                return ()
            raise _damaged(where, str(error)) from error
    if named and not known:
        raise _damaged(where, relative)
    if see and found:
        see(data, relative)
    return found


def _slices(data: Any, relative: str, where: str) -> tuple[Slice, ...]:
    modality = str(data.get("Modality") or "")
    is_image = "Rows" in data and "Columns" in data
    if not (is_image or modality == STRUCTURES) or _is_directory(data):
        return ()
    whole = Slice(
        path=relative,
        series=str(data.get("SeriesInstanceUID") or ""),
        patient=(_text(data, "PatientID"), _text(data, "IssuerOfPatientID")),
        modality=modality,
        description=str(data.get("SeriesDescription") or ""),
        rows=int(data.get("Rows") or 0),
        columns=int(data.get("Columns") or 0),
        frames=int(data.get("NumberOfFrames") or 1),
        samples=int(data.get("SamplesPerPixel") or 1),
        orientation=dicomfile.numbers(data, "ImageOrientationPatient", 6),
        position=dicomfile.numbers(data, "ImagePositionPatient", 3),
        spacing=dicomfile.numbers(data, "PixelSpacing", 2),
        frame_of_reference=str(data.get("FrameOfReferenceUID") or ""),
        photometric=str(data.get("PhotometricInterpretation") or ""),
        gap=(dicomfile.numbers(data, "SpacingBetweenSlices", 1) or (None,))[0],
        detector_spacing=dicomfile.numbers(data, "ImagerPixelSpacing", 2),
        marks=_marks(data),
        covariates=views.of_header(data),
    )
    return (whole,) if modality in {SEGMENTATION, STRUCTURES} else functional.expanded(data, whole, where)


def _text(data: Any, keyword: str) -> str:
    """The same for every character set in which a hospital writes it (PS3.5 6.1)."""
    return unicodedata.normalize("NFC", str(data.get(keyword) or "")).strip()


def _marks(data: Any) -> frozenset[str]:
    burned = dicomfile.code(data, ("BurnedInAnnotation",), ("YES",))
    overlay = any(tag in data for tag in OVERLAY_ROWS)
    return frozenset([BURNED_IN] * bool(burned) + [OVERLAY] * overlay)


def _is_directory(data: Any) -> bool:
    return str(getattr(data, "file_meta", {}).get("MediaStorageSOPClassUID", "")) == DICOMDIR


def grouped(slices: Iterable[Slice]) -> list[list[Slice]]:
    """Slices by SeriesInstanceUID, stack, orientation and size: scanners put localizers of three planes into one
    series.
    """
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
    if (first.series, first.stack, first.rows, first.columns) != (
        second.series,
        second.stack,
        second.rows,
        second.columns,
    ):
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
    """Refuse what is no stack of greyscale slices. Raises FedmedError FM-DAT-32 or -40."""
    if any(one.frames > 1 for one in slices):
        frames = sum(one.frames for one in slices)
        message = (
            f"{where}: {frames} frames in {len(slices)} files without functional groups, expected one frame a file"
        )
        raise FedmedError("FM-DAT-32", message)
    if any(one.samples != 1 for one in slices):
        raise FedmedError("FM-DAT-40", f"{where}: {slices[0].samples} samples a pixel, expected 1")
    if any(one.photometric not in GREY for one in slices):
        raise FedmedError("FM-DAT-40", f"{where}: pixels in colour or by a palette, expected greyscale")


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
