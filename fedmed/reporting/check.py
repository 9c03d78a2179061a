"""What the data check found, as a page to open offline and as a table for a spreadsheet.

Everything in a report may be shown to others but the `files` of a row and the `sheets`: with them the page says in red
that it is for the hospital alone.
"""

from __future__ import annotations

import base64
import csv
import io
from dataclasses import dataclass, field
from importlib import resources
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

COLUMNS = ("case", "patient", "fold", "status", "code", "severity", "part", "message", "remedy", "files")
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # a spreadsheet would run a cell that begins so
MOST_ROWS = 2000  # of the page's table; the CSV has all
ORDER = ("error", "excluded", "warn", "ok")


@dataclass(frozen=True)
class Told:
    """A finding, with what its code means and what to do. `part` is a channel, `label` or nothing."""

    code: str
    severity: str
    part: str
    message: str
    remedy: str


@dataclass(frozen=True)
class Row:
    """A case. `fold` is where partition would put it; `files` are empty unless they were asked for."""

    case: str
    patient: str
    fold: str
    status: str
    findings: tuple[Told, ...]
    files: tuple[str, ...] = ()


@dataclass(frozen=True)
class Count:
    """How many cases have a code, or the whole folder has it (0 cases)."""

    code: str
    severity: str
    cases: int
    meaning: str
    remedy: str


@dataclass(frozen=True)
class Funnel:
    """How many cases are left behind each step; `used` are those of the three folds together."""

    found: int
    readable: int
    labelled: int
    used: int
    training: int
    validation: int
    testing: int

    def __str__(self) -> str:
        folds = f"train {self.training}, val {self.validation}, test {self.testing}"
        return (
            f"{self.found} found -> {self.readable} readable -> {self.labelled} labelled -> {self.used} used ({folds})"
        )


@dataclass(frozen=True)
class Refusal:
    """Why the data cannot be used as they are."""

    code: str
    message: str
    next: str


@dataclass(frozen=True)
class Identifiers:
    """Files that hold something that identifies: how many, and by keyword or kind of text. Never a value."""

    files: int
    keywords: Mapping[str, int]
    texts: Mapping[str, int]
    private: int
    burned_in: int
    names: int


@dataclass(frozen=True)
class Report:
    """The whole check. `ignored` counts by code what the recipe says not to show; `sheets` are PNG files."""

    recipe: str
    digest: str
    version: str
    made: str
    funnel: Funnel
    statuses: Mapping[str, int]
    counts: tuple[Count, ...]
    folder: tuple[Told, ...]
    notes: tuple[str, ...]
    ignored: Mapping[str, int]
    identifiers: Identifiers
    refusal: Refusal | None
    rows: tuple[Row, ...]
    local: bool = False
    sheets: tuple[bytes, ...] = field(default=(), repr=False)

    @property
    def names_files(self) -> bool:
        return any(row.files for row in self.rows)


def to_csv(report: Report) -> bytes:
    """A line for each finding, and one for each case without any; UTF-8 with a mark, as spreadsheets want it."""
    stream = io.StringIO(newline="")
    writer = csv.writer(stream)
    writer.writerow(COLUMNS if report.names_files else COLUMNS[:-1])
    for row in report.rows:
        for cells in _lines(row):
            writer.writerow([*cells, _plain(" ".join(row.files))] if report.names_files else cells)
    return stream.getvalue().encode("utf-8-sig")


def to_html(report: Report) -> bytes:
    """One file without scripts or anything from the net; the pictures are in it."""
    from jinja2 import Environment  # noqa: PLC0415 - only a page needs it
    from markupsafe import Markup  # noqa: PLC0415

    source = resources.files("fedmed.reporting").joinpath("check.html").read_text("utf-8")
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters["about"] = _about
    template = environment.from_string(source)
    shown = sorted(report.rows, key=lambda row: (ORDER.index(row.status), row.case))
    pictures = [Markup("data:image/png;base64,") + base64.b64encode(page).decode() for page in report.sheets]
    page = template.render(report=report, steps=_steps(report.funnel), rows=shown[:MOST_ROWS], pictures=pictures)
    return page.encode()


def _lines(row: Row) -> Iterator[list[str]]:
    head = [row.case, row.patient, row.fold, row.status]
    if not row.findings:
        yield [*head, "", "", "", "", ""]
    for told in row.findings:
        yield [*head, told.code, told.severity, told.part, _plain(told.message), told.remedy]


def _about(told: Told, case: str) -> str:
    """The message, which channel it is about, and no alias: that stands in the same line already."""
    said = told.message.removeprefix(case).lstrip(": ")
    return said if told.part in said else f"{told.part}: {said}"


def _plain(text: str) -> str:
    return f"'{text}" if text.startswith(FORMULA) else text


@dataclass(frozen=True)
class Step:
    """A bar of the funnel: its share of the first, and how many were lost before it."""

    name: str
    count: int
    lost: int
    share: float


def _steps(funnel: Funnel) -> Sequence[Step]:
    steps, before = [], funnel.found
    for name in ("found", "readable", "labelled", "used"):
        count = getattr(funnel, name)
        steps.append(Step(name, count, before - count, count / max(1, funnel.found)))
        before = count
    return steps
