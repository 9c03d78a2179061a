"""What the coordinator does with the files of a round: how often it reads them, and what it remembers of it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from fedmed.coordinator import closing, sources
from fedmed.learning import strategies
from tests.coded import code_of

from . import simulator
from .simulator import INITIAL, predicate_of, statement_id

if TYPE_CHECKING:
    from pathlib import Path

    from .simulator import Simulation

NAMES = ("aa", "bb", "cc")


def play(simulation: Simulation, *values: float, close: bool = False) -> None:
    """A whole round."""
    simulation.carry_down()
    for name, value in zip(NAMES, values, strict=True):
        simulation.send_update(name, value)
    simulation.coordinator.aggregate(simulation.now, close=close)


def added(simulation: Simulation) -> float:
    """What the rounds so far added to every weight."""
    _, weights = simulation.coordinator.newest_model()
    return float((weights["conv.weight"] - INITIAL["conv.weight"]).mean())


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The payloads that were opened to be read whole."""
    seen: list[str] = []
    real = sources.Archived.open

    def counted(self: sources.Archived, *arguments: object) -> sources.Source:
        seen.append(self.payload)
        return real(self, *arguments)

    monkeypatch.setattr(sources.Archived, "open", counted)
    return seen


def test_a_round_in_which_all_count_is_read_once(simulation: Simulation, opened: list[str]) -> None:
    play(simulation, 1.0, 2.0, 6.0)
    assert opened == ["model.safetensors", *["update.safetensors"] * 3]
    assert added(simulation) == pytest.approx(3)


def test_a_strategy_that_needs_the_products_reads_twice(tmp_path: Path, opened: list[str]) -> None:
    simulation = simulator.Simulation(tmp_path / "f", NAMES).found(strategy={"name": "geometric_median"}, rounds=1)
    play(simulation, 1.0, 1.0, 4.0)
    assert opened.count("model.safetensors") == 2
    assert added(simulation) == pytest.approx(1, abs=1e-3)


def test_a_draft_of_an_update_that_is_held_becomes_no_model(simulation: Simulation, opened: list[str]) -> None:
    """10 counts in the draft; the model is made anew of the other two, in the next run, which compares nothing."""
    for name, value in zip(NAMES, (1.0, 1.0, 10.0), strict=True):
        simulation.send_update(name, value)
    assert code_of(lambda: simulation.coordinator.aggregate(simulation.now)) == "FM-WAI-03"
    assert list(simulation.coordinator.workspace().spool.iterdir()) == []
    before = len(opened)
    simulation.coordinator.aggregate(simulation.now, close=True)
    assert opened[before:] == ["model.safetensors", *["update.safetensors"] * 2]
    assert added(simulation) == pytest.approx(1)
    assert list(simulation.coordinator.workspace().spool.iterdir()) == []


def test_in_one_run_too(simulation: Simulation) -> None:
    play(simulation, 1.0, 1.0, 10.0, close=True)
    assert added(simulation) == pytest.approx(1)


def test_a_draft_that_is_not_finite_counts_only_when_it_would_become_the_model(
    simulation: Simulation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(closing, "chosen", lambda *_: strategies.named("fedavgm", server_lr=1e31))
    for name, value in zip(NAMES, (1.0, 1.0, 10.0), strict=True):
        simulation.send_update(name, value)
    assert code_of(lambda: simulation.coordinator.aggregate(simulation.now)) == "FM-WAI-03"
    assert code_of(lambda: simulation.coordinator.aggregate(simulation.now, close=True)) == "FM-TEN-02"
    assert simulation.coordinator.newest_model()[0].round == 0


def rot(simulation: Simulation, statement: str) -> None:
    """Another last number in the payload of an archived file."""
    path = simulation.coordinator.workspace().archived(statement)
    data = bytearray(path.read_bytes())
    data[len(data.rstrip(b"\0")) - 1] ^= 1
    path.write_bytes(data)


def test_a_rotten_file_of_the_archive_ends_the_command_and_leaves_nothing(simulation: Simulation) -> None:
    sent = [simulation.send_update(name, value) for name, value in zip(NAMES, (1.0, 2.0, 3.0), strict=True)]
    simulation.coordinator.look(simulation.now)
    rot(simulation, statement_id(sent[1]))
    before = threading.active_count()
    assert code_of(lambda: simulation.coordinator.aggregate(simulation.now)) == "FM-TRU-11"
    assert threading.active_count() == before
    found = simulation.coordinator.workspace()
    assert [facts for _, facts in found.record.notes if facts["what"] == "screened"] == []
    assert list(found.spool.iterdir()) == []
    assert found.record.newest("model").round == 0


# --- what a strategy remembers --------------------------------------------------------------------------------------


@pytest.fixture
def with_memory(simulation: Simulation, monkeypatch: pytest.MonkeyPatch) -> Simulation:
    """After one round with a server momentum of 0.5."""
    monkeypatch.setattr(closing, "chosen", lambda *_: strategies.named("fedavgm", momentum=0.5))
    play(simulation, 1.0, 2.0, 3.0)
    return simulation


def state_of(simulation: Simulation, round_: int) -> str:
    state = predicate_of(simulation.coordinator.posted(f"model-r{round_:04d}"))["body"]["state"]
    assert isinstance(state, str)
    return state


def test_momentum_goes_from_round_to_round_in_a_signed_state(with_memory: Simulation) -> None:
    """m: 2, then 0.5 * 2 + 2 = 3; running statistics take no momentum."""
    simulation = with_memory
    assert added(simulation) == pytest.approx(2)
    first = state_of(simulation, 1)
    play(simulation, 1.0, 2.0, 3.0)
    assert added(simulation) == pytest.approx(2 + 3)
    _, weights = simulation.coordinator.newest_model()
    assert weights["norm.mean"] - INITIAL["norm.mean"] == pytest.approx(4)
    second = state_of(simulation, 2)
    assert first != second
    assert {path.stem for path in (simulation.coordinator.root / "archive").glob("*")} >= {first, second}
    assert not list((simulation.coordinator.root / "outbox").glob("state*"))


def test_a_damaged_state_ends_the_command(with_memory: Simulation) -> None:
    simulation = with_memory
    rot(simulation, state_of(simulation, 1))
    assert code_of(lambda: play(simulation, 1.0, 2.0, 3.0)) == "FM-STA-01"
    simulation.coordinator.workspace().archived(state_of(simulation, 1)).unlink()
    assert code_of(lambda: simulation.coordinator.aggregate(simulation.now)) == "FM-STA-01"
    assert simulation.coordinator.newest_model()[0].round == 1


def test_a_state_of_other_vectors_is_refused(with_memory: Simulation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(closing, "chosen", lambda *_: strategies.named("fedadam", server_lr=0.1))
    assert code_of(lambda: play(with_memory, 1.0, 2.0, 3.0)) == "FM-STA-03"
