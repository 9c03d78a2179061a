"""Which files of a study are which: of each channel, and of the mask; a folder is a DICOM series among other files."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fedmed.cases import pictures, series, stack
from fedmed.cases.layout import LABEL
from fedmed.errors import FedmedError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from fedmed.cases.layout import Study
    from fedmed.cases.noticed import Noticed
    from fedmed.recipe_fields import Data


@dataclass
class Images:
    """The files of a case by channel, what DICOM says of each slice and whom they show, and the paths that a table of
    labels may name.
    """

    files: dict[str, tuple[str, ...]] = field(default_factory=dict)
    slices: dict[str, list[series.Slice]] = field(default_factory=dict)
    patients: set[tuple[str, str]] = field(default_factory=set)
    named: list[str] = field(default_factory=list)


class Sources:
    """The files of one study. `files_below` lists the files of a folder."""

    def __init__(
        self,
        root: Path,
        data: Data,
        files_below: Callable[[str], tuple[str, ...]],
        study: Study,
        alias: str,
        noticed: Noticed,
    ) -> None:
        self._root, self._data, self._files_below = root, data, files_below
        self._study, self._alias, self._noticed = study, alias, noticed
        self._scanned: dict[str, series.Scan] = {}

    def channel(self, channel: str, found: Images) -> None:
        """Adds the files of a channel. Raises FedmedError FM-DAT-11, -13, and what choosing a series raises."""
        path = self._one(channel)
        found.named.append(path)
        where = f"{self._alias} {channel}"
        if path.endswith("/"):
            chosen = found.slices[channel] = self._series(path, where)
            found.files[channel] = tuple(dict.fromkeys(one.path for one in chosen))  # a file may hold many slices
            found.patients |= {one.patient for one in chosen}
            return
        found.files[channel] = (path,)
        if self._data.modality == "XR" and (header := pictures.header(self._root, path, where, self._noticed.header)):
            found.slices[channel] = [header]
            found.patients.add(header.patient)

    def mask(self) -> str:
        """The file of the mask; in a folder, which may be that of the images, the one segmentation or structure set.

        Raises FedmedError FM-DAT-12 (none), -13 (several).
        """
        path = self._one(LABEL)
        if not path.endswith("/"):
            return path
        known = path in self._scanned
        scan = self._scan(path, f"{self._alias} {LABEL}")
        images = [match for name, group in self._study.matches.items() if name != LABEL for match in group]
        if not known and not any(image.startswith(path) or path.startswith(image) for image in images):
            # elsewhere they are counted with the images
            self._noticed.counts["ignored"] += scan.ignored + len(scan.slices)
        if len(scan.segmentations) != 1:
            code, count = "FM-DAT-13" if scan.segmentations else "FM-DAT-12", len(scan.segmentations)
            raise FedmedError(code, f"{self._alias}: {count} DICOM masks in the folder for {LABEL}, expected 1")
        return scan.segmentations[0]

    def _one(self, name: str) -> str:
        matches = self._study.matches.get(name, [])
        if not matches:
            raise FedmedError("FM-DAT-12" if name == LABEL else "FM-DAT-11", f"{self._alias}: no file for {name}")
        if len(matches) > 1:
            raise FedmedError("FM-DAT-13", f"{self._alias}: {len(matches)} files for {name}, expected 1")
        return matches[0]

    def _scan(self, folder: str, where: str) -> series.Scan:
        """Every header of a folder, once."""
        if folder not in self._scanned:
            found = self._files_below(folder)
            self._scanned[folder] = series.scan(self._root, found, where, self._noticed.header)
        return self._scanned[folder]

    def _series(self, folder: str, where: str) -> list[series.Slice]:
        """The slices of the one series in `folder`, in reading order; of radiographs the one image."""
        known = folder in self._scanned
        scan = self._scan(folder, where)
        self._noticed.counts["ignored"] += 0 if known else scan.ignored
        chosen = series.choose(scan, self._data, where)
        return chosen if self._data.modality == "XR" else stack.stacked(chosen, where)[0]
