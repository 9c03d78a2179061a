"""Tables and bars, drawn by rich; `screen` comes here only when there is one."""

from __future__ import annotations

import os
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from fedmed.cli import screen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from rich.progress import TaskID


class _Console(Console):
    def on_broken_pipe(self) -> None:
        screen.nobody_reads(self.file)


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, stderr: bool) -> None:
    """Numbers to the right; a column is one of numbers when its title ends in a blank."""
    console = _console(stderr=stderr)
    drawn = Table(box=box.SIMPLE_HEAD if console.is_terminal else None, pad_edge=False)
    for column in columns:
        drawn.add_column(column.strip(), justify="right" if column.endswith(" ") else "left", overflow="fold")
    for row in rows:
        drawn.add_row(*row)
    console.print(drawn, markup=False)


@contextmanager
def progress() -> Iterator[Callable[[str, int, int], None]]:
    """`step(what, done, total)` draws a bar with the time left; silent when nobody watches."""
    console = _console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        tasks: dict[str, TaskID] = {}

        def step(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=total)
            bar.update(tasks[what], completed=done, total=total)

        yield step


def _console(*, stderr: bool) -> Console:
    if screen.stream(stderr=stderr).isatty():
        return _Console(stderr=stderr, emoji=False)
    return _Console(stderr=stderr, width=_columns(), height=25, emoji=False)  # with both, rich reads no COLUMNS


def _columns() -> int:
    """For what no terminal shows; shells also export COLUMNS empty, or as 0."""
    text = os.environ.get("COLUMNS", "")
    return (int(text) if re.fullmatch("[0-9]{1,4}", text) else 0) or 120
