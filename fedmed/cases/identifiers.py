"""What in a hospital's files identifies a patient: counted by keyword, never shown, never rewritten.

The tags are those of the Basic Application Level Confidentiality Profile, every one (PS3.15 2026c, table E.1-1, in
basic_profile.csv). A count is a risk indicator: none found does not make data anonymous, burned-in text least of all.
"""

from __future__ import annotations

import csv
import functools
import re
from collections import Counter
from importlib import resources
from typing import TYPE_CHECKING, Any

import nibabel
from PIL import Image
from pydantic import Field
from pydicom.datadict import dictionary_VR

from fedmed.cases import nifti, paths, raster
from fedmed.strict import Strict

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

SCREENS = (
    "SC",
    "US",
    "XA",
    "RF",
    "ES",
    "XC",
    "GM",
    "OT",
)  # modalities whose devices write the patient into the picture
CAPTURES = "1.2.840.10008.5.1.4.1.1.7"  # secondary capture, also multi-frame (PS3.4 B.5)
GROUP_OVERLAYS, LAST_OVERLAY = 0x6000, 0x601E
SHORTEST = 4  # characters of a name or id that are looked for in file names: "1" is in many of them
NIFTI_TEXTS = ("descrip", "aux_file", "intent_name", "db_name")
MAX_DEPTH = 8
TECHNICAL = {  # what pillow tells of every picture
    *("dpi", "gamma", "jfif", "jfif_version", "jfif_unit", "jfif_density", "srgb", "transparency", "exif", "aspect"),
    *("progressive", "progression", "icc_profile", "adobe", "adobe_transform", "chromaticity", "interlace"),
}
TECHNICAL_EXIF = {0x0112, 0x011A, 0x011B, 0x0128, 0x0213}  # orientation and resolution


class Trace(Strict):
    """What was found in some files. `keywords`, and `texts` of NIfTI and pictures, count files that hold a value."""

    files: int = 0
    keywords: dict[str, int] = Field(default_factory=dict)
    private: int = 0
    burned_in: int = 0
    texts: dict[str, int] = Field(default_factory=dict)
    names: int = 0


UNREADABLE = Trace(files=1, keywords={"(header that cannot be read to its end)": 1})


@functools.cache
def basic_profile() -> dict[int, str]:
    """Keyword, or eight hex digits where PS3.6 has none, by tag."""
    text = resources.files("fedmed.cases").joinpath("basic_profile.csv").read_text("ascii")
    named = {int(row["tag"], 16): row["keyword"] or row["tag"] for row in csv.DictReader(text.splitlines())}
    repeated = {(0x6000, 0x3000): "OverlayData", (0x6000, 0x4000): "OverlayComments", (0x5000, 0x3000): "CurveData"}
    groups = range(0, 0x20, 2)
    return named | {(first + n << 16) + last: word for (first, last), word in repeated.items() for n in groups}


def together(traces: Iterable[Trace]) -> Trace:
    """The counts of all."""
    keywords: Counter[str] = Counter()
    texts: Counter[str] = Counter()
    plain: Counter[str] = Counter()
    for trace in traces:
        keywords.update(trace.keywords)
        texts.update(trace.texts)
        plain.update({"files": trace.files, "private": trace.private})
        plain.update({"burned_in": trace.burned_in, "names": trace.names})
    return Trace(keywords=dict(sorted(keywords.items())), texts=dict(sorted(texts.items())), **plain)


def doubts(trace: Trace) -> list[tuple[str, str]]:
    """Code and message of each kind of risk: tags (FM-IDN-01), private tags (-02), burned-in text (-03), names of
    files (-04), texts of NIfTI files and pictures (-05).
    """
    texts = ", ".join(f"{name} in {count}" for name, count in trace.texts.items())
    said = (
        ("FM-IDN-01", len(trace.keywords), "tags of the basic confidentiality profile hold a value in some file"),
        ("FM-IDN-02", trace.private, f"of {trace.files} files hold private tags"),
        ("FM-IDN-03", trace.burned_in, f"of {trace.files} files may show text burned into the picture, or an overlay"),
        ("FM-IDN-04", trace.names, f"of {trace.files} files have the patient's name or id in their name or folder"),
        ("FM-IDN-05", len(trace.texts), f"kinds of text beside the image in NIfTI files or pictures: {texts}"),
    )
    return [(code, f"{count} {what}") for code, count, what in said if count]


def of_dicom(data: Any, relative: str) -> Trace:
    """Of one data set, with its nested sequences."""
    tags = set(_tags(data))
    profile = basic_profile()
    held = {profile[tag]: 1 for tag in sorted(tags) if tag in profile}
    names = _spoken(relative, [data.get("PatientID"), *re.split(r"[\^= ]", str(data.get("PatientName") or ""))])
    return Trace(
        files=1,
        keywords=held,
        private=int(any(tag >> 16 & 1 for tag in tags)),
        burned_in=int(_may_be_burned_in(data, tags)),
        names=int(names),
    )


def is_picture(relative: str) -> bool:
    return raster.is_named(relative)


def of_other(root: Path, relative: str, where: str) -> Trace:
    """Of a NIfTI header or the texts of a picture."""
    return Trace(files=1, texts=dict.fromkeys(texts_beside(root, relative, where), 1))


def texts_beside(root: Path, relative: str, where: str) -> dict[str, str]:
    """The texts of a NIfTI header or a picture by kind, for no eyes but this computer's. None where it is damaged:
    that has its code elsewhere.
    """
    try:
        path = paths.locate(root, relative, where)
        found = _nifti_texts(path) if nifti.is_nifti(relative) else _picture_texts(path)
    except Exception:  # noqa: BLE001 - nibabel and pillow answer damage with exceptions of every kind
        return {}
    return {kind: text for kind, text in found.items() if text.strip(" \0")}


def _tags(data: Any, depth: int = 0) -> Iterator[int]:
    """The tags that hold a value; what stands in a sequence counts as if it stood outside."""
    for tag in data.keys():  # noqa: SIM118 - a data set iterates over converted elements
        element = data.get_item(tag)
        if (element.VR or vr_of(tag)) == "SQ":
            nested = items(data, tag)
            if nested:
                yield int(tag)
            for item in nested if depth < MAX_DEPTH else ():
                yield from _tags(item, depth + 1)
        elif _holds(element.value):
            yield int(tag)


def vr_of(tag: Any) -> str:
    """What implicit VR leaves to the dictionary; empty for a private tag."""
    try:
        return str(dictionary_VR(tag))
    except KeyError:
        return ""


def _holds(value: Any) -> bool:
    if isinstance(value, bytes):
        return bool(value.strip(b" \0"))
    return value is not None and bool(str(value).strip(" \0"))


def items(data: Any, tag: int) -> list[Any]:
    """The data sets of a sequence; none where it cannot be parsed."""
    try:
        return list(data[tag].value or ())
    except Exception:  # noqa: BLE001 - pydicom parses a sequence when it is asked for, and may raise anything
        return []


def _may_be_burned_in(data: Any, tags: set[int]) -> bool:
    """Said so, or an overlay plane, or nothing said by a device that writes into its pictures."""
    said = str(data.get("BurnedInAnnotation") or "").upper()
    captured = str(data.get("Modality") or "") in SCREENS or str(data.get("SOPClassUID") or "").startswith(CAPTURES)
    overlays = any(GROUP_OVERLAYS <= tag >> 16 <= LAST_OVERLAY and tag & 0xFFFF == 0x3000 for tag in tags)
    return said == "YES" or overlays or (captured and said != "NO")


def _spoken(relative: str, values: Iterable[Any]) -> bool:
    """Whether a path holds one of the values, however it is written."""
    path = _letters(relative)
    return any(len(text) >= SHORTEST and text in path for text in map(_letters, map(str, values)))


def _letters(text: str) -> str:
    return "".join(char for char in text.casefold() if char.isalnum())


def _nifti_texts(path: Path) -> dict[str, str]:
    header: Any = nibabel.load(path).header  # lazy: the voxels are not read
    found = {name: _decoded(header[name].item()) for name in NIFTI_TEXTS if name in header}
    return found | {"extension": " ".join(_decoded(each.content) for each in header.extensions)}


def _picture_texts(path: Path) -> dict[str, str]:
    with Image.open(path, formats=("PNG", "JPEG")) as image:
        exif = " ".join(f"{_decoded(value)}" for tag, value in image.getexif().items() if tag not in TECHNICAL_EXIF)
        texts = (_decoded(value) for name, value in image.info.items() if name not in TECHNICAL)
        return {"EXIF": exif, "text": " ".join(texts)}


def _decoded(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
