"""A site goes on from what it remembered with its last update that counted, and with nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from fedmed.auditor import books
from fedmed.errors import FedmedError
from fedmed.exchange import archived, bodies
from fedmed.exchange.verdict import Outcome
from fedmed.site import desk, memory, own
from tests.coded import code_of
from tests.federation.simulator import INITIAL, Simulation, filled

if TYPE_CHECKING:
    from pathlib import Path

NAMES = frozenset({"conv.bias", "norm.mean"})


@pytest.fixture(autouse=True)
def some_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    """A network of which two tensors stay at each site."""
    monkeypatch.setattr(own, "staying", lambda _: NAMES)


@pytest.fixture(scope="module")
def four_rounds(tmp_path_factory: pytest.TempPathFactory) -> Simulation:
    return Simulation(tmp_path_factory.mktemp("memory"), ("aa", "bb")).found(rounds=4, min_sites=1, max_share=1)


@pytest.fixture
def world(four_rounds: Simulation, tmp_path: Path) -> Simulation:
    return four_rounds.copied_to(tmp_path / "federation")


def layers(value: float) -> dict[str, dict[str, np.ndarray]]:
    return {own.PART: {name: np.full_like(INITIAL[name], value) for name in NAMES}}


def learn(world: Simulation, value: float, name: str = "aa", *, send: bool = True) -> bytes:
    """Seal an update whose own layers are all `value`."""
    data = world.sites[name].update(world.now, filled(1.0), kept=layers(value))
    if send:
        world.coordinator.deliver(data, world.now)
    return data


def close(world: Simulation) -> None:
    world.coordinator.aggregate(world.now, close=True)
    world.carry_down()
    for site in world.sites.values():
        site.look(world.now)


def remembered(world: Simulation, round_: int, name: str = "aa") -> dict[str, dict[str, np.ndarray]]:
    site = desk.peek(world.sites[name].root)
    return memory.load(site, desk.require_approved(site), round_)


def value(world: Simulation, round_: int, name: str = "aa") -> float | None:
    """What all own layers are that enter a round."""
    found = remembered(world, round_, name)
    if not found:
        return None
    assert found.keys() == {own.PART}
    assert found[own.PART].keys() == NAMES
    (only,) = {float(number) for array in found[own.PART].values() for number in array.reshape(-1)}
    return only


def test_it_goes_on_from_the_update_that_counted(world: Simulation) -> None:
    assert value(world, 0) is None
    learn(world, 5.0)
    learn(world, 7.0, "bb")
    assert value(world, 0) is None, "the round is entered as before, with --again too"
    close(world)
    assert (value(world, 1), value(world, 1, "bb")) == (5.0, 7.0)
    learn(world, 6.0)
    assert value(world, 1) == 5.0
    close(world)
    assert (value(world, 2), value(world, 2, "bb")) == (6.0, 7.0), "bb missed a round and enters with its last"
    assert value(world, 1) == 5.0, "as that round was entered"


def test_an_update_that_came_too_late_takes_its_own_with_it(world: Simulation) -> None:
    learn(world, 5.0)
    close(world)
    late = learn(world, 6.0, send=False)
    learn(world, 7.0, "bb")
    close(world)
    world.coordinator.deliver(late, world.now)
    assert value(world, 2) == 5.0
    learn(world, 8.0)
    close(world)
    assert value(world, 3) == 8.0


def test_of_a_corrected_update_the_one_that_counted_is_taken(world: Simulation) -> None:
    learn(world, 5.0)
    learn(world, 6.0)
    close(world)
    assert value(world, 1) == 6.0
    learn(world, 7.0)
    learn(world, 8.0, send=False)  # never carried away: the first one counts
    close(world)
    assert value(world, 2) == 7.0


def test_an_update_that_is_held_takes_its_own_with_it(world: Simulation) -> None:
    huge = world.sites["aa"].update(world.now, filled(1e6), kept=layers(5.0))
    world.coordinator.deliver(huge, world.now)
    learn(world, 7.0, "bb")
    assert code_of(lambda: world.coordinator.aggregate(world.now)) == "FM-WAI-03"
    close(world)
    assert (value(world, 1), value(world, 1, "bb")) == (None, 7.0)


def test_it_waits_for_the_model_that_says_what_counted(world: Simulation) -> None:
    learn(world, 5.0)
    learn(world, 7.0, "bb")
    world.coordinator.aggregate(world.now)
    with pytest.raises(FedmedError, match=r"model-r0001\.fedmed") as caught:
        remembered(world, 1)
    assert (caught.value.code, caught.value.exit_code) == ("FM-STA-04", 75)


def test_the_update_names_it_and_it_stays(world: Simulation) -> None:
    learn(world, 5.0)
    site = world.sites["aa"]
    found = site.workspace()
    state, update = found.record.said[-2:]
    body = archived.read_archived(found, update.id).predicate.body
    assert (state.kind, update.kind) == ("state", "update")
    assert isinstance(body, bodies.Update)
    assert body.state == state.id
    assert not [path for path in (site.root / "outbox").iterdir() if path.name.startswith("state")]
    assert found.archived(state.id).stat().st_mode & 0o777 == 0o600
    learn(world, 5.0)
    assert len(found.record.of("state")) == len(site.workspace().record.of("state")) == 1, "the same is not kept twice"
    assert books.verify(site.root, lambda _done, _total: None).archived > 0


def test_a_state_that_is_sent_to_others_is_ignored(world: Simulation) -> None:
    learn(world, 5.0)
    found = world.sites["aa"].workspace()
    state = found.archived(found.record.of("state")[0].id).read_bytes()
    for receiver in (world.coordinator, world.sites["bb"], world.sites["aa"]):
        archive = sorted((receiver.root / "archive").iterdir())
        assert receiver.judge(state, world.now) == (Outcome.NOT_FOR_ME, "", 0)
        arrived = set((receiver.root / "archive").iterdir()) - set(archive)
        assert all(path.read_bytes() != state for path in arrived)
    learn(world, 7.0, "bb")
    close(world)
    assert (value(world, 1), value(world, 1, "bb")) == (5.0, 7.0)


def test_a_state_that_is_gone_or_damaged_is_not_replaced_in_silence(world: Simulation) -> None:
    learn(world, 5.0)
    close(world)
    found = world.sites["aa"].workspace()
    path = found.archived(found.record.of("state")[0].id)
    whole = path.read_bytes()
    path.write_bytes(whole.replace(np.float32(5).tobytes(), np.float32(6).tobytes()))
    assert code_of(lambda: remembered(world, 1)) == "FM-STA-01"
    assert code_of(lambda: books.verify(found.root, lambda _done, _total: None)) == "FM-TRU-11"
    path.unlink()
    assert code_of(lambda: remembered(world, 1)) == "FM-STA-01"


def test_a_state_of_another_round_is_refused(world: Simulation) -> None:
    learn(world, 5.0)
    close(world)
    old = world.sites["aa"].workspace().record.of("state")[0].id
    world.coordinator.deliver(world.sites["aa"].update(world.now, filled(1.0), state=old), world.now)
    close(world)
    assert code_of(lambda: remembered(world, 2)) == "FM-STA-02"
    assert code_of(lambda: books.verify(world.sites["aa"].root, lambda _done, _total: None)) == "FM-STA-01"


def test_a_state_with_other_tensors_is_refused(world: Simulation, monkeypatch: pytest.MonkeyPatch) -> None:
    learn(world, 5.0)
    close(world)
    monkeypatch.setattr(own, "staying", lambda _: {"conv.bias"})
    assert code_of(lambda: remembered(world, 1)) == "FM-STA-03"


def test_an_update_that_counted_and_names_none_is_refused(world: Simulation) -> None:
    world.coordinator.deliver(world.sites["aa"].update(world.now, filled(1.0)), world.now)
    close(world)
    assert code_of(lambda: remembered(world, 1)) == "FM-STA-03"


@pytest.mark.parametrize("wrong", [{"other": {}}, {own.PART: {"conv.bias": INITIAL["conv.bias"]}}, {}])
def test_only_what_the_recipe_asks_for_is_kept(world: Simulation, wrong: dict) -> None:
    with desk.opened(world.sites["aa"].root, world.now) as site:
        model = site.workspace.record.newest("model")
        keep = lambda: memory.keep(site, desk.require_approved(site), model, wrong, world.now)  # noqa: E731
        assert code_of(keep) == "FM-TEN-01"


def test_a_recipe_that_keeps_nothing_asks_for_no_model(world: Simulation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own, "staying", lambda _: frozenset())
    learn(world, 5.0)
    assert world.sites["aa"].workspace().record.of("state") == []
    assert remembered(world, 3) == {}
