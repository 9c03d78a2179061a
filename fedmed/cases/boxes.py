"""The table of boxes, a CSV file that a hospital keeps beside its images, and what its boxes mean to the recipe.

Columns `path` (as in the table of labels), `x`, `y`, `width`, `height` (pixels of the stored image, the left and upper
edge counted from its upper left corner; fractions are fine) and `label` (a whole number in the hospital's own
numbering), perhaps `patient`; all others become covariates. One row a box. An image without a finding has one row
with these five cells empty; one without any row is unlabelled, unless a table of labels says that it has no finding.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedmed.cases import labels, paths, spreadsheet
from fedmed.cases.case import Box
from fedmed.errors import FedmedError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from fedmed.cases.labels import Value
    from fedmed.recipe_fields import Data

WHERE = "data.layout.boxes"
EDGES = ("x", "y", "width", "height")
OVERHANG = 1.0  # pixels: converted from rounded shares or centres, a box at the edge may reach out by as much
NUMBER = re.compile(r"[+-]?[0-9]{1,9}(?:\.[0-9]{0,20})?(?:[eE][+-]?[0-9])?")


@dataclass(frozen=True)
class Row:
    """What one line says of one image; numbers are still text. `cells` are those of EDGES and the label."""

    cells: tuple[str, ...]
    patient: str
    covariates: Mapping[str, Value]


@dataclass(frozen=True)
class Table:
    """Rows by path (see labels.key); `left_out` counts covariates that were too long to keep."""

    rows: Mapping[str, Sequence[Row]]
    left_out: int

    @property
    def repeated(self) -> int:
        """Rows that only say again what another row says of the same image."""
        return sum(len(rows) - len({(row.cells, row.patient) for row in rows}) for rows in self.rows.values())


@dataclass(frozen=True)
class Said:
    """What the table says of one image: its boxes, sorted, in the hospital's numbers."""

    boxes: tuple[Box, ...]
    patient: str
    covariates: Mapping[str, Value]


def read(root: Path, relative: str) -> Table:
    """The table at `relative` below the root. Raises FedmedError FM-DAT-15 or FM-BOX-01."""
    rows: dict[str, list[Row]] = {}
    left_out = 0
    names = (*EDGES, "label")
    for cells in spreadsheet.read(paths.locate(root, relative, WHERE), ("path", *names), ("patient",), _unreadable):
        path, patient = (cells.pop(name, "") for name in ("path", "patient"))
        numbers = tuple(cells.pop(name, "") for name in names)
        kept, too_long = labels.covariates(cells)
        left_out += too_long
        rows.setdefault(labels.key(path), []).append(Row(numbers, patient, kept))
    return Table(rows, left_out)


def entry(table: Table, images: Iterable[str], where: str) -> Said | None:
    """What is said of the case that has these image paths; None where no row names one of them.

    Raises FedmedError FM-BOX-05 (no area), -06 (no numbers), -07 (rows contradict each other) or FM-DAT-28.
    """
    rows = [row for path in images for row in table.rows.get(labels.key(path), ())]
    if not rows:
        return None
    found = {_box(row.cells, where) for row in rows}
    patients = {row.patient for row in rows}
    if len(patients) > 1 or (None in found and len(found) > 1):
        what = f"{len(patients)} patients" if len(patients) > 1 else "boxes and no finding"
        raise FedmedError("FM-BOX-07", f"{where}: {len(rows)} rows of the table of boxes say {what}")
    boxes = tuple(sorted(box for box in found if box is not None))
    return Said(boxes, patients.pop(), labels.agreed([row.covariates for row in rows]))


def inside(boxes: Sequence[Box], columns: int, rows: int, where: str) -> tuple[Box, ...]:
    """The boxes, cut where they reach out of the image by at most OVERHANG. Raises FedmedError FM-BOX-04."""
    found = []
    for box in boxes:
        left, top, right, bottom = edges(box)
        out = max(-left, -top, right - columns, bottom - rows)
        x, y, right, bottom = max(left, 0.0), max(top, 0.0), min(right, columns), min(bottom, rows)
        if out > OVERHANG or right <= x or bottom <= y:
            size = f"image of {columns} x {rows} pixels"
            raise FedmedError("FM-BOX-04", f"{where}: a box reaches {out:.1f} pixels out of an {size}")
        found.append(box._replace(x=x, y=y, width=right - x, height=bottom - y))
    return tuple(found)


def to_classes(boxes: Sequence[Box], data: Data, label_map: Mapping[int, int], where: str) -> tuple[Box, ...]:
    """The boxes with the recipe's classes; those that label_map names and sends to 0 are left out.

    Raises FedmedError FM-DAT-28, also for a label of 0 that label_map does not name: no box is no finding.
    """
    found = []
    for box in boxes:
        target = labels.to_class(box.label, data, label_map, where, "the label of a box")
        if target:
            found.append(box._replace(label=target))
        elif box.label not in label_map:
            allowed = f"expected 1 to {len(data.labels)}, or a number that label_map names"
            raise FedmedError("FM-DAT-28", f"{where}: the label of a box is 0, {allowed}")
    return tuple(found)


def check_against(boxes: Sequence[Box], label: int, where: str) -> None:
    """Boxes and a class of the table of labels, both in the recipe's numbers. Raises FedmedError FM-BOX-08 or -09."""
    if boxes and not label:
        message = f"{len(boxes)} boxes, but the table of labels says that there is no finding"
        raise FedmedError("FM-BOX-08", f"{where}: {message}")
    if label and label not in {box.label for box in boxes}:
        raise FedmedError("FM-BOX-09", f"{where}: the table of labels names a finding that has no box")


def edges(box: Box) -> tuple[float, float, float, float]:
    """Left, top, right and bottom."""
    return box.x, box.y, box.x + box.width, box.y + box.height


def _box(cells: Sequence[str], where: str) -> Box | None:
    """The box of a row; None where its cells are empty."""
    if not any(cells):
        return None
    *numbers, text = cells
    label = labels.number(text, where)
    if label is None or not all(NUMBER.fullmatch(number) for number in numbers):
        raise FedmedError("FM-BOX-06", f"{where}: a box with a cell that is empty or no number")
    x, y, width, height = map(float, numbers)
    if width <= 0 or height <= 0:
        raise FedmedError("FM-BOX-05", f"{where}: a box {width:g} wide and {height:g} high, expected above 0")
    return Box(x, y, width, height, label)


def _unreadable(what: str, local: str = "") -> FedmedError:
    return FedmedError("FM-BOX-01", f"the table of boxes: {what}", local=local)
