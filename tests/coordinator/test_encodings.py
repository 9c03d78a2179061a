"""Whole rounds by files in every encoding: the coordinator adds up exactly what the sites believe to have said."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from typer.testing import CliRunner

from fedmed import files
from fedmed.auditor import inspection
from fedmed.cli.app import app
from fedmed.coordinator import aggregate, decoded, desk
from fedmed.exchange import archived, intake
from fedmed.learning import params, payloads
from fedmed.site import approve, laps, memory, outgoing, own, train
from fedmed.site import desk as site_desk
from fedmed.site.change import begin
from tests import small, tables
from tests.coded import code_of

if TYPE_CHECKING:
    from pathlib import Path

    from fedmed.coordinator.start import Initial
    from fedmed.exchange.record import Known
    from fedmed.learning.params import Params
    from fedmed.recipe import Recipe

SHAPES = {"a.weight": (7, 30), "b.bias": (5,), "c.weight": (130,), "norm.mean": (70,)}
UPDATES: list[dict[str, Any]] = [
    {"encoding": "fp16"},
    {"encoding": "bf16"},
    {"encoding": "int8"},
    {"encoding": "topk", "fraction": 0.05},
    {"encoding": "fp32", "compress": "zstd"},
    {"encoding": "int8", "compress": "zstd"},
]


@pytest.fixture(autouse=True)
def nothing_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether this network has layers that stay at a site, which only torch could tell."""
    monkeypatch.setattr(own, "staying", lambda _: frozenset())


def initial(_: Recipe) -> Initial:
    weights = {name: np.full(shape, 0.5, np.float32) for name, shape in SHAPES.items()}
    groups = {name: "buffer" if name == "norm.mean" else "param" for name in SHAPES}
    return weights, [{"name": name, "shape": list(shape), "group": groups[name]} for name, shape in SHAPES.items()]


def change(seed: int) -> Params:
    random = np.random.RandomState(seed)
    return {name: random.normal(0.01, 0.02, shape).astype(np.float32) for name, shape in SHAPES.items()}


def founded(root: Path, update: dict[str, Any], **recipe: Any) -> small.Federation:
    return small.founded(root, initial=initial, recipe={"update": update, **recipe}, limits={"min_cosine": -1})


def said(world: small.Federation, known: Known, name: str) -> Params:
    """What the site's own archive says it has sent."""
    site = site_desk.peek(world.site(name))
    consent = site_desk.require_approved(site)
    return payloads.decode(archived.read_payload(site.workspace, known.id, decoded.PAYLOAD), consent.layout)


def model(world: small.Federation) -> Params:
    found = desk.peek(world.coordinator)
    newest = found.record.newest("model")
    assert newest is not None
    table = desk.require_started(found).table
    return params.from_payload(archived.read_payload(found, newest.id, "model.safetensors"), table)


@pytest.mark.parametrize("update", UPDATES, ids=[" ".join(map(str, each.values())) for each in UPDATES])
def test_a_round(tmp_path: Path, update: dict[str, Any]) -> None:
    world = founded(tmp_path / "world", update)
    form, seen = update["encoding"], {}
    for round_ in range(2 if form == "topk" else 1):  # what is left out counts in the second
        before = model(world)
        sent: list[Params] = []
        for seed, name in enumerate(world.sites):
            seen[name] = small.seal_update(world.site(name), change(10 * round_ + seed))
            sent.append(said(world, seen[name], name))
        world.carry()
        aggregate.aggregate(world.coordinator, small.now())
        world.carry()
        after = model(world)
        for name in SHAPES:
            mean = sum(0.5 * each[name].astype(np.float64) for each in sent)
            assert np.array_equal(after[name], (before[name] + mean).astype(np.float32)), name
        said_of = {name: int((array != 0).sum()) for name, array in sent[0].items()}
        assert form != "topk" or said_of == {"a.weight": 11, "b.bias": 5, "c.weight": 7, "norm.mean": 70}
    (proposal,) = approve._proposals(site_desk.peek(world.site("aa")).workspace)
    sent_bytes = (
        archived.read_archived(site_desk.peek(world.site("aa")).workspace, seen["aa"].id).predicate.payload[0].bytes
    )
    assert proposal.update_bytes == sent_bytes or (update.get("compress") and proposal.update_bytes > sent_bytes)
    sealed = world.site("aa") / "outbox" / f"update-r{round_:04d}-aa.fedmed"
    assert inspection.inspect(sealed).encoding == form
    _, header = outgoing._texts(sealed, world.site("aa") / "keys" / "age.key").read
    assert {name.partition(":")[0] for name in json.loads(header)} == set(SHAPES), "what is searched before it leaves"
    assert list((world.coordinator / "state" / "spool").iterdir()) == []


def test_what_the_recipe_asks_and_what_was_used(tmp_path: Path) -> None:
    """No tensor is large enough for the encoding that the recipe names."""
    world = small.founded(tmp_path, recipe={"update": {"encoding": "int8"}}, patients=small.PATIENTS[:1])
    small.seal_update(world.site("aa"))
    sealed = str(world.site("aa") / "outbox" / "update-r0000-aa.fedmed")
    federation = str(world.site("aa") / "inbox" / "federation-v0001.fedmed")
    why = "numbers written as fp32 (tensors of fewer than 64 numbers are in every encoding)"
    assert f"\n{why}\n" in CliRunner().invoke(app, ["inspect", sealed]).output
    assert f"\n{why}\n" in CliRunner().invoke(app, ["verify", sealed]).output
    held = CliRunner().invoke(app, ["verify", sealed, "--federation", federation]).output
    assert f"\nencoding int8 by the recipe, {why}\n" in held


def test_what_is_left_out_is_remembered_and_sent_later(tmp_path: Path) -> None:
    world = founded(tmp_path / "world", UPDATES[3])
    first = change(1)
    one = said(world, small.seal_update(world.site("aa"), first), "aa")
    small.seal_update(world.site("bb"), change(2))
    world.carry()
    aggregate.aggregate(world.coordinator, small.now())
    world.carry()
    nothing = {name: np.zeros(shape, np.float32) for name, shape in SHAPES.items()}
    two = said(world, small.seal_update(world.site("aa"), nothing), "aa")
    rest = {name: first[name] - one[name] for name in SHAPES}
    site = site_desk.peek(world.site("aa"))
    kept = memory.load(site, site_desk.require_approved(site), 1)[memory.RESIDUAL]
    for name in ("a.weight", "c.weight"):
        assert np.array_equal(kept[name], rest[name])
        largest = np.sort(np.abs(rest[name]).ravel())[-int((two[name] != 0).sum())]
        assert (np.abs(rest[name][two[name] != 0]) >= largest).all()
        assert np.array_equal(two[name], np.where(two[name] != 0, rest[name].astype(np.float16).astype(np.float32), 0))
    assert not two["norm.mean"].any()


@pytest.fixture(scope="module")
def int8(tmp_path_factory: pytest.TempPathFactory) -> small.Federation:
    """Both updates are in; the round can close."""
    world = founded(tmp_path_factory.mktemp("int8") / "world", UPDATES[2])
    for seed, name in enumerate(world.sites):
        small.seal_update(world.site(name), change(seed))
    world.carry()
    return world


def test_without_room_nothing_is_written(
    int8: small.Federation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = int8.copy(tmp_path / "copy")
    monkeypatch.setattr(decoded.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 4000}))
    monkeypatch.setattr(decoded, "_decode", lambda *_: pytest.fail("written in spite of it"))
    assert code_of(lambda: aggregate.aggregate(world.coordinator, small.now())) == "FM-RES-01"


def test_a_rotten_update_is_found_before_it_counts(int8: small.Federation, tmp_path: Path) -> None:
    world = int8.copy(tmp_path / "copy")
    with desk.opened(world.coordinator, small.now()) as found:
        intake.receive_all(found, desk.terms(desk.started(found)), small.now(), "aggregate")
        update = found.record.newest("update", sender="aa")
    assert update is not None
    path = found.archived(update.id)
    data = bytearray(path.read_bytes())
    data[-2000] ^= 1  # one of the numbers, and still a number
    path.chmod(0o600)
    path.write_bytes(data)
    assert code_of(lambda: aggregate.aggregate(world.coordinator, small.now())) == "FM-TRU-11"
    assert list((world.coordinator / "state" / "spool").iterdir()) == []


def test_an_update_is_decoded_once_a_command(
    int8: small.Federation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world, opened = int8.copy(tmp_path / "copy"), []
    decode = decoded._decode

    def counted(*arguments: Any) -> None:
        opened.append(arguments[2])
        decode(*arguments)

    monkeypatch.setattr(decoded, "_decode", counted)
    aggregate.aggregate(world.coordinator, small.now())
    assert len(opened) == len(set(opened)) == 2


def test_what_a_killed_command_decoded_is_gone_with_the_next(int8: small.Federation, tmp_path: Path) -> None:
    world = int8.copy(tmp_path / "copy")
    spool = world.coordinator / "state" / "spool"
    with desk.opened(world.coordinator, small.now()) as found:
        intake.receive_all(found, desk.terms(desk.started(found)), small.now(), "aggregate")
        update = found.record.newest("update", sender="aa")
    files.write_stream(spool / f"{update.id}.flat", [bytes(4 * 415)])  # zeros: as if the site had learned nothing
    other = int8.copy(tmp_path / "other")
    for each in (world, other):
        aggregate.aggregate(each.coordinator, small.now())
    assert np.array_equal(model(world)["a.weight"], model(other)["a.weight"])


def test_in_a_lap_the_next_site_goes_on_from_what_was_said(tmp_path: Path) -> None:
    world = founded(tmp_path / "world", {"compress": "zstd"}, strategy={"name": "cyclic"})
    before = model(world)
    first, second = desk.peek(world.coordinator).record.newest("model").order
    sent = said(world, small.seal_update(world.site(first), change(1)), first)
    world.carry()
    assert code_of(lambda: aggregate.aggregate(world.coordinator, small.now())) == "FM-WAI-03"
    world.carry()
    with site_desk.opened(world.site(second), small.now()) as site:
        consent, _ = site_desk.receive(site, site_desk.require_approved(site), small.now(), "train-local")
        turn = laps.turn(site, site_desk.newest_model(site, []))
        begun = begin(site, consent, before, turn)
    for name in SHAPES:
        assert np.array_equal(begun[name], before[name] + sent[name])


@pytest.mark.slow
def test_train_local_goes_on_from_what_it_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = {
        **tables.TABULAR,
        "network": {"name": "MLP", "hidden": [32]},
        "update": {"encoding": "topk", "fraction": 0.1},
    }
    world = tables.founded(tmp_path / "world", recipe=recipe)
    encode, given = payloads.encode, []

    def seen(*arguments: Any) -> payloads.Encoded:
        given.append((arguments, encode(*arguments)))
        return given[-1][1]

    monkeypatch.setattr(payloads, "encode", seen)
    for _ in range(2):
        for name in world.sites:
            train.train(world.site(name), small.now(), train.Options(), lambda *_: None)
        world.carry()
        aggregate.aggregate(world.coordinator, small.now())
        world.carry()
    (first, said_first), _, (second, _), _ = given
    assert first[2] is None
    assert second[2].keys() == said_first.residual.keys() == {"0.weight"}
    for name, array in said_first.residual.items():
        assert np.array_equal(second[2][name], array)
        assert np.abs(array).max() > 0
