"""`ledger audit`: a round's model out of its files alone, by somebody who has nothing but an archive."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from typer.testing import CliRunner

from fedmed.auditor import rounds
from fedmed.cli.app import app
from fedmed.coordinator import aggregate
from fedmed.errors import FedmedError
from fedmed.exchange import keys
from tests import small
from tests.coded import code_of
from tests.vectors import samples

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SITES = ("aa", "bb", "cc")
LIMITS = {"rounds": 3, "min_cosine": -1, "max_norm_ratio": 1000, "max_share": 0.6}


def quiet(_what: str, done: int, total: int) -> None:
    assert 0 < done <= total


def played(root: Path, rounds_: int = 1, **recipe: Any) -> small.Federation:
    """Rounds of three sites that differ in their updates and their cases."""
    world = small.founded(root, SITES, recipe=recipe, limits=LIMITS)
    for round_ in range(rounds_):
        for number, name in enumerate(SITES):
            drawn = np.random.RandomState(10 * round_ + number)
            change = {"a.weight": drawn.normal(0, 0.1, (3, 4)), "b.bias": drawn.normal(0, 0.1, 5)}
            change = {key: array.astype(np.float32) for key, array in change.items()}
            small.seal_update(world.site(name), change, num_cases=3 + number)
        world.carry()
        aggregate.aggregate(world.coordinator, small.now())
        world.carry()
    return world


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> small.Federation:
    return played(tmp_path_factory.mktemp("audited") / "world", 2, strategy={"name": "fedadam", "server_lr": 0.1})


@pytest.fixture
def archive(world: small.Federation, tmp_path: Path) -> Path:
    """What a third party was given: the files, and nothing else."""
    return shutil.copytree(world.coordinator / "archive", tmp_path / "given")


def test_every_round_of_an_archive_gives_its_model(archive: Path) -> None:
    """Also the moments that FedAdam remembers between them."""
    for round_ in (0, 1):
        found = rounds.audit(archive, round_, quiet)
        assert (found.round, found.sites, found.remembered) == (round_, list(SITES), 2)


def test_it_is_said_with_the_fingerprint_to_compare(world: small.Federation) -> None:
    done = CliRunner().invoke(app, ["ledger", "audit", "--round", "1", "-w", str(world.coordinator), "--json"])
    said = json.loads(done.stdout)
    assert done.exit_code == 0
    first = next((world.coordinator / "outbox").glob("federation-*")).read_bytes()
    spoken = keys.spoken(samples.sha256(samples.members(first)[0][1]))
    assert (said["round"], said["federation"]) == (1, spoken)
    shown = CliRunner().invoke(app, ["ledger", "audit", "--round", "1", "-w", str(world.coordinator)])
    assert "round 1: its files give the model r0002, bit for bit" in shown.output
    assert spoken in shown.output


@pytest.mark.parametrize(
    "recipe",
    [
        {},
        {"strategy": {"name": "median", "weight": "equal"}},
        {"strategy": {"name": "fednova"}, "training": {"optimizer": {"name": "SGD", "client_lr": 0.1}}},
        {"update": {"encoding": "int8", "compress": "zstd"}},
    ],
    ids=["mean", "median", "fednova", "int8"],
)
def test_of_any_rule_and_encoding(tmp_path: Path, recipe: dict[str, Any]) -> None:
    if "training" in recipe:
        recipe = {**recipe, "training": {**small.RECIPE["training"], **recipe["training"]}}
    world = played(tmp_path / "world", **recipe)
    assert rounds.audit(world.coordinator, 0, quiet).sites == list(SITES)


def of_kind(archive: Path, kind: str, round_: int | None = None) -> list[Path]:
    found = []
    for path in sorted(archive.glob("*.fedmed")):
        predicate = samples.statement_in(path.read_bytes())["predicate"]
        if predicate["kind"] == kind and predicate.get("round") == round_:
            found.append(path)
    return found


def replaced(archive: Path, path: Path, change: Callable[[bytes], bytes], world: small.Federation) -> None:
    """The file with another payload, signed again by the coordinator, under its new id."""
    key = keys.load(world.coordinator / "keys" / "signing.key")
    data = samples.resigned(path.read_bytes(), key, payload=change(samples.members(path.read_bytes())[2][1]))
    path.unlink()
    (archive / f"{samples.sha256(samples.members(data)[0][1])}.fedmed").write_bytes(data)


def one_bit(data: bytes) -> bytes:
    """The lowest bit of the last number."""
    return data[:-4] + bytes([data[-4] ^ 1]) + data[-3:]


def test_a_model_that_is_off_by_one_bit_is_found(archive: Path, world: small.Federation) -> None:
    replaced(archive, of_kind(archive, "model", 2)[0], one_bit, world)
    assert code_of(lambda: rounds.audit(archive, 1, quiet)) == "FM-SHR-14"
    assert code_of(lambda: rounds.audit(archive, 0, quiet)) == "ok"


def test_a_memory_that_is_off_by_one_bit_is_found(archive: Path, world: small.Federation) -> None:
    """The model names it by id, so another state is not even taken for it."""
    replaced(archive, of_kind(archive, "state", 0)[0], one_bit, world)
    assert code_of(lambda: rounds.audit(archive, 0, quiet)) == "FM-TRU-11"


def test_what_is_missing_is_told(archive: Path) -> None:
    of_kind(archive, "update", 1)[1].unlink()
    assert code_of(lambda: rounds.audit(archive, 1, quiet)) == "FM-TRU-11"
    assert code_of(lambda: rounds.audit(archive, 0, quiet)) == "ok"
    assert code_of(lambda: rounds.audit(archive, 2, quiet)) == "FM-SHR-13"
    assert code_of(lambda: rounds.audit(archive / "nowhere", 0, quiet)) == "FM-SET-01"


@pytest.mark.parametrize("kind", ["federation", "join"])
def test_a_file_of_no_round_in_an_update_s_place_is_told(archive: Path, world: small.Federation, kind: str) -> None:
    (path,), (other, *_) = of_kind(archive, "model", 1), of_kind(archive, kind)
    key = keys.load(world.coordinator / "keys" / "signing.key")
    false = samples.resigned(path.read_bytes(), key, lambda p: p["body"]["parents"][0].update(update=other.stem))
    path.unlink()
    (archive / "false.fedmed").write_bytes(false)
    with pytest.raises(FedmedError, match=f"got a {kind}") as caught:
        rounds.audit(archive, 0, quiet)
    assert caught.value.code == "FM-TRU-11"


def test_two_models_of_one_round_are_told(archive: Path, world: small.Federation) -> None:
    twin = archive / "twin.fedmed"
    shutil.copy(of_kind(archive, "model", 2)[0], twin)
    replaced(archive, twin, one_bit, world)
    assert code_of(lambda: rounds.audit(archive, 1, quiet)) == "FM-SHR-13"


def test_a_damaged_file_is_not_counted(archive: Path) -> None:
    path = of_kind(archive, "update", 1)[0]
    path.write_bytes(path.read_bytes()[:-2000] + b"x" + path.read_bytes()[-1999:])
    assert code_of(lambda: rounds.audit(archive, 1, quiet)) in ("FM-TRU-10", "FM-FRM-01")


@pytest.mark.parametrize("strategy", [{"name": "krum", "f": 1}, {"name": "geometric_median"}, {"name": "cyclic"}])
def test_what_rounding_or_a_lap_decides_is_not_said_to_be_the_same(tmp_path: Path, strategy: dict[str, Any]) -> None:
    sites = ("aa", "bb", "cc", "dd", "ee")
    world = small.founded(tmp_path / "w", sites, recipe={"strategy": strategy}, limits={"min_sites": 1})
    for turn in range(len(sites) if strategy["name"] == "cyclic" else 1):
        for site in world.sites:
            if strategy["name"] != "cyclic" or turn == order_of(world).index(site):
                small.seal_update(world.site(site))
        world.carry()
        if turn < len(sites) - 1 and strategy["name"] == "cyclic":
            with pytest.raises(FedmedError):
                aggregate.aggregate(world.coordinator, small.now())
            world.carry()
    aggregate.aggregate(world.coordinator, small.now())
    assert code_of(lambda: rounds.audit(world.coordinator, 0, quiet)) == "FM-SHR-15"


def order_of(world: small.Federation) -> list[str]:
    path = of_kind(world.coordinator / "archive", "model", 0)[0]
    return list(samples.statement_in(path.read_bytes())["predicate"]["body"]["order"])
