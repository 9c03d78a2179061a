"""Hospitals whose cases are rows of a table: from init to the pooled report, for classes and for survival."""

from __future__ import annotations

import csv
import dataclasses
import json
from typing import TYPE_CHECKING

import pytest

from fedmed import pooling
from fedmed import preprocessing as preprocessings
from fedmed.cases import datalist
from fedmed.cases import fingerprint as measuring
from fedmed.coordinator import aggregate
from fedmed.coordinator import evaluate as pool
from fedmed.errors import FedmedError
from fedmed.exchange import archived
from fedmed.settings import load_workspace
from fedmed.site import alone, check, desk, evaluate, join, partition, preprocessing, train, virtual
from fedmed.site import fingerprint as site_fingerprint
from tests import small, tables

if TYPE_CHECKING:
    from pathlib import Path

    from fedmed.cases.case import Case

COLUMNS = ("pressure", "pain", "grade", "died", "ward.csv")


def quiet(_what: str, _done: int, _total: int) -> None:
    """Nobody watches."""


@pytest.fixture(scope="module")
def wards(tmp_path_factory: pytest.TempPathFactory) -> small.Federation:
    return tables.founded(tmp_path_factory.mktemp("wards"))


@pytest.fixture
def world(wards: small.Federation, tmp_path: Path) -> small.Federation:
    return wards.copy(tmp_path / "world")


def play(world: small.Federation) -> None:
    for _ in range(2):
        for name in world.sites:
            train.train(world.site(name), small.now(), train.Options("cpu"), quiet)
        world.carry()
        aggregate.aggregate(world.coordinator, small.now())
        world.carry()


@pytest.mark.parametrize(
    ("recipe", "metrics", "header"),
    [
        (tables.TABULAR, ["accuracy", "auroc"], ["model", "case", "truth", "none", "ill"]),
        (tables.SURVIVAL, ["c_index"], ["model", "case", "time", "event", "risk"]),
    ],
    ids=["tabular", "survival"],
)
def test_a_whole_federation(tmp_path: Path, recipe: dict, metrics: list[str], header: list[str]) -> None:
    world = tables.founded(tmp_path, recipe=recipe)
    alone.train_alone(world.site("aa"), small.now(), "cpu", quiet)
    play(world)
    for name in world.sites:
        made = evaluate.evaluate(world.site(name), small.now(), "testing", "cpu", quiet)
        scores = {(row.model, row.metric): row for row in made.body.told.scores}
        models = ["global", "alone"] if name == "aa" else ["global"]
        assert sorted(scores) == sorted((model, metric) for model in models for metric in metrics)
        assert all(row.n == 6 and row.mean is not None and 0 <= float(row.mean) <= 1 for row in scores.values())
        rows = list(csv.reader(made.case_table.read_text().splitlines()))
        assert rows[0] == header
        assert len(rows) == 1 + 6 * len(models)
    world.carry()
    pooled = pool.evaluate(world.coordinator, small.now(), "testing").pooled["global"]
    told = [row for row in pooled if row.metric != "auroc_binned"]
    assert [(row.metric, row.n, row.sd) for row in told] == [(metric, 12, None) for metric in metrics]


def test_what_leaves_names_no_patient_no_column_and_no_cell(world: small.Federation) -> None:
    made = train.train(world.site("aa"), small.now(), train.Options("cpu"), quiet)
    assert made.posted
    sent = made.posted.read_bytes()
    cases = json.loads((world.site("aa") / "cases.json").read_text())
    aliases = [entry[key] for entry in cases["training"] for key in ("case", "patient", "content")]
    site = desk.peek(world.site("aa"))
    known = site.workspace.record.newest("update", sender="aa")
    assert known
    body = archived.read_archived(site.workspace, known.id).predicate.body.model_dump_json()
    assert b"train_loss" in sent
    for word in (*COLUMNS, *aliases, *tables.PATIENTS):
        assert word not in body
        assert len(word) < 6 or word.encode() not in sent  # four letters stand in a tensor or a signature by chance


def test_numbers_are_fitted_on_training_rows_and_named_in_the_update(world: small.Federation) -> None:
    site = world.site("aa")
    path = site / "state" / "preprocessing.json"
    assert not path.exists()
    first = train.train(site, small.now(), train.Options("cpu"), quiet).body
    kept = preprocessings.from_bytes(path.read_bytes(), "x")
    assert path.stat().st_mode & 0o777 == 0o600
    assert kept.columns
    training = json.loads((site / "cases.json").read_text())["training"]
    ages = [entry["row"]["inputs"][0] for entry in training]
    assert len(ages) == 18
    assert kept.columns["age"].mean == pytest.approx(sum(ages) / len(ages))
    assert first
    assert first.preprocessing == kept.digest()


def test_rows_that_come_later_do_not_move_the_numbers(tmp_path: Path) -> None:
    world = tables.founded(tmp_path)
    site, table = world.site("aa"), tmp_path / "data-aa" / "ward.csv"
    train.train(site, small.now(), train.Options("cpu"), quiet)
    before = (site / "state" / "preprocessing.json").read_bytes()
    table.write_text(table.read_text() + "new,99,190,severe,B,2,3,1\n")
    train.train(site, small.now(), train.Options("cpu", again=True), quiet)
    lines = table.read_text().splitlines(keepends=True)
    table.write_text("".join([lines[0], *lines[6:]]))
    with pytest.raises(FedmedError) as caught:
        train.train(site, small.now(), train.Options("cpu", again=True), quiet)
    assert caught.value.code == "FM-DAT-46"
    partition.partition(site, small.now())
    train.train(site, small.now(), train.Options("cpu", again=True), quiet)
    assert (site / "state" / "preprocessing.json").read_bytes() == before


def test_init_recognises_a_table_without_being_told(tmp_path: Path) -> None:
    data = tables.write_hospital(tmp_path / "data")
    joined = join.init(tmp_path / "site", "st-olav", data, small.now())
    assert joined.layout.table
    assert (joined.layout.table.file, joined.layout.table.patient) == ("ward.csv", "patient")
    assert "image" not in (tmp_path / "site" / "fedmed.yaml").read_text().partition("data:")[2].partition("#")[0]
    assert load_workspace(tmp_path / "site").data.layout == joined.layout  # type: ignore[union-attr]


def test_partition_says_how_many_are_ill(world: small.Federation) -> None:
    made = partition.partition(world.site("aa"), small.now())
    assert made.grouped_by == "class"
    assert sum(made.shares[0].counts.values()) == sum(made.shares[0].groups.values()) == 30
    assert set(made.shares[0].groups) == {"0", "ill"}


def test_a_column_beside_the_recipe_makes_virtual_sites(tmp_path: Path) -> None:
    data = tables.write_hospital(tmp_path / "data", [f"p{number}" for number in range(40)])
    recipe = small.write_recipe(tmp_path / "recipe.yaml", **tables.SURVIVAL)
    made = virtual.virtual_sites(data, recipe, tmp_path / "sites", how="column", by="ward")
    assert made.values == {"site-1": "A", "site-2": "B"}
    rows = list(csv.DictReader((data / "ward.csv").read_text().splitlines()))
    assert [sum(share.counts.values()) for share in made.partitioned.shares] == [
        sum(row["ward"] == ward for row in rows) for ward in "AB"
    ]
    assert made.partitioned.grouped_by == "event"
    assert all(set(share.groups) == {"censored", "event"} for share in made.partitioned.shares)


@pytest.mark.parametrize("options", [{"how": "iid", "shift": "noise"}, {"how": "header", "by": "Modality"}])
def test_what_is_for_images_is_refused(tmp_path: Path, options: dict) -> None:
    data = tables.write_hospital(tmp_path / "data")
    recipe = small.write_recipe(tmp_path / "recipe.yaml", **tables.TABULAR)
    with pytest.raises(FedmedError, match="rows of a table have no images") as caught:
        virtual.virtual_sites(data, recipe, tmp_path / "sites", **options)
    assert caught.value.code == "FM-USE-01"
    assert not (tmp_path / "sites").exists()


def test_the_check_tells_rows_and_shows_no_cell(tmp_path: Path) -> None:
    data = tables.write_hospital(tmp_path / "data")
    with (data / "ward.csv").open("a") as table:
        table.write("person-90,seventy,140,none,Secret Ward,1,10,0\nperson-91,70,140,none,Secret Ward,1,-10,0\n")
    recipe = small.write_recipe(tmp_path / "recipe.yaml", **tables.TABULAR)
    options = check.Options()
    checked = check.check(data, tmp_path, recipe, tmp_path / "out", small.now(), options=options, progress=quiet)
    funnel = checked.report.funnel
    assert (funnel.found, funnel.used) == (32, 31)
    told = b"".join(path.read_bytes() for path in (tmp_path / "out").iterdir() if path.name != "pseudonym.key")
    assert b"FM-TAB-06" in told
    assert [word for word in (b"seventy", b"Secret", b"person-90", b"ward.csv") if word in told] == []


FEDERATED = {**tables.SURVIVAL, "data": {**tables.SURVIVAL["data"], "normalisation": "federated"}}


def test_three_sites_normalise_alike_by_files_and_as_all_their_rows_in_one_place(tmp_path: Path) -> None:
    world = tables.founded(tmp_path, ("aa", "bb", "cc"), recipe=FEDERATED)
    told = [train.train(world.site(name), small.now(), train.Options("cpu"), quiet) for name in world.sites]
    assert all(isinstance(each, site_fingerprint.Fingerprinted) and each.is_new for each in told)
    shown = site_fingerprint.told(told[0].body, told[0].inputs)  # type: ignore[arg-type, union-attr]
    assert [name.partition(",")[0] for name, _ in shown] == [
        "training cases", "age", "pressure", "pain: mild", "pain: severe",
    ]  # fmt: skip
    world.carry()
    made = aggregate.aggregate(world.coordinator, small.now())
    assert [name for name, _ in made.numbers] == ["age", "pressure", "pain"]
    assert made.numbers[2][1].removeprefix("a gap becomes ") in ("none", "mild", "severe")
    world.carry()
    for name in world.sites:
        done = train.train(world.site(name), small.now(), train.Options("cpu"), quiet)
        assert done.body
    rows = [case for name in world.sites for case in training(world.site(name))]
    assert len(rows) == 54
    sites = [desk.peek(world.site(name)) for name in world.sites]
    consents = [desk.require_approved(site) for site in sites]
    pooled = {consent.preprocessing.digest() for consent in consents if consent.preprocessing}
    assert len(pooled) == 1
    numbers = consents[0].preprocessing
    assert numbers
    assert numbers.columns
    whole = pooling.fitted(measuring.measure(rows, consents[0].recipe, tmp_path, {}), consents[0].recipe)
    assert whole.columns
    for column in ("age", "pressure"):
        ours, theirs = numbers.columns[column], whole.columns[column]
        assert (ours.mean, ours.sd, ours.fill) == pytest.approx((theirs.mean, theirs.sd, theirs.mean), rel=1e-4)
    assert numbers.columns["pain"] == whole.columns["pain"]
    assert {preprocessings.digest_of(preprocessing.current(site)) for site in sites} == pooled
    assert not any((world.site(name) / "state" / "preprocessing.json").exists() for name in world.sites)
    world.carry()
    assert [parent.site for parent in aggregate.aggregate(world.coordinator, small.now()).parents] == ["aa", "bb", "cc"]


def training(site: Path) -> list[Case]:
    return datalist.cases(datalist.load(site / "cases.json"), "training")


def test_a_fingerprint_of_other_inputs_than_the_recipes_does_not_count(tmp_path: Path) -> None:
    world = tables.founded(tmp_path, recipe=FEDERATED)
    measure = site_fingerprint.numbers.floored

    def one_less(found, min_count):
        told = measure(found, min_count)
        return dataclasses.replace(told, inputs=told.inputs[1:])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(site_fingerprint.numbers, "floored", one_less)
        train.train(world.site("aa"), small.now(), train.Options("cpu"), quiet)
    train.train(world.site("bb"), small.now(), train.Options("cpu"), quiet)
    world.carry()
    with pytest.raises(FedmedError, match="other inputs than the recipe's"):
        aggregate.aggregate(world.coordinator, small.now())
