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
from pydicom.datadict import dictionary_has_tag, dictionary_VR

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
    return {int(row["tag"], 16): row["keyword"] or row["tag"] for row in csv.DictReader(text.splitlines())}


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
    """Of a NIfTI header or the texts of a picture. What cannot be read has its code elsewhere."""
    try:
        path = paths.locate(root, relative, where)
        found = _nifti_texts(path) if nifti.is_nifti(relative) else _picture_texts(path)
    except Exception:  # noqa: BLE001 - nibabel and pillow answer damage with exceptions of every kind
        found = []
    return Trace(files=1, texts=dict.fromkeys(found, 1))


def _tags(data: Any, depth: int = 0) -> Iterator[int]:
    """The tags that hold a value; what stands in a sequence counts as if it stood outside."""
    for tag in data.keys():  # noqa: SIM118 - a data set iterates over converted elements
        element = data.get_item(tag)
        if (element.VR or _vr(tag)) == "SQ":
            items = _items(data, tag)
            if items:
                yield int(tag)
            for item in items if depth < MAX_DEPTH else ():
                yield from _tags(item, depth + 1)
        elif _holds(element.value):
            yield int(tag)


def _vr(tag: Any) -> str:
    """What implicit VR leaves to the dictionary."""
    return dictionary_VR(tag) if dictionary_has_tag(tag) else ""


def _holds(value: Any) -> bool:
    if isinstance(value, bytes):
        return bool(value.strip(b" \0"))
    return value is not None and bool(str(value).strip(" \0"))


def _items(data: Any, tag: int) -> list[Any]:
    try:
        return list(data[tag].value or ())
    except Exception:  # noqa: BLE001 - a sequence that cannot be parsed; the reader needs none of them
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


def _nifti_texts(path: Path) -> list[str]:
    header: Any = nibabel.load(path).header  # lazy: the voxels are not read
    held = [name for name in NIFTI_TEXTS if name in header and bytes(header[name].item()).strip(b" \0")]
    return held + (["extension"] if header.extensions else [])


def _picture_texts(path: Path) -> list[str]:
    with Image.open(path, formats=("PNG", "JPEG")) as image:
        held = ["EXIF"] if image.getexif() else []
        technical = {
            "dpi",
            "gamma",
            "jfif",
            "jfif_version",
            "jfif_unit",
            "jfif_density",
            "srgb",
            "transparency",
            "exif",
        }
        return held + (["text"] if set(image.info) - technical - {"progressive", "progression", "icc_profile"} else [])
