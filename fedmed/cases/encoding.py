"""From a row of a table to the numbers that a network sees: gaps filled, categories as 0 and 1, numbers standardised.

What fills a gap is the hospital's own: the median or mean of a column's known cells in its training rows, of a category
the most frequent level. `normalisation: site` takes mean and standard deviation from the same cells. With
`imputation: constant` and `normalisation: none` nothing is taken from the rows: the recipe says each column's numbers.
"""

from __future__ import annotations

import statistics
from collections import Counter
from typing import TYPE_CHECKING

from fedmed.errors import FedmedError
from fedmed.preprocessing import ColumnNumbers, Preprocessing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fedmed.cases.case import Case, Row
    from fedmed.recipe_tables import Column, Table


def needs_fit(table: Table) -> bool:
    """Whether rows can be encoded only with numbers fitted before."""
    return table.normalisation != "none" or table.imputation in ("median", "mean")


def encode(row: Row, table: Table, preprocessing: Preprocessing | None) -> list[float]:
    """`table.width` numbers, in the order of the columns and their levels.

    Raises FedmedError FM-NRM-02 where the table needs fitted numbers and gets none: to go on without would be another
    model in silence.
    """
    fitted = preprocessing.columns if preprocessing else None
    if fitted is None and needs_fit(table):
        raise FedmedError("FM-NRM-02", f"normalisation: {table.normalisation}: expected fitted numbers of each column")
    found: list[float] = []
    for column, value in zip(table.columns, row.inputs, strict=True):
        numbers = fitted[column.name] if fitted else ColumnNumbers(fill=column.mean, mean=column.mean, sd=column.sd)
        known = numbers.fill if value is None else value
        if column.levels is None:
            found.append((known - numbers.mean) / numbers.sd)
        else:
            found += [float(known == place) for place in range(1, len(column.levels))]
    return found


def fitted(cases: Sequence[Case], table: Table) -> Preprocessing | None:
    """What fills gaps and standardises, from training rows; None where nothing is needed.

    Raises FedmedError FM-TAB-10 for a column without any value.
    """
    if not needs_fit(table):
        return None
    rows = [case.row.inputs for case in cases if case.row]
    columns = {
        column.name: _fit(column, [row[place] for row in rows], table) for place, column in enumerate(table.columns)
    }
    return Preprocessing(columns=columns)


def _fit(column: Column, cells: Sequence[float | None], table: Table) -> ColumnNumbers:
    known = [cell for cell in cells if cell is not None]
    if not known:
        raise FedmedError("FM-TAB-10", f"column {column.name}: none of {len(cells)} training rows has a value")
    if column.levels is not None:
        counts = Counter(known)
        return ColumnNumbers(fill=min(counts, key=lambda level: (-counts[level], level)))
    mean = statistics.fmean(known)
    fill = mean if table.imputation == "mean" else statistics.median(known)
    if table.normalisation == "none":
        return ColumnNumbers(fill=fill, mean=column.mean, sd=column.sd)
    spread = statistics.stdev(known) if len(known) > 1 else 0.0
    return ColumnNumbers(fill=fill, mean=mean, sd=spread or 1.0)  # a constant column becomes 0
