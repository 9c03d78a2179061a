"""A CSV file as spreadsheets save it: comma, semicolon or tab, a first line with the names, empty cells left away.

What stands in a file is never part of a message.
"""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

from fedmed import files

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from fedmed.errors import FedmedError

MAX_BYTES = 64 << 20
MAX_COLUMNS = 32
MAX_NAME = 200
DELIMITERS = (",", ";", "\t")


def read(
    path: Path, required: Sequence[str], optional: Sequence[str], refuse: Callable[[str, str], FedmedError]
) -> list[dict[str, str]]:
    """The lines that are not empty, each as column -> cell, without spaces around; columns without a name left out.

    The delimiter is the first with which the first line yields the `required` columns. These and the `optional` ones
    are found in any case of letters. `refuse` makes the error out of what is wrong and what only the local log says.
    """
    try:
        text = files.read_bounded(path, MAX_BYTES).decode("utf-8-sig")
        names, delimiter = _header(text, required, optional, refuse)
        return [
            {name: cell.strip() for name, cell in zip(names, line, strict=False) if name}
            for line in lines(text, delimiter, len(names), refuse)
        ]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise refuse("not found, not UTF-8, or not CSV", str(error)) from error


def _header(
    text: str, required: Sequence[str], optional: Sequence[str], refuse: Callable[[str, str], FedmedError]
) -> tuple[list[str], str]:
    first = text.partition("\n")[0].rstrip("\r")
    known = {*required, *optional}
    for delimiter in DELIMITERS:
        names = [name.strip() for name in next(csv.reader([first], delimiter=delimiter), [])]
        names = [name.lower() if name.lower() in known else name for name in names]
        if set(required) <= set(names):
            named = [name for name in names if name]
            if len(set(named)) != len(named):
                raise refuse("two columns have the same name", "")
            if len(named) > MAX_COLUMNS or max(map(len, named)) > MAX_NAME:
                raise refuse(f"{len(named)} columns, expected at most {MAX_COLUMNS} with short names", "")
            return names, delimiter
    expected = f"{', '.join(required[:-1])} and {required[-1]}"
    raise refuse(f"the first line: expected the columns {expected}", "")


def lines(
    text: str, delimiter: str, width: int, refuse: Callable[[str, str], FedmedError], *, has_names: bool = True
) -> Iterator[list[str]]:
    """Every line that is not empty, after the first with the names; spreadsheets leave empty cells away at the end of
    a line. Raises csv.Error, and what `refuse` makes of a line that is too long.
    """
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    if has_names:
        next(reader, None)
    for line in reader:
        if len(line) > width:
            raise refuse(f"line {reader.line_num}: {len(line)} cells, expected {width}", "")
        if any(cell.strip() for cell in line):
            yield line
