"""A run with every file brought again after every step, and decisions with a wrong clock: small versions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from . import clocks, replay

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("relation", [replay.AGAIN, replay.OTHER_ID])
def test_nothing_that_comes_again_changes_anything(relation: str, tmp_path: Path) -> None:
    found, quiet = replay.matrix(tmp_path, relation, sites=2, rounds=1)
    assert found.models == quiet
    assert len(set(quiet)) == 2
    assert (found.steps, found.changed) == (3, [])
    ends = {end for _, _, end in found.ends}
    assert ends == {"not-for-me", "duplicate" if relation == replay.AGAIN else "rejected FM-TRU-02"}
    assert found.ends.total() >= 50


@pytest.mark.slow
def test_nothing_of_a_masked_round_that_comes_again_changes_anything(tmp_path: Path) -> None:
    found, quiet = replay.matrix(tmp_path, replay.MASKED, sites=3, rounds=1)
    assert found.models == quiet
    assert (found.steps, found.changed) == (5, [])
    assert {end for _, _, end in found.ends} == {"not-for-me", "duplicate"}
    assert {kind for _, kind, _ in found.ends} >= {"unmask-request", "unmask-reply", "update"}


def test_a_change_would_be_seen(tmp_path: Path) -> None:
    simulation = replay.founded(tmp_path / "f", 2, 1)
    found = replay.Replayed()
    fresh = simulation.update("site-a", 1.0)
    replay.deliver_again(simulation.coordinator, [fresh], simulation, replay.AGAIN, found)
    assert found.ends == {(replay.AGAIN, "update", "accepted"): 1}
    assert found.changed == ["coordinator at step 0"]


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory):
    return clocks.begun(tmp_path_factory.mktemp("clocks"))


EXPECTED = {
    ("takes in an update", "10 years slow"): ("future FM-TIM-02", "accepted"),
    ("takes in a model", "10 years fast"): ("expired FM-TIM-01", "duplicate"),
    ("takes in a model that is over", "10 years slow"): ("future FM-TIM-02", "expired FM-TIM-01"),
    ("takes in a model that is over", clocks.RIGHT): ("expired FM-TIM-01", "expired FM-TIM-01"),
    ("approves a federation that is over", "1 day slow"): ("stopped FM-TIM-01", "stopped FM-TIM-01"),
    ("admits a site", "10 years slow"): ("stopped FM-TIM-02", "done"),
    ("takes in a model", "1 day slow"): ("accepted", ""),
    ("signs a model; the site's clock is right", "10 years slow"): ("not signed FM-TIM-02", "accepted"),
}


@pytest.mark.parametrize(("what", "clock"), EXPECTED)
def test_a_wrong_clock(what: str, clock: str, bases, tmp_path: Path) -> None:
    case = next(each for each in clocks.CASES if each.what == what)
    found = clocks.decide(case, clock, bases[case.begun], tmp_path / "copy")
    assert (found.end, found.afterwards) == EXPECTED[what, clock]
    assert not found.takes_what_is_over
    assert not found.is_stuck


def test_what_the_right_clock_does_not_make_good_is_seen() -> None:
    late = clocks.Case("site", "x", clocks.takes_a_model)
    assert clocks.Decided(late, "1 day slow", "expired FM-TIM-01", "not signed FM-WAI-03").is_stuck
    assert not clocks.Decided(late, "1 day slow", "expired FM-TIM-01", "duplicate").is_stuck
    over = clocks.Case("site", "x", clocks.takes_a_model, expired=True)
    assert clocks.Decided(over, "1 day slow", "accepted", "").takes_what_is_over
