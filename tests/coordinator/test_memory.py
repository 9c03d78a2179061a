"""What a strategy remembers: a state a round, named by the model, which goes on from it and from nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from fedmed.auditor import books, inspection
from fedmed.coordinator import memory
from fedmed.exchange import archived, bodies, sealing
from fedmed.learning import params, shapes
from tests.coded import code_of
from tests.federation.simulator import INITIAL, TABLE, Simulation

if TYPE_CHECKING:
    from pathlib import Path

    from fedmed.exchange.record import Known

SITES = ("aa", "bb")
MOMENTUM, LR = 0.5, 0.25
STRATEGY = {"name": "fedavgm", "momentum": MOMENTUM, "server_lr": LR, "weight": "equal"}
ALL_COUNT = {"max_norm_ratio": 1_000_000, "min_cosine": -1}


@pytest.fixture(scope="module")
def four_rounds(tmp_path_factory: pytest.TempPathFactory) -> Simulation:
    return Simulation(tmp_path_factory.mktemp("moments"), SITES).found(rounds=4, strategy=STRATEGY, **ALL_COUNT)


@pytest.fixture
def world(four_rounds: Simulation, tmp_path: Path) -> Simulation:
    return four_rounds.copied_to(tmp_path / "federation")


def close(world: Simulation, *values: float) -> None:
    for name, value in zip(SITES, values, strict=True):
        world.send_update(name, value)
    world.coordinator.aggregate(world.now)
    world.carry_down()


def newest(world: Simulation) -> tuple[Known, bodies.Model]:
    found = world.coordinator.workspace()
    known = found.record.newest("model")
    assert known is not None
    body = archived.read_archived(found, known.id).predicate.body
    assert isinstance(body, bodies.Model)
    return known, body


def moments(world: Simulation, state: str) -> params.Params:
    found = world.coordinator.workspace()
    table = shapes.part_table(TABLE, "m", "all")
    return params.from_payload(archived.read_payload(found, state, "state.safetensors"), table)


def test_momentum_over_three_rounds(world: Simulation) -> None:
    """m = 0.5 m + d and w = w + 0.25 m for what is learned, the plain mean for the running statistic."""
    learned, running, momentum, states = 0.0, 0.0, 0.0, []
    for one, two in ((1.0, 3.0), (-2.0, 0.0), (8.0, 4.0)):
        close(world, one, two)
        mean = (one + two) / 2
        momentum = MOMENTUM * momentum + mean
        learned, running = learned + LR * momentum, running + mean
        known, body = newest(world)
        _, weights = world.coordinator.newest_model()
        for name in ("conv.weight", "conv.bias"):
            assert weights[name] == pytest.approx(INITIAL[name] + learned)
        assert weights["norm.mean"] == pytest.approx(INITIAL["norm.mean"] + running)
        assert body.state is not None
        kept = moments(world, body.state)
        assert {float(number) for name in ("m/conv.weight", "m/conv.bias") for number in kept[name].flat} == {momentum}
        assert kept["m/norm.mean"] == 0, "no step is taken on running statistics"
        states.append(body.state)
        found = world.coordinator.workspace()
        assert [each.round for each in found.record.of("state")] == list(range(known.round_number))
    assert len(set(states)) == 3
    assert not list((world.coordinator.root / "outbox").glob("state*"))
    federation = world.coordinator.root / "outbox" / "federation-v0001.fedmed"
    for state in states:
        verified = inspection.verify(world.coordinator.workspace().archived(state), federation)
        assert (verified.owner, verified.checked[-1]) == ("coordinator", "tensor table and finite numbers")
    books.verify(world.coordinator.root, lambda _done, _total: None)


def test_a_strategy_without_memory_names_none(tmp_path: Path) -> None:
    world = Simulation(tmp_path / "federation", SITES).found(rounds=1, **ALL_COUNT)
    close(world, 1.0, 2.0)
    assert newest(world)[1].state is None
    assert world.coordinator.workspace().record.of("state") == []


def test_killed_between_state_and_model_it_makes_the_same_bytes(
    world: Simulation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    close(world, 1.0, 3.0)
    for name in SITES:
        world.send_update(name, 2.0)
    undisturbed = world.copied_to(tmp_path / "undisturbed")
    expected, _ = undisturbed.coordinator.aggregate(undisturbed.now) and newest(undisturbed)
    say = sealing.say

    def dying(workspace, command, kind, *given, **named):
        if kind == "model":
            raise KeyboardInterrupt
        return say(workspace, command, kind, *given, **named)

    monkeypatch.setattr(sealing, "say", dying)
    with pytest.raises(KeyboardInterrupt):
        world.coordinator.aggregate(world.now)
    monkeypatch.undo()
    before = world.coordinator.workspace().record.of("state")
    assert [each.round for each in before] == [0, 1]
    world.coordinator.aggregate(world.now)
    assert world.coordinator.workspace().record.of("state") == before, "it is sealed once"
    assert newest(world)[0].payload == expected.payload
    assert newest(world)[1].state == before[-1].id


def test_a_state_that_is_gone_or_damaged_stops_the_round(world: Simulation) -> None:
    close(world, 1.0, 3.0)
    path = world.coordinator.workspace().archived(newest(world)[1].state or "")
    whole = path.read_bytes()
    for name in SITES:
        world.send_update(name, 2.0)
    place = whole.index(np.full(4, 2, "<f4").tobytes())
    for damaged in (whole[:place] + b"\1" + whole[place + 1 :], whole[:700], None):
        path.unlink() if damaged is None else path.write_bytes(damaged)
        assert code_of(lambda: world.coordinator.aggregate(world.now)) == "FM-STA-01"
    path.write_bytes(whole)
    assert world.coordinator.aggregate(world.now).round == 2


def test_a_state_of_another_round_stops_the_next(world: Simulation, monkeypatch: pytest.MonkeyPatch) -> None:
    close(world, 1.0, 3.0)
    old = newest(world)[1].state
    monkeypatch.setattr(memory, "keep", lambda *_: old)
    close(world, 1.0, 3.0)
    for name in SITES:
        world.send_update(name, 2.0)
    assert code_of(lambda: world.coordinator.aggregate(world.now)) == "FM-STA-02"


def test_a_model_that_names_none_stops_the_next(world: Simulation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "keep", lambda *_: None)
    close(world, 1.0, 3.0)
    for name in SITES:
        world.send_update(name, 2.0)
    assert code_of(lambda: world.coordinator.aggregate(world.now)) == "FM-STA-03"


def test_a_state_with_other_tensors_stops_the_round(world: Simulation, monkeypatch: pytest.MonkeyPatch) -> None:
    close(world, 1.0, 3.0)
    for name in SITES:
        world.send_update(name, 2.0)
    recall = memory.recall
    monkeypatch.setattr(memory, "recall", lambda found, running, base, _: recall(found, running, base, ("m", "v")))
    assert code_of(lambda: world.coordinator.aggregate(world.now)) == "FM-STA-03"


def test_who_only_waits_does_not_read_it(world: Simulation, monkeypatch: pytest.MonkeyPatch) -> None:
    close(world, 1.0, 3.0)
    monkeypatch.setattr(memory, "recall", lambda *_: pytest.fail("it was read"))
    world.send_update("aa", 1.0)
    assert code_of(lambda: world.coordinator.aggregate(world.now)) == "FM-WAI-03"
