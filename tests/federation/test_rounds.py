"""Honest rounds: the numbers of each model, whoever arrives first, and when a round closes."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedmed.coordinator import aggregate
from fedmed.errors import FedmedError
from fedmed.exchange import archived
from fedmed.learning import params
from tests.coded import code_of
from tests.vectors import samples

from . import simulator
from .simulator import INITIAL, predicate_of

if TYPE_CHECKING:
    from .simulator import Simulation

CASES = {"aa": 10, "bb": 30, "cc": 60}
ADDS = {"aa": 1.0, "bb": 2.0, "cc": 0.5}


def test_two_rounds_by_hand(simulation: Simulation) -> None:
    """Weights 10, 30, 60: the shares are those, since 60 of 100 is just the cap of 0.6."""
    expected = 0.1 * 1.0 + 0.3 * 2.0 + 0.6 * 0.5
    for round_ in (1, 2):
        simulation.carry_down()
        for name in simulation.names:
            simulation.send_update(name, ADDS[name], CASES[name])
        made = simulation.coordinator.aggregate(simulation.now)
        known, weights = simulation.coordinator.newest_model()
        assert (made.round, made.last, known.round) == (round_, round_ == 2, round_)
        for name, array in INITIAL.items():
            np.testing.assert_allclose(weights[name], array + round_ * expected, rtol=2e-7)
        assert [(p.site, p.weight, p.share) for p in made.parents] == [
            ("aa", 10, "0.1"),
            ("bb", 30, "0.3"),
            ("cc", 60, "0.6"),
        ]


def test_a_large_hospital_is_capped(simulation: Simulation) -> None:
    """Weights 5, 15, 80: cc counts 0.6, and 0.4 is divided 1 to 3."""
    for name, cases in {"aa": 5, "bb": 15, "cc": 80}.items():
        simulation.send_update(name, {"aa": 10.0, "bb": 20.0, "cc": 30.0}[name], cases)
    made = simulation.coordinator.aggregate(simulation.now)
    _, weights = simulation.coordinator.newest_model()
    assert [(p.site, p.share) for p in made.parents] == [("aa", "0.1"), ("bb", "0.3"), ("cc", "0.6")]
    np.testing.assert_allclose(weights["norm.mean"], 7 + 1 + 6 + 18, rtol=2e-7)


@pytest.mark.parametrize(
    ("rule", "weights", "shares"),
    [
        ("cases", [10, 30, 60], ["0.1", "0.3", "0.6"]),
        ("patients", [10, 20, 20], ["0.2", "0.4", "0.4"]),
        ("equal", [1, 1, 1], ["0.333333333"] * 3),
    ],
)
def test_the_recipe_says_what_an_update_weighs(
    tmp_path: Path, rule: str, weights: list[int], shares: list[str]
) -> None:
    """10, 30 and 60 cases of 10, 20 and 20 patients that add 1, 2 and 4."""
    names = ("aa", "bb", "cc")
    simulation = simulator.Simulation(tmp_path / "f", names).found(rounds=1, strategy={"weight": rule})
    for name, cases, patients, adds in zip(names, (10, 30, 60), (10, 20, 20), (1.0, 2.0, 4.0), strict=True):
        data = simulation.sites[name].update(simulation.now, simulator.filled(adds), cases, patients)
        simulation.coordinator.deliver(data, simulation.now)
    made = simulation.coordinator.aggregate(simulation.now)
    assert [(p.weight, p.share) for p in made.parents] == list(zip(weights, shares, strict=True))
    added = sum(weight * adds for weight, adds in zip(weights, (1, 2, 4), strict=True)) / sum(weights)
    np.testing.assert_allclose(simulation.coordinator.newest_model()[1]["norm.mean"], 7 + added, rtol=2e-7)


def test_the_cap_holds_whatever_is_weighed(tmp_path: Path) -> None:
    """Patients 1, 1, 8: cc counts 0.5 and not 0.8, the others a quarter each."""
    names = ("aa", "bb", "cc")
    simulation = simulator.Simulation(tmp_path / "f", names)
    simulation.found(rounds=1, max_share=0.5, strategy={"weight": "patients"})
    for name, patients in zip(names, (1, 1, 8), strict=True):
        data = simulation.sites[name].update(simulation.now, simulator.filled(1.0), 10, patients)
        simulation.coordinator.deliver(data, simulation.now)
    made = simulation.coordinator.aggregate(simulation.now)
    assert [(p.weight, p.share) for p in made.parents] == [(1, "0.25"), (1, "0.25"), (8, "0.5")]


def test_a_model_says_what_became_of_each_file(simulation: Simulation) -> None:
    used = {name: simulation.send_update(name, 1.0) for name in ("aa", "bb")}
    simulation.coordinator.aggregate(simulation.now, close=True)
    model = predicate_of(simulation.coordinator.posted("model-r0001"))
    zero = simulation.coordinator.posted("model-r0000")
    ids = {name: simulator.statement_id(data) for name, data in used.items()}
    assert {p["site"]: p["update"] for p in model["body"]["parents"]} == ids
    assert model["body"]["previous"] == simulator.statement_id(zero)
    acks = {ack["site"]: (ack["id"], ack["status"]) for ack in model["ack"]}
    approval = simulator.statement_id(simulation.sites["cc"].posted("approval-v0001-cc"))
    assert acks == {"aa": (ids["aa"], "used"), "bb": (ids["bb"], "used"), "cc": (approval, "missing")}
    assert (model["prev"], model["seq"]) == (simulator.statement_id(zero), predicate_of(zero)["seq"] + 1)


def test_an_update_says_what_it_answers(simulation: Simulation) -> None:
    update = predicate_of(simulation.update("aa", 1.0))
    model = simulation.coordinator.posted("model-r0000")
    assert update["base_model"] == samples.sha256(samples.members(model)[2][1])
    assert update["ack"] == simulator.statement_id(model)
    assert update["prev"] == simulator.statement_id(simulation.sites["aa"].posted("approval-v0001-aa"))
    assert (update["seq"], update["round"], update["attempt"]) == (3, 0, 1)


def test_a_sites_statements_form_one_chain_with_its_ledger(simulation: Simulation) -> None:
    site = simulation.sites["aa"]
    for _ in range(2):
        simulation.update("aa", 1.0)
    said = site.workspace().record.said
    assert [known.seq for known in said] == [1, 2, 3, 4]
    assert [known.prev for known in said] == [None, *(known.id for known in said[:-1])]
    lengths = [archived.read_archived(site.workspace(), known.id).predicate.ledger.length for known in said]
    assert lengths == sorted(set(lengths))


def test_a_hospital_that_skips_a_round_comes_back(simulation: Simulation) -> None:
    for name in ("aa", "bb"):
        simulation.send_update(name, 1.0)
    simulation.coordinator.aggregate(simulation.now, close=True)
    simulation.carry_down()
    for name in simulation.names:
        simulation.send_update(name, 1.0)
    made = simulation.coordinator.aggregate(simulation.now)
    assert (len(made.parents), made.last) == (3, True)


@pytest.fixture(scope="module")
def answered(started: Simulation, tmp_path_factory: pytest.TempPathFactory) -> tuple[Simulation, list[bytes], str]:
    """Nobody has delivered yet: the federation, the files on the way, and the payload that must come of them."""
    simulation = started.copied_to(tmp_path_factory.mktemp("answered") / "federation")
    for path in (simulation.coordinator.root / "inbox").iterdir():
        path.unlink()
    on_the_way = [simulation.sites[name].posted(f"approval-v0001-{name}") for name in simulation.names]
    on_the_way += [simulation.update(name, ADDS[name], CASES[name]) for name in simulation.names]
    on_the_way.append(simulation.update("bb", ADDS["bb"], CASES["bb"] + 1))
    reference = simulation.copied_to(tmp_path_factory.mktemp("reference") / "federation")
    for data in on_the_way:
        reference.coordinator.deliver(data, reference.now)
    reference.coordinator.aggregate(reference.now)
    return simulation, on_the_way, reference.coordinator.newest_model()[0].payload


@settings(max_examples=12)
@given(st.permutations(range(7)), st.integers(0, 7), st.integers(0, 6))
def test_any_order_of_arrival_gives_the_same_bytes(
    answered: tuple[Simulation, list[bytes], str], order: list[int], looks: int, twice: int
) -> None:
    """In several batches, under any names, one file twice; the update that bb corrected comes before or after."""
    simulation, on_the_way, payload = answered
    with TemporaryDirectory() as folder:
        other = simulation.copied_to(Path(folder) / "federation")
        for place, which in enumerate([*order, twice]):
            other.coordinator.deliver(on_the_way[which], other.now)
            if place == looks:
                other.coordinator.look(other.now)
        made = other.coordinator.aggregate(other.now)
        assert other.coordinator.newest_model()[0].payload == payload
        assert [(p.site, p.weight) for p in made.parents] == [("aa", 10), ("bb", 31), ("cc", 60)]
        assert [ack.status for ack in made.acks] == ["used"] * 3


DEADLINE = timedelta(days=14)


@pytest.mark.parametrize(
    ("arrived", "close", "after", "closes"),
    [
        ("", False, timedelta(0), False),
        ("", True, timedelta(0), False),
        ("", True, DEADLINE, False),
        ("aa", False, timedelta(0), False),
        ("aa", True, timedelta(0), False),
        ("aa", True, DEADLINE, False),
        ("aa bb", False, timedelta(0), False),
        ("aa bb", False, DEADLINE - timedelta(seconds=1), False),
        ("aa bb", False, DEADLINE, True),
        ("aa bb", True, timedelta(0), True),
        ("aa bb cc", False, timedelta(0), True),
    ],
)
def test_when_a_round_closes(simulation: Simulation, arrived: str, close: bool, after: timedelta, closes: bool) -> None:
    for name in arrived.split():
        simulation.send_update(name, 1.0)
    expected = "ok" if closes else "FM-WAI-03"
    assert code_of(lambda: simulation.coordinator.aggregate(simulation.now + after, close=close)) == expected
    assert simulation.coordinator.newest_model()[0].round == int(closes)


def test_a_round_without_deadline_waits_for_ever(tmp_path: Path) -> None:
    simulation = simulator.Simulation(tmp_path / "f", ("aa", "bb", "cc")).found(rounds=1, min_sites=2, valid_days=3650)
    for name in ("aa", "bb"):
        simulation.send_update(name, 1.0)
    assert code_of(lambda: simulation.coordinator.aggregate(simulation.now + timedelta(days=700))) == "FM-WAI-03"
    assert code_of(lambda: simulation.coordinator.aggregate(simulation.now, close=True)) == "ok"


def test_a_waiting_round_names_the_missing_and_exits_75(simulation: Simulation) -> None:
    simulation.send_update("bb", 1.0)
    with pytest.raises(FedmedError, match=r"1 of at least 2 sites .* aa .* cc") as caught:
        simulation.coordinator.aggregate(simulation.now)
    assert (caught.value.code, caught.value.exit_code) == ("FM-WAI-03", 75)


def test_an_expired_federation_makes_no_more_models(simulation: Simulation) -> None:
    for name in simulation.names:
        simulation.send_update(name, 1.0)
    simulation.pass_time(days=731)
    assert code_of(lambda: simulation.coordinator.aggregate(simulation.now)) == "FM-TIM-01"


def test_after_the_last_round_the_last_model_is_posted_again(simulation: Simulation) -> None:
    for _ in range(2):
        simulation.carry_down()
        for name in simulation.names:
            simulation.send_update(name, 1.0)
        simulation.coordinator.aggregate(simulation.now)
    last = simulation.coordinator.posted("model-r0002")
    assert predicate_of(last)["body"]["last"] is True
    (simulation.coordinator.root / "outbox" / "model-r0002.fedmed").unlink()
    again = simulation.coordinator.aggregate(simulation.now)
    assert (again.round, again.last, again.is_new) == (2, True, False)
    assert simulation.coordinator.posted("model-r0002") == last


def test_an_update_to_the_last_model_is_refused_by_nobody_and_used_by_nobody(simulation: Simulation) -> None:
    for _ in range(2):
        simulation.carry_down()
        for name in simulation.names:
            simulation.send_update(name, 1.0)
        simulation.coordinator.aggregate(simulation.now)
    simulation.carry_down()
    simulation.send_update("aa", 100.0)
    assert simulation.coordinator.aggregate(simulation.now).is_new is False
    assert simulation.coordinator.newest_model()[0].round == 2


def test_an_aggregate_that_runs_twice_makes_one_model(simulation: Simulation) -> None:
    for name in simulation.names:
        simulation.send_update(name, 1.0)
    simulation.coordinator.aggregate(simulation.now)
    model = simulation.coordinator.posted("model-r0001")
    assert code_of(lambda: simulation.coordinator.aggregate(simulation.now)) == "FM-WAI-03"
    assert simulation.coordinator.posted("model-r0001") == model


def test_one_absurd_update_is_refused_and_the_others_go_on(
    simulation: Simulation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """3e38 is finite, and two of it are not: it must end with its sender, not with the round."""
    simulation.send_update("aa", 1.0)
    simulation.send_update("bb", 1.0)
    with monkeypatch.context() as elsewhere:  # a site whose fedmed has no bound
        elsewhere.setattr(params, "MAX_MAGNITUDE", np.float32(3.4e38))
        simulation.send_update("cc", 3e38)
    made = simulation.coordinator.aggregate(simulation.now, close=True)
    assert [parent.site for parent in made.parents] == ["aa", "bb"]
    assert [each.verdict.code for each in made.arrivals if each.verdict.code] == ["FM-TEN-02"]


def test_the_largest_updates_that_are_admitted_make_a_model(simulation: Simulation) -> None:
    for name in simulation.names:
        simulation.send_update(name, 9.9e29)
    assert code_of(lambda: simulation.coordinator.aggregate(simulation.now)) == "ok"


def test_reports_are_admitted_for_any_round_that_was(simulation: Simulation) -> None:
    report = simulation.sites["aa"].report(simulation.now)
    for name in simulation.names:
        simulation.send_update(name, 1.0)
    simulation.coordinator.aggregate(simulation.now)
    assert simulation.coordinator.judge(report, simulation.now)[0].value == "accepted"
    assert simulation.coordinator.workspace().record.of("report", sender="aa")[0].round == 0


def test_a_clock_that_is_years_behind_signs_no_model(simulation: Simulation) -> None:
    """It would be over before it arrives, and the round could not be closed again."""
    for name in simulation.names:
        simulation.send_update(name, 1.0)
    simulation.coordinator.look(simulation.now)
    past = simulation.now - timedelta(days=3653)
    assert code_of(lambda: simulation.coordinator.aggregate(past)) == "FM-TIM-02"
    assert code_of(lambda: simulation.coordinator.aggregate(simulation.now - timedelta(hours=25))) == "ok"


def test_a_person_may_say_that_the_clock_is_right(simulation: Simulation) -> None:
    for name in simulation.names:
        simulation.send_update(name, 1.0)
    simulation.coordinator.look(simulation.now)
    past, root = simulation.now - timedelta(days=30), simulation.coordinator.root
    assert code_of(lambda: aggregate.aggregate(root, past, trust_clock="it ran ahead at the start")) == "ok"
