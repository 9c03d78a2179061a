"""One study, looked at once: the case it gives, or all that is wrong with it, and what checks across cases need."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from fedmed.cases import (
    boxes,
    checks,
    content,
    geometry,
    labels,
    likeness,
    oddities,
    pictures,
    reading,
    regions,
    views,
)
from fedmed.cases.case import Case, Geometry
from fedmed.cases.examined import Examined, Facts, Finding
from fedmed.cases.layout import LABEL
from fedmed.cases.noticed import Noticed
from fedmed.cases.sources import Images, Sources
from fedmed.errors import FedmedError
from fedmed.recipe_fields import FEDERATED, Pictures, Volumes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from fedmed.cases.case import Volume
    from fedmed.cases.layout import Study
    from fedmed.recipe_fields import Data


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


def examine(ground: Ground, study: Study, alias: str) -> Examined:
    """Read in full. Raises nothing: what is wrong is a finding."""
    return _Examination(ground, study, alias).result()


class _Examination:
    """The steps of `examine` for one study."""

    def __init__(self, ground: Ground, study: Study, alias: str) -> None:
        self.ground, self.data, self.study, self.alias = ground, ground.data, study, alias
        self.noticed = Noticed()
        self.sources = Sources(ground.root, ground.data, ground.files_below, study, alias, self.noticed)
        self.likeness = ""

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
        self.noticed.others(self.ground.root, matched, self.alias)
        findings = [
            Finding(code=error.code, message=error.message, part=part, local="; ".join([*matched, error.local]))
            for part, error in faults
        ]
        facts = self._facts(case, images, readable=readable)
        return Examined(self.alias, matched, case, (*findings, *self.noticed.findings()), facts)

    def _facts(self, case: Case | None, images: str, *, readable: bool) -> Facts:
        noticed, (low, high) = self.noticed, self.noticed.range
        return Facts(
            readable=readable,
            labelled=case is not None and case.label is not None,
            unnamed=noticed.unnamed,
            ignored=noticed.counts["ignored"],
            images=images,
            low=low,
            high=high,
            dicom=noticed.counts["dicom"],
            polarity=dict(sorted(noticed.polarity.items())),
            laterality=noticed.counts["laterality"],
            view=noticed.counts["view"],
            regions=noticed.regions,
            trace=noticed.trace(),
        )

    def _case(self) -> Case:
        images = Images()
        for channel in self.data.channels:
            self.sources.channel(channel, images)
        if len(images.patients) > 1:
            raise FedmedError("FM-DAT-14", f"{self.alias}: images of {len(images.patients)} patients, expected 1")
        if isinstance(self.data, Pictures):
            return self._picture(images, self.data)
        label = self.sources.mask() if self.ground.has_masks else None
        ground = self.ground
        volume = reading.read_files(
            self.alias, images.files, label, ground.root, self.data, ground.label_map, images.slices
        )
        if isinstance(self.data, Volumes) and self.data.spacing != FEDERATED:  # else training would stop at it
            grid = volume.affine, volume.image.shape[1:], self.data.axcodes
            geometry.check_resampled(*grid, self.data.spacing, self.alias)
        self.noticed.doubt(checks.of_volume(volume, self.data, self.alias))
        if label is not None:
            self.noticed.regions = regions.names(ground.root, label, ground.label_map, f"{self.alias} {LABEL}")
        for channel, values in zip(self.data.channels, volume.image, strict=True):
            self.noticed.doubt(oddities.of_series(images.slices.get(channel, ()), values, f"{self.alias} {channel}"))
        self.noticed.measure(volume.image[0])
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
                self.noticed.doubt(oddities.of_radiograph(slices[0], f"{self.alias} {channel}"))
        self.noticed.measure(picture.slices[:, 0])
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
                self.sources.channel(channel, images)
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
                label = self.sources.mask()
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

    def _patient(self, named: str, images: Images) -> str:
        """By the table of labels, else the layout's {patient}, else DICOM (PatientID and its issuer), else nobody
        but this case.
        """
        identity, issuer = next(iter(images.patients), ("", ""))
        if named or self.study.patient:
            identity, issuer = named or self.study.patient, ""
        if not identity:
            self.noticed.unnamed = True
            self.noticed.doubt([("FM-CHK-07", f"{self.alias}: nothing says who the patient is")])
            return self.ground.name("patient", f"\0{self.alias}")
        return self.ground.name("patient", f"{identity}\0{issuer}" if issuer else identity)


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
