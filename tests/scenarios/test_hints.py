"""Every `next:` that is a command is run as it was printed, in the folder and the situation that printed it."""

from __future__ import annotations

import re
import runpy
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import typer

from fedmed.cli import app, screen
from fedmed.errors import CODES
from tests import small

if TYPE_CHECKING:
    from tests.command import Fedmed, Ran

COMMAND = re.compile(r"(?<!\.)fedmed [a-z][a-z-]*(?: [a-z][a-z-]*)?(?: --[a-z][a-z-]*)*")


def follow(fedmed: Fedmed, ran: Ran, cwd: Path, *, expected: int = 0) -> Ran:
    """Run the hint that `ran` printed."""
    words = shlex.split(ran.next)
    assert words[0] == "fedmed", ran.next
    assert not re.search(r"\b(FILE|JOIN|DIR|NAME|F)\b", ran.next), ran.next
    followed = fedmed.run(*words[1:], cwd=cwd)
    assert followed.code == expected, f"{ran.next}: {followed.err}"
    return followed


def test_remedies_name_only_commands_and_options_that_exist() -> None:
    """Also those in the middle of a sentence."""
    group = typer.main.get_command(app.app)
    for code, row in CODES.items():
        for found in COMMAND.findall(row.remedy):
            words = found.split()[1:]
            command = group
            while words and words[0] in getattr(command, "commands", {}):
                command = command.commands[words.pop(0)]
            assert command is not group or words == ["--help"], f"{code}: {found}"
            options = {option for parameter in command.params for option in parameter.opts} | {"--help"}
            wanted = [word for word in words if word.startswith("--")]
            assert set(wanted) <= options, f"{code}: {found}"


@pytest.mark.parametrize("code", [code for code, row in CODES.items() if row.remedy.startswith("fedmed ")])
def test_a_remedy_that_is_a_command_can_be_run(
    code: str, training_fedmed: Fedmed, torch_world: small.Federation
) -> None:
    """Not in its own situation, which the tests below do for what can be provoked, but at the right desk."""
    desks = {"FM-FED-02": torch_world.coordinator, "FM-NRM-08": torch_world.coordinator, "FM-SET-04": torch_world.root}
    place = desks.get(code, torch_world.site("aa"))
    if code in ("FM-FED-01", "FM-FED-03"):
        place = small.joined(torch_world.root / "joined").coordinator
    if code == "FM-USE-02":
        training_fedmed.ok("partition", cwd=place)
    remedy = CODES[code].remedy
    for word, meant in (("FILE", "inbox/model-r0000.fedmed"), ("DIR", "aa"), ("NAME", "coordinator")):
        remedy = remedy.replace(word, meant)
    assert re.fullmatch(r"fedmed [a-zA-Z0-9./ -]+", remedy), "a command and nothing else"
    words = shlex.split(remedy)[1:]
    if code == "FM-TRU-07":
        read = training_fedmed.ok("keys", "fingerprint", "--json", cwd=torch_world.coordinator).json["federation"]
        words += ["--by", "Test", "--fingerprint", read]  # it asks a person: test_output has the terminal
    ran = training_fedmed.run(*words, cwd=place)
    assert ran.code == 0, f"{remedy}: {ran.err}"


@pytest.mark.parametrize("words", [[], ["-w", "ward/a b"], ["--workspace=ward/a b"]])
def test_a_command_in_a_sentence_is_for_the_same_workspace_where_it_says_so(words: list[str]) -> None:
    """And never for the other side's."""
    option = " -w 'ward/a b'" if words else ""
    told = {code: screen.in_this_workspace(row.remedy, ["unmask", *words]) for code, row in CODES.items()}
    assert told["FM-MSK-02"].endswith(f" fedmed keys pin SITE{option}")
    assert told["FM-PRV-04"].startswith(f"see what spent it: fedmed privacy status{option}. ")
    assert told["FM-TRU-06"].endswith(f"(there: fedmed recover --for NAME) in inbox/: fedmed recover{option}")
    assert told["FM-MSK-07"].endswith("each site that it asks: fedmed unmask")
    assert screen.in_this_workspace("fedmed privacy status", words) == f"fedmed privacy status{option}"
    assert screen.step("wait; fedmed unmask --close -w HERE goes on", Path()) == "wait; fedmed unmask --close goes on"
    assert not [code for code, words in told.items() if "HERE" in words]
    assert all(COMMAND.search(row.remedy.split(screen.HERE)[0]) for row in CODES.values() if screen.HERE in row.remedy)


def test_usage(fedmed: Fedmed, world: small.Federation) -> None:
    own = {
        "train-local --again --alone -w aa": "train-local --help",
        "status -w aa --fast": "status --help",
        "nonsense": "--help",
        "aggregate -w coordinator --void": "aggregate --help",
        "keys pin -w aa --fingerprint": "keys pin --help",
    }
    for words, help_ in own.items():
        ran = fedmed.run(*words.split(), cwd=world.root)
        assert (ran.code, ran.next) == (2, f"fedmed {help_}")
        follow(fedmed, ran, world.root)
    ran = fedmed.run("explain", "FM-NO-1", cwd=world.root)
    follow(fedmed, ran, world.root)


def test_python_m_fedmed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.argv", ["fedmed", "aggregate", "--void"])
    with pytest.raises(SystemExit, match="2"):
        runpy.run_module("fedmed", run_name="__main__")
    assert capsys.readouterr().err.endswith("next: fedmed aggregate --help\n")


def test_no_workspace_here(fedmed: Fedmed, tmp_path: Path) -> None:
    for words in ("status", "aggregate -w nowhere", "ledger verify -w .", "keys fingerprint"):
        ran = fedmed.run(*words.split(), cwd=tmp_path)
        assert ran.code == 3
        follow(fedmed, ran, tmp_path)


def test_init_where_a_workspace_is(fedmed: Fedmed, tmp_path: Path) -> None:
    recipe = small.write_recipe(tmp_path / "recipe.yaml")
    folder = tmp_path / "folder with a blank"
    made = fedmed.ok("init", "coordinator", folder, "--recipe", recipe, cwd=tmp_path)
    follow(fedmed, made, tmp_path)
    ran = fedmed.run("init", "coordinator", folder, "--recipe", recipe, cwd=tmp_path)
    assert ran.code == 3
    assert "not started" in follow(fedmed, ran, tmp_path).out


def test_too_few_sites_leads_to_the_join_that_waits(fedmed: Fedmed, tmp_path: Path) -> None:
    world = small.joined(tmp_path, limits={"min_sites": 3})
    small.write_hospital(tmp_path / "data-cc")
    fedmed.ok("init", "site", "cc", "--name", "cc", "--data", "data-cc", cwd=tmp_path)
    small.Federation(tmp_path, ("aa", "bb", "cc")).carry()
    ran = fedmed.run("start", "-w", "coordinator", cwd=tmp_path)
    assert (ran.code, ran.err.split()[0]) == (3, "FM-FED-01")
    status = follow(fedmed, ran, tmp_path)
    assert status.next == "fedmed admit coordinator/inbox/join-cc.fedmed -w coordinator"
    admitted = follow(fedmed, status, tmp_path)
    assert "cc: admitted" in admitted.out
    assert admitted.out.splitlines()[-1] == "next: when all are in: fedmed start -w coordinator"
    assert fedmed.ok("status", "-w", "coordinator", cwd=tmp_path).next == "fedmed start -w coordinator"
    assert world.coordinator.is_dir()


def test_before_and_behind_start(fedmed: Fedmed, tmp_path: Path) -> None:
    world = small.joined(tmp_path)
    fedmed_start = fedmed.run("aggregate", "-w", "coordinator", cwd=tmp_path)
    assert (fedmed_start.code, fedmed_start.next) == (3, "fedmed start -w coordinator")
    small.write_hospital(tmp_path / "data-cc")
    fedmed.ok("init", "site", "cc", "--name", "cc", "--data", "data-cc", cwd=tmp_path)
    from fedmed.coordinator import start  # noqa: PLC0415 - without torch

    start.start(world.coordinator, small.numpy_initial, small.now())
    ran = fedmed.run("admit", "cc/outbox/join-cc.fedmed", "-w", "coordinator", cwd=tmp_path)
    assert (ran.code, ran.err.split()[0]) == (3, "FM-FED-02")
    follow(fedmed, ran, tmp_path)


def test_a_stranger_s_file_is_named_in_the_hint(fedmed: Fedmed, world: small.Federation, tmp_path: Path) -> None:
    stranger = small.founded(tmp_path / "other federation")
    file = stranger.site("aa") / "outbox" / "approval-v0001-aa.fedmed"
    federation = "aa/inbox/federation-v0001.fedmed"
    ran = fedmed.run("verify", file, "--federation", federation, cwd=world.root)
    assert (ran.code, ran.err.split()[0]) == (4, "FM-SIG-03")
    assert "approval of aa" in follow(fedmed, ran, world.root).out


def test_another_federation_of_the_same_coordinator(fedmed: Fedmed, tmp_path: Path) -> None:
    from fedmed.coordinator import start  # noqa: PLC0415 - without torch

    first = small.joined(tmp_path / "first")
    second = first.copy(tmp_path / "second")
    for world in (first, second):
        start.start(world.coordinator, small.numpy_initial, small.now())
    ran = fedmed.run(
        *("verify", "first/coordinator/outbox/model-r0000.fedmed"),
        *("--federation", "second/coordinator/outbox/federation-v0001.fedmed"),
        cwd=tmp_path,
    )
    assert (ran.code, ran.err.split()[0]) == (4, "FM-TRU-02")
    assert "model of coordinator" in follow(fedmed, ran, tmp_path).out


def test_a_refused_model_is_named_in_the_hint(fedmed: Fedmed, world: small.Federation, tmp_path: Path) -> None:
    stranger = small.founded(tmp_path / "other")
    inbox = world.site("aa") / "inbox"
    (inbox / "model-r0000.fedmed").write_bytes((stranger.coordinator / "outbox" / "model-r0000.fedmed").read_bytes())
    ran = fedmed.run("train-local", "-w", "aa", cwd=world.root)
    assert (ran.code, ran.err.split()[0]) == (4, "FM-SIG-03")
    assert ran.next == "fedmed inspect aa/inbox/model-r0000.fedmed"
    follow(fedmed, ran, world.root)


def test_consent_and_cases_come_first(fedmed: Fedmed, unapproved: small.Federation) -> None:
    ran = fedmed.run("train-local", "-w", "aa", cwd=unapproved.root)
    assert ran.next == "fedmed approve -w aa"
    assert fedmed.run("train-local", cwd=unapproved.site("aa")).next == "fedmed approve"
    fingerprint = fedmed.ok("start", "-w", "coordinator", "--json", cwd=unapproved.root).json["fingerprint"]
    fedmed.ok("approve", "-w", "aa", "--by", "Test", "--fingerprint", fingerprint, cwd=unapproved.root)
    ran = fedmed.run("train-local", "-w", "aa", cwd=unapproved.root)
    assert ran.next == "fedmed partition -w aa"
    follow(fedmed, ran, unapproved.root)


@pytest.mark.slow
@pytest.mark.parametrize("text", ["{", '{"cases": []}'])
def test_broken_cases_are_not_made_again_in_silence(text: str, fedmed: Fedmed, world: small.Federation) -> None:
    fedmed.ok("partition", "-w", "aa", cwd=world.root)
    (world.site("aa") / "cases.json").write_text(text)
    for command in ("train-local", "partition"):  # which must not forget in silence who was tested on
        ran = fedmed.run(command, "-w", "aa", cwd=world.root)
        assert ran.code == 6
        assert "move it away" in ran.next
    (world.site("aa") / "cases.json").unlink()
    fedmed.ok("partition", "-w", "aa", cwd=world.root)


@pytest.mark.slow
def test_status_leads_through_the_whole_federation(training_fedmed: Fedmed, torch_world: small.Federation) -> None:
    """Two hospitals that do nothing but what `status` says, and carry files when it says wait."""
    root = torch_world.root
    done: list[str] = []
    last: dict[str, str] = {}
    for _ in range(20):
        moved = False
        for name in ("aa", "bb", "coordinator"):
            status = training_fedmed.ok("status", "-w", name, cwd=root)
            if status.next.startswith("fedmed ") and status.next != last.get(name):
                follow(training_fedmed, status, root)
                done.append(status.next)
                moved = True
            last[name] = status.next
        torch_world.carry()
        if not moved:
            break
    assert [command for command in done if "bb" in command] == [
        "fedmed partition -w bb",
        "fedmed train-local -w bb",
        "fedmed train-local -w bb",
        "fedmed evaluate -w bb",
        "fedmed evaluate --split test -w bb",
    ]
    assert done.count("fedmed aggregate -w coordinator") == 2
    assert done[-1] == "fedmed evaluate --split test -w coordinator"
