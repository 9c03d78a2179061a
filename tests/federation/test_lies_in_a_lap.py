"""Neighbours in a lap that lie, and a coordinator that steers it: each lie ends in its own code and stops nobody."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from fedmed.errors import CODES
from fedmed.exchange.verdict import Outcome
from fedmed.site import run as bedside
from fedmed.site import status as site_status
from tests.coded import code_of
from tests.vectors import samples

from .simulator import predicate_of, statement_id
from .test_laps import LIMITS, begun, hop, lap, order_of, statuses
from .test_screening import model_is, waits

if TYPE_CHECKING:
    from .simulator import End, Simulation

ZEROS = "0" * 64
REJECTED = Outcome.REJECTED
__all__ = ["begun", "lap"]  # fixtures


def put(**fields: Any) -> Any:
    return lambda simulation, honest: simulation.change(honest, "cc", lambda p: p.update(fields))


def inside(**fields: Any) -> Any:
    return lambda simulation, honest: simulation.change(honest, "cc", lambda p: p["body"].update(fields))


def telling(**fields: Any) -> Any:
    return lambda simulation, honest: simulation.change(honest, "cc", lambda p: p["body"]["facts"].update(fields))


def nan(simulation: Simulation, honest: bytes) -> bytes:
    payload = samples.members(honest)[2][1][:-4] + np.float32(math.nan).tobytes()
    return samples.resigned(honest, simulation.sites["cc"].key, payload=payload)


def to(*names: str) -> Any:
    """Addressed to these, and to nobody else."""

    def lie(simulation: Simulation, honest: bytes) -> bytes:
        actors = {"coordinator": simulation.coordinator.actor, **{n: s.actor for n, s in simulation.sites.items()}}
        return put(recipients=[actors[name] for name in names])(simulation, honest)

    return lie


def of_bb(simulation: Simulation, honest: bytes) -> bytes:
    """bb comes behind aa in this lap, and sends it an update all the same."""
    bb = simulation.sites["bb"].actor
    return simulation.change(honest, "bb", lambda p: p.update(sender=bb, seq=9))


AT_THE_NEXT_SITE: dict[str, tuple[Any, End]] = {
    "out of turn": (of_bb, (REJECTED, "FM-CYC-05", 5)),
    "goes on from another": (inside(chain=ZEROS), (REJECTED, "FM-CYC-02", 5)),
    "another base": (put(base_model=ZEROS), (REJECTED, "FM-RND-02", 5)),
    "another table": (put(tensor_table=ZEROS), (REJECTED, "FM-TEN-01", 5)),
    "not a number": (nan, (REJECTED, "FM-TEN-02", 5)),
    "too many cases": (telling(num_cases=101), (REJECTED, "FM-TEN-03", 5)),
    "to the coordinator alone": (to("coordinator"), (Outcome.NOT_FOR_ME, "", 0)),
    "to aa alone": (to("aa"), (REJECTED, "FM-CYC-03", 5)),
    "to everybody": (to("coordinator", "aa", "bb"), (REJECTED, "FM-CYC-03", 5)),
    "of a round to come": (put(round=1), (Outcome.EARLY, "FM-WAI-05", 75)),
    "signed in 2099": (
        put(created="2099-01-01T00:00:00Z", seq=30, prev=ZEROS),
        (Outcome.FUTURE, "FM-TIM-02", 4),
    ),
    "attempt 2": (put(attempt=2), (REJECTED, "FM-RND-01", 5)),
    "in another name": (lambda s, honest: s.change(honest, "bb", id), (REJECTED, "FM-SIG-05", 4)),
    "of a stranger": (lambda _, honest: samples.resigned(honest, samples.key("x")), (REJECTED, "FM-SIG-03", 4)),
    "of another federation": (
        lambda s, honest: put(federation={**predicate_of(honest)["federation"], "id": "f" * 32})(s, honest),
        (REJECTED, "FM-TRU-02", 4),
    ),
}


def test_no_lie_of_the_site_before_changes_anything_and_the_honest_update_is_taken(lap: Simulation) -> None:
    honest, aa = lap.update("cc", 1.0), lap.sites["aa"]
    aa.look(lap.now)
    before = aa.workspace().record
    for name, (make, expected) in AT_THE_NEXT_SITE.items():
        assert aa.judge(make(lap, honest), lap.now) == expected, name
    after = aa.workspace().record
    assert (after.received, after.floor) == (before.received, before.floor)
    assert aa.judge(honest, lap.now) == (Outcome.ACCEPTED, "", 0)
    assert predicate_of(lap.update("aa", 2.0))["body"]["chain"] == statement_id(honest)


def test_what_another_site_acknowledges_says_nothing_about_this_one(lap: Simulation) -> None:
    """An `ack` that nobody signed would stop a coordinator; here it is a neighbour's word about the coordinator."""
    honest, aa = lap.update("cc", 1.0), lap.sites["aa"]
    own = statement_id(aa.posted("approval-v0001-aa"))
    for number, ack in enumerate(("f" * 64, own, None)):
        data = lap.change(honest, "cc", lambda p, n=number, a=ack: p.update(ack=a, seq=20 + 2 * n, prev=f"{n:064x}"))
        assert aa.judge(data, lap.now) == (Outcome.ACCEPTED, "", 0)
    assert code_of(lambda: lap.update("aa", 1.0)) == "ok"


def test_the_clock_of_a_neighbour_moves_no_time(lap: Simulation) -> None:
    honest, aa = lap.update("cc", 1.0), lap.sites["aa"]
    aa.look(lap.now)
    floor = aa.workspace().record.floor
    lap.pass_time(days=3)
    late = lap.change(honest, "cc", lambda p: p.update(created="2031-03-04T08:00:00Z"))
    assert aa.judge(late, lap.now) == (Outcome.ACCEPTED, "", 0)
    assert aa.workspace().record.floor == floor


def test_two_updates_with_one_number_end_the_lap_before_their_sender(lap: Simulation) -> None:
    """aa has the proof too, and does not train on either; the coordinator excludes cc, who comes last the next time."""
    honest = lap.update("cc", 1.0)
    other = lap.change(honest, "cc", lambda p: p["body"]["facts"].update(num_cases=11))
    for actor in (lap.sites["aa"], lap.coordinator):
        assert actor.judge(honest, lap.now) == (Outcome.ACCEPTED, "", 0)
        assert actor.judge(other, lap.now) == (Outcome.CONFLICT, "FM-TRU-03", 4)
    assert code_of(lambda: lap.update("aa", 1.0)) == "FM-CYC-01"
    assert site_status.status(lap.sites["aa"].root, lap.now).next.startswith("fedmed partition")
    assert "it waits for cc (FM-TRU-03" in waits(lap).message
    lap.coordinator.aggregate(lap.now, close=True)
    model_is(lap, 0.0)
    assert order_of(lap, 1)[-1] == "cc"


def test_an_update_of_a_lap_that_is_over_is_ignored(lap: Simulation) -> None:
    old = hop(lap, "cc", 1.0)
    hop(lap, "aa", 2.0)
    never_came = lap.change(old, "cc", lambda p: p.update(seq=p["seq"] + 7, prev=ZEROS))
    hop(lap, "bb", 4.0)
    lap.carry_down()
    aa = lap.sites["aa"]
    aa.look(lap.now)
    assert aa.judge(never_came, lap.now)[0] is Outcome.NOT_FOR_ME
    assert aa.judge(old, lap.now)[0] is Outcome.DUPLICATE


def test_in_an_averaging_round_nobody_takes_an_update_of_another(lap: Simulation) -> None:
    for _ in range(2):  # laps in which nobody trains
        lap.coordinator.aggregate(lap.now, close=True)
    lap.carry_down()
    update = lap.update("cc", 1.0)
    to_aa = to("coordinator", "aa")(lap, update)
    assert lap.sites["aa"].judge(to_aa, lap.now) == (REJECTED, "FM-CYC-05", 5)
    chained = inside(chain=ZEROS)(lap, update)
    assert lap.coordinator.judge(chained, lap.now) == (REJECTED, "FM-CYC-02", 5)
    assert lap.coordinator.judge(update, lap.now) == (Outcome.ACCEPTED, "", 0)


def test_the_coordinator_refuses_a_hop_that_the_next_site_could_not_take(lap: Simulation) -> None:
    honest = lap.update("cc", 1.0)
    for name, code in (
        ("to aa alone", ""),
        ("goes on from another", "FM-CYC-02"),
        ("to everybody", "FM-CYC-03"),
        ("to the coordinator alone", "FM-CYC-03"),
    ):
        make, _ = AT_THE_NEXT_SITE[name]
        assert lap.coordinator.judge(make(lap, honest), lap.now)[1] == code, name
    waits(lap)
    assert statuses(lap)["cc"] == ("refused", f"FM-CYC-02: {CODES['FM-CYC-02'].meaning}")
    assert lap.coordinator.judge(honest, lap.now) == (Outcome.ACCEPTED, "", 0)


@pytest.mark.parametrize("chain", ["skipped", "invented"])
def test_an_update_that_came_another_way_does_not_count(lap: Simulation, chain: str) -> None:
    """bb goes on from cc past aa, or from a file that nobody knows."""
    first = hop(lap, "cc", 1.0)
    hop(lap, "aa", 2.0)
    honest = lap.update("bb", 4.0)
    named = statement_id(first) if chain == "skipped" else "ab" * 32
    lap.coordinator.deliver(lap.change(honest, "bb", lambda p: p["body"].update(chain=named)), lap.now)
    assert "it waits for bb (unused, FM-CYC-02: it does not go on" in waits(lap).message
    made = lap.coordinator.aggregate(lap.now, close=True)
    model_is(lap, 3.0)
    assert [ack.status for ack in made.acks] == ["used", "used", "unused"]


ORDERS: dict[str, Any] = {
    "another order": lambda p: p["body"].update(order=["bb", "cc", "aa"]),
    "nobody": lambda p: p["body"].update(order=[]),
    "one left out": lambda p: p["body"].update(order=["cc", "aa"]),
    "a stranger": lambda p: p["body"].update(order=["cc", "aa", "dd"]),
    "another parent first": lambda p: p["body"]["parents"].reverse(),
    "a receipt that lies": lambda p: p["ack"][1].update(status="missing"),
}


def test_a_coordinator_cannot_choose_the_order(lap: Simulation) -> None:
    for each in ("cc", "aa"):
        hop(lap, each, 1.0)
    lap.send_update("bb", 1.0)
    lap.coordinator.aggregate(lap.now)
    aa, model = lap.sites["aa"], lap.coordinator.posted("model-r0001")
    for name, change in ORDERS.items():
        assert aa.judge(lap.change(model, "coordinator", change), lap.now) == (REJECTED, "FM-CYC-04", 5), name
    assert aa.judge(model, lap.now) == (Outcome.ACCEPTED, "", 0)


def test_without_the_model_before_any_order_of_all_sites_is_one(lap: Simulation) -> None:
    """A stick that lost a model: who was left out is not known here, so only that everybody has a turn."""
    bb = lap.sites["bb"]
    for name, adds in (("cc", 1.0), ("aa", 2.0)):
        lap.coordinator.deliver(lap.update(name, adds), lap.now)
        waits(lap)
        lap.sites["aa"].deliver((lap.coordinator.root / "outbox" / f"update-r0000-{name}.fedmed").read_bytes(), lap.now)
    lap.coordinator.aggregate(lap.now, close=True)
    for path in (bb.root / "inbox").glob("*"):
        path.unlink()
    model = lap.coordinator.posted("model-r0001")
    stranger = lap.change(model, "coordinator", lambda p: p["body"].update(order=["cc", "aa", "dd"]))
    assert bb.judge(stranger, lap.now) == (REJECTED, "FM-CYC-04", 5)
    other = lap.change(model, "coordinator", lambda p: p["body"].update(order=["bb", "cc", "aa"]))
    assert bb.judge(other, lap.now) == (Outcome.ACCEPTED, "", 0)


def test_a_site_that_waits_is_not_due(lap: Simulation) -> None:
    bb = lap.sites["bb"]
    (bb.root / "cases.json").touch()
    lap.carry_down()
    found = bedside.run(bb.root, lambda: lap.now, "cpu", lambda *_: None, lambda _: None)
    assert (found.done, found.due.step) == ([], "")
    assert found.due.waiting.startswith("round 0: the update of aa, which comes before this site, cc - aa - bb")
    assert site_status.status(bb.root, lap.now).lap == ["cc", "aa", "bb"]


def test_the_rules_hold_only_where_the_recipe_says_cyclic(simulation: Simulation) -> None:
    """LIMITS are those of the lap; an ordinary federation has no order and refuses one."""
    assert LIMITS["rounds"] == 3
    update = simulation.update("cc", 1.0)
    to_aa = simulation.change(update, "cc", lambda p: p["recipients"].append(simulation.sites["aa"].actor))
    assert simulation.sites["aa"].judge(to_aa, simulation.now) == (REJECTED, "FM-RND-03", 5)
    for name in simulation.names:
        simulation.send_update(name, 1.0)
    simulation.coordinator.aggregate(simulation.now)
    model = simulation.coordinator.posted("model-r0001")
    lie = simulation.change(model, "coordinator", lambda p: p["body"].update(order=["aa", "bb", "cc"]))
    assert simulation.sites["aa"].judge(lie, simulation.now) == (REJECTED, "FM-CYC-04", 5)
