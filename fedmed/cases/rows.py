"""From the rows of a table to cases: which rows are this site's, what the recipe wants of each, pseudonyms, counts.

A row is known by the cell of its case column; where the layout names none, by its cells, so that a row that is added
or moved leaves every other row what and where it was.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING

from fedmed.cases import labels, tables
from fedmed.cases.case import NO_GRID, Case, Row
from fedmed.cases.examined import Examined, Facts, Finding, without_patient
from fedmed.cases.search import person, pseudonym
from fedmed.errors import FedmedError
from fedmed.recipe_tables import ClassTable, SurvivalTable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from fedmed.cases.tables import Sheet
    from fedmed.recipe import Rowwise
    from fedmed.recipe_tables import Column
    from fedmed.settings import TableLayout

EVENT, CENSORED = "event", "censored"


class Rows:
    """The rows of a table, as Search has the studies of a folder: `examine` each of `numbers`, then ask for `notes`."""

    def __init__(
        self,
        root: Path,
        recipe: Rowwise,
        layout: TableLayout,
        key: bytes,
        label_map: Mapping[int, int],
        store_key: bytes | None = None,
    ) -> None:
        """Raises FedmedError FM-TAB-01, -02, -04 (no row fits `where`), FM-DAT-15."""
        self.rules, self.layout, self.key, self.label_map = recipe.data, layout, key, label_map
        self.store_key = store_key
        self.persons: dict[str, str] = {}
        self.sheet = tables.read(root, layout, recipe.data.names)
        every = range(1, len(self.sheet.rows) + 1)
        self.numbers = [number for number in every if tables.fits(self.sheet.cells(number), layout)]
        if not self.numbers and every:
            raise FedmedError("FM-TAB-04", f"{tables.WHERE}.where: none of {len(every)} rows has these values")
        self.left_out = 0
        self._names = _names(self.sheet, self.numbers, layout)
        self._said = Counter(self._names.values())

    def examine(self, number: int) -> Examined:
        """Raises nothing: what is wrong with the row is a finding."""
        name = self._names[number]
        alias, case, findings = pseudonym(self.key, "case", name), None, []
        try:
            if self._said[name] > 1:
                raise FedmedError("FM-TAB-05", f"{alias}: {self._said[name]} rows with this case, expected 1")
            case = self._case(number, alias, name)
        except FedmedError as error:
            findings = [Finding(code=error.code, message=error.message, local=f"row {number}")]
        cells = self.sheet.cells(number)
        labelled = all(cells[outcome] for outcome in self.rules.outcomes)
        named = any(cells[column] for column in (self.layout.case, self.layout.patient) if column)
        facts = Facts(readable=True, labelled=labelled, unnamed=not named)
        return Examined(alias, (self.layout.file,), case, tuple(findings), facts)

    def without_image(self) -> dict[str, list[str]]:
        """No row needs one; see Search."""
        return {}

    def notes(self, examined: Sequence[Examined]) -> list[str]:
        counted = (
            (len(self.sheet.rows) - len(self.numbers), "rows do not fit data.layout.table.where: not this site's"),
            (self.left_out, f"covariates are over {labels.MAX_TEXT} characters: left out"),
            without_patient(examined),
        )
        return [f"{count} {what}" for count, what in counted if count]

    def _case(self, number: int, alias: str, name: str) -> Case:
        cells = self.sheet.cells(number)
        inputs = tuple(_input(column, cells[column.name], self.layout, alias) for column in self.rules.columns)
        gaps = sum(value is None for value in inputs)
        if gaps and self.rules.imputation == "drop":
            raise FedmedError("FM-TAB-09", f"{alias}: {gaps} of {len(inputs)} columns are empty")
        label, group, time = self._outcome(cells, alias)
        patient = (cells[self.layout.patient] if self.layout.patient else "") or f"\0{name}"
        known = {*self.rules.names, self.layout.case, self.layout.patient}
        kept, too_long = labels.covariates({name: cell for name, cell in cells.items() if name and name not in known})
        self.left_out += too_long
        named = pseudonym(self.key, "patient", patient)
        if self.store_key is not None:
            self.persons[named] = person(self.store_key, patient)
        return Case(
            alias,
            named,
            group,
            {},
            label,
            kept,
            NO_GRID,
            tables.digest(alias, cells),
            row=Row(number, inputs, time),
        )

    def _outcome(self, cells: Mapping[str, str], alias: str) -> tuple[int, str, float | None]:
        """The class in the hospital's own numbers, its group, and the time of a survival.

        Raises FedmedError FM-DAT-12 (none), FM-DAT-28 (an unknown class), FM-TAB-06, FM-TAB-08.
        """
        if not all(cells[name] for name in self.rules.outcomes):
            raise FedmedError("FM-DAT-12", f"{alias}: its row has no outcome")
        if isinstance(self.rules, SurvivalTable):
            time = tables.number(cells[self.rules.outcome.time], self.layout)
            if time is None or time < 0:
                raise FedmedError("FM-TAB-08", f"{alias}: {self.rules.outcome.time}: expected a time of 0 or more")
            event = labels.number(cells[self.rules.outcome.event], alias) or 0
            seen = labels.to_class(event, self.rules, self.label_map, alias, self.rules.outcome.event)
            return event, EVENT if seen else CENSORED, time
        if not isinstance(self.rules, ClassTable):
            raise TypeError(type(self.rules).__name__)
        outcome = self.rules.outcome
        if outcome.above is None:
            label = labels.number(cells[outcome.column], alias) or 0
        else:
            label = int(_number(cells[outcome.column], self.layout, f"{alias}: {outcome.column}") > outcome.above)
        found = labels.to_class(label, self.rules, self.label_map, alias, outcome.column)
        return label, self.rules.labels.get(found, "0"), None


def _names(sheet: Sheet, numbers: Sequence[int], layout: TableLayout) -> dict[int, str]:
    """By what each row is known: its case, or its cells and how many rows with the same cells stand before it."""
    found: dict[int, str] = {}
    before: Counter[str] = Counter()
    for number in numbers:
        cells = sheet.cells(number)
        if layout.case and cells[layout.case]:
            found[number] = cells[layout.case]
            continue
        content = json.dumps(cells, sort_keys=True)
        found[number] = f"\0{before[content]}\0{content}"
        before[content] += 1
    return found


def _input(column: Column, cell: str, layout: TableLayout, alias: str) -> float | None:
    """A number, or the number of a category's level; None for a gap. Raises FedmedError FM-TAB-06 or FM-TAB-07."""
    if not cell:
        return None
    if column.levels is None:
        return _number(cell, layout, f"{alias}: {column.name}")
    said = tables.number(cell, layout)
    for place, level in enumerate(column.levels):
        if cell == level or (isinstance(level, int) and said == level):
            return float(place)
    raise FedmedError("FM-TAB-07", f"{alias}: {column.name}: expected one of the {len(column.levels)} levels")


def _number(cell: str, layout: TableLayout, where: str) -> float:
    found = tables.number(cell, layout)
    if found is None:
        raise FedmedError("FM-TAB-06", f"{where}: expected a number")
    return found
