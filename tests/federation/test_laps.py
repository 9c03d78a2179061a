"""Weights that go from site to site in signed files: the numbers, who waits for whom, and how a lap ends early."""

from __future__ import annotations

from contextlib import redirect_stdout
from io import StringIO
from typing import TYPE_CHECKING

import numpy as np
import pytest

from fedmed import recipe
from fedmed.cli import tables
from fedmed.cli.screen import Screen
from fedmed.coordinator import laps as handing
from fedmed.coordinator import run as desk
from fedmed.coordinator import status
from fedmed.errors import FedmedError
from fedmed.exchange import laps
from fedmed.learning import params
from fedmed.site import approve
from tests.coded import code_of
from tests.vectors import samples

from . import simulator
from .simulator import TABLE, predicate_of, statement_id
from .test_screening import TEN_TIMES, model_is, receipts, told, waits

if TYPE_CHECKING:
    from pathlib import Path

    from .simulator import Simulation

FIRST, SECOND = ["cc", "aa", "bb"], ["aa", "cc", "bb"]  # of seed 1, by a calculation outside of fedmed
LIMITS = {"rounds": 3, "min_sites": 2, "deadline_days": 14, "max_num_cases": 100}


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Simulation:
    simulation = simulator.Simulation(tmp_path_factory.mktemp("laps") / "f", ("aa", "bb", "cc"))
    return simulation.found(strategy={"name": "cyclic"}, **LIMITS)


@pytest.fixture
def lap(begun: Simulation, tmp_path: Path) -> Simulation:
    return begun.copied_to(tmp_path / "federation")


def hop(simulation: Simulation, name: str, adds: float, num_cases: int = 10) -> bytes:
    """`name` trains in its turn, and the coordinator gives its file to the next."""
    data = simulation.send_update(name, adds, num_cases)
    code_of(lambda: simulation.coordinator.aggregate(simulation.now))
    simulation.carry_down()
    return data


def order_of(simulation: Simulation, round_: int) -> list[str]:
    return list(predicate_of(simulation.coordinator.posted(f"model-r{round_:04d}"))["body"]["order"])


def statuses(simulation: Simulation) -> dict[str, tuple[str, str]]:
    found = status.status(simulation.coordinator.root, simulation.now)
    return {each.site: (each.status, each.reason) for each in found.sites}


def test_two_laps_and_an_averaging_round_by_hand(lap: Simulation) -> None:
    """1 + 2 + 4, then 0.5 + 0.25 + 0.125, then the mean of 1, 2 and 3 with 10, 20 and 30 cases."""
    hops = [hop(lap, name, adds, cases) for name, adds, cases in zip(FIRST, (1, 2, 4), (5, 15, 80), strict=True)]
    model_is(lap, 7.0)
    first = predicate_of(lap.coordinator.posted("model-r0001"))
    assert [(p["site"], p["update"], p["share"]) for p in first["body"]["parents"]] == [
        (name, statement_id(data), share)
        for name, data, share in zip(FIRST, hops, ("0.05", "0.15", "0.8"), strict=True)
    ], "in the order of the chain, by cases, and not capped: nothing was weighed"
    for name, adds in zip(SECOND, (0.5, 0.25, 0.125), strict=True):
        hop(lap, name, adds)
    model_is(lap, 7.875)
    for name, adds in (("aa", 1.0), ("bb", 2.0), ("cc", 3.0)):
        lap.send_update(name, adds, int(10 * adds))
    made = lap.coordinator.aggregate(lap.now)
    model_is(lap, 7.875 + (10 + 40 + 90) / 60)
    assert made.last
    assert [order_of(lap, round_) for round_ in range(4)] == [FIRST, SECOND, [], []]
    assert [p.share for p in made.parents] == ["0.166666667", "0.333333333", "0.5"]


def test_what_a_hop_says(lap: Simulation) -> None:
    """The whole difference to the model, for the coordinator and the next site, and which update it goes on from."""
    files = [hop(lap, name, adds) for name, adds in zip(FIRST, (1.0, 2.0, 4.0), strict=True)]
    said = [predicate_of(data) for data in files]
    assert [each["body"]["chain"] for each in said] == [None, statement_id(files[0]), statement_id(files[1])]
    to = [[actor["name"] for actor in each["recipients"]] for each in said]
    assert to == [["coordinator", "aa"], ["coordinator", "bb"], ["coordinator"]]
    for data, whole in zip(files, (1.0, 3.0, 7.0), strict=True):
        delta = params.from_payload(samples.members(data)[2][1], TABLE)
        assert all((array == whole).all() for array in delta.values())


def test_the_next_model_is_the_last_update_to_the_bit(lap: Simulation) -> None:
    """Numbers that round: nothing is added up a second time."""
    for name, adds in zip(FIRST, (0.1, 0.03, 0.0007), strict=True):
        last = hop(lap, name, adds)
    delta = params.from_payload(samples.members(last)[2][1], TABLE)
    _, weights = lap.coordinator.newest_model()
    for name, array in simulator.INITIAL.items():
        np.testing.assert_array_equal(weights[name], array + delta[name])


def test_who_waits_for_whom(lap: Simulation) -> None:
    """aa trains when the update of cc is there, and says so before."""
    with pytest.raises(FedmedError, match=r"round 0: waits for the update of cc, .* cc - aa - bb") as caught:
        lap.update("aa", 1.0)
    assert (caught.value.code, caught.value.exit_code) == ("FM-CYC-01", 75)
    assert "update-r0000-cc.fedmed" in caught.value.next
    assert "it waits for cc (it is its turn)" in waits(lap).message
    lap.send_update("cc", 1.0)
    assert "update-r0000-cc.fedmed in outbox/ is what aa goes on from" in waits(lap).message
    assert statuses(lap) == {
        "cc": ("used", ""),
        "aa": ("missing", "it is its turn"),
        "bb": ("missing", "its turn has not come"),
    }
    lap.carry_down()
    assert code_of(lambda: lap.update("bb", 1.0)) == "FM-CYC-01"
    assert code_of(lambda: lap.update("aa", 1.0)) == "ok"


def test_the_coordinator_carries_the_very_file_until_it_is_used(lap: Simulation) -> None:
    files = {"cc": lap.send_update("cc", 1.0)}
    waits(lap)
    outbox = lap.coordinator.root / "outbox"
    assert (outbox / "update-r0000-cc.fedmed").read_bytes() == files["cc"]
    (outbox / "update-r0000-cc.fedmed").unlink()
    waits(lap)
    assert (outbox / "update-r0000-cc.fedmed").read_bytes() == files["cc"], "lost on the way: it is made again"
    lap.carry_down()
    hop(lap, "aa", 2.0)
    assert [path.name for path in outbox.glob("update-*")] == ["update-r0000-aa.fedmed"]
    (outbox / "update-r0000-zz.fedmed").write_bytes(b"somebody else's")
    hop(lap, "bb", 4.0)
    assert [path.name for path in outbox.glob("update-*")] == ["update-r0000-zz.fedmed"]


def test_a_coordinator_that_was_killed_behind_the_model_takes_back_what_it_handed_on(
    lap: Simulation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behind the second lap sites average: nothing is handed on that could take its place."""
    outbox = lap.coordinator.root / "outbox"
    for name in (*FIRST, *SECOND[:-1]):
        hop(lap, name, 1.0)
    with monkeypatch.context() as patched:
        patched.setattr(handing, "withdraw", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            hop(lap, SECOND[-1], 1.0)
    assert [path.name for path in outbox.glob("update-*")] == [f"update-r0001-{SECOND[-2]}.fedmed"]
    waits(lap)
    assert list(outbox.glob("update-*")) == []


def test_a_file_that_went_straight_to_the_next_site(lap: Simulation) -> None:
    """The coordinator hears of both later, the second one first."""
    first = lap.update("cc", 1.0)
    lap.sites["aa"].deliver(first, lap.now)
    second = lap.update("aa", 2.0)
    lap.coordinator.deliver(second, lap.now)
    waits(lap)
    assert statuses(lap)["aa"] == ("unused", "FM-CYC-02: it does not go on from an update that counts")
    lap.coordinator.deliver(first, lap.now)
    waits(lap)
    assert [each[0] for each in statuses(lap).values()] == ["used", "used", "missing"]


def test_a_lap_that_ends_at_a_deadline_counts_as_far_as_it_came(lap: Simulation) -> None:
    """bb is silent: its turn is counted from when the update of aa came, and it comes last the next time."""
    hop(lap, "cc", 1.0)
    lap.pass_time(days=10)
    hop(lap, "aa", 2.0)
    lap.pass_time(days=13)
    waits(lap)
    lap.pass_time(days=1)
    made = lap.coordinator.aggregate(lap.now)
    model_is(lap, 3.0)
    assert [parent.site for parent in made.parents] == ["cc", "aa"]
    assert receipts(lap, 1)["bb"] == ("missing", "no update came in its turn")
    assert order_of(lap, 1) == ["aa", "cc", "bb"]


def test_who_was_left_out_comes_first(lap: Simulation) -> None:
    """aa stays silent behind cc, and a person ends the lap, although bb never had its turn."""
    lap.coordinator.deliver(lap.update("cc", 1.0), lap.now)
    waits(lap)
    error = waits(lap)
    assert "1 of 3 sites have trained" in error.message
    found = lap.coordinator.aggregate(lap.now, close=True)
    assert (found.parents, receipts(lap, 1)) == (
        [],
        {
            "cc": ("void", "FM-CYC-06: the lap ended before enough sites had trained"),
            "aa": ("missing", "no update came in its turn"),
            "bb": ("missing", "the lap ended before its turn"),
        },
    )
    model_is(lap, 0.0)
    assert order_of(lap, 1) == ["bb", "cc", "aa"]
    assert told(lap, "cc").startswith("void, not used: FM-CYC-06")
    shown = StringIO()
    with redirect_stdout(shown):
        tables.shares(Screen(as_json=False), found)
    assert "no update counts: the weights are those of the model before\n" in shown.getvalue()


def test_cron_at_the_coordinator_hands_on_what_came(lap: Simulation) -> None:
    def tick() -> tuple[list[tuple[str, str]], str]:
        done = desk.run(lap.coordinator.root, lambda: lap.now, lambda *_: None, lambda _: None)
        return [(each.step, getattr(each.result, "to", "")) for each in done.done], done.due.waiting

    assert tick()[0] == []
    lap.send_update("cc", 1.0)
    plan = desk.plan(lap.coordinator.root, lap.now).due
    assert (plan.step, plan.why) == ("aggregate", "updates of cc have come")
    assert tick()[0] == [("relay", "aa")]
    done, waiting = tick()
    assert (done, waiting) == (
        [],
        (
            "round 0: 1 of 3 sites have trained, one after another; it waits for aa (it is its turn); "
            "with fewer than 2 nothing of a lap counts"
        ),
    )
    assert status.status(lap.coordinator.root, lap.now).next == "wait for aa, whose turn it is"
    lap.carry_down()
    lap.send_update("aa", 2.0)
    assert tick()[0] == [("relay", "bb")]
    lap.carry_down()
    lap.send_update("bb", 4.0)
    assert tick()[0] == [("aggregate", "")]
    model_is(lap, 7.0)


def test_a_hop_that_stands_out_holds_the_lap(lap: Simulation) -> None:
    """1 and 1 and then 10 were added: the whole differences 1, 2 and 12 would have given another ratio."""
    for name, adds in zip(FIRST[:2], (1.0, 1.0), strict=True):
        hop(lap, name, adds)
    lap.send_update("bb", 10.0)
    error = waits(lap)
    assert f"it waits for bb (held, {TEN_TIMES})" in error.message
    assert "--include bb" in error.next
    tick = desk.run(lap.coordinator.root, lambda: lap.now, lambda *_: None, lambda _: None)
    assert (tick.done, "held" in tick.due.waiting) == ([], True)
    other = lap.copied_to(lap.root.parent / "other")
    lap.coordinator.aggregate(lap.now, include=["bb"])
    model_is(lap, 12.0)
    other.coordinator.aggregate(other.now, close=True)
    model_is(other, 2.0)
    assert receipts(other, 1)["bb"] == ("held", TEN_TIMES)
    assert order_of(other, 1)[-1] == "bb"


def test_a_site_may_turn_back_what_the_one_before_did(lap: Simulation) -> None:
    """A cosine of -1 to the others, which all at once would be held for."""
    for name, adds in zip(FIRST, (1.0, 1.0, -1.0), strict=True):
        hop(lap, name, adds)
    model_is(lap, 1.0)


def test_what_went_on_from_a_held_one_does_not_count(begun: Simulation, tmp_path: Path) -> None:
    four = simulator.Simulation(tmp_path / "f", ("aa", "bb", "cc", "dd"))
    four.found(strategy={"name": "cyclic"}, **LIMITS)
    order = order_of(four, 0)
    for name, adds in zip(order[:2], (1.0, 1.0), strict=True):
        hop(four, name, adds)
    third = four.send_update(order[2], 10.0)
    waits(four)
    assert not (four.coordinator.root / "outbox" / f"update-r0000-{order[2]}.fedmed").exists(), "not handed on"
    four.sites[order[3]].deliver(third, four.now)
    four.send_update(order[3], 1.0)
    waits(four)
    assert [each[0] for each in statuses(four).values()] == ["used", "used", "held", "unused"]
    four.coordinator.aggregate(four.now, close=True)
    model_is(four, 2.0)


def test_below_min_sites_no_deadline_ends_a_lap(lap: Simulation) -> None:
    hop(lap, "cc", 1.0)
    lap.pass_time(days=100)
    assert "it waits for aa" in waits(lap).message


def test_a_corrected_update_counts_until_the_next_site_has_gone_on(lap: Simulation) -> None:
    hop(lap, "cc", 1.0)
    hop(lap, "cc", 10.0)
    assert [path.name for path in (lap.coordinator.root / "outbox").glob("update-*")] == ["update-r0000-cc.fedmed"]
    hop(lap, "aa", 2.0)
    late = lap.send_update("cc", 100.0)
    waits(lap)
    assert statuses(lap)["cc"] == ("used", "a later one came when aa had gone on from this one")
    hop(lap, "bb", 4.0)
    model_is(lap, 16.0)
    assert statement_id(late) not in {
        p["update"] for p in predicate_of(lap.coordinator.posted("model-r0001"))["body"]["parents"]
    }


def test_a_correction_that_everybody_behind_took_over_counts(lap: Simulation) -> None:
    """cc brings its corrected update to aa itself; aa goes on from it, and that chain is as long as the first one."""
    hop(lap, "cc", 1.0)
    hop(lap, "aa", 2.0)
    corrected = lap.send_update("cc", 10.0)
    lap.sites["aa"].deliver(corrected, lap.now)
    second = hop(lap, "aa", 20.0)
    assert predicate_of(second)["body"]["chain"] == statement_id(corrected)
    hop(lap, "bb", 40.0)
    model_is(lap, 70.0)


@pytest.fixture(scope="module")
def sent(begun: Simulation, tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """cc, aa from what cc sent, and cc again."""
    simulation = begun.copied_to(tmp_path_factory.mktemp("sent") / "f")
    return [hop(simulation, "cc", 1.0), hop(simulation, "aa", 2.0), simulation.update("cc", 100.0)]


@pytest.mark.parametrize("order", [[2, 0, 1], [1, 0, 2], [2, 1, 0], [0, 2, 1]])
def test_whatever_order_the_files_arrive_in_the_same_chain_counts(
    lap: Simulation, sent: list[bytes], order: list[int]
) -> None:
    """aa went on from the first update of cc, before cc corrected it."""
    for which in order:
        lap.coordinator.deliver(sent[which], lap.now)
        lap.coordinator.look(lap.now)
    assert [each[0] for each in statuses(lap).values()] == ["used", "used", "missing"]
    lap.coordinator.aggregate(lap.now, close=True)
    model_is(lap, 3.0)


def test_the_order_is_drawn_and_anybody_can_draw_it() -> None:
    names = ["aa", "bb", "cc", "dd"]
    assert [laps.drawn(1, round_, ["aa", "bb", "cc"]) for round_ in range(4)] == [
        ["cc", "aa", "bb"],
        ["aa", "cc", "bb"],
        ["bb", "cc", "aa"],
        ["cc", "aa", "bb"],
    ]
    firsts = [laps.drawn(seed, 0, names)[0] for seed in range(400)]
    assert all(70 < firsts.count(name) < 130 for name in names)


def test_consent_names_the_neighbour() -> None:
    chosen = recipe.from_bytes(samples.RECIPE)
    assert approve.NEIGHBOUR not in approve.leaves(chosen)
    cyclic = chosen.model_copy(update={"strategy": chosen.strategy.model_copy(update={"name": "cyclic"})})
    assert approve.leaves(cyclic)[2] == approve.NEIGHBOUR


@pytest.mark.parametrize(
    ("rounds", "expected"), [(1, [True, False]), (2, [True, False, False]), (4, [True, True, True, False, False])]
)
def test_the_last_round_averages_unless_it_is_the_only_one(rounds: int, expected: list[bool]) -> None:
    assert [laps.is_lap(round_, rounds) for round_ in range(rounds + 1)] == expected
