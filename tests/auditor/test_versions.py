"""Versions behind the one that people approved: what can be compared, and that no file makes itself one of them."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

from fedmed.auditor import inspection, keyring, rounds
from fedmed.auditor.shelf import Shelf
from fedmed.cli.app import app
from fedmed.coordinator import rotate
from fedmed.errors import FedmedError
from fedmed.exchange import keys
from tests.coded import code_of
from tests.federation.simulator import Simulation, statement_id
from tests.vectors import samples

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def rotated(simulation: Simulation) -> Path:
    """The workspace of a coordinator that replaced its key behind the first round."""
    rotate.rotate(simulation.coordinator.root, simulation.now)
    for name in simulation.names:
        simulation.send_update(name, 1.0)
    simulation.coordinator.aggregate(simulation.now)
    return simulation.coordinator.root


def said(*words: object) -> str:
    done = CliRunner().invoke(app, [str(each) for each in words])
    assert done.exit_code == 0, done.output
    return done.stdout


def spoken(outbox: Path, version: int) -> str:
    return inspection.inspect(outbox / f"federation-v000{version}.fedmed").spoken


def test_both_fingerprints_are_named_and_the_coordinator_shows_both(rotated: Path) -> None:
    outbox = rotated / "outbox"
    first, second = spoken(outbox, 1), spoken(outbox, 2)
    told = said("verify", outbox / "model-r0001.fedmed", "-f", outbox / "federation-v0002.fedmed")
    both = "(compare both with the coordinator's: fedmed keys fingerprint)"
    assert f"by version 2, {second}, of the federation {first} {both}\n" in told
    shown = said("keys", "fingerprint", "-w", rotated)
    assert f"federation in force here: {first}\n" in shown
    assert f"version 2, which follows the one that people approved: {second}\n" in shown
    verified = inspection.verify(outbox / "model-r0001.fedmed", outbox / "federation-v0002.fedmed")
    assert (verified.federation, verified.version, verified.approved) == (second, 2, first)


def test_the_version_that_people_approved_stands_alone(simulation: Simulation) -> None:
    outbox = simulation.coordinator.root / "outbox"
    told = said("verify", outbox / "model-r0000.fedmed", "-f", outbox / "federation-v0001.fedmed")
    assert f"by the federation {spoken(outbox, 1)} (compare it with the coordinator's)\n" in told
    assert keyring.fingerprints(simulation.coordinator.root).later == ""


def test_a_key_that_came_with_a_later_version_is_said_to_be_perhaps_that(rotated: Path) -> None:
    outbox = rotated / "outbox"
    with pytest.raises(FedmedError) as refused:
        inspection.verify(outbox / "model-r0001.fedmed", outbox / "federation-v0001.fedmed")
    assert refused.value.code == "FM-SIG-03"
    assert refused.value.message.endswith(
        "is not in the roster of version 1; if it replaced another one since, give the newest federation file"
    )


def usurped(data: bytes) -> bytes:
    """A later version by somebody who names himself its coordinator, and the approved one as the one before."""
    thief = samples.key("thief")
    line = keys.public_line(thief.public_key().public_bytes_raw())

    def change(predicate: dict[str, Any]) -> None:
        predicate["body"] |= {"coordinator": line, "rotations": []}
        predicate["sender"]["key"] = keys.fingerprint(thief.public_key().public_bytes_raw())

    return samples.resigned(data, thief, change)


def test_an_audit_takes_no_version_by_its_own_word(rotated: Path, tmp_path: Path) -> None:
    second = (rotated / "outbox" / "federation-v0002.fedmed").read_bytes()
    forged = usurped(second)
    (tmp_path / "forged.fedmed").write_bytes(forged)
    first, claimed = spoken(rotated / "outbox", 1), inspection.read_federation(tmp_path / "forged.fedmed").federation
    assert keys.spoken(claimed.root) == first, "it says that it follows what people approved"
    (rotated / "archive" / "forged.fedmed").write_bytes(forged)
    with ExitStack() as stack:
        shelf = Shelf(rotated, stack)
        assert shelf._reference(statement_id(second)).federation.founding.version == 2
        assert code_of(lambda: shelf._reference(statement_id(forged))) == "FM-SIG-03"
    assert rounds.audit(rotated, 0, lambda *_: None).federation == first


def test_an_audit_of_a_later_version_needs_those_before(rotated: Path) -> None:
    first = statement_id((rotated / "outbox" / "federation-v0001.fedmed").read_bytes())
    second = statement_id((rotated / "outbox" / "federation-v0002.fedmed").read_bytes())
    (rotated / "archive" / f"{first}.fedmed").unlink()
    with ExitStack() as stack, pytest.raises(FedmedError, match=f"archive: {first[:16]}... is missing") as refused:
        Shelf(rotated, stack)._reference(second)
    assert refused.value.code == "FM-TRU-11"
