"""The command line: a thin face. Each command parses, calls one actor function, prints, exits with a published code."""

from __future__ import annotations

import functools
import sys
import traceback
from pathlib import Path
from typing import Any

import typer

from fedmed import __version__, files, logs
from fedmed.cli import audit, cache, check, experiments, partition, privacy, rounds, screen, setup, trust, unattended
from fedmed.codes.code import USAGE
from fedmed.errors import CODES, FedmedError

app = typer.Typer(
    name="fedmed",
    help="Medical-imaging federations by signed files: no server, no open port, the images stay.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # frames around the help take as long as all the rest of it
    context_settings={"help_option_names": ["-h", "--help"]},
)
setup.register(app)
check.register(app)
partition.register(app)
rounds.register(app)
unattended.register(app)
experiments.register(app)
audit.register(app)
trust.register(app)
cache.register(app)
privacy.register(app)


@app.callback(invoke_without_command=True)
def _version(version: bool = typer.Option(False, "--version", help="Print the version and exit.")) -> None:
    if version:
        typer.echo(f"fedmed {__version__}")
        raise typer.Exit


@functools.cache
def _commands() -> Any:
    """The parser of all commands, made once: it takes longer than most of them."""
    return typer.main.get_command(app)


def _usage(error: typer.TyperException, arguments: list[str]) -> FedmedError:
    """What the parser refused, as one of our own errors."""
    message = error.format_message()
    return FedmedError("FM-USE-01", message[:1].lower() + message[1:], next=f"{_named(arguments)} --help")


def _bug(error: Exception) -> FedmedError:
    """Where fedmed failed, without a value; the rest is in a workspace's log, if one was open."""
    package = Path(__file__).parents[1]
    own = [frame for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename).is_relative_to(package)]
    place = f"{Path(own[-1].filename).relative_to(package.parent).as_posix()}:{own[-1].lineno}" if own else "fedmed"
    next_ = "" if logs.is_open() else "send the line above and what you typed to the maintainers"
    return FedmedError("FM-BUG-01", f"{type(error).__name__} in {place}", next=next_)


def _of_the_disk(error: Exception) -> FedmedError | None:
    """What a full or broken disk answers where nobody expects it, as when a half-written file is taken away."""
    if isinstance(error, OSError) and error.errno in files.DISK_ERRORS:
        return files.disk_error(error, Path(str(error.filename or "")))
    return None


def _named(arguments: list[str]) -> str:
    """`fedmed init site` out of all that was typed, as far as these words are commands."""
    command = _commands()
    found = ["fedmed"]
    for word in arguments:
        commands = getattr(command, "commands", {})
        if word not in commands:
            break
        command = commands[word]
        found.append(word)
    return " ".join(found)


def main() -> None:
    """Entry point of `fedmed`. Exit codes: docs and README list them."""
    arguments = sys.argv[1:]
    logs.silence()
    try:
        screen.warn_of_expiry(arguments)
        code = _commands()(prog_name="fedmed", standalone_mode=False)
    except FedmedError as error:
        if error.next == CODES["FM-USE-01"].remedy:
            error.next = f"{_named(arguments)} --help"
        screen.fail(error, as_json="--json" in arguments, arguments=arguments)
        sys.exit(error.exit_code)
    except typer.Abort:
        sys.exit(130)
    except typer.TyperException as error:
        if error.format_message():  # empty when the help was printed because nothing was asked for
            screen.fail(_usage(error, arguments), as_json="--json" in arguments, arguments=arguments)
        sys.exit(USAGE)
    except Exception as error:  # noqa: BLE001 - the last net: a bug must not print a traceback that may name a patient
        logs.local.info("%s", "".join(traceback.format_exception(error)))
        coded = _of_the_disk(error) or _bug(error)
        screen.fail(coded, as_json="--json" in arguments, arguments=arguments)
        sys.exit(coded.exit_code)
    sys.exit(code if isinstance(code, int) else 0)


if __name__ == "__main__":
    main()
