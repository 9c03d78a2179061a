"""One study, looked at once: the case it gives, or all that is wrong with it, and what checks across cases need."""

from __future__ import annotations

import warnings
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from fedmed.cases import (
    boxes,
    checks,
    content,
    geometry,
    identifiers,
    labels,
    likeness,
    nifti,
    oddities,
    pictures,
    reading,
    regions,
    series,
    stack,
    views,
)
from fedmed.cases.case import Case, Geometry
from fedmed.cases.identifiers import Trace
from fedmed.cases.layout import LABEL
from fedmed.errors import FedmedError
from fedmed.recipe_fields import Pictures
from fedmed.strict import Strict

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from fedmed.cases.case import Volume
    from fedmed.cases.checks import Doubt
    from fedmed.cases.layout import Study
    from fedmed.recipe_fields import Data

SAMPLE = 1 << 18  # voxels that the range of an image is taken from


class Finding(Strict):
    """What was noticed about a case. `part` is a channel, `label` or nothing; `local` has paths: for local.log only."""

    code: str
    message: str
    part: str = ""
    local: str = ""


class Facts(Strict):
    """What a case tells the checks that compare cases, and the funnel. No value of a patient's is in here.

    `ignored` counts files of its folders that are no image; `low` and `high` are the 1st and 99th percentile of the
    first channel; `dicom`, `polarity`, `laterality` and `view` count DICOM files, all and by what they say; `regions`
    has what the numbers of a DICOM mask are called, as digests.
    """

    readable: bool = False
    labelled: bool = False
    unnamed: bool = False
    ignored: int = 0
    images: str = ""
    low: float = 0.0
    high: float = 0.0
    dicom: int = 0
    polarity: dict[str, int] = Field(default_factory=dict)
    laterality: int = 0
    view: int = 0
    regions: dict[int, str] = Field(default_factory=dict)
    trace: Trace = Trace()


@dataclass(frozen=True)
class Examined:
    """A study: `case` where it can be used, else at least one finding says why not. `paths` are those that matched."""

    alias: str
    paths: tuple[str, ...]
    case: Case | None
    findings: tuple[Finding, ...]
    facts: Facts


@dataclass(frozen=True)
class Ground:
    """What all studies of a folder share. `files_below` lists the files of a folder; `name` gives aliases."""

    root: Path
    data: Data
    label_map: Mapping[int, int]
    has_masks: bool
    table: labels.Table | None
    boxes: boxes.Table | None
    files_below: Callable[[str], tuple[str, ...]]
    name: Callable[[str, str], str]


@dataclass
class Images:
    """The files of a case by channel, what DICOM says of each slice and whom they show, and the paths that a table of
    labels may name.
    """

    files: dict[str, tuple[str, ...]] = field(default_factory=dict)
    slices: dict[str, list[series.Slice]] = field(default_factory=dict)
    patients: set[tuple[str, str]] = field(default_factory=set)
    named: list[str] = field(default_factory=list)


def examine(ground: Ground, study: Study, alias: str) -> Examined:
    """Read in full. Raises nothing: what is wrong is a finding."""
    return _Examination(ground, study, alias).result()


class _Examination:
    """The steps of `examine` for one study, and what was noticed on the way."""

    def __init__(self, ground: Ground, study: Study, alias: str) -> None:
        self.ground, self.data, self.study, self.alias = ground, ground.data, study, alias
        self.doubts: dict[str, list[str]] = {}
        self.counts: Counter[str] = Counter()
        self.polarity: Counter[str] = Counter()
        self.traces: list[Trace] = []
        self.seen: set[str] = set()
        self.scanned: dict[str, series.Scan] = {}
        self.range = (0.0, 0.0)
        self.likeness = ""
        self.regions: dict[int, str] = {}
        self.unnamed = False

    def result(self) -> Examined:
        matched = tuple(path for group in self.study.matches.values() for path in group)
        case, faults = None, []
        images, readable = "", True
        try:
            found = self._case()
            lines = content.lines(found, self.ground.root)
            case, images = content.with_digest(found, lines), content.of_images(lines)
            case = replace(case, likeness=self.likeness)
        except FedmedError as error:
            faults = self._faults() or [(LABEL if error.code.startswith("FM-BOX") else "", error)]
            readable = all(part == LABEL for part, _ in faults)
        self._look_at_others(matched)
        findings = [
            Finding(code=error.code, message=error.message, part=part, local="; ".join([*matched, error.local]))
            for part, error in faults
        ]
        findings += [Finding(code=code, message=_counted(texts)) for code, texts in self.doubts.items()]
        low, high = self.range
        facts = Facts(
            readable=readable,
            labelled=case is not None and case.label is not None,
            unnamed=self.unnamed,
            ignored=self.counts["ignored"],
            images=images,
            low=low,
            high=high,
            dicom=self.counts["dicom"],
            polarity=dict(sorted(self.polarity.items())),
            laterality=self.counts["laterality"],
            view=self.counts["view"],
            regions=self.regions,
            trace=identifiers.together(self.traces),
        )
        return Examined(self.alias, matched, case, tuple(findings), facts)

    def _case(self) -> Case:
        images = Images()
        for channel in self.data.channels:
            self._channel(channel, images)
        if len(images.patients) > 1:
            raise FedmedError("FM-DAT-14", f"{self.alias}: images of {len(images.patients)} patients, expected 1")
        if isinstance(self.data, Pictures):
            return self._picture(images, self.data)
        label = self._mask() if self.ground.has_masks else None
        ground = self.ground
        volume = reading.read_files(
            self.alias, images.files, label, ground.root, self.data, ground.label_map, images.slices
        )
        self._notice(checks.of_volume(volume, self.data, self.alias))
        if label is not None:
            self.regions = regions.names(self.ground.root, label, self.ground.label_map, f"{self.alias} {LABEL}")
        for channel, values in zip(self.data.channels, volume.image, strict=True):
            self._notice(oddities.of_series(images.slices.get(channel, ()), values, f"{self.alias} {channel}"))
        self._measure(volume.image[0])
        self.likeness = likeness.of_volume(volume)
        return Case(
            self.alias, self._patient("", images), "", images.files, label, _covariates(volume), _geometry(volume)
        )

    def _picture(self, images: Images, data: Pictures) -> Case:
        """A case of a classification or localisation; its group is the name of its class in the recipe, or 0; of
        several boxes that of the first class among them.
        """
        if self.ground.boxes is not None:
            return self._boxed(images, data, self.ground.boxes)
        label, named, group, covariates = self._class(images, data)
        grid, covariates = self._look(images, data), _with_header(images, data, covariates)
        return Case(self.alias, self._patient(named, images), group, images.files, label, covariates, grid)

    def _look(self, images: Images, data: Pictures) -> Geometry:
        picture, grid = pictures.look(self.alias, images.files, self.ground.root, data, images.slices)
        if data.modality == "XR":
            for channel, slices in images.slices.items():
                self._notice(oddities.of_radiograph(slices[0], f"{self.alias} {channel}"))
        self._measure(picture.slices[:, 0])
        self.likeness = likeness.of_picture(picture)
        return grid

    def _class(self, images: Images, data: Pictures) -> tuple[int | None, str, str, Mapping[str, labels.Value]]:
        """What the table of labels says: label, patient, name of the class, covariates."""
        if self.ground.table is None:
            return None, "", "", {}
        label, named, covariates = labels.entry(self.ground.table, self._names(images), self.alias)
        if label is None:
            raise FedmedError("FM-DAT-12", f"{self.alias}: its row in the table of labels has no label")
        number = labels.to_class(label, data, self.ground.label_map, self.alias)
        return label, named, data.labels.get(number, "0"), covariates

    def _boxed(self, images: Images, data: Pictures, table: boxes.Table) -> Case:
        """Boxes from their table; a table of labels, where there is one, must agree, and may say that there is none."""
        said, listed = self._said(images, data, table)
        grid = self._look(images, data)
        every = [path for group in images.files.values() for path in group]
        if said.boxes and any(pictures.is_turned(self.ground.root, path, self.alias) for path in every):
            message = f"{self.alias}: the file says that the image is to be turned, and it has boxes"
            raise FedmedError("FM-BOX-10", message)
        found = boxes.inside(said.boxes, *grid.shape[:2], self.alias)
        classes = boxes.to_classes(found, data, self.ground.label_map, self.alias)
        if listed is not None:
            boxes.check_against(classes, listed, self.alias)
        group = data.labels[min(box.label for box in classes)] if classes else "0"
        covariates = _with_header(images, data, said.covariates)
        return Case(self.alias, self._patient(said.patient, images), group, images.files, found, covariates, grid)

    def _said(self, images: Images, data: Pictures, table: boxes.Table) -> tuple[boxes.Said, int | None]:
        """What both tables say of the case, and the class in that of labels, where it names the case."""
        label, named, covariates = self._listed(images)
        listed = None if label is None else labels.to_class(label, data, self.ground.label_map, self.alias)
        said = boxes.entry(table, images.named, self.alias)
        if said is None and listed is None:
            raise FedmedError("FM-BOX-02", f"{self.alias}: no row in the table of boxes")
        said = said or boxes.Said((), named, {})
        if len({named, said.patient} - {""}) > 1:
            raise FedmedError("FM-BOX-07", f"{self.alias}: the tables of boxes and of labels name different patients")
        return boxes.Said(said.boxes, named or said.patient, {**said.covariates, **covariates}), listed

    def _listed(self, images: Images) -> tuple[int | None, str, Mapping[str, labels.Value]]:
        """What the table of labels says, where there is one and it names the case."""
        table = self.ground.table
        if table is None or not any(labels.key(name) in table.rows for name in self._names(images)):
            return None, "", {}
        return labels.entry(table, self._names(images), self.alias)

    def _names(self, images: Images) -> list[str]:
        """What the table of labels may call this case."""
        by_case = self.ground.table is not None and self.ground.table.by == "case"
        return [self.study.case] if by_case else images.named

    def _faults(self) -> list[tuple[str, FedmedError]]:
        """What is wrong with each channel and with the label, each by itself; nothing where it is how they differ."""
        found: list[tuple[str, FedmedError]] = []
        images, good = Images(), ""
        for channel in self.data.channels:
            try:
                self._channel(channel, images)
                self._read_alone(channel, images, None)
                good = good or channel
            except FedmedError as error:
                found.append((channel, error))
        try:
            if isinstance(self.data, Pictures) and self.ground.boxes:
                self._said(images, self.data, self.ground.boxes)
            elif isinstance(self.data, Pictures):
                self._class(images, self.data)
            elif self.ground.has_masks:
                label = self._mask()
                if good:
                    self._read_alone(good, images, label)
        except FedmedError as error:
            found.append((LABEL, error))
        return found

    def _read_alone(self, channel: str, images: Images, label: str | None) -> None:
        ground, files = self.ground, {channel: images.files[channel]}
        alone = self.data.model_copy(update={"channels": (channel,)})
        if isinstance(alone, Pictures):
            pictures.look(self.alias, files, ground.root, alone)
        else:
            reading.read_files(self.alias, files, label, ground.root, alone, ground.label_map)

    def _channel(self, channel: str, found: Images) -> None:
        path = self._one(channel)
        found.named.append(path)
        where = f"{self.alias} {channel}"
        if path.endswith("/"):
            chosen = found.slices[channel] = self._series(path, where)
            found.files[channel] = tuple(dict.fromkeys(one.path for one in chosen))  # a file may hold many slices
            found.patients |= {one.patient for one in chosen}
            return
        found.files[channel] = (path,)
        if self.data.modality == "XR" and (header := pictures.header(self.ground.root, path, where, self._see)):
            found.slices[channel] = [header]
            found.patients.add(header.patient)

    def _one(self, name: str) -> str:
        matches = self.study.matches.get(name, [])
        if not matches:
            raise FedmedError("FM-DAT-12" if name == LABEL else "FM-DAT-11", f"{self.alias}: no file for {name}")
        if len(matches) > 1:
            raise FedmedError("FM-DAT-13", f"{self.alias}: {len(matches)} files for {name}, expected 1")
        return matches[0]

    def _mask(self) -> str:
        """The file of the mask; in a folder, which may be that of the images, the one segmentation or structure set."""
        path = self._one(LABEL)
        if not path.endswith("/"):
            return path
        known = path in self.scanned
        scan = self._scan(path, f"{self.alias} {LABEL}")
        images = [match for name, group in self.study.matches.items() if name != LABEL for match in group]
        if not known and not any(image.startswith(path) or path.startswith(image) for image in images):
            self.counts["ignored"] += scan.ignored + len(scan.slices)  # elsewhere they are counted with the images
        if len(scan.segmentations) != 1:
            code, count = "FM-DAT-13" if scan.segmentations else "FM-DAT-12", len(scan.segmentations)
            raise FedmedError(code, f"{self.alias}: {count} DICOM masks in the folder for {LABEL}, expected 1")
        return scan.segmentations[0]

    def _scan(self, folder: str, where: str) -> series.Scan:
        """Every header of a folder, once."""
        if folder not in self.scanned:
            found = self.ground.files_below(folder)
            self.scanned[folder] = series.scan(self.ground.root, found, where, self._see)
        return self.scanned[folder]

    def _series(self, folder: str, where: str) -> list[series.Slice]:
        """The slices of the one series in `folder`, in reading order; of radiographs the one image."""
        known = folder in self.scanned
        scan = self._scan(folder, where)
        self.counts["ignored"] += 0 if known else scan.ignored
        chosen = series.choose(scan, self.data, where)
        return chosen if self.data.modality == "XR" else stack.stacked(chosen, where)[0]

    def _patient(self, named: str, images: Images) -> str:
        """By the table of labels, else the layout's {patient}, else DICOM (PatientID and its issuer), else nobody
        but this case.
        """
        identity, issuer = next(iter(images.patients), ("", ""))
        if named or self.study.patient:
            identity, issuer = named or self.study.patient, ""
        if not identity:
            self.unnamed = True
            self._notice([("FM-CHK-07", f"{self.alias}: nothing says who the patient is")])
            return self.ground.name("patient", f"\0{self.alias}")
        return self.ground.name("patient", f"{identity}\0{issuer}" if issuer else identity)

    def _see(self, data: Any, relative: str) -> None:
        """Told of every DICOM header. What the reader needs of it was judged before; here nothing may fail."""
        if relative in self.seen:
            return
        self.seen.add(relative)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                trace = identifiers.of_dicom(data, relative)
                polarity = str(data.get("PhotometricInterpretation") or "")
                sided = data.get("Laterality") or data.get("ImageLaterality")
                self.counts.update(dicom=1, laterality=bool(sided), view=bool(data.get("ViewPosition")))
            except Exception:  # noqa: BLE001 - pydicom converts a value when it is asked for, and may raise anything
                self.traces.append(identifiers.UNREADABLE)
                return
        self.traces.append(trace)
        self.polarity[polarity] += 1

    def _look_at_others(self, matched: tuple[str, ...]) -> None:
        """What NIfTI files and pictures say in words."""
        for path in matched:
            if nifti.is_nifti(path) or identifiers.is_picture(path):
                self.traces.append(identifiers.of_other(self.ground.root, path, self.alias))

    def _notice(self, doubts: list[Doubt]) -> None:
        for code, message in doubts:
            self.doubts.setdefault(code, []).append(message)

    def _measure(self, image: np.ndarray) -> None:
        """From an even sample: the percentiles of a whole-body CT would take as long as reading it."""
        step = max(1, round((image.size / SAMPLE) ** (1 / image.ndim)))
        low, high = np.percentile(image[(slice(None, None, step),) * image.ndim], (1, 99))
        self.range = float(low), float(high)


def _counted(texts: list[str]) -> str:
    """What was said of several files of a case, once."""
    return texts[0] if len(texts) == 1 else f"{texts[0]} ({len(texts)} times)"


def _with_header(images: Images, data: Data, table: Mapping[str, labels.Value]) -> dict[str, labels.Value]:
    """A table's covariates, and what it leaves open of side, view and body part of a radiograph."""
    said = [slices[0].covariates for slices in images.slices.values()] if data.modality == "XR" else []
    return {**views.agreed(said), **table}


def _covariates(volume: Volume) -> dict[str, str | int | float]:
    if volume.label is None:
        return {}
    voxel = abs(float(np.linalg.det(volume.affine[:3, :3])))
    return {"foreground_mm3": round(int(np.count_nonzero(volume.label)) * voxel, 3)}


def _geometry(volume: Volume) -> Geometry:
    _, x, y, z = volume.image.shape
    sx, sy, sz = (round(step, 6) for step in geometry.spacing(volume.affine))
    return Geometry((x, y, z), (sx, sy, sz), geometry.axcodes(volume.affine))
