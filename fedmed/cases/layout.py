"""Which files belong to which case: patterns of fedmed.yaml against the files below the data root.

Images and masks meet by what {case} and {patient} stand for, never by the order of two listings.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fedmed.cases import boxes, decathlon, labels, paths, shipped
from fedmed.errors import FedmedError
from fedmed.settings import Layout

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence, Set
    from pathlib import Path

    from fedmed.cases.paths import Tree

SUFFIXES = (".nii.gz", ".nii", ".dcm", ".png", ".jpg", ".jpeg", ".csv")
TABLE, BOXES = "labels.csv", "boxes.csv"
LABEL = "label"  # beside the channels, whose names are upper case
PLACES = re.compile(r"({case}|{patient}|\*)")


@dataclass
class Study:
    """What the patterns found for one case. A match that ends in `/` is a folder of DICOM files."""

    patient: str
    case: str
    matches: dict[str, list[str]] = field(default_factory=dict)


def studies(tree: Tree, layout: Layout) -> tuple[list[Study], int]:
    """Every study that has at least one image, and the number of masks that belong to none.

    Where only some patterns hold {patient}, {case} alone joins them: two patients with one case name are then two
    files for one case, which `find` refuses.
    """
    patterns = layout.image | ({LABEL: layout.label} if layout.label else {})
    by_patient = all("{patient}" in pattern for pattern in patterns.values())
    found: dict[tuple[str, str], Study] = {}
    for name, path, places in _matches(tree, patterns, layout.tables):
        patient = places.get("patient", "")
        key = (patient if by_patient else "", places["case"])
        study = found.setdefault(key, Study(patient, places["case"]))
        study.patient = study.patient or patient
        study.matches.setdefault(name, []).append(path)
    with_image = [found[key] for key in sorted(found) if set(found[key].matches) != {LABEL}]
    return with_image, len(found) - len(with_image)


def _matches(tree: Tree, patterns: dict[str, str], tables: set[str]) -> Iterator[tuple[str, str, dict[str, str]]]:
    """(channel or label, path, places). A table is no image. A path that two patterns match belongs to the one that
    spells out more; but a folder with the same pattern for images and masks belongs to both.
    """
    ranked = sorted(patterns, key=lambda name: len(PLACES.sub("", patterns[name])), reverse=True)
    rules = [(name, _expression(patterns[name])) for name in ranked]
    for path in (*tree.files, *(f"{folder}/" for folder in tree.folders)):
        for name, rule in rules if path not in tables else ():  # {case} alone, without a suffix, would match it
            if match := rule.fullmatch(path):
                places = {key: unicodedata.normalize("NFC", value) for key, value in match.groupdict().items()}
                yield name, path, places
                if path.endswith("/") and name != LABEL and patterns.get(LABEL) == patterns[name]:
                    yield LABEL, path, places
                break


def _expression(pattern: str) -> re.Pattern[str]:
    parts, seen = [], set()
    for part in PLACES.split(pattern):
        if part == "*":
            parts.append("[^/]*")
        elif part in ("{case}", "{patient}"):
            name = part[1:-1]
            parts.append(f"(?P={name})" if name in seen else f"(?P<{name}>[^/]+)")
            seen.add(name)
        else:
            parts.append(re.escape(part))
    return re.compile("".join(parts))


def detect_layout(root: Path, channels: Sequence[str], *, task: str = "") -> Layout:
    """The known layout that gives the most complete cases below `root`, among those for the task where it is known.

    With masks: the Medical Segmentation Decathlon (imagesTr and labelsTr, also with nnU-Net's `_0000`), images and
    labels, dicom and masks, dicom and segmentations, seg or rtstruct (DICOM), and flat `{case}_image` with
    `{case}_label`. With the tables labels.csv and boxes.csv: images, dicom and flat `{case}`; a case is complete when
    its images have a row in one of them. Localisation needs boxes.csv. Where none of these fits, the shipped layouts of
    public data sets are tried that call their channels so.

    Raises FedmedError FM-DAT-04, -05 or -49, or FM-BOX-01.
    """
    tree = paths.walk(root)
    best, most = None, 0
    for layout in _with_masks(channels) if task in ("", "segmentation") else ():
        complete = sum(_is_complete(study, channels) for study in studies(tree, layout)[0])
        if complete > most:
            best, most = layout, complete
    tables, named, broken = _tables(tree, root, task)
    for layout in _with_tables(channels, tables):
        complete = sum(_is_named(study, channels, named) for study in studies(tree, layout)[0])
        if complete > most:
            best, most = layout, complete
    if best is None:
        best = _best_shipped(tree, root, channels, task)
    if best is not None and decathlon.NAME in tree.files and best.label and best.label.startswith("labelsTr/"):
        return _listed(root, best, channels)
    if best is None and broken is not None:
        raise broken
    if best is None:
        masks = ", ".join(f"{channel}: 'images/{{case}}_{channel}.nii.gz'" for channel in channels)
        pictures = ", ".join(f"{channel}: 'images/{{case}}.dcm'" for channel in channels)
        examples = {
            "segmentation": f"image: {{{masks}}}, label: 'labels/{{case}}.nii.gz'",
            "classification": f"image: {{{pictures}}}, labels: '{TABLE}'",
            "localisation": f"image: {{{pictures}}}, boxes: '{BOXES}'",
        }
        shown = " or ".join(text for name, text in examples.items() if task in ("", name))
        raise FedmedError("FM-DAT-05", f"no known layout among {_kinds(tree)}; known is, for example, {shown}")
    return best


def _kinds(tree: Tree) -> str:
    """How many files there are of each kind; a suffix that is none of ours could be part of a name."""
    kinds = Counter(next((each for each in SUFFIXES if path.endswith(each)), "other") for path in tree.files)
    return f"{len(tree.files)} files ({', '.join(f'{count} {kind}' for kind, count in sorted(kinds.items()))})"


def _best_shipped(tree: Tree, root: Path, channels: Sequence[str], task: str) -> Layout | None:
    """The layout of a public data set that gives the most complete cases, among those with these channels."""
    best, most = None, 0
    for name in shipped.names():
        layout = shipped.load(name).layout
        if set(layout.image) != set(channels) or task not in ("", "segmentation" if layout.label else "classification"):
            continue
        found = studies(tree, layout)[0]
        if layout.labels:
            named = _cases_in(root, layout)
            complete = sum(study.case in named and _is_whole(study, channels) for study in found)
        else:
            complete = sum(_is_complete(study, channels) for study in found)
        if complete > most:
            best, most = layout, complete
    return best


def _cases_in(root: Path, layout: Layout) -> Set[str]:
    """Those that the table of labels names; none where it is another table."""
    try:
        return labels.read(root, layout.labels or TABLE).rows.keys()
    except FedmedError:
        return set()


def _listed(root: Path, layout: Layout, channels: Sequence[str]) -> Layout:
    """With dataset.json, where it is one, and files of nnU-Net numbered as it numbers the channels."""
    try:
        said = decathlon.read(root, decathlon.NAME).channels
    except FedmedError:  # somebody else's file of that name
        return layout
    image = dict(layout.image)
    if len(channels) > 1 and sorted(said) == sorted(channels):
        paths_ = list(image.values())  # in the order of the numbers
        image = dict(zip(said, paths_, strict=True))
    return layout.model_copy(update={"dataset": decathlon.NAME, "image": image})


def _tables(tree: Tree, root: Path, task: str) -> tuple[dict[str, str], set[str], FedmedError | None]:
    """The tables that are there and can be read, by their key in a layout; whom they name; and what was wrong with
    another one: it may be somebody else's, beside masks.
    """
    readers: dict[str, tuple[str, Callable[[Path, str], labels.Table | boxes.Table]]] = {}
    if task != "segmentation":
        readers["labels"] = (TABLE, labels.read)
    if task in ("", "localisation"):
        readers["boxes"] = (BOXES, boxes.read)
    tables: dict[str, str] = {}
    named: set[str] = set()
    broken: FedmedError | None = None
    for key, (name, read) in readers.items():
        if name in tree.files:
            try:
                named |= read(root, name).rows.keys()
                tables[key] = name
            except FedmedError as error:
                broken = error
    if task == "localisation" and "boxes" not in tables:
        return {}, set(), broken
    return tables, named, broken


def _with_masks(channels: Sequence[str]) -> Iterator[Layout]:
    for suffix in (".nii.gz", ".nii"):
        for images, masks in (("imagesTr", "labelsTr"), ("images", "labels")):
            numbered = {name: f"{images}/{{case}}_{index:04d}{suffix}" for index, name in enumerate(channels)}
            yield Layout(image=numbered, label=f"{masks}/{{case}}{suffix}")
            if len(channels) == 1:
                yield Layout(image={channels[0]: f"{images}/{{case}}{suffix}"}, label=f"{masks}/{{case}}{suffix}")
        for masks in ("masks", "labels"):
            yield Layout(image=_folders(channels), label=f"{masks}/{{case}}{suffix}")
        if len(channels) == 1:
            yield Layout(image={channels[0]: f"{{case}}_image{suffix}"}, label=f"{{case}}_label{suffix}")
    for masks in ("segmentations", "seg", "rtstruct"):
        yield Layout(image=_folders(channels), label=f"{masks}/{{case}}.dcm")


def _with_tables(channels: Sequence[str], tables: Mapping[str, str]) -> Iterator[Layout]:
    if not tables:
        return
    for suffix in (".dcm", ".png", ".jpg", ".jpeg", ".nii.gz", ".nii"):
        for prefix in ("images/", ""):
            image = {name: f"{prefix}{{case}}_{name}{suffix}" for name in channels}
            if len(channels) == 1:
                image = {channels[0]: f"{prefix}{{case}}{suffix}"}
            yield Layout(image=image, **tables)
    yield Layout(image=_folders(channels), **tables)


def _folders(channels: Sequence[str]) -> dict[str, str]:
    return {name: f"dicom/{{case}}/{name}/" if len(channels) > 1 else "dicom/{case}/" for name in channels}


def _is_complete(study: Study, channels: Sequence[str]) -> bool:
    return _is_whole(study, (*channels, LABEL))


def _is_named(study: Study, channels: Sequence[str], named: set[str]) -> bool:
    paths_ = [path for name in channels for path in study.matches.get(name, ())]
    return any(labels.key(path) in named for path in paths_) and _is_whole(study, channels)


def _is_whole(study: Study, channels: Sequence[str]) -> bool:
    return all(len(study.matches.get(name, ())) == 1 for name in channels)
