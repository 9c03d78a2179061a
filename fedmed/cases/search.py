"""One pass over the studies below a data root: each read once in full, pseudonymised, and kept or excluded."""

from __future__ import annotations

import hashlib
import hmac
from bisect import bisect_left
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from fedmed import recipe as recipes
from fedmed.cases import boxes, content, geometry, labels, paths, pictures, reading, series, stack
from fedmed.cases.case import Case, Geometry
from fedmed.cases.layout import LABEL, Study, studies
from fedmed.errors import FedmedError
from fedmed.recipe_fields import Pictures

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from fedmed.cases.case import Volume
    from fedmed.recipe import Recipe
    from fedmed.settings import Layout

HEX = 16  # 64 bits: two of a million cases meet with a chance of 1 in 37 million


@dataclass(frozen=True)
class Excluded:
    """A case that cannot be used: its alias, the code, and the message. `local` has paths: for local.log only."""

    alias: str
    code: str
    message: str
    local: str


@dataclass
class Images:
    """The files of a case by channel, whom DICOM says they show, and the paths that a table of labels may name."""

    files: dict[str, tuple[str, ...]] = field(default_factory=dict)
    patients: set[tuple[str, str]] = field(default_factory=set)
    named: list[str] = field(default_factory=list)


def pseudonym(key: bytes, kind: str, value: str) -> str:
    """A name that only the holder of the key can link: HMAC-SHA256 of kind and value, 64 bits of it."""
    code = hmac.new(key, f"{kind}\0{value}".encode(), hashlib.sha256).hexdigest()
    return f"{kind}-{code[:HEX]}"


class Search:
    """What was found so far: `take` every one of `studies`, then read `cases`, `excluded` and `notes`."""

    def __init__(self, root: Path, recipe: Recipe, layout: Layout, key: bytes, label_map: Mapping[int, int]) -> None:
        self.root, self.data, self.layout, self.label_map = root, recipe.data, layout, label_map
        self.tree = paths.walk(root)
        self.table = labels.read(root, layout.labels) if layout.labels else None
        wants_boxes = isinstance(recipe, recipes.Localisation)
        self.boxes = boxes.read(root, layout.boxes) if layout.boxes and wants_boxes else None
        self.studies, self.unmatched = studies(self.tree, layout)
        self.key = key
        self.cases: list[Case] = []
        self.excluded: list[Excluded] = []
        self.ignored = self.unnamed = 0
        self._meaning: dict[str, str] = {}

    def take(self, study: Study) -> None:
        alias = self._alias("case", f"{study.patient}\0{study.case}" if study.patient else study.case)
        try:
            case = self._case(study, alias)
            self.cases.append(replace(case, content=content.digest(case, self.root)))
        except FedmedError as error:
            local = "; ".join([*(path for group in study.matches.values() for path in group), error.local])
            self.excluded.append(Excluded(alias, error.code, error.message, local))

    def without_image(self) -> dict[str, list[str]]:
        """The paths in a table that no image of a case has, by code."""
        matched = {labels.key(path) for study in self.studies for group in study.matches.values() for path in group}
        tables = {"FM-DAT-51": self.table, "FM-BOX-03": self.boxes}
        return {code: sorted(table.rows.keys() - matched) for code, table in tables.items() if table}

    def notes(self) -> list[str]:
        astray = {code: len(found) for code, found in self.without_image().items()}
        tables = [table for table in (self.table, self.boxes) if table]
        counted = (
            (self.unmatched, "masks belong to no image"),
            (astray.get("FM-DAT-51", 0), "rows of the table of labels have no image (FM-DAT-51)"),
            (astray.get("FM-BOX-03", 0), "images that the table of boxes names are not there (FM-BOX-03)"),
            (self.table.repeated if self.table else 0, "rows of the table of labels only repeat another"),
            (self.boxes.repeated if self.boxes else 0, "rows of the table of boxes only repeat another"),
            (sum(table.left_out for table in tables), f"covariates are over {labels.MAX_TEXT} characters: left out"),
            (self.ignored, "files in DICOM folders are no DICOM image and were left alone"),
            (self.tree.outside, "links lead out of the data folder and were not followed"),
            (self.unnamed, "cases do not say who the patient is: each counts as a patient of its own"),
        )
        return [f"{count} {what}" for count, what in counted if count]

    def _alias(self, kind: str, value: str) -> str:
        alias = pseudonym(self.key, kind, value)
        if self._meaning.setdefault(alias, value) != value:
            raise FedmedError("FM-DAT-10", f"{alias}: two of them")
        return alias

    def _case(self, study: Study, alias: str) -> Case:
        images = self._images(study, alias)
        if len(images.patients) > 1:
            raise FedmedError("FM-DAT-14", f"{alias}: images of {len(images.patients)} patients, expected 1")
        if isinstance(self.data, Pictures):
            return self._picture(study, alias, images, self.data)
        label = self._mask(study, alias) if self.layout.label else None
        volume = reading.read_files(alias, images.files, label, self.root, self.data, self.label_map)
        patient = self._patient(study, alias, "", images)
        return Case(alias, patient, "", images.files, label, _covariates(volume), _geometry(volume))

    def _picture(self, study: Study, alias: str, images: Images, data: Pictures) -> Case:
        """A case of a classification or localisation; its group is the name of its class in the recipe, or 0; of
        several boxes that of the first class among them.
        """
        if self.boxes is not None:
            return self._boxed(study, alias, images, data, self.boxes)
        label: int | None = None
        named, group = "", ""
        covariates: Mapping[str, str | int | float] = {}
        if self.table is not None:
            label, named, covariates = labels.entry(self.table, images.named, alias)
            if label is None:
                raise FedmedError("FM-DAT-12", f"{alias}: its row in the table of labels has no label")
            group = data.labels.get(labels.to_class(label, data, self.label_map, alias), "0")
        _, grid = pictures.look(alias, images.files, self.root, data)
        patient = self._patient(study, alias, named, images)
        return Case(alias, patient, group, images.files, label, covariates, grid)

    def _boxed(self, study: Study, alias: str, images: Images, data: Pictures, table: boxes.Table) -> Case:
        """Boxes from their table; a table of labels, where there is one, must agree, and may say that there is none."""
        label, named, covariates = self._listed(images, alias)
        listed = None if label is None else labels.to_class(label, data, self.label_map, alias)
        said = boxes.entry(table, images.named, alias)
        if said is None and listed is None:
            raise FedmedError("FM-BOX-02", f"{alias}: no row in the table of boxes")
        said = said or boxes.Said((), named, {})
        if len({named, said.patient} - {""}) > 1:
            raise FedmedError("FM-BOX-07", f"{alias}: the tables of boxes and of labels name different patients")
        _, grid = pictures.look(alias, images.files, self.root, data)
        turned = any(pictures.is_turned(self.root, path, alias) for group in images.files.values() for path in group)
        if turned and said.boxes:
            raise FedmedError("FM-BOX-10", f"{alias}: the file says that the image is to be turned, and it has boxes")
        found = boxes.inside(said.boxes, *grid.shape[:2], alias)
        classes = boxes.to_classes(found, data, self.label_map, alias)
        if listed is not None:
            boxes.check_against(classes, listed, alias)
        group = data.labels[min(box.label for box in classes)] if classes else "0"
        patient = self._patient(study, alias, named or said.patient, images)
        return Case(alias, patient, group, images.files, found, {**said.covariates, **covariates}, grid)

    def _listed(self, images: Images, alias: str) -> tuple[int | None, str, Mapping[str, labels.Value]]:
        """What the table of labels says, where there is one and it names the case."""
        if self.table is None or not any(labels.key(path) in self.table.rows for path in images.named):
            return None, "", {}
        return labels.entry(self.table, images.named, alias)

    def _images(self, study: Study, alias: str) -> Images:
        found = Images()
        for channel in self.data.channels:
            path = self._one(study, channel, alias)
            found.named.append(path)
            if path.endswith("/"):
                chosen = self._series(path, f"{alias} {channel}")
                found.files[channel] = tuple(one.path for one in chosen)
                found.patients |= {one.patient for one in chosen}
                continue
            found.files[channel] = (path,)
            if self.data.modality == "XR" and (header := pictures.header(self.root, path, f"{alias} {channel}")):
                found.patients.add(header.patient)
        return found

    def _one(self, study: Study, name: str, alias: str) -> str:
        matches = study.matches.get(name, [])
        if not matches:
            raise FedmedError("FM-DAT-12" if name == LABEL else "FM-DAT-11", f"{alias}: no file for {name}")
        if len(matches) > 1:
            raise FedmedError("FM-DAT-13", f"{alias}: {len(matches)} files for {name}, expected 1")
        return matches[0]

    def _mask(self, study: Study, alias: str) -> str:
        """The file of the mask; in a folder, which may be that of the images, the one DICOM segmentation."""
        path = self._one(study, LABEL, alias)
        if not path.endswith("/"):
            return path
        scan = self._scan(path, f"{alias} {LABEL}")
        images = [match for name, group in study.matches.items() if name != LABEL for match in group]
        if not any(image.startswith(path) or path.startswith(image) for image in images):
            self.ignored += scan.ignored + len(scan.slices)  # elsewhere they are counted with the images
        if len(scan.segmentations) != 1:
            code, count = "FM-DAT-13" if scan.segmentations else "FM-DAT-12", len(scan.segmentations)
            raise FedmedError(code, f"{alias}: {count} DICOM segmentations in the folder for {LABEL}, expected 1")
        return scan.segmentations[0]

    def _scan(self, folder: str, where: str) -> series.Scan:
        start = bisect_left(self.tree.files, folder)
        stop = bisect_left(self.tree.files, folder[:-1] + "0")  # "0" is the character after "/"
        return series.scan(self.root, self.tree.files[start:stop], where)

    def _series(self, folder: str, where: str) -> list[series.Slice]:
        """The slices of the one series in `folder`, in reading order; of radiographs the one image."""
        scan = self._scan(folder, where)
        self.ignored += scan.ignored
        chosen = series.choose(scan, self.data, where)
        return chosen if self.data.modality == "XR" else stack.stacked(chosen, where)[0]

    def _patient(self, study: Study, alias: str, named: str, images: Images) -> str:
        """By the table of labels, else the layout's {patient}, else DICOM (PatientID and its issuer), else nobody
        but this case.
        """
        identity, issuer = next(iter(images.patients), ("", ""))
        if named or study.patient:
            identity, issuer = named or study.patient, ""
        if not identity:
            self.unnamed += 1
            return self._alias("patient", f"\0{alias}")
        return self._alias("patient", f"{identity}\0{issuer}" if issuer else identity)


def _covariates(volume: Volume) -> dict[str, str | int | float]:
    if volume.label is None:
        return {}
    voxel = abs(float(np.linalg.det(volume.affine[:3, :3])))
    return {"foreground_mm3": round(int(np.count_nonzero(volume.label)) * voxel, 3)}


def _geometry(volume: Volume) -> Geometry:
    _, x, y, z = volume.image.shape
    sx, sy, sz = (round(step, 6) for step in geometry.spacing(volume.affine))
    return Geometry((x, y, z), (sx, sy, sz), geometry.axcodes(volume.affine))
