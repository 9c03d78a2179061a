"""Three hospitals, one exchange more, by files: what is pooled is what all their cases in one place would give."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import nibabel
import numpy as np
import pytest

from fedmed import fingerprint as numbers
from fedmed import pooling
from fedmed.cases import datalist
from fedmed.cases import fingerprint as measuring
from fedmed.coordinator import aggregate
from fedmed.exchange import bodies, bodies_fingerprint
from fedmed.rehearsal import models
from fedmed.site import alone, approve, desk, evaluate, fingerprint, partition, preprocessing, run, status, train
from tests import radiographs, small, tables
from tests.coded import code_of

if TYPE_CHECKING:
    from pathlib import Path

    from fedmed.preprocessing import Preprocessing

SITES = ("aa", "bb", "cc")
FEDERATED = {"normalisation": "federated"}


def quiet(_what: str, _done: int, _total: int) -> None:
    """Nobody watches."""


def uneven(folder: Path, patients: Any, seed: int) -> Path:
    """Each hospital has its own grey values and its own slice thickness."""
    small.write_hospital(folder, patients, seed)
    for path in sorted((folder / "images").iterdir()):
        image = nibabel.load(path)
        changed = nibabel.Nifti1Image((np.asarray(image.dataobj) * (seed + 1)).astype(np.float32), image.affine)
        changed.header.set_xyzt_units("mm")
        nibabel.save(changed, path)
    return folder


@pytest.fixture(scope="module")
def waiting(tmp_path_factory: pytest.TempPathFactory) -> small.Federation:
    """Three sites have partitioned, and the federation waits for their fingerprints."""
    data = {**small.RECIPE["data"], **FEDERATED, "spacing": "federated"}
    root = tmp_path_factory.mktemp("waiting")
    world = small.founded(root, SITES, initial=small.unet_initial, recipe={"data": data}, hospital=uneven)
    for name in SITES:
        partition.partition(world.site(name), small.now())
    return world


@pytest.fixture(scope="module")
def told(waiting: small.Federation, tmp_path_factory: pytest.TempPathFactory) -> small.Federation:
    """Behind the exchange: every site has the numbers and model r0 in its inbox."""
    world = waiting.copy(tmp_path_factory.mktemp("told") / "world")
    exchange(world)
    return world


def exchange(world: small.Federation) -> None:
    for name in world.sites:
        made = train.train(world.site(name), small.now(), train.Options("cpu"), quiet)
        assert isinstance(made, fingerprint.Fingerprinted)
    world.carry()
    aggregate.aggregate(world.coordinator, small.now())
    world.carry()


def fitted_at(site: Path) -> Preprocessing:
    found = preprocessing.current(desk.peek(site))
    assert found is not None
    return found


def everything(world: small.Federation) -> Preprocessing:
    """Fitted on the training cases of all sites in one place, from the images themselves."""
    sites = [desk.peek(world.site(name)) for name in world.sites]
    lists = [datalist.cases(datalist.load(site.cases_file), "training") for site in sites]
    root, cases = models._together(sites, lists)
    consent = desk.require_approved(sites[0])
    return pooling.fitted(measuring.measure(cases, consent.recipe, root, {}), consent.recipe)


def test_the_pooled_numbers_are_those_of_the_pooled_data(told: small.Federation, tmp_path: Path) -> None:
    world = told.copy(tmp_path / "world")
    expected = everything(world)
    for name in SITES:
        train.train(world.site(name), small.now(), train.Options("cpu"), quiet)
        found = fitted_at(world.site(name))
        assert found.spacing == expected.spacing == (2, 2, 2)
        assert found.channels
        assert expected.channels
        ours, theirs = vars(found.channels["MR"]), vars(expected.channels["MR"])
        assert ours == pytest.approx(theirs, rel=1e-4)  # five digits of each part


def test_the_rounds_are_trained_with_these_numbers_and_say_so(told: small.Federation, tmp_path: Path) -> None:
    world = told.copy(tmp_path / "world")
    digests = set()
    for name in SITES:
        made = train.train(world.site(name), small.now(), train.Options("cpu"), quiet)
        assert isinstance(made.body, bodies.Update)
        digests.add(made.body.preprocessing)
        assert made.body.preprocessing == fitted_at(world.site(name)).digest()
    assert len(digests) == 1
    world.carry()
    assert aggregate.aggregate(world.coordinator, small.now()).round == 1
    world.carry()
    evaluated = evaluate.evaluate(world.site("aa"), small.now(), "validation", "cpu", quiet)
    assert evaluated.round == 1
    assert alone.train_alone(world.site("aa"), small.now(), "cpu", quiet).is_new


def test_no_image_is_normalised_by_its_own(told: small.Federation, tmp_path: Path) -> None:
    """Of three hospitals whose grey values differ, the brightest stays the brightest."""
    from fedmed.training import patches  # noqa: PLC0415

    world = told.copy(tmp_path / "world")
    means = []
    for name in SITES:
        train.train(world.site(name), small.now(), train.Options("cpu"), quiet)
        site = desk.peek(world.site(name))
        consent = desk.require_approved(site)
        cases = datalist.cases(datalist.load(site.cases_file), "training")
        drawn = patches.Patches(
            consent.recipe, cases, site.data_root, {}, (7, name, 0, 1), preprocessing=preprocessing.current(site)
        )
        means.append(float(np.mean([drawn.prepare(case)["image"].mean() for case in cases])))
    assert means == sorted(means)
    assert means[2] - means[0] > 1


def test_a_site_says_its_fingerprint_once_and_again_when_it_is_asked_to(
    waiting: small.Federation, tmp_path: Path
) -> None:
    site = waiting.copy(tmp_path / "world").site("aa")
    made = [train.train(site, small.now(), train.Options("cpu", again=again), quiet) for again in (False, False, True)]
    assert [isinstance(each, fingerprint.Fingerprinted) and each.is_new for each in made] == [True, False, True]
    assert made[0].body == made[2].body
    assert made[0].posted
    assert made[0].posted.name == "fingerprint-aa.fedmed"


def test_what_leaves_is_told_in_words(waiting: small.Federation, tmp_path: Path) -> None:
    site = waiting.copy(tmp_path / "world").site("aa")
    body = train.train(site, small.now(), train.Options("cpu"), quiet).body
    assert isinstance(body, bodies_fingerprint.DataFingerprint)
    rows = dict(fingerprint.told(body))
    assert rows["training cases"] == "3"
    assert rows["spacing in mm, axis 3"] == "2: 3"
    assert rows["class 1"].startswith("3 cases, ")
    grey = body.channels[0]
    assert rows["MR, 3 cases"] == (
        f"mean {grey.mean}, standard deviation {grey.sd}, 0.5 % {grey.low}, 99.5 % {grey.high}"
    )


def test_few_cases_are_told_as_not_told() -> None:
    few = replace(
        measured(9), spacing=(numbers.Lengths((), 9),) * 3, shape=(numbers.Lengths((numbers.Cell(0, 35, 9),)),) * 3,
        channels={"MR": numbers.Grey(9, 1.0, 1.0, None, None)}, classes={1: numbers.Share(None, None)},
    )  # fmt: skip
    rows = dict(fingerprint.told(fingerprint.to_body(few)))
    assert rows["spacing in mm, axis 1"] == "not told: 9"
    assert rows["size in voxels, axis 1"] == "1 to 2: 9"
    assert rows["class 1"] == "not told"
    assert rows["MR, 9 cases"].endswith("percentiles not told: too few cases")
    unknown = fingerprint.told(fingerprint.to_body(replace(few, spacing=(numbers.Lengths(()),) * 3)))
    assert dict(unknown)["spacing in mm, axis 2"] == "unknown"


def measured(num_cases: int) -> numbers.Fingerprint:
    found = numbers.counted([1.0] * num_cases)
    grey = numbers.Grey(num_cases, 1.0, 1.0, 0.0, 2.0)
    return numbers.Fingerprint(num_cases, {"MR": grey}, (found,) * 3, (found,) * 3, {1: numbers.Share(num_cases, 9.0)})


@pytest.mark.parametrize(("mean", "sd"), [(1e15, 1.0), (1e-12, 1e-12), (-1e16, 1e14)])
def test_grey_values_that_a_statement_cannot_hold_are_refused(mean: float, sd: float) -> None:
    odd = replace(measured(9), channels={"MR": numbers.Grey(9, mean, sd, None, None)})
    assert code_of(lambda: fingerprint.to_body(odd)) == "FM-NRM-03"


def test_run_does_it_without_a_person(waiting: small.Federation, tmp_path: Path) -> None:
    from fedmed.coordinator import run as desk_run  # noqa: PLC0415

    world = waiting.copy(tmp_path / "world")

    def steps(name: str) -> tuple[list[str], str]:
        found = run.run(world.site(name), small.now, "cpu", quiet, lambda _: None)
        return [each.step for each in found.done], found.due.waiting

    awaited = "the coordinator's federation-v0002.fedmed and model-r0000.fedmed"
    assert [steps(name) for name in SITES] == [(["train-local"], awaited)] * 3
    assert steps("aa") == ([], awaited)
    world.carry()
    done = desk_run.run(world.coordinator, small.now, quiet, lambda _: None)
    assert [each.step for each in done.done] == ["aggregate"]
    world.carry()
    assert status.status(world.site("aa"), small.now()).next == "fedmed train-local"
    assert run.plan(world.site("aa"), small.now()).due.step == "train-local"
    assert steps("aa") == (["train-local"], "the coordinator's model-r0001.fedmed")
    assert status.status(world.site("aa"), small.now()).ack == "used"


def test_the_approval_says_what_leaves(waiting: small.Federation) -> None:
    consent = desk.require_approved(desk.peek(waiting.site("aa")))
    assert approve.FINGERPRINT in approve.leaves(consent.recipe)
    assert approve.FINGERPRINT not in approve.leaves(radiographs.recipe())
    rows = approve.leaves(tables.tabular(data={"normalisation": "federated"}))
    assert rows[1] == approve.FINGERPRINT_OF_ROWS
    assert not re.search("image|voxel|grey", " ".join(rows))
    assert "no row, no cell, no label" in rows[-1]
    assert "numbers that columns are normalised by" in rows[2]


# radiographs


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> small.Federation:
    training = {"balance": "loss"}
    return radiographs.founded(tmp_path_factory.mktemp("films"), SITES, data=FEDERATED, training=training)


@pytest.mark.slow
def test_radiographs_are_pooled_with_their_classes(films: small.Federation) -> None:
    exchange(films)
    expected = everything(films)
    for name in SITES:
        made = train.train(films.site(name), small.now(), train.Options("cpu"), quiet)
        assert isinstance(made.body, bodies.Update)
        found = fitted_at(films.site(name))
        assert made.body.preprocessing == found.digest()
        assert found.class_counts == expected.class_counts
        assert sum((found.class_counts or {}).values()) == sum(
            len(datalist.load(films.site(each) / "cases.json").training) for each in SITES
        )
        assert found.channels
        assert expected.channels
        assert vars(found.channels["XR"]) == pytest.approx(vars(expected.channels["XR"]), rel=1e-4)


def test_nothing_is_told_of_a_class_that_a_site_never_labels(tmp_path: Path) -> None:
    data = {**small.RECIPE["data"], **FEDERATED, "labels": {1: "ball", 2: "core"}}
    world = small.founded(tmp_path / "world", recipe={"data": data})
    settings = world.site("aa") / "fedmed.yaml"
    settings.write_text(settings.read_text().replace("absent: []", "absent: [core]"))
    told = {}
    for name in world.sites:
        partition.partition(world.site(name), small.now())
        body = train.train(world.site(name), small.now(), train.Options("cpu"), quiet).body
        assert isinstance(body, bodies_fingerprint.DataFingerprint)
        told[name] = [(share.label, share.cases) for share in body.classes]
    assert told == {"aa": [(1, 3), (2, None)], "bb": [(1, 3), (2, 0)]}
