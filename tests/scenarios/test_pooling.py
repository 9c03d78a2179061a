"""What people see of the exchange before the first round: what leaves, who is missing, what came of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from fedmed.site import partition
from tests import small

if TYPE_CHECKING:
    from pathlib import Path

    from tests.command import Fedmed

DATA = {**small.RECIPE["data"], "normalisation": "federated", "spacing": "federated"}


@pytest.fixture(scope="module")
def waiting(tmp_path_factory: pytest.TempPathFactory) -> small.Federation:
    world = small.founded(tmp_path_factory.mktemp("waiting"), recipe={"data": DATA})
    for name in world.sites:
        partition.partition(world.site(name), small.now())
    return world


@pytest.mark.slow
def test_by_hand(fedmed: Fedmed, waiting: small.Federation, tmp_path: Path) -> None:
    world = waiting.copy(tmp_path / "world")
    ran = fedmed.ok("start", "-w", "coordinator", cwd=world.root)
    assert "model r0 follows when the sites' fingerprints are in: fedmed aggregate -w coordinator" in ran.out
    assert fedmed.ok("status", "-w", "aa", cwd=world.root).out.rstrip().endswith("next: fedmed train-local -w aa")
    ran = fedmed.ok("train-local", "-w", "aa", cwd=world.root)
    for words in ("which leaves it", "training cases", "spacing in mm, axis 1", "2: 3", "99.5 %", "sealed"):
        assert words in ran.out
    assert f"bring {world.site('aa').name}/outbox/fingerprint-aa.fedmed to the coordinator" in ran.out
    again = fedmed.ok("train-local", "-w", "aa", "--json", cwd=world.root)
    assert (again.json["is_new"], again.json["body"]["num_cases"]) == (False, 3)
    said = fedmed.ok("inspect", "aa/outbox/fingerprint-aa.fedmed", cwd=world.root).out
    assert "fingerprint of aa" in said
    assert "num_cases: 3" in said
    world.carry()
    ran = fedmed.run("aggregate", "-w", "coordinator", cwd=world.root)
    assert ran.code == 75
    assert "bb (no fingerprint has arrived)" in ran.err
    seen = fedmed.ok("status", "-w", "coordinator", cwd=world.root).out
    assert "waiting for fingerprints" in seen
    assert "wait for the fingerprints of bb" in seen
    fedmed.ok("train-local", "-w", "bb", cwd=world.root)
    world.carry()
    ran = fedmed.ok("aggregate", "-w", "coordinator", cwd=world.root)
    for words in ("every case goes through", "cut off at", "2 x 2 x 2 mm", "the approvals of the first hold"):
        assert words in ran.out
    assert "federation-v0002.fedmed and coordinator/outbox/model-r0000.fedmed to every site" in ran.out
    world.carry()
    second = ["verify", "aa/inbox/federation-v0002.fedmed", "--federation", "aa/inbox/federation-v0001.fedmed"]
    assert "good: federation of coordinator" in fedmed.ok(*second, cwd=world.root).out
    later = ["verify", "aa/outbox/fingerprint-aa.fedmed", "--federation", "aa/inbox/federation-v0002.fedmed"]
    assert "good: fingerprint of aa" in fedmed.ok(*later, cwd=world.root).out
    before, after = (fedmed.ok("keys", "fingerprint", "-w", name, cwd=world.root).out for name in ("coordinator", "bb"))
    told = [next(line for line in out.splitlines() if line.startswith("federation")) for out in (before, after)]
    assert told[0] == told[1], "people compare one and the same fingerprint"


def test_unattended(fedmed: Fedmed, waiting: small.Federation, tmp_path: Path) -> None:
    world = waiting.copy(tmp_path / "world")
    for name in world.sites:
        ran = fedmed.ok("run", "-w", name, cwd=world.root)
        assert "train-local: a fingerprint of 3 cases is sealed" in ran.out
        waits = fedmed.run("run", "-w", name, cwd=world.root)
        assert waits.code == 75
        assert "waiting for the coordinator's federation-v0002.fedmed and model-r0000.fedmed" in waits.out
    world.carry()
    ran = fedmed.ok("run", "-w", "coordinator", cwd=world.root)
    assert "aggregate: federation version 2 from the fingerprints of aa, bb, and model r0000" in ran.out
    world.carry()
    seen = fedmed.run("run", "-w", "aa", "--dry-run", cwd=world.root).out
    assert "would do train-local: the numbers fitted on all sites have arrived" in seen


def test_what_is_shown_before_consent(fedmed: Fedmed, tmp_path: Path) -> None:
    world = small.founded(tmp_path / "world", approved=False, recipe={"data": DATA})
    fingerprint = fedmed.ok("start", "-w", "coordinator", "--json", cwd=world.root).json["fingerprint"]
    ran = fedmed.ok("approve", "-w", "aa", "--by", "Test", "--fingerprint", fingerprint, cwd=world.root)
    assert "once, before the first round, a fingerprint of the training cases" in ran.out
