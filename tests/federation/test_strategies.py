"""Whole rounds by files with each kind of strategy, and what is told about them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from fedmed.cli import tables, unattended
from fedmed.cli.screen import Screen
from fedmed.errors import FedmedError
from fedmed.exchange.verdict import Outcome
from fedmed.learning import params, shapes
from tests.coded import code_of

from . import simulator
from .simulator import INITIAL

if TYPE_CHECKING:
    from pathlib import Path

    from .simulator import Simulation


def founded(root: Path, names: str, strategy: dict[str, Any], **more: Any) -> Simulation:
    return simulator.Simulation(root / "f", tuple(names.split())).found(
        **{"rounds": 1, "strategy": strategy, "max_norm_ratio": 1000, "min_sites": 2, **more}
    )


def added(simulation: Simulation) -> tuple[float, float]:
    """What the newest model adds to every learned number, and to the running statistic."""
    weights = simulation.coordinator.newest_model()[1]
    learned = {number for name in ("conv.weight", "conv.bias") for number in (weights[name] - INITIAL[name]).flat}
    assert max(learned) - min(learned) < 1e-5
    return float(max(learned)), float(weights["norm.mean"] - INITIAL["norm.mean"])


@pytest.mark.parametrize(
    ("strategy", "learned", "shares", "told"),
    [
        # the median norm is that of bb: 1/3 * (1 + 4 + 4) = 3; of 90 a part of 4/90 counts, of 1/3 so much is 0.0148
        (
            {"name": "norm_clipped_mean", "weight": "equal"}, 3, ["0.333333333", "0.333333333", "0.014814815"],
            "shortened, to this part of their length: cc 0.0444",
        ),
        (
            {"name": "trimmed_mean", "trim": 0.34}, 4, ["0.333333333"] * 3,
            "of each number the 1 lowest and the 1 highest of 3 were left out",
        ),
    ],
    ids=["norm", "trimmed"],
)  # fmt: skip
def test_a_round_with_one_update_far_away(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    strategy: dict[str, Any],
    learned: float,
    shares: list[str],
    told: str,
) -> None:
    """1, 4 and 90 are added; running statistics are the mean, (1 + 4 + 90) / 3."""
    simulation = founded(tmp_path, "aa bb cc", strategy)
    for name, value in (("aa", 1.0), ("bb", 4.0), ("cc", 90.0)):
        simulation.send_update(name, value, num_cases=50 if name == "cc" else 10)
    made = simulation.coordinator.aggregate(simulation.now)
    assert added(simulation) == pytest.approx((learned, 95 / 3), rel=1e-6)
    assert ([parent.share for parent in made.parents], made.told) == (shares, told)
    tables.shares(Screen(as_json=False), made)
    assert f"\n{told}\n" in capsys.readouterr().out
    unattended._aggregated(Screen(as_json=False), "now aggregate:", made)
    assert capsys.readouterr().out == f"now aggregate: model r0001 of aa, bb, cc, the last; {told}\n"


def test_krum_waits_until_there_are_enough(tmp_path: Path) -> None:
    """Squared distances to the two nearest, in units: aa 1 + 9, bb 1 + 4, cc 4 + 9, dd 9 + 25, ee thousands."""
    simulation = founded(tmp_path, "aa bb cc dd ee", {"name": "krum", "f": 1})
    coordinator, now = simulation.coordinator, simulation.now
    simulation.send_update("aa", 1.0)
    assert code_of(lambda: coordinator.aggregate(now, close=True)) == "FM-WAI-03"  # below min_sites
    for name, value in (("bb", 2.0), ("cc", 4.0), ("dd", 7.0)):
        simulation.send_update(name, value)
    for close in (False, True):
        with pytest.raises(FedmedError, match="4 of at least 5 sites that krum needs are in; not in: ee") as caught:
            coordinator.aggregate(now, close=close)
        assert (caught.value.code, caught.value.exit_code) == ("FM-STR-01", 75)
        assert caught.value.next == "ask the sites that are named for their files"
    assert coordinator.newest_model()[0].round == 0
    simulation.send_update("ee", 90.0)
    made = coordinator.aggregate(now)
    assert added(simulation) == (2, 2)
    assert [parent.share for parent in made.parents] == ["0", "1", "0", "0", "0"]
    assert made.told == "the model moves by this update alone: bb"


def test_a_roster_that_can_never_be_enough_does_not_start(tmp_path: Path) -> None:
    with pytest.raises(FedmedError, match="krum: expected at least 5 admitted sites, got 2") as caught:
        founded(tmp_path, "aa bb", {"name": "krum", "f": 1})
    assert caught.value.code == "FM-STR-02"
    assert not list((tmp_path / "f" / "coordinator" / "outbox").iterdir())


def test_fednova_divides_by_the_work(tmp_path: Path) -> None:
    """Batches of one: 2 and 8 steps. Coefficients 5 * 1/2 / 2 = 1.25 and 5 * 1/2 / 8 = 0.3125, of 4 and 8: 7.5.

    Who says too few steps would count too much: cc with 8 cases says one, and is refused.
    """
    training = {"local_steps": None, "local_epochs": 1}
    simulation = founded(tmp_path, "aa bb cc", {"name": "fednova", "weight": "equal"}, training=training)
    for name, cases, steps, value in (("aa", 2, 2, 4.0), ("bb", 8, 8, 8.0), ("cc", 8, 1, 100.0)):
        data = simulation.sites[name].update(simulation.now, simulator.filled(value), cases, num_steps=steps)
        simulation.coordinator.deliver(data, simulation.now)
    made = simulation.coordinator.aggregate(simulation.now, close=True)
    assert added(simulation) == (7.5, 6)
    assert [(parent.site, parent.share) for parent in made.parents] == [("aa", "1.25"), ("bb", "0.3125")]
    assert made.told == "each counted so many times its share, by its steps: aa 2.5, bb 0.625"
    words = "FM-STR-03: 1 steps of 8 cases, the recipe makes it 8"
    assert [(ack.status, ack.reason) for ack in made.acks] == [("used", ""), ("used", ""), ("refused", words)]


def test_fedadam_remembers_between_rounds(tmp_path: Path) -> None:
    """beta1 = 1/2, beta2 = 3/4, tau = 1, server_lr = 2. d = 4: m = 2, v = 4, w = 2 * 2 / (2 + 1) = 4/3.
    d = 2: m = 1 + 1 = 2, v = 3 + 1 = 4, w = 4/3 + 4/3. Running statistics take the means alone: 4, then 6.
    """
    strategy = {"name": "fedadam", "server_lr": 2, "beta1": 0.5, "beta2": 0.75, "tau": 1}
    simulation = founded(tmp_path, "aa bb", strategy, rounds=2)
    for values, expected in (((3.0, 5.0), (4 / 3, 4)), ((1.0, 3.0), (8 / 3, 6))):
        simulation.carry_down()
        for name, value in zip(("aa", "bb"), values, strict=True):
            simulation.send_update(name, value)
        made = simulation.coordinator.aggregate(simulation.now)
        assert added(simulation) == pytest.approx(expected, rel=1e-6)
        assert ([parent.share for parent in made.parents], made.told) == (["0.5", "0.5"], "")


LEARNED = ("conv.weight", "conv.bias")


def variates(value: float) -> dict[str, np.ndarray]:
    return {name: np.full_like(INITIAL[name], value) for name in LEARNED}


def test_scaffold_moves_weights_and_the_common_variate(tmp_path: Path) -> None:
    """w + 0.5 * (2 + 6) / 2, c + 2/3 * (0.25 + 1.25) / 2: two of three sites take part, whatever their cases."""
    simulation = founded(tmp_path, "aa bb cc", {"name": "scaffold", "server_lr": 0.5})
    assert not any(array.any() for array in simulation.coordinator.newest_parts()[2].values())
    for name, value, variate, cases in (("aa", 2.0, 0.25, 10), ("bb", 6.0, 1.25, 90)):
        delta = simulator.filled(value)
        data = simulation.sites[name].update(
            simulation.now, delta, cases, control=variates(variate), kept={shapes.CONTROL: variates(variate)}
        )
        simulation.coordinator.deliver(data, simulation.now)
    simulation.coordinator.aggregate(simulation.now, close=True)
    assert added(simulation) == (2, 4)
    _, _, common = simulation.coordinator.newest_parts()
    assert common.keys() == set(LEARNED)
    assert all(array == pytest.approx(0.5) for array in common.values())


def test_an_update_without_its_variates_is_refused(tmp_path: Path) -> None:
    simulation = founded(tmp_path, "aa bb", {"name": "scaffold"})
    whole = simulation.sites["aa"].update(simulation.now, simulator.filled(1.0), control=variates(1.0))
    bare = params.to_payload(simulator.filled(1.0), simulator.TABLE)
    table = shapes.digest(simulator.TABLE)
    for said in (table, shapes.digest(shapes.travelling(simulator.TABLE, control=True))):
        data = simulation.change(whole, "aa", lambda p, said=said: p.update(tensor_table=said), payload=bare)
        assert simulation.coordinator.judge(data, simulation.now)[1] == "FM-TEN-01"
    assert simulation.coordinator.judge(whole, simulation.now)[0] is Outcome.ACCEPTED
