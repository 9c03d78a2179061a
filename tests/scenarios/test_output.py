"""What a script reads and what a person sees: one JSON object, no escape codes in a file, help with an example."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import typer

from fedmed.cli import app, setup
from fedmed.cli.screen import HERE
from fedmed.errors import CODES
from tests import small

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.command import Fedmed

ESCAPE = "\x1b"
COLOUR = re.compile(r"\x1b\[(?:\d+;)*(?:3[0-8]|4[0-8]|9[0-7])[;m]")


def commands(group: object = None, words: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every command, as its words."""
    group = group or typer.main.get_command(app.app)
    for name, command in group.commands.items():  # type: ignore[attr-defined]
        if hasattr(command, "commands"):
            yield from commands(command, (*words, name))
        else:
            yield (*words, name)


ALL = sorted(commands())


PUBLISHED = {
    *("init coordinator", "init site", "admit", "start", "approve", "partition", "train-local", "aggregate"),
    *("evaluate", "status", "inspect", "verify", "explain", "keys fingerprint", "keys allowed-signers"),
    *("ledger verify", "demo"),
}


def test_the_published_commands_are_there() -> None:
    assert {" ".join(words) for words in ALL} >= PUBLISHED


@pytest.mark.parametrize("words", ALL, ids=" ".join)
def test_help_shows_an_example_that_the_command_understands(words: tuple[str, ...], fedmed: Fedmed) -> None:
    shown = fedmed.ok(*words, "--help").out
    plain = " ".join(shown.split())
    examples = re.findall(r"Example: (fedmed .+?)(?= Example: | ╭|$)", plain)
    assert examples
    for example in examples:
        assert example.startswith(f"fedmed {' '.join(words)}")
        for option in re.findall(r"(?<= )--?[a-z][a-z-]*", example):
            assert re.search(rf"{option}\b", shown.split("Options", 1)[1]), option
    assert "--json" in shown


@pytest.mark.parametrize("words", ALL, ids=" ".join)
def test_json_of_a_usage_error(words: tuple[str, ...], fedmed: Fedmed) -> None:
    ran = fedmed.run(*words, "--json", "--no-such-option")
    assert ran.code == 2
    assert ran.json["error"]["code"] == "FM-USE-01"
    assert ran.json["error"]["next"] == f"fedmed {' '.join(words)} --help"
    assert "no-such-option" in ran.err


def test_json_of_an_error_says_what_the_text_says(fedmed: Fedmed, world: small.Federation) -> None:
    ran = fedmed.run("aggregate", "-w", "coordinator", "--json", cwd=world.root)
    error = ran.json["error"]
    assert ran.code == error["exit"] == 75
    assert ran.err.splitlines() == [f"{error['code']} {error['message']}", f"next: {error['next']}"]


@pytest.mark.slow
def test_json_of_every_command_of_a_federation(fedmed: Fedmed, tmp_path: Path) -> None:
    small.write_recipe(tmp_path / "recipe.yaml")
    world = small.Federation(tmp_path, small.SITES)

    def run(words: str, *more: str) -> dict[str, object]:
        ran = fedmed.ok(*words.split(), *more, "--json", cwd=tmp_path)
        assert ran.err.strip(), "text for people goes to stderr"
        assert isinstance(ran.json, dict)
        return ran.json

    assert run("init coordinator coordinator --recipe recipe.yaml")["recipe"] == "phantom"
    for name in world.sites:
        small.write_hospital(tmp_path / f"data-{name}")
        assert run(f"init site {name} --name {name} --data data-{name}")["name"] == name
    world.carry()
    joins = [f"coordinator/inbox/join-{name}.fedmed" for name in world.sites]
    assert len(run("admit -w coordinator", *joins)["admitted"]) == 2  # type: ignore[arg-type]
    assert run("status -w coordinator")["next"] == "fedmed start -w coordinator"
    fingerprint = str(run("start -w coordinator")["fingerprint"])
    world.carry()
    assert run("status -w aa")["next"] == "fedmed approve -w aa"
    assert run("approve -w aa --by Test --fingerprint", fingerprint)["is_new"] is True
    assert run("partition -w aa")["excluded"] == {}
    virtual = run("partition data-bb --recipe recipe.yaml --sites 2 --out virtual")
    assert len(virtual["shares"]) == 2  # type: ignore[arg-type]
    assert run("inspect aa/outbox/approval-v0001-aa.fedmed")["kind"] == "approval"
    assert run("verify aa/outbox/join-aa.fedmed")["kind"] == "join"
    assert run("keys fingerprint -w aa")["federation"] == fingerprint
    assert run("ledger verify -w aa")["archived"] == 3
    assert set(run("explain")) == set(CODES)
    assert set(run("explain fm-sig-03")) == {"FM-SIG-03"}
    ran = fedmed.ok("keys", "allowed-signers", "-w", "aa", "--json", cwd=tmp_path)
    assert ran.json["allowed_signers"].count("\n") == 3


@pytest.mark.slow
def test_json_of_a_round(training_fedmed: Fedmed, torch_world: small.Federation) -> None:
    def run(words: str) -> dict[str, object]:
        ran = training_fedmed.ok(*words.split(), "--json", cwd=torch_world.root)
        assert ran.err.strip()
        return dict(ran.json)

    for name in torch_world.sites:
        run(f"partition -w {name}")
        assert run(f"train-local -w {name}")["is_new"] is True
    torch_world.carry()
    assert run("aggregate -w coordinator")["round"] == 1
    assert run("train-local -w aa --alone")["rounds"] == 2
    report = run("evaluate -w aa")
    assert report["split"] == "validation"
    torch_world.carry()
    assert run("evaluate -w coordinator")["missing"] == ["bb"]


def test_no_escape_codes_where_no_terminal_is(fedmed: Fedmed, world: small.Federation) -> None:
    for words in ("--help", "status -w coordinator", "status -w aa", "explain", "ledger verify -w aa", "status --foo"):
        ran = fedmed.run(*words.split(), cwd=world.root)
        assert ran.out + ran.err
        assert ESCAPE not in ran.out + ran.err


@pytest.mark.parametrize("words", ["explain", "explain --json", "status -w aa", "keys allowed-signers -w aa"])
def test_nobody_reads_the_output_to_its_end(words: str, world: small.Federation) -> None:
    """`fedmed explain | head` is no bug of fedmed's."""
    reading, writing = os.pipe()
    os.close(reading)
    command = [Path(sys.executable).with_name("fedmed"), *words.split()]
    done = subprocess.run(command, cwd=world.root, stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writing)
    assert done.returncode == 0, done.stderr
    assert "BrokenPipe" not in done.stderr


def on_a_terminal(*words: str, cwd: Path, typed: str = "", **env: str) -> tuple[int, str]:
    """Exit code and everything the terminal showed; what is typed is not echoed."""
    import termios  # noqa: PLC0415 - not on Windows

    mine, theirs = pty.openpty()
    settings = termios.tcgetattr(theirs)
    settings[3] &= ~termios.ECHO
    termios.tcsetattr(theirs, termios.TCSANOW, settings)
    clean = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "FORCE_COLOR")}
    command = [Path(sys.executable).with_name("fedmed"), *words]
    process = subprocess.Popen(
        command, cwd=cwd, stdin=theirs, stdout=theirs, stderr=theirs, env={**clean, "TERM": "xterm-256color", **env}
    )
    os.close(theirs)
    os.write(mine, typed.encode())
    shown = b""
    while True:
        try:
            part = os.read(mine, 65536)
        except OSError:  # Linux says so when the other side is closed
            break
        if not part:
            break
        shown += part
    os.close(mine)
    return process.wait(), shown.decode()


@pytest.mark.parametrize(
    ("num_bytes", "words"), [(184, "0.2 kB"), (99_999, "100.0 kB"), (100_000, "0.1 MB"), (2_340_000, "2.3 MB")]
)
def test_a_small_update_is_not_shown_as_nothing(num_bytes: int, words: str) -> None:
    assert setup.size(num_bytes) == words


def test_no_color_is_honoured_on_a_terminal(world: small.Federation) -> None:
    code, shown = on_a_terminal("ledger", "verify", "-w", "aa", cwd=world.root)
    assert code == 0
    assert COLOUR.search(shown), "the progress bar has colours: the test below proves something"
    code, shown = on_a_terminal("ledger", "verify", "-w", "aa", cwd=world.root, NO_COLOR="1")
    assert code == 0
    assert "unbroken" in shown
    assert not COLOUR.search(shown)


def test_approve_at_a_terminal_shows_no_fingerprint(fedmed: Fedmed, unapproved: small.Federation) -> None:
    fingerprint = fedmed.ok("start", "-w", "coordinator", "--json", cwd=unapproved.root).json["fingerprint"]
    typed = f"Dr. Kari Test\n{fingerprint.upper()}\n"
    code, shown = on_a_terminal("approve", "-w", "aa", cwd=unapproved.root, typed=typed)
    assert code == 0, shown
    assert "what leaves this hospital" in shown
    assert "approved by Dr. Kari Test" in shown
    assert fingerprint not in shown
    assert fingerprint.replace(" ", "") not in shown
    approval = fedmed.ok("inspect", "aa/outbox/approval-v0001-aa.fedmed", "--json", cwd=unapproved.root).json
    assert approval["statement"]["predicate"]["body"]["by"] == "Dr. Kari Test"


@pytest.mark.parametrize(
    ("dp", "words"),
    [
        (None, "no formal privacy guarantee: an update can tell something about the cases it was trained on"),
        (
            {"target_epsilon": 4, "clip_norm": 1.0, "patients_per_step": 2},
            "differential privacy of each training patient: epsilon 4 at delta 1e-05 over all rounds, of the weights",
        ),
    ],
)
def test_approve_says_what_patients_are_promised(
    dp: dict[str, float] | None, words: str, fedmed: Fedmed, tmp_path: Path
) -> None:
    world = small.founded(tmp_path / "world", approved=False, recipe={"dp": dp})
    fingerprint = fedmed.ok("start", "-w", "coordinator", "--json", cwd=world.root).json["fingerprint"]
    ran = fedmed.ok("approve", "-w", "aa", "--by", "Test", "--fingerprint", fingerprint, cwd=world.root)
    (line,) = (line.strip() for line in ran.out.splitlines() if words[:22] in line)
    assert line.startswith(words)


@pytest.mark.parametrize("code", ["FM-BUG-01", "fm-sig-03", "FM-WAI-03"])
def test_explain_one(code: str, fedmed: Fedmed) -> None:
    ran = fedmed.ok("explain", code)
    row = CODES[code.upper()]
    assert ran.out.splitlines() == [
        f"{code.upper()}: {row.meaning}",
        f"exit code {row.exit}",
        f"next: {row.remedy.replace(HERE, '')}",
    ]


def test_explain_all(fedmed: Fedmed) -> None:
    ran = fedmed.ok("explain", "--json")
    assert ran.json == {
        code: {"exit": row.exit, "meaning": row.meaning, "next": row.remedy.replace(HERE, "")}
        for code, row in CODES.items()
    }
    assert all(code in ran.err for code in CODES)


def test_the_words_of_the_codes() -> None:
    for code, row in CODES.items():
        assert re.fullmatch(r"FM-[A-Z]{3}-\d\d", code)
        for text in (row.meaning, row.remedy):
            assert text[0].islower() or text.split()[0].isupper(), f"{code}: {text}"
            assert not text.endswith("."), code
    meanings = [row.meaning for row in CODES.values()]
    assert len(set(meanings)) == len(meanings), "one cause each"


def test_before_the_first_model_no_update_is_asked_for(fedmed: Fedmed, world: small.Federation) -> None:
    told = fedmed.ok("status", "-w", "aa", cwd=world.root).out
    assert "not started\ncases: not partitioned\n" in told
