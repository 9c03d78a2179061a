"""The rules over one statement: pure, total, and in their order."""

from __future__ import annotations

import copy
import io
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmed.errors import CODES
from fedmed.exchange import admission, artifact, canonical, federation, statement
from fedmed.exchange.admission import AHEAD
from fedmed.exchange.container import Reader
from fedmed.exchange.record import Known, Record
from fedmed.exchange.verdict import Outcome, Situation, Verdict
from fedmed.learning import shapes
from tests.vectors import samples

NOW = datetime(2031, 3, 2, 8, tzinfo=UTC)
ZEROS = "0" * 64
FEDERATION = federation.from_statement(
    statement.decode(canonical.encode(samples.of_kind("federation")[0])), samples.membership()["digest"]
)
TABLES = dict.fromkeys(("model", "update"), shapes.digest(samples.TABLE))


def record(*received: Known, said: tuple[Known, ...] = ()) -> Record:
    found = Record([])
    found.received += received
    found.said += said
    return found


MODEL_0 = Known(
    "a" * 64,
    "model",
    "coordinator",
    2,
    None,
    0,
    "said",
    None,
    samples.sha256(samples.MODEL),
    samples.CREATED,
    version=1,
    federation=samples.membership()["digest"],
)
FOUNDED = Known(samples.membership()["digest"], "federation", "coordinator", 1, None, None, "said", None, ZEROS, "")


def coordinator(**change: Any) -> Situation:
    public = samples.public("coordinator")
    known = record(said=(FOUNDED, MODEL_0))
    return Situation(
        **{
            "role": "coordinator",
            "name": "coordinator",
            "public_key": public,
            "federation": FEDERATION,
            "record": known,
            "round": 0,
            "now": NOW,
            "tables": TABLES,
            **change,
        }
    )


def site(**change: Any) -> Situation:
    public = samples.public("st-olav")
    return coordinator(role="site", name="st-olav", public_key=public, record=record(), round=-1, **change)


def judge(data: bytes, situation: Situation) -> Verdict:
    return admission.judge(artifact.read_envelope(Reader(io.BytesIO(data).read)), situation)


def end(data: bytes, situation: Situation) -> tuple[str, str]:
    verdict = judge(data, situation)
    return verdict.outcome.value, verdict.code


@pytest.mark.parametrize(
    ("kind", "at_coordinator", "at_site"),
    [
        ("join", ("not-for-me", ""), ("not-for-me", "")),
        ("federation", ("not-for-me", ""), ("conflict", "FM-TRU-03")),
        ("approval", ("accepted", ""), ("not-for-me", "")),
        ("model", ("not-for-me", ""), ("accepted", "")),
        ("update", ("accepted", ""), ("not-for-me", "")),
        ("report", ("accepted", ""), ("not-for-me", "")),
    ],
)
def test_who_takes_what(kind: str, at_coordinator: tuple[str, str], at_site: tuple[str, str]) -> None:
    assert end(samples.sample(kind), coordinator()) == at_coordinator
    assert end(samples.sample(kind), site()) == at_site


@pytest.mark.parametrize(
    ("kind", "at_coordinator", "at_site"),
    [
        ("join", ("early", "FM-WAI-05"), ("not-for-me", "")),
        ("federation", ("not-for-me", ""), ("early", "FM-WAI-05")),
        ("approval", ("rejected", "FM-SIG-03"), ("early", "FM-WAI-05")),
        ("model", ("rejected", "FM-SIG-03"), ("early", "FM-WAI-05")),
        ("update", ("rejected", "FM-SIG-03"), ("early", "FM-WAI-05")),
    ],
)
def test_before_there_is_a_federation(kind: str, at_coordinator: tuple[str, str], at_site: tuple[str, str]) -> None:
    other_site = {"name": "riks", "public_key": samples.public("riks")}
    assert end(samples.sample(kind), coordinator(federation=None)) == at_coordinator
    found = Situation(**{**vars(site(federation=None)), **other_site})
    assert end(samples.sample(kind), found) == at_site


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else []
    return [place for key, part in inner for place in [(*path, key), *places(part, (*path, key))]]


VALUES = st.one_of(
    *(st.none(), st.booleans(), st.integers(-3, 2**53), st.sampled_from([ZEROS, "f" * 64, "", "model", "coordinator"])),
    *(st.sampled_from(["9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z", "riks", "x" * 300]), st.just([]), st.just({})),
)


@given(st.data(), st.sampled_from(samples.KINDS), st.booleans())
def test_a_statement_with_any_field_changed_is_judged_and_never_raises(
    data: st.DataObject, kind: str, to_site: bool
) -> None:
    value = copy.deepcopy(samples.of_kind(kind)[0])
    *parents, last = data.draw(st.sampled_from(places(value)))
    inner = value
    for key in parents:
        inner = inner[key]
    inner[last] = data.draw(VALUES)
    signer = samples.key("coordinator" if kind in samples.OF_COORDINATOR else "st-olav")
    changed = samples.signed(canonical.encode(value), [], by=signer, namespace=f"{kind}@fedmed.v1")
    verdict = judge(changed, site() if to_site else coordinator())
    assert verdict.code in ("", *CODES)
    assert (verdict.code == "") == (
        verdict.outcome.value in ("accepted", "not-for-me", "late", "superseded", "duplicate")
    )


def changed(kind: str, **fields: Any) -> bytes:
    signer = samples.key("coordinator" if kind in samples.OF_COORDINATOR else "st-olav")
    return samples.resigned(samples.sample(kind), signer, lambda predicate: predicate.update(fields))


def received(seq: int, prev: str | None = None, id_: str = "", ack: str | None = None) -> Known:
    return Known(id_ or f"{seq:064x}", "report", "st-olav", seq, prev, 0, "accepted", ack, ZEROS, samples.CREATED)


@pytest.mark.parametrize(
    ("held", "seq", "prev", "expected"),
    [
        ([], 5, ZEROS, "accepted"),
        ([received(3)], 5, "f" * 64, "accepted"),
        ([received(7)], 5, "f" * 64, "accepted"),
        ([received(4, id_=ZEROS)], 5, ZEROS, "accepted"),
        ([received(4)], 5, ZEROS, "FM-TRU-04"),
        ([received(6, prev=ZEROS)], 5, "f" * 64, "FM-TRU-04"),
        ([received(3, prev=ZEROS)], 5, ZEROS, "FM-TRU-04"),
        ([received(5)], 5, "f" * 64, "FM-TRU-03"),
        ([received(5), received(4)], 5, ZEROS, "FM-TRU-03"),
    ],
)
def test_numbers_may_have_gaps_and_no_forks(held: list[Known], seq: int, prev: str, expected: str) -> None:
    situation = coordinator(record=record(*held, said=(FOUNDED, MODEL_0)))
    outcome, code = end(changed("report", seq=seq, prev=prev), situation)
    assert (code or outcome) == expected


def test_a_fork_of_one_sender_is_no_fork_of_another() -> None:
    other = Known("b" * 64, "report", "riks", 5, ZEROS, 0, "accepted", None, ZEROS, samples.CREATED)
    situation = coordinator(record=record(other, said=(FOUNDED, MODEL_0)))
    assert end(changed("report", seq=5, prev=ZEROS), situation) == ("accepted", "")


@pytest.mark.parametrize(
    ("held_seq", "held_ack", "seq", "ack", "expected"),
    [
        (3, FOUNDED.id, 5, MODEL_0.id, "accepted"),
        (3, MODEL_0.id, 5, MODEL_0.id, "accepted"),
        (3, MODEL_0.id, 5, FOUNDED.id, "FM-TRU-05"),
        (9, FOUNDED.id, 5, MODEL_0.id, "FM-TRU-05"),
        (9, MODEL_0.id, 5, FOUNDED.id, "accepted"),
        (3, None, 5, FOUNDED.id, "accepted"),
        (3, MODEL_0.id, 5, None, "accepted"),
        (3, MODEL_0.id, 5, "c" * 64, "FM-TRU-06"),
    ],
)
def test_acknowledgements_rise_with_the_numbers(
    held_seq: int, held_ack: str | None, seq: int, ack: str | None, expected: str
) -> None:
    situation = coordinator(record=record(received(held_seq, "d" * 64, ack=held_ack), said=(FOUNDED, MODEL_0)))
    outcome, code = end(changed("report", seq=seq, ack=ack), situation)
    assert (code or outcome) == expected


@pytest.mark.parametrize(("ahead", "outcome"), [(AHEAD, "accepted"), (AHEAD + timedelta(seconds=1), "future")])
def test_a_clock_may_be_26_hours_behind(ahead: timedelta, outcome: str) -> None:
    data = changed("update", created=statement.to_time(NOW + ahead))
    assert end(data, coordinator())[0] == outcome
    assert end(data, coordinator(trust_clock=True))[0] == "accepted"


def test_expiry_is_judged_by_the_floor_when_the_clock_says_less() -> None:
    data = changed("model", expires=statement.to_time(NOW))
    assert end(data, site()) == ("accepted", "")
    assert end(data, site(now=NOW + timedelta(seconds=1))) == ("expired", "FM-TIM-01")
    later = site()
    later.record.floor = statement.to_time(NOW + timedelta(days=1))
    assert end(data, later) == ("expired", "FM-TIM-01")
    allowed = site(accept_expired=True)
    assert end(data, allowed) == ("accepted", "")


def test_every_outcome_of_the_specification_can_be_said() -> None:
    assert {outcome.value for outcome in Outcome} == {
        *("accepted", "duplicate", "not-for-me", "incomplete", "early", "superseded"),
        *("late", "conflict", "rejected", "expired", "future", "rollback"),
    }


@pytest.mark.parametrize("signer", ["st-olav", "coordinator", "stranger"])
@pytest.mark.parametrize("kind", samples.KINDS)
@pytest.mark.parametrize("namespace", [*(f"{kind}@fedmed.v1" for kind in samples.KINDS), "file", "ssh"])
def test_a_key_a_namespace_and_a_kind_must_agree(signer: str, kind: str, namespace: str) -> None:
    """Of all combinations only a role's own kinds under their own namespaces are let in."""
    sender = {"name": signer, "key": samples.actor(signer)["key"]}
    data = samples.resigned(
        samples.sample(kind),
        samples.key(signer),
        lambda predicate: predicate.update(sender=sender, **({"recipients": [sender]} if kind == "state" else {})),
        namespace=namespace,
    )
    allowed = {"st-olav": statement.SITE_KINDS, "coordinator": statement.COORDINATOR_KINDS, "stranger": ()}[signer]
    for situation in (coordinator(), site()):
        verdict = judge(data, situation)
        if kind not in allowed or namespace != f"{kind}@fedmed.v1":
            let_in = verdict.outcome is Outcome.NOT_FOR_ME and kind == "join" and namespace == "join@fedmed.v1"
            assert let_in or (verdict.outcome is Outcome.REJECTED and verdict.code.startswith("FM-SIG")), verdict
        else:
            assert not verdict.code.startswith("FM-SIG")


def owned(name: str) -> bytes:
    """The sample of a state as the own one of `name`."""
    own = {"sender": samples.actor(name), "recipients": [samples.actor(name)]}
    return samples.resigned(samples.sample("state"), samples.key(name), lambda predicate: predicate.update(own))


@pytest.mark.parametrize("owner", ["st-olav", "riks", "coordinator"])
def test_a_state_that_was_sent_is_ignored_by_everybody(owner: str) -> None:
    """Whoever sends it on, whole as it is: it is addressed to nobody else."""
    for receiver in (coordinator(), site()):
        assert end(owned(owner), receiver) == ("not-for-me", "")


@pytest.mark.parametrize("receiver", [coordinator(), site()], ids=["coordinator", "site"])
def test_a_state_cannot_be_addressed_to_another(receiver: Situation) -> None:
    me = statement.actor(receiver.name, receiver.public_key).model_dump()
    for recipients in ([me], [samples.actor("riks"), me]):
        data = samples.resigned(owned("riks"), samples.key("riks"), lambda p, to=recipients: p.update(recipients=to))
        assert end(data, receiver) == ("rejected", "FM-FRM-03")


@pytest.mark.parametrize(("last", "expected"), [(False, ("late", "")), (True, ("rejected", "FM-RND-01"))])
def test_a_model_that_comes_late_cannot_be_the_last(last: bool, expected: tuple[str, str]) -> None:
    newest = Known("b" * 64, "model", "coordinator", 9, None, 2, "accepted", None, ZEROS, samples.CREATED)

    def earlier(predicate: dict[str, Any]) -> None:
        predicate |= {"round": 1, "ack": []}
        predicate["body"] |= {"last": last, "previous": "c" * 64}

    data = samples.resigned(samples.sample("model"), samples.key("coordinator"), earlier)
    public = samples.public("st-olav")
    held = {"record": record(newest), "round": 2, "stops": True}
    assert end(data, coordinator(role="site", name="st-olav", public_key=public, **held)) == expected
