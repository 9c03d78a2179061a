"""A table whose rows are the cases, as a hospital's registry exports it: CSV with a line of names, or without one.

What stands in a table is never part of a message, nor are the names of columns that the recipe does not have.
"""

from __future__ import annotations

import csv
import difflib
import hashlib
import json
import math
import re
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedmed import files
from fedmed.cases import paths, spreadsheet
from fedmed.errors import FedmedError
from fedmed.settings import Layout, TableLayout

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from fedmed.cases.case import Case

MAX_BYTES = 32 << 20
MAX_COLUMNS = 1000
WHERE = "data.layout.table"
BESIDE_IMAGES = ("labels.csv", "boxes.csv")
NUMBER = re.compile(r"[+-]?(?:[0-9]{1,30}\.?[0-9]{0,30}|\.[0-9]{1,30})(?:[eE][+-]?[0-9]{1,2})?")


@dataclass(frozen=True)
class Sheet:
    """The cells of every row, stripped and NFC, in the order of `columns`; a gap is the empty text."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def cells(self, number: int) -> dict[str, str]:
        """The row of this number, from 1, as column -> cell."""
        return dict(zip(self.columns, self.rows[number - 1], strict=True))


def read(root: Path, layout: TableLayout, wanted: Sequence[str]) -> Sheet:
    """The table of `layout`, which must have the `wanted` columns and those that the layout names.

    Raises FedmedError FM-TAB-01 (unreadable), FM-TAB-02 (a column is missing), FM-DAT-15.
    """
    path = paths.locate(root, layout.file, WHERE)
    try:
        text = files.read_bounded(path, MAX_BYTES).decode("utf-8-sig")
        names, delimiter = _names(text, layout, wanted)
        _require_columns(names, layout, wanted)
        found = spreadsheet.lines(text, delimiter, len(names), _unreadable, has_names=layout.columns is None)
        rows = tuple(tuple(_cells(line, len(names), layout.missing)) for line in found)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise _unreadable("not found, larger than 32 MiB, not UTF-8, or not CSV", str(error)) from error
    return Sheet(names, rows)


def number(cell: str, layout: TableLayout) -> float | None:
    """A finite number with the layout's decimal mark; None for anything else, as 1.234 where the mark is a comma."""
    text = cell.replace(".", "?").replace(",", ".") if layout.decimal == "," else cell
    return float(text) if NUMBER.fullmatch(text) and math.isfinite(float(text)) else None


def fits(cells: Mapping[str, str], layout: TableLayout) -> bool:
    """Whether the row is one of this site's: every column of `where` holds the value there."""
    for column, value in layout.where.items():
        cell = cells[column]
        if cell != value and (isinstance(value, str) or number(cell, layout) != value):
            return False
    return True


def digest(alias: str, cells: Mapping[str, str]) -> str:
    """SHA-256 over the cells of a row. The alias is in it: a few cells alone could be guessed from their digest."""
    return hashlib.sha256(json.dumps([alias, cells], sort_keys=True).encode()).hexdigest()


def check(cases: Sequence[Case], root: Path, layout: TableLayout, progress: Callable[[int, int], None]) -> None:
    """Read the table again. Raises FedmedError FM-DAT-46 (another content than at `partition`), FM-TAB-01, -02."""
    sheet = read(root, layout, ())
    for done, case in enumerate(cases, start=1):
        here = case.row is not None and case.row.number <= len(sheet.rows)
        if case.row is None or not here or digest(case.case, sheet.cells(case.row.number)) != case.content:
            raise FedmedError("FM-DAT-46", f"{case.case}: expected the content that partition read, got another")
        progress(done, len(cases))


def files_in(root: Path) -> list[str]:
    """The .csv files at the top of `root` that may hold cases; tables that stand beside images are none."""
    found = (name for name in paths.walk(root).files if "/" not in name and name.lower().endswith(".csv"))
    return [name for name in found if name not in BESIDE_IMAGES]


def detect(root: Path, columns: Sequence[str] = ()) -> Layout:
    """The layout of the one .csv file at the top of `root`; where `columns` are known, of the one that has them all.

    The columns `case` and `patient` mean what they say. Raises FedmedError FM-DAT-04 or -05; where there is one file
    that cannot be used, what is wrong with it: FM-TAB-01 or -02.
    """
    names = files_in(root)
    found: list[Layout] = []
    wrong: list[FedmedError] = []
    for name in names:
        try:
            sheet = read(root, TableLayout(file=name), columns)
        except FedmedError as error:
            wrong.append(error)
            continue
        known = {key: key for key in ("case", "patient") if key in sheet.columns}
        found.append(Layout(table=TableLayout(file=name, **known)))
    if len(found) == 1:
        return found[0]
    if len(names) == 1:
        raise wrong[0]
    raise FedmedError(
        "FM-DAT-05",
        f"{len(found)} tables of cases among {len(names)} .csv files, expected 1",
        next="write data.layout into fedmed.yaml, for example table: {file: patients.csv, case: id}",
    )


def _names(text: str, layout: TableLayout, wanted: Sequence[str]) -> tuple[tuple[str, ...], str]:
    """The names of the columns and the delimiter: the one that makes as many cells of the first line as `columns`, or
    most. Where another one makes as many, or more of the wanted columns, a person must say which.
    """
    first = text.partition("\n")[0].rstrip("\r")
    delimiters = (layout.delimiter,) if layout.delimiter else spreadsheet.DELIMITERS
    read_as = {each: _cells(next(csv.reader([first], delimiter=each), []), 0, ()) for each in delimiters}
    expected = len(layout.columns or ())
    best = max(delimiters, key=lambda each: (len(read_as[each]) == expected, len(read_as[each])))
    for other in delimiters:
        is_as_long = 1 < len(read_as[best]) == len(read_as[other])
        fits_better = len(set(wanted) & set(read_as[other])) > len(set(wanted) & set(read_as[best]))
        if other != best and (is_as_long or fits_better):
            raise _unreadable(f"several delimiters are possible: write {WHERE}.delimiter into fedmed.yaml")
    names = tuple(layout.columns or read_as[best])
    named = [name for name in names if name]
    if len(set(named)) != len(named):
        raise _unreadable("two columns have the same name")
    if not 0 < len(names) <= MAX_COLUMNS or max(map(len, names)) > spreadsheet.MAX_NAME:
        raise _unreadable(f"{len(names)} columns, expected 1 to {MAX_COLUMNS} with short names")
    return names, best


def _require_columns(names: Sequence[str], layout: TableLayout, wanted: Sequence[str]) -> None:
    missing = [name for name in wanted if name not in names]
    if missing:
        near = difflib.get_close_matches(missing[0], names, n=1)
        local = f"did the recipe mean {near[0]!r}?" if near else ""
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise FedmedError("FM-TAB-02", f"{WHERE}: no column {missing[0]}{more}, which the recipe names", local=local)
    own = {"case": layout.case, "patient": layout.patient, **{f"where: {name}": name for name in layout.where}}
    for key, name in own.items():
        if name is not None and name not in names:
            what = key.partition(":")[0]
            raise FedmedError("FM-TAB-02", f"{WHERE}.{what}: the table has no such column", local=key)


def _cells(line: Sequence[str], width: int, missing: Sequence[str]) -> list[str]:
    cells = [unicodedata.normalize("NFC", cell.strip()) for cell in line]
    cells += [""] * (width - len(cells))
    return ["" if cell in missing else cell for cell in cells]


def _unreadable(what: str, local: str = "") -> FedmedError:
    return FedmedError("FM-TAB-01", f"the table of cases: {what}", local=local)
