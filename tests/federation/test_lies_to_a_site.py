"""The coordinator, or somebody on the way, lies to a hospital: each lie ends in its own code and moves nothing."""

from __future__ import annotations

import dataclasses
import json
import math
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from fedmed.exchange import agreement, statement
from fedmed.exchange.verdict import Outcome
from fedmed.site import desk, status
from tests.coded import code_of
from tests.vectors import samples

from . import simulator
from .simulator import START

if TYPE_CHECKING:
    from pathlib import Path

    from .simulator import End, Simulation

ZEROS = "0" * 64
REJECTED = Outcome.REJECTED


@pytest.fixture(scope="module")
def answered(started: Simulation, tmp_path_factory: pytest.TempPathFactory) -> Simulation:
    simulation = started.copied_to(tmp_path_factory.mktemp("answered") / "federation")
    for name in simulation.names:
        simulation.send_update(name, 1.0)
    simulation.coordinator.aggregate(simulation.now)
    return simulation


@pytest.fixture
def round_one(answered: Simulation, tmp_path: Path) -> Simulation:
    """Every site has answered model 0, and model 1 is sealed but not carried yet."""
    return answered.copied_to(tmp_path / "round-one")


def put(**fields: Any) -> Any:
    return lambda simulation, model: simulation.change(model, "coordinator", lambda p: p.update(fields))


def inside(**fields: Any) -> Any:
    return lambda simulation, model: simulation.change(model, "coordinator", lambda p: p["body"].update(fields))


def nan(simulation: Simulation, model: bytes) -> bytes:
    payload = samples.members(model)[2][1]
    changed = payload[:-4] + np.float32(math.nan).tobytes()
    return samples.resigned(model, simulation.coordinator.key, payload=changed)


def other_shape(simulation: Simulation, model: bytes) -> bytes:
    payload = samples.members(model)[2][1].replace(b"[2,3]", b"[3,2]")
    return samples.resigned(model, simulation.coordinator.key, payload=payload)


def huge(simulation: Simulation, model: bytes) -> bytes:
    return samples.resigned(model, simulation.coordinator.key, payload=bytes(17 << 20))


def swapped(_: Simulation, model: bytes) -> bytes:
    *envelope, (name, payload) = samples.members(model)
    return samples.packed([*envelope, (name, payload[:-4] + b"\0\0\0\1")])


def approved_by_a_stranger(simulation: Simulation, model: bytes) -> bytes:
    """The coordinator made up a hospital and consents in its name."""
    payload = samples.approvals(samples.approval("stranger"))
    return samples.resigned(model, simulation.coordinator.key, payload=payload, place=1)


def approved_in_the_name_of_another(simulation: Simulation, model: bytes) -> bytes:
    """What `bb` signed, brought as if it were of `aa` too."""
    told = json.loads(samples.members(model)[3][1])
    told["approvals"][0]["signature"] = told["approvals"][1]["signature"]
    return samples.resigned(model, simulation.coordinator.key, payload=samples.approvals(*told["approvals"]), place=1)


def too_many_approvals(simulation: Simulation, model: bytes) -> bytes:
    return samples.resigned(model, simulation.coordinator.key, payload=bytes((1 << 20) + 1), place=1)


def foreign(simulation: Simulation, model: bytes) -> bytes:
    other = {**simulator.predicate_of(model)["federation"], "id": "f" * 32}
    return put(federation=other)(simulation, model)


def to_others(simulation: Simulation, model: bytes) -> bytes:
    return put(recipients=[simulation.sites["bb"].actor])(simulation, model)


def ack_of_aa(digest: str | None) -> Any:
    def change(predicate: dict[str, Any]) -> None:
        next(ack for ack in predicate["ack"] if ack["site"] == "aa")["id"] = digest

    return lambda simulation, model: simulation.change(model, "coordinator", change)


def by_a_site(simulation: Simulation, model: bytes) -> bytes:
    return simulation.change(model, "bb", lambda p: p.update(sender=simulation.sites["bb"].actor))


def update_of_another(simulation: Simulation, _: bytes) -> bytes:
    return simulation.sites["bb"].posted("update-r0000-bb")


def report_to_me(simulation: Simulation, _: bytes) -> bytes:
    """A site that sends its report to another site."""
    report = simulation.sites["bb"].report(simulation.now)
    return simulation.change(report, "bb", lambda p: p.update(recipients=[simulation.sites["aa"].actor]))


def second_federation(simulation: Simulation, _: bytes) -> bytes:
    return inside(coordinator=simulator.keys.public_line(simulation.coordinator.key.public_key().public_bytes_raw()))(
        simulation,
        put(seq=7, prev=ZEROS)(simulation, simulation.coordinator.posted("federation-v0001")),
    )


def next_federation(simulation: Simulation, _: bytes) -> bytes:
    return simulator.second_version(simulation)


def join_of_another(simulation: Simulation, _: bytes) -> bytes:
    return simulation.sites["bb"].posted("join-bb")


LIES: dict[str, tuple[Any, End]] = {
    "signed by a stranger": (lambda _, model: samples.resigned(model, samples.key("x")), (REJECTED, "FM-SIG-03", 4)),
    "signed by another site": (by_a_site, (REJECTED, "FM-SIG-04", 4)),
    "signed by another site as coordinator": (lambda s, m: s.change(m, "bb", id), (REJECTED, "FM-SIG-04", 4)),
    "another federation": (foreign, (REJECTED, "FM-TRU-02", 4)),
    "version 2 of the federation": (next_federation, (REJECTED, "FM-TRU-02", 4)),
    "another statement of version 1": (second_federation, (Outcome.CONFLICT, "FM-TRU-03", 4)),
    "a stranger's federation": (lambda *_: samples.sample("federation"), (REJECTED, "FM-SIG-03", 4)),
    "addressed to others": (to_others, (Outcome.NOT_FOR_ME, "", 0)),
    "an update of another site": (update_of_another, (Outcome.NOT_FOR_ME, "", 0)),
    "a report sent to a site": (report_to_me, (REJECTED, "FM-RND-03", 5)),
    "a join": (join_of_another, (Outcome.NOT_FOR_ME, "", 0)),
    "payload swapped": (swapped, (REJECTED, "FM-TRU-10", 4)),
    "not a number": (nan, (REJECTED, "FM-TEN-02", 5)),
    "other shape": (other_shape, (REJECTED, "FM-TEN-01", 5)),
    "far too large": (huge, (REJECTED, "FM-FRM-04", 5)),
    "other table named": (put(tensor_table=ZEROS), (REJECTED, "FM-TEN-01", 5)),
    "attempt 2": (put(attempt=2), (REJECTED, "FM-RND-01", 5)),
    "a round after the last": (put(round=3), (REJECTED, "FM-RND-01", 5)),
    "last before the last": (inside(last=True), (REJECTED, "FM-RND-01", 5)),
    "after another model": (inside(previous=ZEROS), (REJECTED, "FM-RND-02", 5)),
    "after no model": (inside(previous=None), (REJECTED, "FM-RND-02", 5)),
    "model 0 after a model": (put(round=0), (Outcome.CONFLICT, "FM-TRU-03", 4)),
    "a number of another statement": (put(seq=2), (Outcome.CONFLICT, "FM-TRU-03", 4)),
    "a second successor": (put(seq=9, prev=None), (Outcome.CONFLICT, "FM-TRU-04", 4)),
    "expired": (put(expires="2031-02-28T08:00:00Z"), (Outcome.EXPIRED, "FM-TIM-01", 4)),
    "signed in 2099": (
        put(created="2099-01-01T00:00:00Z", expires="2099-06-01T00:00:00Z"),
        (Outcome.FUTURE, "FM-TIM-02", 4),
    ),
    "approved by a stranger": (approved_by_a_stranger, (REJECTED, "FM-ROS-01", 4)),
    "approved in the name of another": (approved_in_the_name_of_another, (REJECTED, "FM-ROS-01", 4)),
    "too many approvals": (too_many_approvals, (REJECTED, "FM-FRM-04", 5)),
    "cut short": (lambda _, model: model[:-900], (Outcome.INCOMPLETE, "FM-WAI-04", 75)),
    "with something at the end": (lambda _, model: model + b"\0", (REJECTED, "FM-FRM-01", 5)),
}


@pytest.mark.parametrize("name", LIES)
def test_a_lie_has_its_own_end_and_the_honest_model_is_still_taken(round_one: Simulation, name: str) -> None:
    lie, expected = LIES[name]
    site, model = round_one.sites["aa"], round_one.coordinator.posted("model-r0001")
    data = lie(round_one, model)
    before = site.workspace().record
    assert site.judge(data, round_one.now) == expected
    after = site.workspace().record
    assert (after.received, after.floor) == (before.received, before.floor)
    assert site.judge(model, round_one.now) == (Outcome.ACCEPTED, "", 0)
    assert simulator.predicate_of(round_one.update("aa", 1.0))["round"] == 1


def test_a_model_shows_who_agreed(round_one: Simulation) -> None:
    site = round_one.sites["aa"]
    assert status.status(site.root, round_one.now).approved == []  # model 0 is sealed before anybody can
    site.judge(round_one.coordinator.posted("model-r0001"), round_one.now)
    assert status.status(site.root, round_one.now).approved == list(round_one.names)


def test_a_replayed_model_is_a_duplicate(round_one: Simulation) -> None:
    site = round_one.sites["aa"]
    for _ in range(2):
        assert site.judge(round_one.coordinator.posted("model-r0000"), round_one.now) == (Outcome.DUPLICATE, "", 0)


def test_two_models_of_one_round_are_a_conflict(round_one: Simulation) -> None:
    site, model = round_one.sites["aa"], round_one.coordinator.posted("model-r0001")
    other = round_one.change(model, "coordinator", lambda p: p.update(seq=p["seq"] + 5, prev=ZEROS))
    assert site.judge(model, round_one.now) == (Outcome.ACCEPTED, "", 0)
    assert site.judge(other, round_one.now) == (Outcome.CONFLICT, "FM-TRU-03", 4)


def test_two_models_of_a_past_round_are_a_conflict_too(simulation: Simulation) -> None:
    models = models_of_two_rounds(simulation)
    site = simulation.sites["aa"]
    other = simulation.change(models[1], "coordinator", lambda p: p.update(seq=p["seq"] + 9, prev=ZEROS))
    assert site.judge(models[2], simulation.now) == (Outcome.ACCEPTED, "", 0)
    assert site.judge(models[1], simulation.now) == (Outcome.LATE, "", 0)
    assert site.judge(other, simulation.now) == (Outcome.CONFLICT, "FM-TRU-03", 4)


def models_of_two_rounds(simulation: Simulation) -> dict[int, bytes]:
    """aa answers only model 0; the others make two rounds."""
    simulation.send_update("aa", 1.0)
    for round_ in (0, 1):
        for name in ("bb", "cc"):
            simulation.sites[name].deliver(simulation.coordinator.posted(f"model-r{round_:04d}"), simulation.now)
            simulation.send_update(name, 1.0)
        simulation.coordinator.aggregate(simulation.now, close=True)
    return {round_: simulation.coordinator.posted(f"model-r{round_:04d}") for round_ in (0, 1, 2)}


def test_a_stick_may_lose_a_model_and_bring_it_later(simulation: Simulation) -> None:
    models = models_of_two_rounds(simulation)
    site = simulation.sites["aa"]
    assert site.judge(models[2], simulation.now) == (Outcome.ACCEPTED, "", 0)
    assert site.judge(models[1], simulation.now) == (Outcome.LATE, "", 0)
    assert site.workspace().record.newest("model").round == 2


def test_a_model_that_acknowledges_what_this_site_never_signed_stops_it(round_one: Simulation) -> None:
    """So a site notices that it was restored from a backup."""
    model = ack_of_aa("f" * 64)(round_one, round_one.coordinator.posted("model-r0001"))
    site = round_one.sites["aa"]
    site.deliver(model, round_one.now)
    assert code_of(lambda: site.look(round_one.now)) == "FM-TRU-06"


def test_a_restored_site_stops(simulation: Simulation, tmp_path: Path) -> None:
    backup = simulation.copied_to(tmp_path / "backup").sites["aa"].root
    for name in simulation.names:
        simulation.send_update(name, 1.0)
    simulation.coordinator.aggregate(simulation.now)
    simulator.restore(simulation.sites["aa"], backup)
    simulation.carry_down()
    assert code_of(lambda: simulation.sites["aa"].look(simulation.now)) == "FM-TRU-06"


def test_a_coordinator_that_forgets_what_it_had_is_held(simulation: Simulation) -> None:
    """Model 2 acknowledges an older file of this site than model 1 did: the coordinator was restored."""
    for _ in range(2):
        simulation.carry_down()
        for name in simulation.names:
            simulation.send_update(name, 1.0)
        simulation.coordinator.aggregate(simulation.now)
    site = simulation.sites["aa"]
    join = simulator.statement_id(site.posted("join-aa"))
    lie = ack_of_aa(join)(simulation, simulation.coordinator.posted("model-r0002"))
    assert site.judge(lie, simulation.now) == (Outcome.ROLLBACK, "FM-TRU-05", 4)
    assert site.judge(simulation.coordinator.posted("model-r0002"), simulation.now)[0] is Outcome.ACCEPTED


def test_a_restored_coordinator_that_signs_a_round_again_is_a_conflict(simulation: Simulation, tmp_path: Path) -> None:
    for name in simulation.names:
        simulation.send_update(name, 1.0)
    backup = simulation.copied_to(tmp_path / "backup").coordinator.root
    simulation.coordinator.aggregate(simulation.now)
    first = simulation.coordinator.posted("model-r0001")
    simulator.restore(simulation.coordinator, backup)
    simulation.pass_time(hours=1)
    simulation.coordinator.aggregate(simulation.now)
    second = simulation.coordinator.posted("model-r0001")
    assert first != second
    site = simulation.sites["aa"]
    assert site.judge(first, simulation.now) == (Outcome.ACCEPTED, "", 0)
    assert site.judge(second, simulation.now) == (Outcome.CONFLICT, "FM-TRU-03", 4)


def test_before_consent_everything_waits(tmp_path: Path) -> None:
    simulation = simulator.Simulation(tmp_path / "f", ("aa", "bb")).found(approved=("bb",), rounds=1)
    ends = {each.path.stem: simulator.end(each.verdict) for each in simulation.sites["aa"].look(simulation.now)}
    early = (Outcome.EARLY, "FM-WAI-05", 75)
    assert ends == {"federation-v0001": early, "model-r0000": early}
    assert simulation.sites["aa"].judge(huge_model(simulation), simulation.now) == early
    assert code_of(lambda: simulation.update("aa", 1.0)) == "FM-TRU-07"
    simulation.sites["aa"].approve(simulation.now)
    assert simulator.predicate_of(simulation.update("aa", 1.0))["round"] == 0


def huge_model(simulation: Simulation) -> bytes:
    return huge(simulation, simulation.coordinator.posted("model-r0000"))


def test_an_operator_may_accept_an_expired_model(round_one: Simulation) -> None:
    site = round_one.sites["aa"]
    site.deliver(round_one.coordinator.posted("model-r0001"), round_one.now, "model.fedmed")
    round_one.pass_time(days=181)
    for allowed, expected in ((False, "FM-TIM-01"), (True, "")):
        arrivals = site.look(round_one.now, accept_expired=allowed)
        assert next(each.verdict.code for each in arrivals if each.path.name == "model.fedmed") == expected


def test_a_clock_set_back_revives_nothing(simulation: Simulation) -> None:
    """Expiry is judged by the latest signed time that was seen, when the local clock says less."""
    for name in simulation.names:
        simulation.send_update(name, 1.0)
    first = simulation.now
    simulation.pass_time(days=200)
    simulation.coordinator.aggregate(simulation.now)
    old, new = (simulation.coordinator.posted(f"model-r{n:04d}") for n in (0, 1))
    site = simulation.sites["aa"]
    assert site.judge(new, simulation.now) == (Outcome.ACCEPTED, "", 0)
    assert site.workspace().record.floor == statement.to_time(simulation.now)
    fresh_seq = simulation.change(old, "coordinator", lambda p: p.update(seq=40, prev=ZEROS))
    assert site.judge(fresh_seq, first) == (Outcome.EXPIRED, "FM-TIM-01", 4)


def test_a_federation_that_is_over_stays_over_when_the_clock_is_set_back(simulation: Simulation) -> None:
    site = simulation.sites["aa"]
    far = START + timedelta(days=729)
    for name in simulation.names:
        simulation.send_update(name, 1.0)
    simulation.now = far
    simulation.coordinator.aggregate(far)
    site.deliver(simulation.coordinator.posted("model-r0001"), far)
    site.look(far)
    with desk.opened(site.root, far) as opened:
        agreed = agreement.in_force(opened.workspace)
    assert agreed is not None
    assert code_of(lambda: agreement.require_valid(site.workspace(), agreed, far)) == "ok"
    assert code_of(lambda: agreement.require_valid(site.workspace(), agreed, far + timedelta(days=2))) == "FM-TIM-01"
    assert site.workspace().record.floor == statement.to_time(far)


def test_the_floor_alone_can_end_a_federation(simulation: Simulation) -> None:
    found = simulation.sites["aa"].workspace()
    agreed = agreement.in_force(found)
    assert agreed is not None
    found.record.floor = "2040-01-01T00:00:00Z"
    assert code_of(lambda: agreement.require_valid(found, agreed, START)) == "FM-TIM-01"


def test_a_model_dated_in_the_future_does_not_brick_the_site(round_one: Simulation) -> None:
    """Held, and nothing that it says moves the site's time; when its own time comes it is taken."""
    site = round_one.sites["aa"]
    floor = site.workspace().record.floor
    lie = put(created="2031-03-05T08:00:00Z")(round_one, round_one.coordinator.posted("model-r0001"))
    assert site.judge(lie, round_one.now)[1] == "FM-TIM-02"
    assert site.workspace().record.floor == floor
    slightly = put(created="2031-03-02T09:00:00Z")(round_one, round_one.coordinator.posted("model-r0001"))
    assert site.judge(slightly, round_one.now) == (Outcome.ACCEPTED, "", 0)
    assert site.workspace().record.floor == statement.to_time(round_one.now)


def test_an_older_model_that_comes_later_is_still_known(simulation: Simulation) -> None:
    """The local-only baseline begins at model r0, whenever that arrives."""
    simulation.sites["aa"].look(simulation.now)
    record = simulation.sites["aa"].workspace().record
    first = record.model(0)
    assert first is not None
    record.received.remove(first)
    assert record.model(0) is None
    record.received.append(dataclasses.replace(first, outcome="late"))
    assert record.model(0) is not None
    assert record.newest("model") is None, "but it is not the model of the day"
