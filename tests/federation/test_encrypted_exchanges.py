"""Fingerprints and laps in encrypted files: what a federation in clear comes to, and nothing for anybody else."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pyrage
import pytest
from typer.testing import CliRunner

from fedmed.auditor import books
from fedmed.cli.app import app
from fedmed.coordinator import status
from fedmed.exchange import agekeys, archived, canonical, confidential, statement
from fedmed.exchange.verdict import Outcome
from fedmed.site import status as site_status
from tests.federation import test_fingerprints, test_laps
from tests.federation.simulator import Simulation, predicate_of
from tests.federation.test_fingerprints import NAMES, pooled, send
from tests.federation.test_laps import FIRST, LIMITS, SECOND, hop
from tests.federation.test_screening import model_is
from tests.vectors import samples

if TYPE_CHECKING:
    from pathlib import Path

REJECTED = Outcome.REJECTED
FEDERATED = {"normalisation": "federated", "spacing": "federated"}


def reads(world: Simulation, who: str, payload: bytes) -> bool:
    try:
        pyrage.decrypt(payload, [agekeys.load(world.root / who / "keys" / "age.key")])
    except pyrage.DecryptError:
        return False
    return True


# --- fingerprints ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Simulation:
    made = Simulation(tmp_path_factory.mktemp("template") / "world", NAMES)
    return made.found(data=FEDERATED, deadline_days=3, encryption="age").pass_time(hours=1)


@pytest.fixture
def waiting(template: Simulation, tmp_path: Path) -> Simulation:
    return template.copied_to(tmp_path / "world")


def test_the_numbers_are_those_of_fingerprints_in_clear(waiting: Simulation, tmp_path: Path) -> None:
    clear = Simulation(tmp_path / "clear", NAMES).found(data=FEDERATED, deadline_days=3).pass_time(hours=1)
    numbers = [test_fingerprints.in_force(pooled(world)).preprocessing for world in (waiting, clear)]
    assert numbers[0] == numbers[1]
    assert b'"mean":100.0' in numbers[0]
    waiting.carry_down()
    for name in NAMES:
        waiting.sites[name].look(waiting.now)
        assert test_fingerprints.numbers_at(waiting.sites[name]) is not None
        assert waiting.sites[name].workspace().record.model(0) is not None, "made under the second version"
    key = waiting.root / "coordinator" / "keys" / "age.key"
    audit = books.verify(waiting.coordinator.root, lambda *_: None, key)
    assert (audit.encrypted, audit.opened) == (3 + 1, 4), "each held against its own version"


def test_a_fingerprint_tells_nobody_else_anything(waiting: Simulation) -> None:
    data = send(waiting, "aa", mean=123.5, num_cases=37)
    assert status.status(waiting.coordinator.root, waiting.now)
    assert site_status.status(waiting.sites["aa"].root, waiting.now)
    path = waiting.root / "fingerprint.fedmed"
    path.write_bytes(data)
    shown, told = (
        CliRunner().invoke(app, ["inspect", str(path), *more]).output
        for more in ([], ["-w", str(waiting.coordinator.root)])
    )
    assert "what it tells is encrypted" in shown
    assert "num_cases: 37\n" in told
    said, payloads = samples.statement_in(data), samples.members(data)[2:]
    assert said["predicate"]["body"] is None
    assert [name for name, _ in payloads] == ["body.json"]
    assert not re.search(rb"123\.5|\b37\b", canonical.encode(said))
    assert [reads(waiting, who, payloads[0][1]) for who in ("coordinator", "aa", "bb")] == [True, True, False]


def fingerprint_of(world: Simulation, plaintext: bytes, bound_to: str = "aa") -> tuple[Any, ...]:
    """How a fingerprint of aa ends whose payload says something else."""
    data, bound_by = (world.sites[name].fingerprint(world.now) for name in ("aa", bound_to))
    bound = confidential.binding(statement.decode(samples.members(bound_by)[0][1]))
    keys = [agekeys.recipient(world.root / who / "keys" / "age.key") for who in ("coordinator", "aa")]
    forged = pyrage.encrypt(bound + plaintext, [pyrage.x25519.Recipient.from_str(each) for each in keys])
    return world.coordinator.judge(world.change(data, "aa", lambda _: None, payload=forged), world.now)


def test_what_it_says_in_private_is_held_to_the_same_rules(waiting: Simulation) -> None:
    data = waiting.sites["aa"].fingerprint(waiting.now)
    found = waiting.sites["aa"].workspace()
    good = archived.read_payload(found, samples.sha256(samples.members(data)[0][1]), "body.json")
    too_many = {"facts": canonical.decode(good)["facts"] | {"num_cases": 100_001}}
    assert fingerprint_of(waiting, canonical.encode(too_many)) == (REJECTED, "FM-TEN-03", 5)
    assert fingerprint_of(waiting, b'{"facts":null}') == (REJECTED, "FM-FRM-03", 5)
    assert fingerprint_of(waiting, good, "bb") == (REJECTED, "FM-AGE-03", 4)


def test_in_clear_where_it_was_agreed_to_encrypt(waiting: Simulation, tmp_path: Path) -> None:
    clear = Simulation(tmp_path / "clear", NAMES).found(data=FEDERATED, deadline_days=3).pass_time(hours=1)
    plain = predicate_of(clear.sites["aa"].fingerprint(clear.now))["body"]
    said = samples.statement_in(waiting.sites["aa"].fingerprint(waiting.now))
    said["predicate"] |= {"body": plain, "payload": []}
    said["subject"] = [{"name": "federation", "digest": {"sha256": said["predicate"]["federation"]["digest"]}}]
    data = samples.signed(said, [], by=waiting.sites["aa"].key)
    assert waiting.coordinator.judge(data, waiting.now) == (REJECTED, "FM-AGE-01", 5)
    said["predicate"]["body"] = None
    data = samples.signed(said, [], by=waiting.sites["aa"].key)
    assert waiting.coordinator.judge(data, waiting.now) == (REJECTED, "FM-FRM-03", 5)


# --- laps -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Simulation:
    simulation = Simulation(tmp_path_factory.mktemp("laps") / "world", ("aa", "bb", "cc"))
    return simulation.found(strategy={"name": "cyclic"}, encryption="age", **LIMITS)


@pytest.fixture
def lap(begun: Simulation, tmp_path: Path) -> Simulation:
    return begun.copied_to(tmp_path / "world")


def test_laps_are_those_in_clear(lap: Simulation) -> None:
    """The sums that a federation in clear comes to, in test_laps.py."""
    for name, adds, cases in zip(FIRST, (1, 2, 4), (5, 15, 80), strict=True):
        hop(lap, name, adds, cases)
    model_is(lap, 7.0)
    for name, adds in zip(SECOND, (0.5, 0.25, 0.125), strict=True):
        hop(lap, name, adds)
    model_is(lap, 7.875)
    assert books.verify(lap.coordinator.root, lambda *_: None).laps == 2


def test_an_update_of_a_lap_is_for_the_coordinator_and_the_next_site(lap: Simulation) -> None:
    data = hop(lap, "cc", 1.0)
    for payload in (part for _, part in samples.members(data)[2:]):
        assert [reads(lap, who, payload) for who in ("coordinator", "cc", "aa", "bb")] == [True, True, True, False]
    assert lap.coordinator.posted("update-r0000-cc") == data, "the very file is handed on"
    assert test_laps.statuses(lap)["aa"] == ("missing", "it is its turn")
    assert "aa" in {each.site for each in status.status(lap.coordinator.root, lap.now).sites}


def test_an_update_that_the_next_site_cannot_open_is_refused_at_the_coordinator(lap: Simulation) -> None:
    """As far as it can see: for how many it was encrypted."""
    data = lap.update("cc", 1.0)
    found = lap.sites["cc"].workspace()
    plain = archived.read_payload(found, samples.sha256(samples.members(data)[0][1]), "update.safetensors")
    bound = confidential.binding(statement.decode(samples.members(data)[0][1]))
    keys = [agekeys.recipient(lap.root / who / "keys" / "age.key") for who in ("coordinator", "cc")]
    forged = pyrage.encrypt(bound + plain, [pyrage.x25519.Recipient.from_str(each) for each in keys])
    changed = lap.change(data, "cc", lambda p: p.update(seq=80), payload=forged)
    assert lap.coordinator.judge(changed, lap.now) == (REJECTED, "FM-AGE-04", 5)
