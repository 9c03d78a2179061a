"""Pins, revoked keys and restored workspaces from the command line: what people read, and what comes next."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from fedmed.cli import screen
from fedmed.cli.app import app
from fedmed.errors import FedmedError
from fedmed.exchange import keys
from fedmed.strict import require_said

if TYPE_CHECKING:
    from pathlib import Path

    from tests.federation.simulator import Simulation


def run(*words: str | Path) -> str:
    """What it prints, or the code with which it ends."""
    done = CliRunner().invoke(app, [str(word) for word in words])
    if isinstance(done.exception, FedmedError):
        return done.exception.code
    assert done.exit_code == 0, done.output
    return done.stdout


def test_a_peer_is_pinned_without_being_shown_before(simulation: Simulation) -> None:
    here, there = simulation.sites["aa"].root, simulation.sites["bb"].root
    simulation.sites["aa"].look(simulation.now)
    read = json.loads(run("keys", "fingerprint", "-w", there, "--json"))["join"]
    shown = run("keys", "fingerprint", "-w", here) + run("status", "-w", here)
    assert "not confirmed by phone (fedmed keys pin SITE): bb, cc" in shown
    assert read not in shown
    assert run("keys", "pin", "bb", "-w", here) == "FM-USE-01", "there is no terminal"
    assert run("keys", "pin", "bb", "-w", here, "--fingerprint", read[:-1] + "x") == "FM-ROS-02"
    assert run("keys", "pin", "bb", "-w", here, "--fingerprint", read) == "bb: pinned\nnot pinned yet: cc\n"
    for wrong in ("", "0" * 32, read[:-1]):
        assert run("keys", "pin", "bb", "-w", here, "--fingerprint", wrong) == "FM-ROS-02", "also when it is pinned"
    assert run("keys", "pin", "bb", "-w", here).startswith("bb: was pinned before"), "nobody is asked again"
    twice = ("--fingerprint", "0" * 32, "--fingerprint", read)
    assert run("keys", "pin", "bb", "bb", "-w", here, *twice) == "FM-ROS-02", "each one is compared"
    assert "site bb: key SHA256:" in run("keys", "fingerprint", "-w", here)


def test_several_peers_are_pinned_at_once_and_a_wrong_one_is_not(simulation: Simulation) -> None:
    here, wrong = simulation.sites["aa"].root, "0" * 32
    read = [
        json.loads(run("keys", "fingerprint", "-w", simulation.sites[name].root, "--json"))["join"]
        for name in ("bb", "cc")
    ]
    words = ["keys", "pin", "bb", "cc", "-w", here, "--fingerprint", read[0]]
    assert run(*words) == "FM-USE-01", "one for each"
    assert run("keys", "pin", "-w", here) == run("keys", "pin", "bb", "--all", "-w", here) == "FM-USE-01"
    assert run(*words, "--fingerprint", wrong) == "FM-ROS-02"
    told = run("keys", "pin", "--all", "-w", here, "--fingerprint", read[1])
    assert told == "cc: pinned\nnot pinned yet: nobody\n", "bb was before the wrong one came"
    assert run(*words, "--fingerprint", read[1]).splitlines()[0] == "bb: was pinned before"
    assert run("keys", "pin", "--all", "-w", here) == "not pinned yet: nobody\n"


def test_a_consent_of_before_does_not_hide_a_wrong_fingerprint(simulation: Simulation) -> None:
    here, root = simulation.sites["aa"].root, simulation.coordinator.root
    right = json.loads(run("keys", "fingerprint", "-w", root, "--json"))["federation"]
    words = ("approve", "-w", here, "--by", "T", "--fingerprint")
    assert "was approved before" in run(*words, right)
    for wrong in ("", right[:-1], "0000 1111 " * 4):
        assert run(*words, wrong) == "FM-TRU-01"


def test_what_was_typed_has_the_wrong_length() -> None:
    assert keys.misread("8C01 aa03 " * 4) == keys.misread("8c01-aa03:" * 4) == ""
    assert keys.misread("8c01 aa03") == ": expected 32 hex digits, got 8 characters"
    assert keys.misread("x" * 32) == ": expected 32 hex digits, got 32 characters"


def test_a_reason_is_no_option_and_not_empty(simulation: Simulation) -> None:
    """`--void --json` took the option for the reason, and what followed cannot be taken back."""
    root, before = simulation.coordinator.root, simulation.coordinator.workspace().ledger.length
    commands = {
        "--void": ("aggregate", "-w", root),
        "--trust-clock": ("aggregate", "-w", root),
        "--reason": ("recover", "-w", root, "--dismiss", "aa"),
        "--consent": ("unmask", "-w", simulation.sites["aa"].root),
        "--accept-expired": ("train-local", "-w", simulation.sites["aa"].root),
    }
    for option, words in commands.items():
        for got in ("", "  ", "--json", "-w", "x" * 201, "one\ntwo"):
            assert run(*words, option, got) == "FM-USE-01", (option, got)
    for more in (("--include", "aa"), ("keys",)):
        words = ("aggregate", *more) if more[0] != "keys" else ("keys", "revoke", "cc", "--last-seq", "2")
        assert run(*words, "-w", root, "--reason", "--json") == "FM-USE-01"
    assert simulation.coordinator.workspace().ledger.length == before
    with pytest.raises(FedmedError, match="--void: expected a reason, in at most 200 plain characters, got '--json'"):
        require_said("--void", "--json")


def test_keys_are_replaced_between_rounds(simulation: Simulation, monkeypatch: pytest.MonkeyPatch) -> None:
    """A site, then the coordinator; everybody else only carries files, and what is pending is told."""
    here, root, now = simulation.sites["aa"].root, simulation.coordinator.root, simulation.now
    monkeypatch.setattr(screen, "now", lambda: now)
    for name in simulation.names:
        simulation.sites[name].look(now)
    told = run("keys", "rotate", "-w", here).splitlines()
    assert told[2] == f"next: bring {here / 'outbox' / 'rotation-aa-0003.fedmed'} to the coordinator"
    assert run("keys", "rotate", "-w", here).splitlines()[0] == f"{told[0]}, as it was named before"
    assert "a new key, from the next model on: aa" in run("status", "-w", here)
    assert "in force from the next model on" in run("keys", "fingerprint", "-w", here)
    simulation.coordinator.deliver((here / "outbox" / "rotation-aa-0003.fedmed").read_bytes(), now)
    posted = f"next: nothing to carry, nor {root / 'outbox' / 'rotation-coordinator-'}"
    assert run("keys", "rotate", "-w", root).splitlines()[2].startswith(posted)
    for name in simulation.names:
        simulation.send_update(name, 1.0)
    told, outbox = run("aggregate", "-w", root).splitlines()[-1], root / "outbox"
    files = f"{outbox / 'federation-v0002.fedmed'} and {outbox / 'model-r0001.fedmed'}"
    assert told == f"next: bring {files} to every site"
    simulation.carry_down()
    for name in simulation.names:
        simulation.send_update(name, 1.0)
    run("aggregate", "-w", root)
    for workspace in (root, here):
        assert run("ledger", "verify", "-w", workspace).startswith("unbroken")
    assert "by the federation" in run("ledger", "audit", "--round", "1", "-w", root)
    assert run("keys", "rotate", "-w", root) == "FM-ROS-15"


def test_a_key_is_taken_back(simulation: Simulation) -> None:
    root = simulation.coordinator.root
    assert run("keys", "revoke", "cc", "--last-seq", "2", "--reason", "", "-w", root) == "FM-USE-01"
    told = run("keys", "revoke", "cc", "--last-seq", "2", "--reason", "laptop stolen", "-w", root).splitlines()
    assert told[0] == "cc: revoked; its key counts up to number 2"
    assert told[-1] == f"next: bring {root / 'outbox' / 'revocation-cc.fedmed'} to every site, now"
    again = json.loads(run("keys", "revoke", "cc", "--last-seq", "2", "--reason", "again", "-w", root, "--json"))
    assert (again["is_new"], again["last_seq"]) == (False, 2)
    site = simulation.sites["aa"].root
    assert run("keys", "revoke", "cc", "--last-seq", "2", "--reason", "x", "-w", site) == "FM-SET-05"


def test_a_revoked_site_is_shown_as_one_everywhere(simulation: Simulation) -> None:
    root, here = simulation.coordinator.root, simulation.sites["aa"].root
    run("keys", "revoke", "cc", "--last-seq", "2", "--reason", "laptop stolen", "-w", root)
    read = json.loads(run("keys", "fingerprint", "-w", simulation.sites["bb"].root, "--json"))["join"]
    simulation.carry_down()
    for name in ("aa", "cc"):
        simulation.sites[name].look(simulation.now)
    for workspace in (root, here):
        assert "key revoked: cc\n" in run("status", "-w", workspace)
        lines = run("keys", "fingerprint", "-w", workspace).splitlines()
        assert [line.endswith(", revoked") for line in lines if line.startswith("site cc")] == [True]
    assert "(fedmed keys pin SITE): bb\n" in run("status", "-w", here)
    told = run("keys", "pin", "--all", "--fingerprint", read, "-w", here).splitlines()
    assert told == ["bb: pinned", "not pinned yet: nobody", "revoked, and not to be pinned: cc"]
    assert run("keys", "fingerprint", "-w", simulation.sites["cc"].root).splitlines()[0].endswith(", revoked")


def test_a_backup_that_was_put_back(simulation: Simulation, tmp_path: Path) -> None:
    backup = simulation.copied_to(tmp_path / "backup").sites["aa"].root
    for name in simulation.names:
        simulation.send_update(name, 1.0)
    simulation.coordinator.aggregate(simulation.now)
    site, root = simulation.sites["aa"], simulation.coordinator.root
    for folder in ("archive", "state"):
        shutil.rmtree(site.root / folder)
        shutil.copytree(backup / folder, site.root / folder)
    simulation.carry_down()
    assert run("run", "-w", site.root) == "FM-TRU-06"
    assert run("recover", "-w", site.root) == "FM-WAI-02"
    told = run("recover", "--for", "aa", "-w", root)
    receipt = root / "outbox" / "receipt-aa-by-coordinator.fedmed"
    assert told == f"next: bring {receipt} to aa, and there: fedmed recover\n"
    shutil.copy(receipt, site.root / "inbox")
    lines = run("recover", "-w", site.root).splitlines()
    assert lines[0] == "found again: 1 that this workspace signed and its backup did not hold"
    assert lines[2] == "rounds up to 0 are not answered again"


def test_what_cannot_be_proven_is_dismissed_with_a_reason(simulation: Simulation) -> None:
    root = simulation.coordinator.root
    assert run("recover", "--dismiss", "aa", "-w", root) == "FM-USE-01"
    assert run("recover", "--dismiss", "aa", "--for", "aa", "--reason", "x", "-w", root) == "FM-USE-01"
    why = ("--reason", "no such file")
    assert run("recover", "--dismiss", "aa", *why, "-w", root) == "FM-ROS-10", "it claims nothing"
    lie = simulation.change(simulation.update("aa", 1.0), "aa", lambda said: said.update(ack="f" * 64))
    simulation.coordinator.deliver(lie, simulation.now)
    assert run("recover", "--dismiss", "bb", *why, "-w", root) == "FM-ROS-10", "it is not the one"
    for _ in range(2):
        told = run("recover", "--dismiss", "aa", *why, "-w", root)
        assert told.startswith("what aa acknowledges")
        assert told.endswith(f"next: fedmed status -w {root}\n")
    assert simulation.coordinator.workspace().record.dismissed == {"aa"}
