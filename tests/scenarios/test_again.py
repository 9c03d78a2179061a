"""A corrected update, from the keyboard to the model; and what a carrier that brings old copies cannot spoil."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from tests import small

if TYPE_CHECKING:
    from pathlib import Path

    from tests.command import Fedmed


@pytest.mark.slow
def test_again_supersedes_while_the_round_is_open(
    training_fedmed: Fedmed, torch_world: small.Federation, tmp_path: Path
) -> None:
    root = torch_world.root

    def run(words: str) -> dict[str, object]:
        return dict(training_fedmed.ok(*words.split(), "--json", cwd=root).json)

    for name in torch_world.sites:
        run(f"partition -w {name}")
        run(f"train-local -w {name}")
    update = torch_world.site("aa") / "outbox" / "update-r0000-aa.fedmed"
    old = shutil.copyfile(update, tmp_path / "old.fedmed")
    assert run("train-local -w aa --again")["is_new"] is True
    torch_world.carry()
    shutil.copyfile(old, torch_world.coordinator / "inbox" / "update-r0000-aa (1).fedmed")
    second = str(run(f"inspect {update}")["id"])
    made = run("aggregate -w coordinator")
    assert [parent["update"] for parent in made["parents"] if parent["site"] == "aa"] == [second]  # type: ignore[attr-defined]

    torch_world.carry()
    assert run("train-local -w aa --again")["round"] == 1, "the round of the newest model, not the closed one"


@pytest.mark.slow
def test_a_late_update_is_kept_and_counts_for_nothing(fedmed: Fedmed, world: small.Federation) -> None:
    for name in world.sites:
        small.seal_update(world.site(name))
    world.carry()
    fedmed.ok("aggregate", "-w", "coordinator", cwd=world.root)
    small.seal_update(world.site("aa"), 9)  # aa has not seen the new model
    world.carry()
    ran = fedmed.run("aggregate", "-w", "coordinator", cwd=world.root)
    assert ran.code == 75
    assert "round 1: 0 of" in ran.err
    status = fedmed.ok("status", "-w", "coordinator", "--json", cwd=world.root).json
    assert (status["round"], status["next"]) == (1, "wait for aa, bb")


def test_an_inbox_full_of_other_things(fedmed: Fedmed, world: small.Federation) -> None:
    inbox = world.coordinator / "inbox"
    (inbox / "notes.txt").write_text("to do")
    (inbox / ".hidden.fedmed").write_bytes(b"x" * 2000)
    (inbox / "update.fedmed.part").write_bytes(b"x" * 2000)
    (inbox / "folder.fedmed").mkdir()
    (inbox / "empty.fedmed").touch()
    for name in world.sites:
        small.seal_update(world.site(name))
    world.carry()
    before = sorted(path.name for path in inbox.iterdir())
    ran = fedmed.ok("aggregate", "-w", "coordinator", cwd=world.root)
    assert "folder.fedmed: rejected FM-FRM-01" in ran.out
    assert "empty.fedmed: incomplete FM-WAI-04" in ran.out
    assert "model r0001 made" in ran.out
    assert sorted(path.name for path in inbox.iterdir()) == before
