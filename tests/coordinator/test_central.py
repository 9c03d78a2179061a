"""Central differential privacy by files: noise once on what is learned, what it costs, and what is refused."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from typer.testing import CliRunner

from fedmed.auditor import rounds as audit
from fedmed.cli.app import app
from fedmed.coordinator import aggregate, central, desk, start
from fedmed.errors import FedmedError
from fedmed.exchange import archived, bodies
from fedmed.learning import accounting, params
from fedmed.learning.accounting import Event
from fedmed.recipe_aggregation import Aggregation, Central
from fedmed.site import approve
from tests import small

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from fedmed.exchange.bodies_privacy import CentralBlock

CENTRAL = {"clip_norm": 2.0, "noise_multiplier": 3.0, "force": True}
SITES = ("aa", "bb", "cc", "dd")
WEIGHTS = 17  # of small.numpy_initial


def recipe(**changed: Any) -> dict[str, Any]:
    return {"strategy": {"weight": "equal"}, "aggregation": {"central": {**CENTRAL, **changed}}}


@pytest.fixture(scope="module")
def four(tmp_path_factory: pytest.TempPathFactory) -> small.Federation:
    return small.founded(tmp_path_factory.mktemp("four"), SITES, limits={"min_sites": 2}, recipe=recipe())


@pytest.fixture(scope="module")
def adaptive(tmp_path_factory: pytest.TempPathFactory) -> small.Federation:
    asked = recipe(adaptive={"rate": 1.0, "count_noise": 1000.0 / 4})
    return small.founded(tmp_path_factory.mktemp("adaptive"), SITES, limits={"min_sites": 2}, recipe=asked)


@contextmanager
def refused(code: str) -> Iterator[pytest.ExceptionInfo[FedmedError]]:
    with pytest.raises(FedmedError) as caught:
        yield caught
    assert caught.value.code == code


def said(world: small.Federation) -> CentralBlock:
    found = central.said(desk.peek(world.coordinator))
    assert found is not None
    return found


def newest(world: small.Federation) -> np.ndarray:
    found = desk.peek(world.coordinator)
    known, running = found.record.newest("model"), desk.require_started(found)
    assert known
    weights = params.from_payload(archived.read_payload(found, known.id, "model.safetensors"), running.travelling)
    return np.concatenate([weights[name].ravel() for name in sorted(weights)])


def play(world: small.Federation, value: float = 0.0, sites: tuple[str, ...] = SITES) -> aggregate.Aggregated:
    for name in sites:
        small.seal_update(world.site(name), value)
    world.carry()
    made = aggregate.aggregate(world.coordinator, small.now(), close=True)
    world.carry()
    return made


def without_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(central, "gaussian", lambda _take, count: np.zeros(count))


def test_model_r0_says_what_comes(four: small.Federation) -> None:
    block = said(four)
    assert (block.unit, block.clip_norm, block.noise_multiplier) == ("site", "2", "3")
    assert (block.epsilon, block.delta) == ("0", "0.00001")


def test_updates_are_cut_and_averaged_over_the_roster(
    four: small.Federation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three of four take part, each with 17 numbers of 5: cut to length 2, so 3 / 4 * 2 / sqrt(17) is added."""
    world = four.copy(tmp_path / "w")
    without_noise(monkeypatch)
    before = newest(world)
    made = play(world, 5.0, SITES[:3])
    assert (newest(world) - before).tolist() == pytest.approx([1.5 / WEIGHTS**0.5] * WEIGHTS, rel=1e-5)
    assert [parent.share for parent in made.parents] == ["0.25"] * 3, "what an update counts says not how long it was"


def test_the_noise_is_as_loud_as_it_is_said(four: small.Federation, tmp_path: Path) -> None:
    """z C / N = 1.5 on each of 17 numbers; the chance of a sum of squares outside of these bounds is 1 in a million."""
    world = four.copy(tmp_path / "w")
    before = newest(world)
    play(world)
    noise = newest(world) - before
    assert 1.2 < (noise**2).sum() / 1.5**2 < 62
    assert len(set(noise.tolist())) == WEIGHTS


def test_two_runs_of_one_round_get_other_noise(four: small.Federation, tmp_path: Path) -> None:
    for name in SITES:
        small.seal_update(four.site(name), 0.0)
    models = []
    for folder in ("one", "two"):
        world = four.copy(tmp_path / folder)
        world.carry()
        aggregate.aggregate(world.coordinator, small.now())
        models.append(newest(world))
    assert (models[0] != models[1]).all()


def test_every_round_costs(four: small.Federation, tmp_path: Path) -> None:
    world = four.copy(tmp_path / "w")
    spent = []
    for _ in range(2):
        made = play(world)
        spent.append(float(said(world).epsilon))
        assert made.central == said(world)
    exact = [accounting.epsilon([Event(1.0, 3.0, count)], 1e-5) for count in (1, 2)]
    assert spent == [pytest.approx(each, abs=0.1) for each in exact]
    assert all(shown >= each for shown, each in zip(spent, exact, strict=True)), "rounded up"
    shown = CliRunner().invoke(app, ["status", "-w", str(world.coordinator)]).output
    assert f"epsilon {spent[1]} at delta 0.00001 so far, of a whole site and the weights alone" in shown
    assert "the coordinator sees every update; metrics and numbers of cases carry no noise" in shown


def test_an_update_that_stands_out_is_cut_and_not_held(four: small.Federation, tmp_path: Path) -> None:
    """Whether it is held would depend on the others, and so tell of them."""
    world = four.copy(tmp_path / "w")
    for name, value in zip(SITES, (1.0, 1.0, 1.0, 1e6), strict=True):
        small.seal_update(world.site(name), value)
    world.carry()
    made = aggregate.aggregate(world.coordinator, small.now())
    assert [ack.status for ack in made.acks] == ["used"] * 4
    assert made.told.startswith("cut to the clip norm, to this part of their length: aa 0.485, bb 0.485, cc 0.485, dd")


@pytest.mark.parametrize(("value", "clip"), [(0.1, 2 * np.exp(-0.5)), (9.0, 2 * np.exp(0.5))])
def test_the_clip_adapts(
    adaptive: small.Federation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: float, clip: float
) -> None:
    """All are shorter than the clip, b = 1, or all longer, b = 0; rate 1, target 0.5."""
    world = adaptive.copy(tmp_path / "w")
    without_noise(monkeypatch)
    play(world, value)
    assert float(said(world).clip_norm) == pytest.approx(clip, rel=1e-8)
    before = newest(world)
    play(world, 100.0)
    assert np.linalg.norm(newest(world) - before) == pytest.approx(clip, rel=1e-5)


def test_such_a_round_cannot_be_audited_bit_for_bit(four: small.Federation, tmp_path: Path) -> None:
    world = four.copy(tmp_path / "w")
    play(world)
    with refused("FM-SHR-15") as caught:
        audit.audit(world.coordinator / "archive", 0, lambda *_: None)
    assert "kept nowhere" in caught.value.message


def test_few_sites_are_refused_with_the_reason_in_numbers(tmp_path: Path) -> None:
    """3 sites, 17 weights, z = 3: 3 sqrt(17) / 3 = 4.12."""
    world = small.joined(tmp_path / "w", SITES[:3], recipe=recipe(force=False))
    with refused("FM-PRV-07") as caught:
        start.start(world.coordinator, small.numpy_initial, small.now())
    assert "3 sites, expected at least 30: the noise on the mean would be 4.12 times" in caught.value.message
    assert caught.value.exit_code == 7
    assert desk.peek(world.coordinator).record.newest("federation") is None


def test_what_the_noise_does_not_cover_is_refused(tmp_path: Path) -> None:
    world = small.joined(tmp_path / "w", SITES[:3], recipe=recipe())

    def with_statistics(_: object) -> Any:
        weights, rows = small.numpy_initial(None)  # type: ignore[arg-type]
        return {**weights, "n.mean": np.zeros(2, np.float32)}, [
            *rows,
            {"name": "n.mean", "shape": [2], "group": "buffer"},
        ]

    with refused("FM-RCP-03") as caught:
        start.start(world.coordinator, with_statistics, small.now())
    assert "n.mean is no weight that is learned" in caught.value.message


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"adaptive": {"count_noise": 1.5}}, "noise on the count: expected more than 1.5, got 1.5"),
        ({"noise_multiplier": None, "target_epsilon": 0.01, "delta": 1e-9}, "0.01 in 10000 rounds is too little"),
    ],
)
def test_noise_that_cannot_be_had(tmp_path: Path, asked: dict[str, Any], words: str) -> None:
    world = small.joined(tmp_path / "w", SITES[:3], recipe=recipe(**asked), limits={"rounds": 10_000})
    with refused("FM-RCP-03") as caught:
        start.start(world.coordinator, small.numpy_initial, small.now())
    assert words in caught.value.message


def test_approve_says_what_it_is_and_what_it_is_not(four: small.Federation) -> None:
    chosen = desk.require_started(desk.peek(four.coordinator)).recipe
    told = approve.leaves(chosen)
    assert approve.CENTRAL in told
    assert told[-2].startswith("without noise, and so outside of epsilon: number of cases, patients and steps")
    masked = chosen.model_copy(update={"aggregation": Aggregation(masking="dm2", clip={"norm": 1})})  # type: ignore[arg-type]
    assert approve.CENTRAL not in approve.leaves(masked)
    assert not any("outside of epsilon" in line for line in approve.leaves(masked))


def test_the_target_gives_the_noise() -> None:
    assert central.noise_multiplier(Central(clip_norm=1, target_epsilon=8, delta=1e-5), 20) == 2.69
    assert central.noise_multiplier(Central(clip_norm=1, noise_multiplier=1.25), 20) == 1.25


def test_a_model_of_another_recipe_says_nothing(tmp_path: Path) -> None:
    world = small.founded(tmp_path / "w", SITES[:2])
    found = desk.peek(world.coordinator)
    assert central.said(found) is None
    body = archived.read_archived(found, found.record.models()[0].id).predicate.body
    assert isinstance(body, bodies.Model)
    assert body.central is None
