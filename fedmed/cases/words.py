"""The words by which this hospital's patients could be recognised, out of its files, as keyed hashes (see `tokens`).

A word is what a DICOM tag of the basic confidentiality profile holds (text and UIDs, and the birth date), or a private
tag with text; what stands in the name of a file or folder, in a cell of a table, in a NIfTI header or beside a picture.
"""

from __future__ import annotations

import re
import warnings
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from fedmed import files
from fedmed.cases import dicomfile, identifiers, nifti, paths, spreadsheet, tokens
from fedmed.errors import FedmedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

TABLES = (".csv", ".tsv", ".data")
CELLS = re.compile(r'[,;\t\r\n"]')
TEXT = {"PN", "LO", "SH", "LT", "ST", "UT", "UC", "UI"}
BIRTH_DATE = 0x00100030


def of_folder(root: Path, key: bytes, progress: Callable[[int, int], None]) -> NDArray[np.uint64]:
    """Digests of all words of the files below the data root, of their names, and of the cells of its tables.

    Only headers are read; a file that cannot be read tells nothing. `progress` is told (files done, files in all).
    Raises FedmedError FM-DAT-04.
    """
    found = Words(key)
    tree = paths.walk(root)
    for path in tree.folders:
        found.add_path(path)
    for done, path in enumerate(tree.files, start=1):
        found.add_path(path)
        if nifti.is_nifti(path) or identifiers.is_picture(path):
            for text in identifiers.texts_beside(root, path, "").values():
                found.add(text)
        elif path.lower().endswith(TABLES):
            found.add_cells(_table(root, path))
        else:
            found.add_file(root, path)
        progress(done, len(tree.files))
    return found.digests()


class Words:
    """What was collected; `digests` is what may be kept on disk."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._found: set[int] = set()

    def add(self, text: str) -> None:
        """A value, as it stands in a tag, a cell or a path."""
        run = tokens.split(text)[: tokens.LONGEST]
        if tokens.is_telling(run):
            self._found.add(tokens.digest(self._key, run))

    def add_path(self, relative: str) -> None:
        """Each folder and the file, without its last suffixes."""
        for part in relative.rstrip("/").split("/"):
            self.add(re.sub(r"(\.[a-zA-Z]{1,5}){1,2}$", "", part))

    def add_cells(self, table: str) -> None:
        """Every cell of a CSV file, whatever parts them."""
        for cell in set(CELLS.split(table)):
            self.add(cell)

    def add_file(self, root: Path, relative: str) -> None:
        """Of a DICOM header with its sequences; of anything else nothing."""
        with warnings.catch_warnings(), suppress(Exception):  # pydicom may raise anything on bytes it was not made for
            warnings.simplefilter("ignore")
            with paths.open_file(paths.locate(root, relative, ""), "") as stream:
                data = dicomfile.parse(stream, "", stop_before_pixels=True)
            for value in _values(data):
                self.add(value)

    def digests(self) -> NDArray[np.uint64]:
        return np.array(sorted(self._found), np.uint64)


def _table(root: Path, relative: str) -> str:
    try:
        return files.read_bounded(paths.locate(root, relative, ""), spreadsheet.MAX_BYTES).decode("utf-8", "replace")
    except (OSError, FedmedError):
        return ""


def _values(data: Any, depth: int = 0) -> Iterator[str]:
    profile = identifiers.basic_profile()
    for tag in data.keys():  # noqa: SIM118 - a data set iterates over converted elements
        vr = data.get_item(tag).VR or identifiers.vr_of(tag)
        if vr == "SQ" and depth < identifiers.MAX_DEPTH:
            for item in identifiers.items(data, tag):
                yield from _values(item, depth + 1)
        elif (tag in profile and vr in TEXT) or tag == BIRTH_DATE or (tag.is_private and vr in TEXT):
            yield from _texts(data, tag)


def _texts(data: Any, tag: Any) -> list[str]:
    try:
        value = data[tag].value
    except Exception:  # noqa: BLE001 - pydicom converts a value when it is asked for, and may raise anything
        return []
    several = isinstance(value, list | tuple) or type(value).__name__ == "MultiValue"
    return [str(each) for each in (value if several else [value]) if each is not None]
