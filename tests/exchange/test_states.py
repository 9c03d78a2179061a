"""What an actor remembers: sealed once for its round, never posted, and refused when it is of another one."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from fedmed.auditor import books, inspection
from fedmed.exchange import agreement, artifact, bodies, sealing, states
from fedmed.learning import shapes
from tests.coded import code_of
from tests.vectors import samples

if TYPE_CHECKING:
    from fedmed.exchange.federation import Federation
    from fedmed.exchange.record import Known
    from fedmed.exchange.workspace import Workspace
    from tests.federation.simulator import Simulation

NOW = datetime(2031, 3, 2, 8, tzinfo=UTC)
BODY = bodies.State.model_validate(samples.of_kind("state")[0]["predicate"]["body"])


@pytest.fixture
def found(simulation: Simulation) -> Workspace:
    """The coordinator behind `start`."""
    return simulation.coordinator.workspace()


def federation_of(found: Workspace) -> Federation:
    agreed = agreement.in_force(found)
    assert agreed is not None
    return agreed.federation


def answered(found: Workspace) -> Known:
    known = found.record.newest("model")
    assert known is not None
    return known


def keep(found: Workspace, payload: bytes = samples.STATE, model: Known | None = None) -> Known:
    content = artifact.tensor_content(states.PAYLOAD, payload)
    table = shapes.digest(samples.STATE_TABLE)
    return states.keep(found, federation_of(found), "aggregate", model or answered(found), BODY, table, content, NOW)


def named(found: Workspace, state: str, model: Known | None = None) -> str:
    return code_of(lambda: states.named(found, federation_of(found), state, model or answered(found)))


def test_it_is_sealed_for_its_round_and_read_back(found: Workspace) -> None:
    known = keep(found)
    said = states.named(found, federation_of(found), known.id, answered(found))
    assert (known.kind, known.round, said.predicate.body) == ("state", 0, BODY)
    assert states.read_payload(found, known.id) == samples.STATE
    verified = inspection.verify(found.archived(known.id), found.outbox / "federation-v0001.fedmed")
    assert "tensor table and finite numbers" in verified.checked
    assert books.verify(found.root, lambda _done, _total: None).archived > 0


def test_the_same_again_is_the_one_that_is_there(found: Workspace) -> None:
    first = keep(found)
    assert keep(found) == first
    other = keep(found, samples.STATE[:-4] + bytes(4))
    assert (other.seq, other.prev) == (first.seq + 1, first.id)
    assert keep(found) != first, "the newest counts, and these are other numbers"


def test_it_is_never_posted(found: Workspace) -> None:
    before = sorted(found.outbox.iterdir())
    known = keep(found)
    sealing.complete_intent(found, NOW + timedelta(hours=1))
    assert sorted(found.outbox.iterdir()) == before
    with pytest.raises(ValueError, match="its sender alone"):
        sealing.post(found, known)


def test_killed_before_the_ledger_knows_it(found: Workspace) -> None:
    ledger = found.root / "state" / "ledger.jsonl"
    known = keep(found)
    ledger.write_bytes(b"".join(ledger.read_bytes().splitlines(keepends=True)[:-1]))
    again = type(found)(**{**vars(found), **reread(found)})
    sealing.complete_intent(again, NOW)
    assert again.record.said[-1] == known
    assert not list(found.outbox.glob("state*"))


def reread(found: Workspace) -> dict[str, object]:
    from fedmed.exchange.ledger import Ledger  # noqa: PLC0415
    from fedmed.exchange.record import Record  # noqa: PLC0415

    ledger = Ledger(found.root / "state" / "ledger.jsonl")
    return {"ledger": ledger, "record": Record(ledger.entries)}


def test_of_another_round_or_model_it_is_refused(found: Workspace) -> None:
    known, model = keep(found), answered(found)
    assert named(found, known.id) == "ok"
    assert named(found, known.id, replace(model, round=1)) == "FM-STA-02"
    assert named(found, known.id, replace(model, payload="0" * 64)) == "FM-STA-02"
    assert named(found, model.id) == "FM-STA-02", "a model is no memory"


def test_of_another_federation_it_is_refused(found: Workspace) -> None:
    known, federation = keep(found), federation_of(found)
    other = replace(federation, founding=federation.founding.model_copy(update={"id": "0" * 32}))
    assert code_of(lambda: states.named(found, other, known.id, answered(found))) == "FM-STA-02"


def test_missing_strange_or_damaged(found: Workspace) -> None:
    assert named(found, "0" * 64) == "FM-STA-01"
    received = next(each for each in found.record.received if each.kind == "join")
    assert named(found, received.id) == "FM-STA-01", "of somebody else"
    known = keep(found)
    path = found.archived(known.id)
    whole = path.read_bytes()
    place = whole.index(samples.STATE) + len(samples.STATE) - 1
    path.write_bytes(whole[:place] + b"\1" + whole[place + 1 :])
    assert named(found, known.id) == "ok", "its statement is whole"
    assert code_of(lambda: states.read_payload(found, known.id)) == "FM-STA-01"
    path.write_bytes(whole[:300])
    assert named(found, known.id) == "FM-STA-01"
    path.unlink()
    assert named(found, known.id) == "FM-STA-01"
