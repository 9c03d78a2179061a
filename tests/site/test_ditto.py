"""Ditto: a personal model beside the federation's, which takes the global one and gives nothing back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from fedmed.coordinator import aggregate
from fedmed.errors import FedmedError
from fedmed.exchange import archived
from fedmed.site import desk, ditto, evaluate, memory, rounds, train
from fedmed.training import fit, networks
from tests import small, tables

if TYPE_CHECKING:
    from pathlib import Path

    from fedmed.learning.params import Params

LAMBDA = 0.5
CPU = torch.device("cpu")


def with_lambda(value: float) -> dict[str, Any]:
    return {**tables.TABULAR, "training": {**tables.TABULAR["training"], "ditto_lambda": value}}


def same(one: Params, two: Params) -> bool:
    return one.keys() == two.keys() and all(np.array_equal(one[name], two[name]) for name in one)


def test_one_step_by_hand() -> None:
    """v - rate (gradient + lambda (v - w)), all cases in one batch."""
    recipe = tables.tabular(training={"batch_size": 8, "ditto_lambda": LAMBDA}, data=tables.AS_IT_STANDS)
    cases, start = tables.cases([0, 1] * 4), networks.initial_params(recipe)[0]
    anchor = {name: array - 2 for name, array in start.items()}
    place = {"site": "a", "round": 0, "rounds": 1, "attempt": 1, "num_steps": 1, "device": CPU}

    def fitted(chosen: Any, **more: Any) -> Params:
        return fit.fit(chosen, start, cases, root=None, label_map={}, **place, **more).params  # type: ignore[arg-type]

    plain, pulled = fitted(recipe), fitted(ditto.pulled(recipe), anchor=anchor)
    rate = recipe.training.optimizer.client_lr
    for name in start:
        assert pulled[name] == pytest.approx(plain[name] - rate * LAMBDA * 2, rel=1e-5, abs=1e-6)


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> small.Federation:
    return tables.founded(tmp_path_factory.mktemp("ditto"), recipe=with_lambda(LAMBDA))


@pytest.fixture
def world(begun: small.Federation, tmp_path: Path) -> small.Federation:
    return begun.copy(tmp_path / "world")


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What each training started from, was pulled to and ended with."""
    seen: list[dict[str, Any]] = []
    train_round = rounds.train_round

    def noted(*given: Any, **named: Any) -> Any:
        found = train_round(*given, **named)
        seen.append({"start": given[4], "anchor": named.get("anchor"), "end": found.params})
        return found

    monkeypatch.setattr(rounds, "train_round", noted)
    return seen


def play(world: small.Federation) -> None:
    for name in world.sites:
        train.train(world.site(name), small.now(), train.Options(device="cpu"), lambda *_: None)
    world.carry()
    aggregate.aggregate(world.coordinator, small.now())
    world.carry()


def model(world: small.Federation, round_: int) -> Params:
    found = desk.peek(world.site("aa"))
    known = found.workspace.record.model(round_)
    assert known
    return desk.model_params(found, desk.require_approved(found), known)


def update(world: small.Federation) -> bytes:
    found = desk.peek(world.site("aa")).workspace
    known = found.record.newest("update", sender="aa", round=0)
    assert known
    return archived.read_payload(found, known.id, train.PAYLOAD)


def test_it_goes_on_from_its_own_and_is_pulled_to_the_rounds_model(
    world: small.Federation, trained: list[dict[str, Any]]
) -> None:
    play(world)
    common, personal = trained[0], trained[1]
    assert common["anchor"] is None
    assert same(common["start"], personal["start"]), "its first is the model that everybody gets"
    assert not same(common["end"], personal["end"])
    trained.clear()
    play(world)
    assert same(trained[0]["start"], model(world, 1))
    assert same(trained[1]["start"], personal["end"])
    assert same(trained[1]["anchor"], model(world, 1))
    site = desk.peek(world.site("aa"))
    found = evaluate.evaluate(world.site("aa"), small.now(), "validation", "cpu", lambda *_: None)
    assert {row.model for row in found.body.told.scores} == {"global", "personal"}
    kept = memory.load(desk.peek(world.site("aa")), desk.require_approved(site), 2)[ditto.PART]
    assert same(kept, trained[1]["end"])
    again = evaluate.evaluate(world.site("aa"), small.now(), "validation", "cpu", lambda *_: None)
    assert not again.is_new


def test_the_federation_hears_nothing_of_it(world: small.Federation, tmp_path: Path) -> None:
    plain = tables.founded(tmp_path / "plain", recipe=tables.TABULAR)
    for each in (world, plain):
        train.train(each.site("aa"), small.now(), train.Options(device="cpu"), lambda *_: None)
    assert update(world) == update(plain)
    sent = b"".join(path.read_bytes() for path in (world.site("aa") / "outbox").glob("*.fedmed"))
    site = desk.peek(world.site("aa"))
    (state,) = site.workspace.record.of("state")
    assert (site.workspace.archived(state.id)).read_bytes() not in sent
    assert not list((world.site("aa") / "state" / "checkpoints").glob("*"))


def test_a_killed_one_goes_on(world: small.Federation, trained: list[dict[str, Any]], begun, tmp_path: Path) -> None:
    steps: list[str] = []

    def killed(what: str, done: int, _total: int) -> None:
        if what.startswith("training"):
            steps.append(f"{what} {done}")
            if len(steps) == 6:  # two steps into the personal model
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train.train(world.site("aa"), small.now(), train.Options(device="cpu"), killed)
    train.train(world.site("aa"), small.now(), train.Options(device="cpu"), killed)
    assert len(steps) == 8, "no step twice"
    undisturbed = begun.copy(tmp_path / "undisturbed")
    train.train(undisturbed.site("aa"), small.now(), train.Options(device="cpu"), lambda *_: None)
    assert same(trained[-1]["end"], trained[-3]["end"])


def test_one_way_to_a_personal_model() -> None:
    with pytest.raises(FedmedError, match="give one of them") as caught:
        tables.tabular(training={"ditto_lambda": 0.1, "fine_tune_steps": 3})
    assert caught.value.code == "FM-RCP-03"
