"""From a folder of studies to a list of cases: matched by the layout, read once in full, pseudonymised, counted.

One bad case never stops a site: it is excluded with its code, and only the recipe's limit stops. What leaves here has
pseudonyms; the key that makes them stays in the workspace.
"""

from __future__ import annotations

import hashlib
import hmac
from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fedmed.cases import content, geometry, nifti, paths, reading, series, stack
from fedmed.cases.case import Case, Geometry
from fedmed.cases.layout import LABEL, Study, studies
from fedmed.errors import FedmedError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from fedmed.cases.case import Volume
    from fedmed.cases.paths import Tree
    from fedmed.recipe import Recipe
    from fedmed.settings import DataFolder, Layout

HEX = 16  # 64 bits: two of a million cases meet with a chance of 1 in 37 million


@dataclass(frozen=True)
class Excluded:
    """A case that cannot be used: its alias, the code, and the message. `local` has paths: for local.log only."""

    alias: str
    code: str
    message: str
    local: str


@dataclass(frozen=True)
class Found:
    """What a folder holds."""

    cases: list[Case]
    excluded: list[Excluded]
    notes: list[str]


def find(
    folder: DataFolder,
    recipe: Recipe,
    *,
    pseudonym_key: bytes,
    label_map: Mapping[int, int],
    progress: Callable[[int, int], None] | None = None,
) -> Found:
    """Every case below the data root; each is read in full, so that what is broken is found now.

    Without a label pattern in the layout the cases come without a label; with one, a case whose label is missing is
    excluded. `progress` is told (cases done, cases in all).

    Raises FedmedError FM-DAT-04, -06, -07, -08 (none usable), -09 (above the recipe's max_excluded), -10, FM-SET-03.
    """
    check_settings(folder.layout, recipe, label_map)
    search = _Search(Path(folder.root), recipe, folder.layout, pseudonym_key, label_map)
    total = len(search.studies)
    for index, study in enumerate(search.studies):
        search.take(study)
        if progress:
            progress(index + 1, total)
    found = Found(with_groups(search.cases), search.excluded, search.notes())
    _check_limit(found, recipe.data.max_excluded)
    return found


def check_settings(layout: Layout, recipe: Recipe, label_map: Mapping[int, int]) -> None:
    """Raises FedmedError FM-DAT-06, FM-DAT-07 or FM-SET-03 where fedmed.yaml does not fit the recipe."""
    expected, got = ", ".join(sorted(recipe.data.channels)), ", ".join(sorted(layout.image))
    if expected != got:
        raise FedmedError("FM-DAT-06", f"fedmed.yaml: data.layout.image: expected {expected}, got {got}")
    for value, target in label_map.items():
        if target != 0 and target not in recipe.data.labels:
            allowed = len(recipe.data.labels)
            raise FedmedError("FM-DAT-07", f"fedmed.yaml: label_map: {value}: expected 0 to {allowed}, got {target}")
    patterns = {f"image.{channel}": pattern for channel, pattern in layout.image.items()}
    for name, pattern in {LABEL: layout.label, **patterns}.items():
        if pattern and not nifti.is_nifti(pattern) and (name == LABEL or not pattern.endswith("/")):
            expected = ".nii or .nii.gz" if name == LABEL else ".nii, .nii.gz or a folder/"
            message = f"fedmed.yaml: data.layout.{name}: expected a pattern that ends in {expected}"
            raise FedmedError("FM-SET-03", message, local=pattern)


def pseudonym(key: bytes, kind: str, value: str) -> str:
    """A name that only the holder of the key can link: HMAC-SHA256 of kind and value, 64 bits of it."""
    code = hmac.new(key, f"{kind}\0{value}".encode(), hashlib.sha256).hexdigest()
    return f"{kind}-{code[:HEX]}"


def with_groups(cases: list[Case]) -> list[Case]:
    """The cases by alias, each with its quartile q1 to q4 of foreground volume; fewer than four have no groups."""
    ranked = sorted(
        (case.covariates["foreground_mm3"], case.case) for case in cases if "foreground_mm3" in case.covariates
    )
    group = (
        {alias: f"q{1 + 4 * rank // len(ranked)}" for rank, (_, alias) in enumerate(ranked)} if len(ranked) >= 4 else {}
    )
    return sorted((replace(case, group=group.get(case.case, "")) for case in cases), key=lambda case: case.case)


class _Search:
    """One pass over the studies of a folder."""

    def __init__(self, root: Path, recipe: Recipe, layout: Layout, key: bytes, label_map: Mapping[int, int]) -> None:
        self.root, self.data, self.layout, self.label_map = root, recipe.data, layout, label_map
        self.tree: Tree = paths.walk(root)
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

    def notes(self) -> list[str]:
        counted = (
            (self.unmatched, "masks belong to no image"),
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
        image: dict[str, tuple[str, ...]] = {}
        patients: set[tuple[str, str]] = set()
        for channel in self.data.channels:
            path = self._one(study, channel, alias)
            if path.endswith("/"):
                image[channel], owners = self._series(path, f"{alias} {channel}")
                patients |= owners
            else:
                image[channel] = (path,)
        label = self._one(study, LABEL, alias) if self.layout.label else None
        if len(patients) > 1:
            raise FedmedError("FM-DAT-14", f"{alias}: images of {len(patients)} patients, expected 1")
        volume = reading.read_files(alias, image, label, self.root, self.data, self.label_map)
        patient = self._patient(study, alias, *patients)
        return Case(alias, patient, "", image, label, _covariates(volume), _geometry(volume))

    def _one(self, study: Study, name: str, alias: str) -> str:
        matches = study.matches.get(name, [])
        if not matches:
            raise FedmedError("FM-DAT-12" if name == LABEL else "FM-DAT-11", f"{alias}: no file for {name}")
        if len(matches) > 1:
            raise FedmedError("FM-DAT-13", f"{alias}: {len(matches)} files for {name}, expected 1")
        return matches[0]

    def _series(self, folder: str, where: str) -> tuple[tuple[str, ...], set[tuple[str, str]]]:
        """The files of the one series in `folder`, in reading order, and whose they are."""
        start = bisect_left(self.tree.files, folder)
        stop = bisect_left(self.tree.files, folder[:-1] + "0")  # "0" is the character after "/"
        scan = series.scan(self.root, self.tree.files[start:stop], where)
        self.ignored += scan.ignored
        ordered, _ = stack.stacked(series.choose(scan, self.data, where), where)
        return tuple(one.path for one in ordered), {one.patient for one in ordered}

    def _patient(self, study: Study, alias: str, who: tuple[str, str] = ("", "")) -> str:
        """By the layout's {patient}, else by DICOM (PatientID and its issuer), else nobody but this case."""
        identity, issuer = (study.patient, "") if study.patient else who
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


def _check_limit(found: Found, max_excluded: float) -> None:
    """Raises FedmedError FM-DAT-08 or FM-DAT-09 with the funnel by code."""
    total, dropped = len(found.cases) + len(found.excluded), len(found.excluded)
    counts = Counter(one.code for one in found.excluded)
    funnel = ", ".join(f"{count} x {code}" for code, count in sorted(counts.items()))
    local = "\n".join(f"{one.code} {one.message} [{one.local}]" for one in found.excluded)
    if not found.cases:
        raise FedmedError("FM-DAT-08", f"{total} cases found, 0 usable{': ' if funnel else ''}{funnel}", local=local)
    if dropped > max_excluded * total:
        share = f"{dropped / total:.1%} excluded, the recipe allows {max_excluded:.1%}"
        raise FedmedError(
            "FM-DAT-09", f"{total} cases found, {len(found.cases)} usable: {share}: {funnel}", local=local
        )
