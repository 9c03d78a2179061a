"""What a person or a script sees: text and tables, one JSON object, progress with time left, errors with a hint."""

from __future__ import annotations

import argparse
import dataclasses
import io
import json
import os
import shlex
import sys
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any, TextIO

import typer

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
    "unmask",
    "aggregate",
    "evaluate",
    "run",
    "status",
    "recover",
    "keys",
    "ledger",
    "cache",
    "privacy",
)
HERE = " -w HERE"  # in a remedy: of the command that is meant for the same workspace, in the middle of a sentence
_warnings: list[str] = []  # of the one command of this process


def is_coordinator(workspace: Path) -> bool:
    """Whose workspace it is. Raises FedmedError FM-SET-*."""
    from fedmed import settings  # noqa: PLC0415 - a third of the time that --help takes

    return settings.load_workspace(workspace).role == "coordinator"


def _said(parameter: typer.CallbackParam, text: str | None) -> str | None:
    from fedmed.strict import require_said  # noqa: PLC0415 - pydantic, which `--help` needs not

    return None if text is None else require_said(parameter.opts[0], text)


def reason(told: str) -> Any:
    """An option that takes a person's reason, None where it is not given; what is no reason is refused at once."""
    return typer.Option(metavar="REASON", help=told, callback=_said)


def now() -> datetime:
    return datetime.now(UTC)


class Screen:
    """One command's output. With `as_json` people's text goes to stderr and `result` is the one object on stdout."""

    def __init__(self, *, as_json: bool) -> None:
        self._json = as_json

    def say(self, text: str = "") -> None:
        write(visible(text) + "\n", stream(stderr=self._json))

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Numbers to the right; a column is one of numbers when its title ends in a blank."""
        from fedmed.cli import drawing  # noqa: PLC0415 - rich, a sixth of the time that --help takes

        self.say(title)
        drawing.table(columns, [[visible(cell) for cell in row] for row in rows], stderr=self._json)

    def result(self, found: Any) -> None:
        """Print the JSON object when one was asked for, with `warnings` where something ends soon."""
        if self._json:
            said = plain(found)
            write(json.dumps({**said, "warnings": _warnings} if _warnings else said) + "\n")

    @contextmanager
    def progress(self) -> Iterator[Callable[[str, int, int], None]]:
        """`step(what, done, total)` draws a bar with the time left; silent when nobody watches."""
        from fedmed.cli import drawing  # noqa: PLC0415 - rich, as above

        with drawing.progress() as step:
            yield step


def stream(*, stderr: bool) -> TextIO:
    """stderr or stdout, whatever they are at this moment: a bar on the screen puts itself before them."""
    found = sys.stderr if stderr else sys.stdout
    if isinstance(found, io.TextIOWrapper):  # where the locale knows only ASCII, a letter more is no reason to fail
        found.reconfigure(errors="backslashreplace")
    return found


def write(text: str, to: TextIO | None = None) -> None:
    """As it is, to stdout if nothing else is said."""
    to = to or sys.stdout
    try:
        to.write(text)
        to.flush()
    except BrokenPipeError:
        nobody_reads(to)


def fail(error: FedmedError, *, as_json: bool, arguments: Sequence[str]) -> None:
    """Code, words and the exact next step; the local log keeps what must not be shown."""
    message = visible(error.message)
    logs.shareable.info("%s %s", error.code, message)
    if error.local:
        logs.local.info("%s %s | %s", error.code, message, visible(error.local))
    next_ = in_this_workspace(error.next, arguments)
    write(f"{error.code} {message}\nnext: {visible(next_)}\n", stream(stderr=True))
    if as_json:
        found = {"code": error.code, "exit": error.exit_code, "message": error.message, "next": next_}
        write(json.dumps({"error": found}) + "\n")


def in_this_workspace(next_: str, arguments: Sequence[str]) -> str:
    """A hint names the workspace that the failed command named: behind a command, and in prose where it says HERE."""
    folder = workspace_in(arguments)
    option = f" -w {shlex.quote(folder)}" if folder else ""
    if HERE in next_:
        return next_.replace(HERE, option)
    is_command = next_.startswith(tuple(f"fedmed {command}" for command in OPENS_A_WORKSPACE))
    return next_ + option if is_command and not next_.endswith(" --help") else next_


def workspace_in(arguments: Sequence[str]) -> str:
    """What was given as -w; empty where nothing was."""
    options = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    options.add_argument("-w", "--workspace", nargs="?", default="", const="")
    return str(options.parse_known_args(list(arguments))[0].workspace)


def warn_of_expiry(arguments: Sequence[str]) -> None:
    """A line on stderr for what ends soon in the workspace of this command; `result` says it too."""
    _warnings.clear()
    if not arguments or arguments[0] not in OPENS_A_WORKSPACE:
        return
    from fedmed.auditor import expiry  # noqa: PLC0415 - `--help` needs none

    found = expiry.warnings(Path(workspace_in(arguments)), now())
    _warnings.extend(in_this_workspace(warning, arguments) for warning in found)
    for warning in _warnings:
        write(f"warning: {visible(warning)}\n", stream(stderr=True))


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
    return step(f"fedmed {command}", workspace)


def step(next_: str, workspace: Path) -> str:
    """What comes next, as a status says it; where a command is in it, that in the same workspace."""
    return in_this_workspace(next_, [] if workspace == Path() else ["-w", str(workspace)])


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


def nobody_reads(found: IO[str]) -> None:
    """`fedmed explain | head` is no fault: the command goes on and only its words are lost."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), found.fileno())
