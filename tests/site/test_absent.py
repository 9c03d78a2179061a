"""`absent` in fedmed.yaml: checked against the recipe, bound into what leaves, and without effect where it is empty."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import yaml

from fedmed import recipe as recipes
from fedmed.errors import FedmedError
from fedmed.exchange import artifact, canonical
from fedmed.site import check, desk, evaluate, partition, rounds, train
from tests import boxed, radiographs, small

if TYPE_CHECKING:
    from pathlib import Path

DATA = {**small.RECIPE["data"], "labels": {1: "ball", 2: "core"}}


def settings(site: Path, **changed: Any) -> None:
    path = site / "fedmed.yaml"
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **changed}))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> small.Federation:
    return small.founded(tmp_path_factory.mktemp("absent"), ("aa",), recipe={"data": DATA}, limits={"min_sites": 1})


def code_of(site: Path) -> str:
    try:
        partition.partition(site, small.now())
    except FedmedError as error:
        return error.code
    return "ok"


def test_checked_before_a_case_is_read(world: small.Federation) -> None:
    site = world.site("aa")
    settings(site, absent=["cor"])
    with pytest.raises(FedmedError) as refused:
        partition.partition(site, small.now())
    assert refused.value.code == "FM-DAT-72"
    assert refused.value.message.endswith("did you mean core?")
    for absent, label_map, code in (
        (["core"], {}, "ok"),
        (["ball", "core"], {}, "FM-DAT-72"),
        (["core"], {1: 2}, "FM-DAT-72"),
        (["ball"], {}, "FM-DAT-08"),  # every mask holds it
        (["ball"], {1: 2}, "ok"),
        ([], {1: 3}, "FM-DAT-07"),
    ):
        settings(site, absent=absent, label_map=label_map)
        assert code_of(site) == code, (absent, label_map)


def test_only_images_have_absent_classes(world: small.Federation) -> None:
    settings(world.site("aa"), absent=["core"], label_map={})
    with desk.opened(world.site("aa"), small.now()) as site:
        rows = recipes.Tabular.model_construct(task="tabular")
        with pytest.raises(FedmedError) as refused:
            desk.labelling(site, rows)
        marks = boxed.recipe(data={"labels": {1: "mark", 2: "core"}})
        assert desk.labelling(site, marks).absent == frozenset({2})
    assert refused.value.code == "FM-DAT-72"


def test_the_digest_in_an_update(world: small.Federation) -> None:
    def digest(**changed: Any) -> str:
        settings(world.site("aa"), **changed)
        with desk.opened(world.site("aa"), small.now()) as site:
            return rounds.label_map_digest(site)

    assert digest(absent=[], label_map={}) == artifact.sha256(canonical.encode([])), "as before there was absent"
    assert digest(absent=[], label_map={5: 1}) == artifact.sha256(canonical.encode([[5, 1]]))
    assert digest(absent=["core"], label_map={}) == artifact.sha256(canonical.encode([[], ["core"]]))
    assert len({digest(absent=each, label_map={5: 1}) for each in ([], ["ball"], ["core"])}) == 3


def test_nobody_is_told_of_a_class_that_was_declared(tmp_path: Path) -> None:
    """A classification with a finding that this hospital never reports: a note of the check, until it says so."""
    data = {"labels": {1: "fracture", 2: "implant"}, "max_excluded": 1}
    world = radiographs.founded(tmp_path, ("aa",), data=data, limits={"min_sites": 1})
    site = world.site("aa")

    def noted() -> set[str]:
        done = check.check(
            None, site, None, None, small.now(), options=check.Options(), progress=lambda _what, _done, _total: None
        )
        return {count.code for count in done.report.counts}

    assert "FM-CHK-03" in noted()
    settings(site, absent=["implant"])
    partition.partition(site, small.now())
    assert "FM-CHK-03" not in noted()


@pytest.mark.slow
def test_a_round_and_a_report_of_a_hospital_that_labels_one_class_of_two(tmp_path: Path) -> None:
    """Its update says so by a digest; its report has figures of the class that it knows, and of no other."""
    told, losses = {}, set()
    for name, absent in (("declared", ["core"]), ("silent", [])):
        world = small.founded(
            tmp_path / name, ("aa",), initial=small.unet_initial, recipe={"data": DATA}, limits={"min_sites": 1}
        )
        site = world.site("aa")
        settings(site, absent=absent)
        partition.partition(site, small.now())
        trained = train.train(site, small.now(), train.Options("cpu"), quiet)
        done = evaluate.evaluate(site, small.now(), "validation", "cpu", quiet)
        losses.add(trained.body.told.train_loss)
        told[name] = trained.body.label_map, {score.label for score in done.body.told.scores}
    assert told["declared"] == (artifact.sha256(canonical.encode([[], ["core"]])), {"all", "ball"})
    assert told["silent"] == (artifact.sha256(canonical.encode([])), {"all", "ball", "core"})
    assert len(losses) == 2, "the same weights, cases and draws: the loss is another one"


def quiet(_what: str, _done: int, _total: int) -> None:
    """Nobody watches."""
