"""A lap at the keyboard: who waits for whom, what is handed on, and what each command says about it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests import small, tables

if TYPE_CHECKING:
    from pathlib import Path

    from tests.command import Fedmed

CYCLIC = {"strategy": {"name": "cyclic"}}  # of seed 7: bb trains first, then aa


def test_the_weights_go_from_bb_to_aa(fedmed: Fedmed, tmp_path: Path) -> None:
    world = small.founded(tmp_path, recipe=CYCLIC)
    for name in world.sites:
        (world.site(name) / "cases.json").touch()
    ran = fedmed.run("train-local", "-w", "aa", cwd=world.root)
    assert (ran.code, ran.err.split()[0]) == (75, "FM-CYC-01")
    assert ran.next.startswith("put update-r0000-bb.fedmed, from the coordinator or from bb, into inbox/")
    ran = fedmed.ok("status", "-w", "aa", cwd=world.root)
    assert "one site after another in this round: bb, aa" in ran.out
    assert ran.next == "wait for the update of bb, which comes before this site, bb - aa"
    ran = fedmed.run("run", "-w", "aa", cwd=world.root)
    assert (ran.code, ran.out.splitlines()[0]) == (
        75,
        "waiting for round 0: the update of bb, which comes before this site, bb - aa",
    )

    small.seal_update(world.site("bb"), 1.0)
    world.carry()
    assert fedmed.ok("status", "-w", "coordinator", cwd=world.root).next == "fedmed aggregate -w coordinator"
    ran = fedmed.ok("run", "-w", "coordinator", cwd=world.root)
    assert re.match(r"\S+ relay: the update of bb is in outbox/ for aa, which goes on from it", ran.out)
    ran = fedmed.run("aggregate", "-w", "coordinator", cwd=world.root)
    assert (ran.code, ran.err.split()[0]) == (75, "FM-WAI-03")
    assert "it waits for aa (it is its turn)" in ran.err
    assert "; update-r0000-bb.fedmed in outbox/ is what aa goes on from" in ran.err
    ran = fedmed.ok("status", "-w", "coordinator", cwd=world.root)
    assert [line.split()[:2] for line in ran.out.splitlines()[4:6]] == [["bb", "used"], ["aa", "missing"]]
    assert ran.next == "wait for aa, whose turn it is"

    world.carry()
    ran = fedmed.run("run", "-w", "aa", "--dry-run", "--json", cwd=world.root)
    assert ran.json["next"] == "fedmed train-local -w aa"
    small.seal_update(world.site("aa"), 3.0)
    world.carry()
    ran = fedmed.ok("run", "-w", "coordinator", cwd=world.root)
    assert "aggregate: model r0001 of bb, aa" in ran.out
    world.carry()
    small.seal_update(world.site("bb"), 1.0)
    ran = fedmed.ok("status", "-w", "bb", "--json", cwd=world.root)
    assert (ran.json["lap"], ran.json["ack"]) == ([], "used, share 0.500")
    for name in ("coordinator", "aa"):
        assert "unbroken" in fedmed.ok("ledger", "verify", "-w", name, cwd=world.root).out


@pytest.mark.slow
def test_a_lap_that_is_trained(training_fedmed: Fedmed, tmp_path: Path) -> None:
    world = tables.founded(tmp_path, recipe={**tables.TABULAR, **CYCLIC})
    ran = training_fedmed.ok("train-local", "-w", "bb", cwd=world.root)
    assert ran.next == "bring bb/outbox/update-r0000-bb.fedmed to the coordinator, for aa, who goes on from it"
    world.carry()
    training_fedmed.ok("run", "-w", "coordinator", cwd=world.root)
    world.carry()
    ran = training_fedmed.ok("run", "-w", "aa", cwd=world.root)
    assert "train-local: round 0, 4 steps" in ran.out
    ran = training_fedmed.ok("train-local", "-w", "aa", cwd=world.root)
    assert ran.next == "bring aa/outbox/update-r0000-aa.fedmed to the coordinator"
    ran = training_fedmed.ok("train-local", "-w", "bb", cwd=world.root)
    assert "was trained before" in ran.out
    world.carry()
    ran = training_fedmed.ok("aggregate", "-w", "coordinator", "--json", cwd=world.root)
    assert [parent["site"] for parent in ran.json["parents"]] == ["bb", "aa"]
