"""The table of labels, a CSV file that a hospital keeps beside its images, and what its numbers mean to the recipe.

Columns `path` (relative to the data root, with / or \\; of a DICOM folder the folder) and `label` (a whole number in
the hospital's own numbering, or nothing), perhaps `patient`; all others become covariates, which stay at the site.
fedmed.yaml may name other columns, let them name cases, and say which number a text stands for (settings.LabelTable).
What stands in a table is never part of a message.
"""

from __future__ import annotations

import difflib
import math
import re
import unicodedata
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol

from fedmed.cases import paths, spreadsheet
from fedmed.errors import FedmedError
from fedmed.settings import LabelTable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    Value = str | int | float

MAX_TEXT = 200  # characters of a covariate: longer ones are reports
WHERE = "data.layout.labels"
NEVER = -1  # what a class that is never labelled here becomes in the map of the reader; see `Labelling`
WHOLE = re.compile(r"([+-]?[0-9]{1,9})(?:\.0*)?")  # pandas writes 1.0 where another row has no label
INTEGER, DECIMAL = re.compile(r"-?(0|[1-9][0-9]{0,14})"), re.compile(r"-?[0-9]{1,15}\.[0-9]{1,15}")


@dataclass(frozen=True)
class Row:
    """What one line says of one image; the label is still text."""

    label: str
    patient: str
    covariates: Mapping[str, Value]


@dataclass(frozen=True)
class Labelling:
    """How a site labels: `label_map` as the reader takes it, and the `absent` classes, which it never labels.

    Where there are absent ones, a number that would mean one of them maps to NEVER.
    """

    label_map: Mapping[int, int]
    absent: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Table:
    """Rows by path or case (see `key`); `left_out` counts covariates that were too long to keep."""

    rows: Mapping[str, Sequence[Row]]
    left_out: int
    by: Literal["path", "case"] = "path"
    values: Mapping[str, int] = field(default_factory=dict)

    @property
    def repeated(self) -> int:
        """Rows that only say again what another row says of the same image."""
        several = [rows for rows in self.rows.values() if len({(row.label, row.patient) for row in rows}) == 1]
        return sum(len(rows) - 1 for rows in several)


def key(path: str) -> str:
    """One spelling of a path below the root: for a table written on Windows, by a Mac or with a leading `./`."""
    plain = unicodedata.normalize("NFC", path.strip()).replace("\\", "/")
    return plain.removeprefix("./").rstrip("/")


def read(root: Path, said: str | LabelTable) -> Table:
    """The table at a path below the root, or as described. Raises FedmedError FM-DAT-15 or -49."""
    columns = LabelTable(file=said, path="path") if isinstance(said, str) else said
    rows: dict[str, list[Row]] = {}
    left_out = 0
    path = paths.locate(root, columns.file, WHERE)
    refuse = _unreadable if isinstance(said, str) else _unlike_its_description
    for cells in spreadsheet.read(path, (columns.key, columns.label), (columns.patient,), refuse):
        about, label, patient = (cells.pop(name, "") for name in (columns.key, columns.label, columns.patient))
        kept, too_long = covariates(cells)
        left_out += too_long
        rows.setdefault(key(_placed(about, columns)), []).append(Row(label, patient, kept))
    return Table(rows, left_out, columns.place, columns.values)


def _placed(text: str, columns: LabelTable) -> str:
    """What the place of the pattern stands for; a cell that is written otherwise names nothing that could be found."""
    if columns.pattern is None:
        return text
    before, after = columns.pattern.split(f"{{{columns.place}}}")
    fits = text.startswith(before) and text.endswith(after) and len(text) > len(before) + len(after)
    return text[len(before) : len(text) - len(after)] if fits else f"\0{text}"


def entry(table: Table, names: Iterable[str], where: str) -> tuple[int | None, str, dict[str, Value]]:
    """Label, patient and covariates of the case that the table calls so: by its image paths, or by its name.

    Of the covariates those all rows agree on. Raises FedmedError FM-DAT-28 (no whole number, or none of the values in
    fedmed.yaml), -50 (no row) or -52 (rows contradict each other).
    """
    rows = [row for name in names for row in table.rows.get(key(name), ())]
    if not rows:
        raise FedmedError("FM-DAT-50", f"{where}: no row in the table of labels")
    said = {(_number(row.label, table, where), row.patient) for row in rows}
    if len(said) > 1:
        raise FedmedError("FM-DAT-52", f"{where}: {len(rows)} rows say {len(said)} different things, expected one")
    label, patient = said.pop()
    return label, patient, agreed([row.covariates for row in rows])


def _number(text: str, table: Table, where: str) -> int | None:
    if not table.values:
        return number(text, where)
    plain = match[1] if (match := WHOLE.fullmatch(text)) else text  # pandas writes 1.0
    for spelling in (text, plain):
        if spelling in table.values:
            return table.values[spelling]
    raise FedmedError("FM-DAT-28", f"{where}: a label in the table is none of data.layout.labels.values")


class Labelled(Protocol):
    """A recipe's data, of whatever task."""

    @property
    def labels(self) -> Mapping[int, str]: ...


def labelling(label_map: Mapping[int, int], absent: Sequence[str], data: Labelled) -> Labelling:
    """What fedmed.yaml says, checked: the numbers of the site, and the classes that it never labels.

    Raises FedmedError FM-DAT-07 (label_map) or -72 (absent).
    """
    check_map(label_map, data)
    by_name = {name: number for number, name in data.labels.items()}
    for name in absent:
        if name not in by_name:
            near = difflib.get_close_matches(name, by_name, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise _absent(f"expected names of the recipe's classes{hint}", name)
    found = frozenset(by_name[name] for name in absent)
    if found and len(found) == len(by_name):
        raise _absent("expected some classes, got all of them")
    for value, target in label_map.items():
        if target in found:
            raise _absent(f"has {data.labels[target]}, and label_map maps {value} to it")
    whole = label_map or {number: number for number in (0, *data.labels)}
    told = {value: NEVER if target in found else target for value, target in whole.items()}
    return Labelling(told if found else label_map, found)


def _absent(what: str, local: str = "") -> FedmedError:
    return FedmedError("FM-DAT-72", f"fedmed.yaml: absent: {what}", local=local)


def check_map(label_map: Mapping[int, int], data: Labelled) -> None:
    """Raises FedmedError FM-DAT-07 where a number becomes a class that the recipe does not have."""
    for value, target in label_map.items():
        if target != 0 and target not in data.labels:
            allowed = len(data.labels)
            raise FedmedError("FM-DAT-07", f"fedmed.yaml: label_map: {value}: expected 0 to {allowed}, got {target}")


def to_class(value: int, data: Labelled, label_map: Mapping[int, int], where: str, shown: str = "the class") -> int:
    """The recipe's class of a hospital's number. Where label_map is given it must name every value but 0.

    Raises FedmedError FM-DAT-28, or -73 (a class that is never labelled here, see `Labelling`).
    """
    target = label_map.get(value, 0 if value == 0 else None) if label_map else value
    if target is None:
        raise FedmedError("FM-DAT-28", f"{where}: {shown} is not in label_map")
    if label_map and target == NEVER:  # without a map -1 is a number of the hospital's
        raise FedmedError("FM-DAT-73", f"{where}: {shown} is of a class that absent in fedmed.yaml lists")
    if target != 0 and target not in data.labels:
        raise FedmedError("FM-DAT-28", f"{where}: {shown}, expected 0 to {len(data.labels)}")
    return target


def number(text: str, where: str) -> int | None:
    """A label as a whole number, None where there is none. Raises FedmedError FM-DAT-28."""
    if not text:
        return None
    match = WHOLE.fullmatch(text)
    if match is None:
        raise FedmedError("FM-DAT-28", f"{where}: a label in the table, expected a whole number")
    return int(match[1])


def covariates(cells: Mapping[str, str]) -> tuple[dict[str, Value], int]:
    """What further columns say, and how many cells were too long to keep."""
    said = {name: cell for name, cell in cells.items() if cell}
    kept = {name: _value(cell) for name, cell in said.items() if len(cell) <= MAX_TEXT}
    return kept, len(said) - len(kept)


def agreed(rows: Sequence[Mapping[str, Value]]) -> dict[str, Value]:
    """The covariates that all rows say alike."""
    first, *others = rows
    return {name: value for name, value in first.items() if all(other.get(name) == value for other in others)}


def _value(text: str) -> Value:
    """A number where the text is one and reads back the same, so that 007 remains what it is."""
    if INTEGER.fullmatch(text):
        return int(text)
    if DECIMAL.fullmatch(text) and math.isfinite(float(text)):
        return float(text)
    return text


def _unlike_its_description(what: str, local: str = "") -> FedmedError:
    """Without the names of the hospital's columns."""
    if what.startswith("the first line"):
        what, local = "the first line: expected the columns that data.layout.labels names", what
    return _unreadable(what, local)


def _unreadable(what: str, local: str = "") -> FedmedError:
    return FedmedError("FM-DAT-49", f"the table of labels: {what}", local=local)
