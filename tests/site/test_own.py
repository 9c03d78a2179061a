"""Layers that a site keeps to itself (FedBN): they never travel, and every round is entered with the right ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from fedmed.coordinator import aggregate
from fedmed.errors import FedmedError
from fedmed.exchange import archived, bodies, intake
from fedmed.learning import params, shapes
from fedmed.site import desk, evaluate, memory, own, rounds, train
from tests import radiographs, small

if TYPE_CHECKING:
    from pathlib import Path

    from fedmed.exchange.record import Known
    from fedmed.learning.params import Params

ALL_COUNT = {"max_norm_ratio": 1_000_000, "min_cosine": -1}


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> small.Federation:
    """Batch norm stays at the sites; nobody has trained."""
    network = radiographs.BATCH_NORM["local"]
    return radiographs.founded(tmp_path_factory.mktemp("local"), limits=ALL_COUNT, network=network)


@pytest.fixture(scope="module")
def once(begun: small.Federation, tmp_path_factory: pytest.TempPathFactory) -> small.Federation:
    """One round is over: both sites trained, and model r1 has arrived."""
    world = begun.copy(tmp_path_factory.mktemp("once") / "world")
    for name in world.sites:
        learn(world.site(name))
    world.carry()
    aggregate.aggregate(world.coordinator, small.now())
    world.carry()
    for name in world.sites:
        receive(world.site(name))
    return world


@pytest.fixture
def world(once: small.Federation, tmp_path: Path) -> small.Federation:
    return once.copy(tmp_path / "world")


@pytest.fixture
def starts(monkeypatch: pytest.MonkeyPatch) -> list[Params]:
    """The weights that each training started from, and each scoring used."""
    seen: list[Params] = []
    train_round, score = rounds.train_round, rounds.score

    def training(*given, **named):
        seen.append({name: array.copy() for name, array in given[4].items()})
        return train_round(*given, **named)

    def scoring(*given, **named):
        seen.append({name: array.copy() for name, array in given[4].items()})
        return score(*given, **named)

    monkeypatch.setattr(rounds, "train_round", training)
    monkeypatch.setattr(rounds, "score", scoring)
    return seen


def learn(root: Path, *, again: bool = False) -> Path:
    posted = train.train(root, small.now(), train.Options(device="cpu", again=again), lambda *_: None).posted
    assert posted
    return posted


def receive(root: Path) -> None:
    with desk.opened(root, small.now()) as site:
        intake.receive_all(site.workspace, desk.terms(desk.require_approved(site)), small.now(), "train-local")


def consent_of(root: Path) -> tuple[desk.Site, desk.Approved, frozenset[str]]:
    site = desk.peek(root)
    consent = desk.require_approved(site)
    return site, consent, own.staying(consent)


def model(root: Path, round_: int) -> Params:
    site, consent, _ = consent_of(root)
    known = site.workspace.record.model(round_)
    assert known
    return desk.model_params(site, consent, known)


def update(root: Path, round_: int) -> Params:
    site, consent, _ = consent_of(root)
    known = site.workspace.record.newest("update", sender=site.workspace.name, round=round_)
    assert known
    return params.from_payload(archived.read_payload(site.workspace, known.id, train.PAYLOAD), consent.table)


def same(one: Params, two: Params, names: frozenset[str]) -> bool:
    return all(np.array_equal(one[name], two[name]) for name in names)


def entering(root: Path, round_: int) -> Params:
    site, consent, _ = consent_of(root)
    return own.entering(model(root, round_), memory.load(site, consent, round_))


def kept(root: Path) -> list[Params]:
    """The own layers that this site has sealed, oldest first."""
    site, consent, names = consent_of(root)
    table = shapes.part_table(consent.table, own.PART, names)
    payloads = [archived.read_payload(site.workspace, known.id, "state.safetensors") for known in states_of(site)]
    return [
        {name.partition("/")[2]: array for name, array in params.from_payload(payload, table).items()}
        for payload in payloads
    ]


def states_of(site: desk.Site) -> list[Known]:
    return site.workspace.record.of("state")


def test_an_update_says_exactly_zero_about_them_and_the_model_keeps_those_of_r0(once: small.Federation) -> None:
    for name in once.sites:
        _, _, names = consent_of(once.site(name))
        delta = update(once.site(name), 0)
        assert names
        assert not any(delta[each].any() for each in names)
        assert all(delta[each].any() for each in delta.keys() - names)
        first, second = model(once.site(name), 0), model(once.site(name), 1)
        assert same(first, second, names)
        assert not any(np.array_equal(first[each], second[each]) for each in first.keys() - names)


@pytest.mark.slow
def test_the_next_round_is_entered_with_the_sites_own(world: small.Federation, starts: list[Params]) -> None:
    mine = []
    for name in world.sites:
        root = world.site(name)
        _, _, names = consent_of(root)
        entered = entering(root, 1)
        assert not any(np.array_equal(entered[each], model(root, 1)[each]) for each in names)
        assert same(entered, model(root, 1), frozenset(entered) - names)
        learn(root)
        assert same(starts[-2], entered, frozenset(entered)), "training starts from them"
        assert same(starts[-1], entered, frozenset(entered)), "and base_metrics are of the model as it is used here"
        assert not any(update(root, 1)[each].any() for each in names)
        mine.append(entered)
    assert not same(*mine, names), "each site has its own"
    world.carry()
    aggregate.aggregate(world.coordinator, small.now())
    world.carry()
    receive(world.site("aa"))
    assert same(model(world.site("aa"), 0), model(world.site("aa"), 2), names)


def test_the_first_round_is_entered_with_the_common_ones(once: small.Federation) -> None:
    first = model(once.site("aa"), 0)
    assert same(entering(once.site("aa"), 0), first, frozenset(first))


def test_again_starts_from_the_same_own_layers(world: small.Federation, starts: list[Params]) -> None:
    root = world.site("aa")
    learn(root)
    before, said = kept(root), update(root, 1)
    learn(root, again=True)
    assert same(starts[0], starts[2], frozenset(starts[0]))
    assert len(kept(root)) == len(before) == 2, "the same once more is one state"
    assert same(update(root, 1), said, frozenset(said))


def test_a_site_that_never_trained_may_begin_and_scores_nothing(world: small.Federation, tmp_path: Path) -> None:
    site, consent, _ = consent_of(world.site("aa"))
    common = model(world.site("aa"), 1)
    site.workspace.record.said[:] = [known for known in site.workspace.record.said if known.kind != "update"]
    found = memory.load(site, consent, 1)
    assert found == {}
    assert same(own.entering(common, found), common, frozenset(common))
    assert same(own.for_scores(consent, 0, common, found), common, frozenset(common))
    with pytest.raises(FedmedError) as caught:
        own.for_scores(consent, 1, common, found)
    assert caught.value.code == "FM-TRN-05"


def test_its_update_then_says_nothing_of_the_model_it_started_from(
    world: small.Federation, starts: list[Params], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Early stopping and the best model would go by the score of layers that never saw an image."""
    monkeypatch.setattr(memory, "load", lambda *_: {})
    learn(world.site("aa"))
    assert len(starts) == 1, "it trains, and scores nothing"
    site, *_ = consent_of(world.site("aa"))
    known = site.workspace.record.newest("update", sender="aa", round=1)
    assert known
    body = archived.read_archived(site.workspace, known.id).predicate.body
    assert isinstance(body, bodies.Update)
    assert body.told.base_metrics
    assert {(each.n, each.mean) for each in body.told.base_metrics} == {(0, None)}


def test_evaluation_uses_the_sites_own(world: small.Federation, starts: list[Params]) -> None:
    root = world.site("aa")
    entered = entering(root, 1)
    evaluate.evaluate(root, small.now(), "validation", "cpu", lambda *_: None)
    assert same(starts[0], entered, frozenset(entered))


def test_damaged_layers_are_refused_and_nothing_is_sent(world: small.Federation) -> None:
    root = world.site("aa")
    site, *_ = consent_of(root)
    path = site.workspace.archived(states_of(site)[0].id)
    data = bytearray(path.read_bytes())
    data[data.index(next(iter(kept(root)[0].values())).tobytes())] ^= 1
    path.write_bytes(data)
    with pytest.raises(FedmedError) as caught:
        learn(root)
    assert caught.value.code == "FM-STA-01"
    assert not list((root / "outbox").glob("update-r0001*"))


@pytest.mark.slow
def test_nothing_of_them_leaves(world: small.Federation) -> None:
    for name in world.sites:
        root = world.site(name)
        learn(root)
        _, _, names = consent_of(root)
        sent = b"".join(path.read_bytes() for path in (root / "outbox").glob("*.fedmed"))
        delta = update(root, 1)
        travelling = max(delta.keys() - names, key=lambda each: delta[each].size)
        assert delta[travelling].tobytes() in sent, "the search finds what does leave"
        assert len(kept(root)) == 2
        for tensors in kept(root):
            assert tensors.keys() == names
            for tensor, common in ((tensors[each], model(root, 0)[each]) for each in names):
                assert tensor.tobytes() not in sent
                assert (tensor - common).tobytes() not in sent
