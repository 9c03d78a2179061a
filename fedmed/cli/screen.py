"""What a person or a script sees: text and tables, one JSON object, progress with time left, errors with a hint."""

from __future__ import annotations

import argparse
import dataclasses
import io
import json
import os
import re
import shlex
import sys
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from fedmed import logs
from fedmed.errors import FedmedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

Workspace = Annotated[
    Path, typer.Option("-w", "--workspace", help="The workspace; here if left out.", show_default=False)
]
Json = Annotated[bool, typer.Option("--json", help="One JSON object on stdout; text for people goes to stderr.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda:N or mps; fedmed.yaml decides if left out.")]

OPENS_A_WORKSPACE = (
    "admit",
    "start",
    "approve",
    "check",
    "partition",
    "train-local",
    "aggregate",
    "evaluate",
    "run",
    "status",
    "keys",
    "ledger",
    "cache",
)


def is_coordinator(workspace: Path) -> bool:
    """Whose workspace it is. Raises FedmedError FM-SET-*."""
    from fedmed import settings  # noqa: PLC0415 - a third of the time that --help takes

    return settings.load_workspace(workspace).role == "coordinator"


def now() -> datetime:
    return datetime.now(UTC)


class Screen:
    """One command's output. With `as_json` people's text goes to stderr and `result` is the one object on stdout."""

    def __init__(self, *, as_json: bool) -> None:
        self._json = as_json
        self._console = _console(stderr=as_json)

    def say(self, text: str = "") -> None:
        self._console.print(visible(text), markup=False, highlight=False, soft_wrap=True)

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Numbers to the right; a column is one of numbers when its title ends in a blank."""
        plain = not self._console.is_terminal
        self.say(title)
        table = Table(box=None if plain else box.SIMPLE_HEAD, pad_edge=False)
        for column in columns:
            table.add_column(column.strip(), justify="right" if column.endswith(" ") else "left", overflow="fold")
        for row in rows:
            table.add_row(*map(visible, row))
        self._console.print(table, markup=False)

    def result(self, found: Any) -> None:
        """Print the JSON object when one was asked for."""
        if self._json:
            write(json.dumps(plain(found)) + "\n")

    @contextmanager
    def progress(self) -> Iterator[Callable[[str, int, int], None]]:
        """`step(what, done, total)` draws a bar with the time left; silent when nobody watches."""
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn  # noqa: PLC0415

        console = _console(stderr=True)
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
            tasks: dict[str, Any] = {}

            def step(what: str, done: int, total: int) -> None:
                if what not in tasks:
                    tasks[what] = bar.add_task(what, total=total)
                bar.update(tasks[what], completed=done, total=total)

            yield step


def write(text: str) -> None:
    """To stdout as it is."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        _nobody_reads(sys.stdout)


def fail(error: FedmedError, *, as_json: bool, arguments: Sequence[str]) -> None:
    """Code, words and the exact next step; the local log keeps what must not be shown."""
    message = visible(error.message)
    logs.shareable.info("%s %s", error.code, message)
    if error.local:
        logs.local.info("%s %s | %s", error.code, message, visible(error.local))
    next_ = in_this_workspace(error.next, arguments)
    console = _console(stderr=True)
    for line in (f"{error.code} {message}", f"next: {visible(next_)}"):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    if as_json:
        found = {"code": error.code, "exit": error.exit_code, "message": error.message, "next": next_}
        write(json.dumps({"error": found}) + "\n")


def in_this_workspace(next_: str, arguments: Sequence[str]) -> str:
    """A hint that is a command names the workspace that the failed command named."""
    if not next_.startswith(tuple(f"fedmed {command}" for command in OPENS_A_WORKSPACE)) or next_.endswith(" --help"):
        return next_
    options = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    options.add_argument("-w", "--workspace", default="")
    folder = options.parse_known_args(list(arguments))[0].workspace
    return f"{next_} -w {shlex.quote(folder)}" if folder else next_


def sizes(text: str, sites: int | None) -> list[float]:
    """`--sizes`: a number above 0 for each of the `sites`, parted by commas. Raises FedmedError FM-USE-01."""
    try:
        found = [float(part) for part in text.split(",")]
    except ValueError as error:
        raise FedmedError("FM-USE-01", f"--sizes: expected numbers parted by commas, got {text!r}") from error
    if not all(0 < each < float("inf") for each in found) or sites not in (None, len(found)):
        count = "" if sites is None else f"{sites} "
        raise FedmedError("FM-USE-01", f"--sizes: expected {count}positive numbers, got {text!r}")
    return found


def hint(command: str, workspace: Path) -> str:
    """The command to run next in the same workspace."""
    return in_this_workspace(f"fedmed {command}", [] if workspace == Path() else ["-w", str(workspace)])


def plain(found: Any) -> Any:
    """Dataclasses, models and paths as JSON values."""
    if dataclasses.is_dataclass(found) and not isinstance(found, type):
        return {field.name: plain(getattr(found, field.name)) for field in dataclasses.fields(found)}
    if hasattr(found, "model_dump"):
        return found.model_dump(mode="json", by_alias=True)
    if isinstance(found, dict):
        return {str(key): plain(value) for key, value in found.items()}
    if isinstance(found, list | tuple):
        return [plain(value) for value in found]
    if isinstance(found, Path | bytes):
        return str(found) if isinstance(found, Path) else len(found)
    return found


def visible(text: str) -> str:
    """One line of a person's text. A file name that came with a stick could steer the terminal or forge a line of
    ours, so whatever is not printable, the end of a line too, is shown escaped.
    """
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def number(text: str | None, places: int = 3) -> str:
    """A decimal string of a statement, or a dash where there is none."""
    return "-" if text is None else f"{float(text):.{places}f}"


class _Console(Console):
    """`fedmed explain | head` is no fault: the command goes on and only its words are lost."""

    def on_broken_pipe(self) -> None:
        _nobody_reads(self.file)


def _nobody_reads(stream: IO[str]) -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _console(*, stderr: bool) -> Console:
    stream = sys.stderr if stderr else sys.stdout
    if isinstance(stream, io.TextIOWrapper):  # where the locale knows only ASCII, a letter more is no reason to fail
        stream.reconfigure(errors="backslashreplace")
    if stream.isatty():
        return _Console(stderr=stderr, emoji=False)
    return _Console(stderr=stderr, width=_columns(), height=25, emoji=False)  # with both, rich reads no COLUMNS


def _columns() -> int:
    """For what no terminal shows; shells also export COLUMNS empty, or as 0."""
    text = os.environ.get("COLUMNS", "")
    return (int(text) if re.fullmatch("[0-9]{1,4}", text) else 0) or 120
