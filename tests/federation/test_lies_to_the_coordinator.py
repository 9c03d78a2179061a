"""A hospital, or somebody on the way, lies to the coordinator: each lie ends in its own code, and the round goes on."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from fedmed.exchange.verdict import Outcome
from fedmed.learning import params, shapes
from tests.coded import code_of
from tests.vectors import samples

from . import simulator
from .simulator import INITIAL, TABLE, filled, predicate_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from .simulator import End, Simulation

ZEROS = "0" * 64


def put(**fields: Any) -> Any:
    """A lie that sets fields of the predicate and signs again with the hospital's own key."""
    return lambda simulation, honest: simulation.change(honest, "cc", lambda predicate: predicate.update(fields))


def telling(**fields: Any) -> Any:
    return lambda simulation, honest: simulation.change(
        honest, "cc", lambda predicate: predicate["body"]["facts"].update(fields)
    )


def inside(**fields: Any) -> Any:
    return lambda simulation, honest: simulation.change(
        honest, "cc", lambda predicate: predicate["body"].update(fields)
    )


def with_payload(make: Callable[[bytes], bytes]) -> Any:
    def lie(simulation: Simulation, honest: bytes) -> bytes:
        return samples.resigned(honest, simulation.sites["cc"].key, payload=make(samples.members(honest)[2][1]))

    return lie


def nan(payload: bytes) -> bytes:
    return payload[:-4] + np.float32(math.nan).tobytes()


def other_shape(payload: bytes) -> bytes:
    return payload.replace(b"[2,3]", b"[3,2]")


def huge_header(payload: bytes) -> bytes:
    return (1 << 40).to_bytes(8, "little") + payload[8:]


def bigger_model(_: bytes) -> bytes:
    table = shapes.table_from_rows([{"name": "conv.weight", "shape": [20, 30], "group": "param"}])
    return params.to_payload({"conv.weight": np.zeros((20, 30), np.float32)}, table)


def swapped(_: Simulation, honest: bytes) -> bytes:
    *envelope, (name, payload) = samples.members(honest)
    return samples.packed([*envelope, (name, payload[:-4] + b"\0\0\0\1")])


def foreign(simulation: Simulation, honest: bytes) -> bytes:
    other = {**predicate_of(honest)["federation"], "id": "f" * 32}
    return simulation.change(honest, "cc", lambda predicate: predicate.update(federation=other))


def a_model(simulation: Simulation, honest: bytes) -> bytes:
    model = simulation.coordinator.posted("model-r0000")
    return simulation.change(model, "cc", lambda p: p.update(sender=simulation.sites["cc"].actor, round=1))


def a_model_in_the_coordinators_name(simulation: Simulation, honest: bytes) -> bytes:
    return simulation.change(simulation.coordinator.posted("model-r0000"), "cc", lambda p: p.update(round=1))


def addressed_to_another(simulation: Simulation, honest: bytes) -> bytes:
    return simulation.change(honest, "cc", lambda p: p.update(recipients=[simulation.sites["bb"].actor]))


def in_the_name_of_another(simulation: Simulation, honest: bytes) -> bytes:
    return simulation.change(honest, "cc", lambda p: p.update(sender=simulation.sites["bb"].actor))


def named_as_the_statement(simulation: Simulation, honest: bytes) -> bytes:
    statement, (_, payload) = samples.statement_in(honest), samples.members(honest)[2]
    statement["subject"][0]["name"] = statement["predicate"]["payload"][0]["name"] = "statement.json"
    return samples.signed(statement, [("statement.json", payload)], by=simulation.sites["cc"].key)


def by_a_stranger(_: Simulation, honest: bytes) -> bytes:
    return samples.resigned(honest, samples.key("stranger"), lambda p: p.update(sender=samples.actor("stranger")))


def join_of_a_stranger(_: Simulation, honest: bytes) -> bytes:
    return samples.sample("join")


def federation_of_a_stranger(_: Simulation, honest: bytes) -> bytes:
    return samples.sample("federation")


REJECTED = Outcome.REJECTED
LIES: dict[str, tuple[Any, End]] = {
    "signed with a stranger's key": (
        lambda _, honest: samples.resigned(honest, samples.key("x")),
        (REJECTED, "FM-SIG-03", 4),
    ),
    "signed with another hospital's key": (lambda s, honest: s.change(honest, "bb", id), (REJECTED, "FM-SIG-05", 4)),
    "in the name of another hospital": (in_the_name_of_another, (REJECTED, "FM-SIG-05", 4)),
    "a stranger's own": (by_a_stranger, (REJECTED, "FM-SIG-03", 4)),
    "a stranger's federation": (federation_of_a_stranger, (REJECTED, "FM-SIG-03", 4)),
    "a stranger's join": (join_of_a_stranger, (Outcome.NOT_FOR_ME, "", 0)),
    "a model of a site": (a_model, (REJECTED, "FM-SIG-04", 4)),
    "a model of a site as coordinator": (a_model_in_the_coordinators_name, (REJECTED, "FM-SIG-04", 4)),
    "payload swapped": (swapped, (REJECTED, "FM-TRU-10", 4)),
    "payload named statement.json": (named_as_the_statement, (REJECTED, "FM-FRM-03", 5)),
    "not a number": (with_payload(nan), (REJECTED, "FM-TEN-02", 5)),
    "other shape": (with_payload(other_shape), (REJECTED, "FM-TEN-01", 5)),
    "huge header": (with_payload(huge_header), (REJECTED, "FM-TEN-01", 5)),
    "another model": (with_payload(bigger_model), (REJECTED, "FM-TEN-01", 5)),
    "other table named": (put(tensor_table=ZEROS), (REJECTED, "FM-TEN-01", 5)),
    "too many cases": (telling(num_cases=101, num_patients=1), (REJECTED, "FM-TEN-03", 5)),
    "no facts": (inside(facts=None), (REJECTED, "FM-FRM-03", 5)),
    "more patients than cases": (telling(num_cases=10, num_patients=11), (REJECTED, "FM-TEN-03", 5)),
    "another base": (put(base_model=ZEROS), (REJECTED, "FM-RND-02", 5)),
    "attempt 2": (put(attempt=2), (REJECTED, "FM-RND-01", 5)),
    "a round to come": (put(round=1), (Outcome.EARLY, "FM-WAI-05", 75)),
    "another federation": (foreign, (REJECTED, "FM-TRU-02", 4)),
    "addressed to another": (addressed_to_another, (Outcome.NOT_FOR_ME, "", 0)),
    "signed in 2099": (put(created="2099-01-01T00:00:00Z"), (Outcome.FUTURE, "FM-TIM-02", 4)),
    "cut short": (lambda _, honest: honest[:-700], (Outcome.INCOMPLETE, "FM-WAI-04", 75)),
    "with something at the end": (lambda _, honest: honest + b"x", (REJECTED, "FM-FRM-01", 5)),
    "a number of another statement": (put(seq=1), (Outcome.CONFLICT, "FM-TRU-03", 4)),
    "a second successor": (put(seq=9, prev=None), (Outcome.CONFLICT, "FM-TRU-04", 4)),
}

TOLD = {  # what cc signed itself, to this coordinator and about this round: it gets a receipt
    *("payload swapped", "not a number", "other shape", "huge header", "another model", "other table named"),
    *(
        "too many cases",
        "more patients than cases",
        "no facts",
        "another base",
        "attempt 2",
        "with something at the end",
    ),
}


def close_with_the_others(simulation: Simulation) -> dict[str, str]:
    """aa and bb answer, the round is closed: what became of each hospital. The model must be that of aa and bb."""
    simulation.send_update("aa", 1.0)
    simulation.send_update("bb", 3.0)
    made = simulation.coordinator.aggregate(simulation.now, close=True)
    _, weights = simulation.coordinator.newest_model()
    assert [(parent.site, parent.share) for parent in made.parents] == [("aa", "0.5"), ("bb", "0.5")]
    assert all((weights[name] == INITIAL[name] + 2).all() for name in INITIAL)
    return {ack.site: ack.status for ack in made.acks}


@pytest.mark.parametrize("name", LIES)
def test_a_lie_has_its_own_end_and_the_round_goes_on(simulation: Simulation, name: str) -> None:
    lie, expected = LIES[name]
    data = lie(simulation, simulation.update("cc", 1000.0))
    assert simulation.coordinator.judge(data, simulation.now) == expected
    excluded = expected[0] is Outcome.CONFLICT
    cc = "excluded" if excluded else "refused" if name in TOLD else "missing"
    assert close_with_the_others(simulation) == {"aa": "used", "bb": "used", "cc": cc}


def test_nothing_of_a_lie_is_archived_and_the_inbox_is_left_alone(simulation: Simulation) -> None:
    honest = simulation.update("cc", 1.0)
    simulation.coordinator.look(simulation.now)
    archive = {path.name for path in (simulation.coordinator.root / "archive").iterdir()}
    sent = {}
    for lie, _ in LIES.values():
        data = lie(simulation, honest)
        sent[simulation.coordinator.deliver(data, simulation.now)] = data
    simulation.coordinator.look(simulation.now)
    assert {path.name for path in (simulation.coordinator.root / "archive").iterdir()} == archive
    assert all(path.read_bytes() == data for path, data in sent.items())
    assert list((simulation.coordinator.root / "state" / "spool").iterdir()) == []


def test_the_honest_update_counts_after_every_lie_about_it(simulation: Simulation) -> None:
    honest = simulation.update("cc", 5.0)
    for lie, (outcome, *_) in LIES.values():
        if outcome not in (Outcome.CONFLICT, Outcome.EARLY, Outcome.FUTURE):  # those are cc's own, with one number
            simulation.coordinator.deliver(lie(simulation, honest), simulation.now)
    simulation.coordinator.look(simulation.now)
    assert simulation.coordinator.judge(honest, simulation.now) == (Outcome.ACCEPTED, "", 0)
    simulation.send_update("aa", 1.0)
    simulation.send_update("bb", 3.0)
    made = simulation.coordinator.aggregate(simulation.now)
    assert [parent.site for parent in made.parents] == ["aa", "bb", "cc"]


@pytest.mark.parametrize("kind", ["join", "approval", "update", "report"])
def test_a_replay_is_a_duplicate(simulation: Simulation, kind: str) -> None:
    data = {
        "join": lambda: simulation.sites["cc"].posted("join-cc"),
        "approval": lambda: simulation.sites["cc"].posted("approval-v0001-cc"),
        "update": lambda: simulation.update("cc", 7.0),
        "report": lambda: simulation.sites["cc"].report(simulation.now),
    }[kind]()
    first = (Outcome.DUPLICATE if kind == "join" else Outcome.ACCEPTED, "", 0)
    assert simulation.coordinator.judge(data, simulation.now) in (first, (Outcome.DUPLICATE, "", 0))
    before = simulation.coordinator.workspace().ledger.length
    assert simulation.coordinator.judge(data, simulation.now) == (Outcome.DUPLICATE, "", 0)
    assert simulation.coordinator.workspace().ledger.length == before


def test_one_number_for_two_statements_excludes_the_sender_from_this_round_only(simulation: Simulation) -> None:
    first = simulation.update("cc", 1.0)
    second = simulation.change(first, "cc", lambda predicate: predicate["body"]["facts"].update(train_loss="0.6"))
    assert simulation.coordinator.judge(first, simulation.now) == (Outcome.ACCEPTED, "", 0)
    assert simulation.coordinator.judge(second, simulation.now) == (Outcome.CONFLICT, "FM-TRU-03", 4)
    assert close_with_the_others(simulation)["cc"] == "excluded"
    simulation.carry_down()
    for name in simulation.names:
        simulation.send_update(name, 1.0)
    made = simulation.coordinator.aggregate(simulation.now)
    assert [parent.site for parent in made.parents] == ["aa", "bb", "cc"]


def test_two_updates_after_one_statement_are_a_fork(simulation: Simulation) -> None:
    first = simulation.update("cc", 1.0)
    seq = predicate_of(first)["seq"]
    fork = simulation.change(first, "cc", lambda predicate: predicate.update(seq=seq + 1))
    simulation.coordinator.judge(first, simulation.now)
    assert simulation.coordinator.judge(fork, simulation.now) == (Outcome.CONFLICT, "FM-TRU-04", 4)
    assert close_with_the_others(simulation)["cc"] == "excluded"


def test_a_conflict_after_the_round_is_evidence_and_changes_nothing(simulation: Simulation) -> None:
    first = simulation.send_update("cc", 2.0)
    for name in ("aa", "bb"):
        simulation.send_update(name, 2.0)
    simulation.coordinator.aggregate(simulation.now)
    second = simulation.change(first, "cc", lambda predicate: predicate["body"]["facts"].update(train_loss="0.6"))
    assert simulation.coordinator.judge(second, simulation.now) == (Outcome.CONFLICT, "FM-TRU-03", 4)
    assert len(simulation.coordinator.workspace().record.conflicts) == 1
    simulation.carry_down()
    for name in simulation.names:
        simulation.send_update(name, 1.0)
    assert len(simulation.coordinator.aggregate(simulation.now).parents) == 3


def test_a_restored_hospital_is_held(simulation: Simulation, tmp_path: Path) -> None:
    """Its next statement acknowledges an older file of the coordinator than one it signed before."""
    simulation.send_update("cc", 1.0)
    simulation.coordinator.look(simulation.now)
    for name in ("aa", "bb"):
        simulation.send_update(name, 1.0)
    simulation.coordinator.aggregate(simulation.now)
    backup = simulation.copied_to(tmp_path / "backup").sites["cc"].root
    simulation.carry_down()
    simulation.send_update("cc", 1.0)
    simulation.coordinator.look(simulation.now)
    cc = simulation.sites["cc"]
    simulator.restore(cc, backup)
    (cc.root / "inbox" / "model-r0001.fedmed").unlink()
    after = [simulation.update("cc", 9.0) for _ in range(3)][-1]
    assert simulation.coordinator.judge(after, simulation.now) == (Outcome.ROLLBACK, "FM-TRU-05", 4)


def test_a_restored_hospital_that_signs_a_number_again_is_a_conflict(simulation: Simulation, tmp_path: Path) -> None:
    backup = simulation.copied_to(tmp_path / "backup").sites["cc"].root
    simulation.send_update("cc", 1.0)
    simulation.coordinator.look(simulation.now)
    simulator.restore(simulation.sites["cc"], backup)
    again = simulation.update("cc", 9.0)
    assert simulation.coordinator.judge(again, simulation.now) == (Outcome.CONFLICT, "FM-TRU-03", 4)


def test_a_restored_coordinator_stops(simulation: Simulation, tmp_path: Path) -> None:
    """A hospital answers a model that the coordinator no longer knows it sent."""
    backup = simulation.copied_to(tmp_path / "backup").coordinator.root
    for name in simulation.names:
        simulation.send_update(name, 1.0)
    simulation.coordinator.aggregate(simulation.now)
    simulation.carry_down()
    answer = simulation.update("aa", 1.0)
    simulator.restore(simulation.coordinator, backup)
    simulation.coordinator.deliver(answer, simulation.now)
    ledger = simulation.coordinator.workspace().ledger.length
    assert code_of(lambda: simulation.coordinator.look(simulation.now)) == "FM-TRU-06"
    assert code_of(lambda: simulation.coordinator.aggregate(simulation.now)) == "FM-TRU-06"
    assert simulation.coordinator.workspace().record.newest("model").round == 0
    assert simulation.coordinator.workspace().ledger.length >= ledger


def test_an_update_without_approval_does_not_count(started_without_cc: Simulation) -> None:
    simulation = started_without_cc
    consenting = simulation.sites["aa"]
    honest = consenting.update(simulation.now, filled(1.0))
    cc = simulation.sites["cc"]
    joined = simulator.statement_id(cc.posted("join-cc"))
    update = simulation.change(honest, "cc", lambda p: p.update(sender=cc.actor, seq=2, prev=joined))
    assert simulation.coordinator.judge(update, simulation.now) == (Outcome.ACCEPTED, "", 0)
    assert close_with_the_others(simulation)["cc"] == "unapproved"


def test_an_approval_that_comes_after_the_update_makes_it_count(started_without_cc: Simulation) -> None:
    simulation = started_without_cc
    approval = simulation.sites["cc"].approve(simulation.now)
    for name in simulation.names:
        simulation.send_update(name, 1.0)
    assert code_of(lambda: simulation.coordinator.aggregate(simulation.now)) == "FM-WAI-03"
    simulation.coordinator.deliver(approval, simulation.now)
    assert len(simulation.coordinator.aggregate(simulation.now).parents) == 3


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_the_later_update_of_a_hospital_counts_whichever_arrives_first(
    simulation: Simulation, order: tuple[int, int]
) -> None:
    both = [simulation.update("cc", 100.0), simulation.update("cc", 2.0)]
    ends = [simulation.coordinator.judge(both[which], simulation.now) for which in order]
    assert ends == [(Outcome.ACCEPTED, "", 0), (Outcome.ACCEPTED if order == (0, 1) else Outcome.SUPERSEDED, "", 0)]
    simulation.send_update("aa", 2.0)
    simulation.send_update("bb", 2.0)
    simulation.coordinator.aggregate(simulation.now)
    _, weights = simulation.coordinator.newest_model()
    assert all((weights[name] == INITIAL[name] + 2).all() for name in INITIAL)


def test_a_late_update_is_kept_and_not_used(simulation: Simulation) -> None:
    late = simulation.update("cc", 50.0)
    close_with_the_others(simulation)
    assert simulation.coordinator.judge(late, simulation.now) == (Outcome.LATE, "", 0)
    assert simulation.coordinator.workspace().archived(simulator.statement_id(late)).exists()
    simulation.carry_down()
    for name in simulation.names:
        simulation.send_update(name, 1.0)
    made = simulation.coordinator.aggregate(simulation.now)
    assert simulator.statement_id(late) not in {parent.update for parent in made.parents}


def test_a_swapped_payload_that_is_young_may_still_be_a_copy_in_progress(simulation: Simulation) -> None:
    data = swapped(simulation, simulation.update("cc", 1.0))
    assert simulation.coordinator.judge(data, simulation.now, age=5) == (Outcome.INCOMPLETE, "FM-WAI-04", 75)
    assert simulation.coordinator.judge(data, simulation.now, age=61) == (Outcome.REJECTED, "FM-TRU-10", 4)


def test_a_future_statement_moves_no_clock_and_is_accepted_when_its_time_comes(simulation: Simulation) -> None:
    later = put(created="2031-03-03T08:00:00Z")(simulation, simulation.update("cc", 1.0))
    path = simulation.coordinator.deliver(later, simulation.now)
    assert simulation.coordinator.look(simulation.now)[-1].verdict.code == "FM-TIM-02"
    model = simulation.coordinator.workspace().record.model(0)
    assert model is not None
    assert simulation.coordinator.workspace().record.floor == model.created, "only what it signed itself"
    simulation.pass_time(days=1)
    found = next(each for each in simulation.coordinator.look(simulation.now) if each.path == path)
    assert found.verdict.outcome is Outcome.ACCEPTED


def test_an_operator_may_trust_the_sender_over_the_clock(simulation: Simulation) -> None:
    data = put(created="2099-01-01T00:00:00Z")(simulation, simulation.update("cc", 1.0))
    path = simulation.coordinator.deliver(data, simulation.now)
    for allowed, expected in ((False, "FM-TIM-02"), (True, "")):
        arrivals = simulation.coordinator.look(simulation.now, trust_clock=allowed)
        assert next(each.verdict.code for each in arrivals if each.path == path) == expected
    assert simulation.coordinator.workspace().record.newest("update", sender="cc") is not None


def test_the_shapes_of_the_simulation_are_the_samples(simulation: Simulation) -> None:
    assert {tensor.name: tensor.shape for tensor in TABLE} == {name: array.shape for name, array in INITIAL.items()}


@pytest.fixture
def started_without_cc(tmp_path: Path) -> Simulation:
    return simulator.Simulation(tmp_path / "f", ("aa", "bb", "cc")).found(approved=("aa", "bb"), rounds=2)
