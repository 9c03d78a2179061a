"""The studies below a data root, and one pass over them: each read once in full, pseudonymised, and looked at."""

from __future__ import annotations

import hashlib
import hmac
from bisect import bisect_left
from typing import TYPE_CHECKING

from fedmed import recipe as recipes
from fedmed.cases import boxes, decathlon, examine, labels, paths
from fedmed.cases.examined import without_patient
from fedmed.cases.layout import studies
from fedmed.errors import FedmedError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from fedmed.cases.examined import Examined
    from fedmed.cases.layout import Study
    from fedmed.recipe import Imaging
    from fedmed.settings import Layout

HEX = 16  # 64 bits: two of a million cases meet with a chance of 1 in 37 million


def pseudonym(key: bytes, kind: str, value: str) -> str:
    """A name that only the holder of the key can link: HMAC-SHA256 of kind and value, 64 bits of it."""
    code = hmac.new(key, f"{kind}\0{value}".encode(), hashlib.sha256).hexdigest()
    return f"{kind}-{code[:HEX]}"


def person(key: bytes, value: str) -> str:
    """What a patient is called in a hospital's budget store: HMAC-SHA256 under the store's key, 128 bits of it."""
    return hmac.new(key, f"person\0{value}".encode(), hashlib.sha256).hexdigest()[: 2 * HEX]


class Search:
    """The studies of a folder: `examine` each of them, then ask for `notes` about the whole."""

    def __init__(
        self,
        root: Path,
        recipe: Imaging,
        layout: Layout,
        key: bytes,
        label_map: Mapping[int, int],
        store_key: bytes | None = None,
    ) -> None:
        self.root, self.layout = root, layout
        self.tree = paths.walk(root)
        self.table = labels.read(root, layout.labels) if layout.labels else None
        wants_boxes = isinstance(recipe, recipes.Localisation)
        self.boxes = boxes.read(root, layout.boxes) if layout.boxes and wants_boxes else None
        self.studies, self.unmatched = studies(self.tree, layout)
        self.listed: decathlon.Listed | None = None
        if layout.dataset:
            self.listed = decathlon.listed(root, layout, self.studies, recipe.data, label_map)
            self.studies = self.listed.studies
        self.key, self.store_key = key, store_key
        self.persons: dict[str, str] = {}
        self._meaning: dict[str, str] = {}
        self._ground = examine.Ground(
            root, recipe.data, label_map, bool(layout.label), self.table, self.boxes, self.files_below, self._name
        )

    def alias(self, study: Study) -> str:
        return self._name("case", f"{study.patient}\0{study.case}" if study.patient else study.case)

    def examine(self, study: Study) -> Examined:
        """Raises FedmedError FM-DAT-10 alone: every other fault is a finding."""
        return examine.examine(self._ground, study, self.alias(study))

    def files_below(self, folder: str) -> tuple[str, ...]:
        start = bisect_left(self.tree.files, folder)
        stop = bisect_left(self.tree.files, folder[:-1] + "0")  # "0" is the character after "/"
        return self.tree.files[start:stop]

    def without_image(self) -> dict[str, list[str]]:
        """The paths or cases in a table of which there is no image, by code; and what dataset.json has amiss."""
        matched = {labels.key(path) for study in self.studies for group in study.matches.values() for path in group}
        cases = {labels.key(study.case) for study in self.studies}
        named = cases if self.table and self.table.by == "case" else matched
        found = {"FM-DAT-51": sorted(self.table.rows.keys() - named)} if self.table else {}
        found |= {"FM-BOX-03": sorted(self.boxes.rows.keys() - matched)} if self.boxes else {}
        return found | ({"FM-DAT-79": self.listed.differ, "FM-DAT-80": self.listed.missing} if self.listed else {})

    def notes(self, examined: Sequence[Examined]) -> list[str]:
        """What is worth a line about the folder, in counts."""
        astray = {code: len(found) for code, found in self.without_image().items()}
        tables = [table for table in (self.table, self.boxes) if table]
        counted = (
            (self.unmatched, "masks belong to no image"),
            (astray.get("FM-DAT-51", 0), "rows of the table of labels have no image (FM-DAT-51)"),
            (astray.get("FM-BOX-03", 0), "images that the table of boxes names are not there (FM-BOX-03)"),
            (self.listed.others if self.listed else 0, "images are not in the training list of dataset.json"),
            (astray.get("FM-DAT-80", 0), "images of the training list of dataset.json are not there (FM-DAT-80)"),
            (astray.get("FM-DAT-79", 0), "names of dataset.json are others than the recipe's (FM-DAT-79)"),
            (self.table.repeated if self.table else 0, "rows of the table of labels only repeat another"),
            (self.boxes.repeated if self.boxes else 0, "rows of the table of boxes only repeat another"),
            (sum(table.left_out for table in tables), f"covariates are over {labels.MAX_TEXT} characters: left out"),
            (
                sum(one.facts.ignored for one in examined),
                "files in DICOM folders are no DICOM image and were left alone",
            ),
            (self.tree.outside, "links lead out of the data folder or nowhere and were not followed"),
            without_patient(examined),
        )
        return [f"{count} {what}" for count, what in counted if count]

    def _name(self, kind: str, value: str) -> str:
        alias = pseudonym(self.key, kind, value)
        if self._meaning.setdefault(alias, value) != value:
            raise FedmedError("FM-DAT-10", f"{alias}: two of them")
        if kind == "patient" and self.store_key is not None:
            self.persons[alias] = person(self.store_key, value)
        return alias
