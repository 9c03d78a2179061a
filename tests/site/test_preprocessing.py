"""state/preprocessing.json: private, whole or refused, and part of what a result is bound to."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import nibabel
import numpy as np
import pytest

from fedmed.cases import datalist
from fedmed.exchange import bodies
from fedmed.preprocessing import Intensity, Preprocessing
from fedmed.site import alone, desk, evaluate, partition, preprocessing, train
from tests import small
from tests.coded import code_of

if TYPE_CHECKING:
    from pathlib import Path

FITTED = Preprocessing(channels={"MR": Intensity(mean=100, sd=20)})


def quiet(_what: str, _done: int, _total: int) -> None:
    """Nobody watches."""


@pytest.fixture
def site(world: small.Federation) -> Path:
    return world.site("aa")


def keep(site: Path, fitted: Preprocessing) -> Path:
    opened = desk.peek(site)
    preprocessing.keep(opened, fitted)
    return preprocessing.file_of(opened)


def test_it_is_kept_private_and_whole(site: Path) -> None:
    assert preprocessing.current(desk.peek(site)) is None
    path = keep(site, FITTED)
    assert preprocessing.current(desk.peek(site)) == FITTED
    assert path.stat().st_mode & 0o777 == 0o600
    path.write_bytes(path.read_bytes()[:-1])
    assert code_of(lambda: preprocessing.current(desk.peek(site))) == "FM-NRM-01"
    path.unlink()
    path.mkdir()
    assert code_of(lambda: preprocessing.current(desk.peek(site))) == "FM-NRM-01"


def test_an_update_says_what_it_was_made_with(world: small.Federation, site: Path) -> None:
    def said(name: str) -> str | None:
        made = train.train(world.site(name), small.now(), train.Options("cpu"), quiet)
        assert isinstance(made.body, bodies.Update)
        return made.body.preprocessing

    keep(site, FITTED)
    assert said("aa") == FITTED.digest()
    assert said("bb") is None


def test_other_numbers_make_another_local_only_model_and_another_report(site: Path) -> None:
    def made() -> tuple[bool, bool]:
        scored = evaluate.evaluate(site, small.now(), "validation", "cpu", quiet).is_new
        return alone.train_alone(site, small.now(), "cpu", quiet).is_new, scored

    assert evaluate.evaluate(site, small.now(), "validation", "cpu", quiet).is_new
    keep(site, FITTED)
    assert made() == (True, True)
    assert made()[0] is False
    keep(site, Preprocessing(channels={"MR": Intensity(mean=90, sd=20)}))
    assert made() == (True, True)


# normalisation: site


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> small.Federation:
    """A federation whose recipe has every site fit its own numbers."""
    recipe = {"data": {**small.RECIPE["data"], "normalisation": "site"}}
    world = small.founded(tmp_path_factory.mktemp("own"), initial=small.unet_initial, recipe=recipe)
    for name in world.sites:
        partition.partition(world.site(name), small.now())
    return world


def grey(site: Path) -> Intensity:
    found = preprocessing.current(desk.peek(site))
    assert found is not None
    assert found.channels is not None
    return found.channels["MR"]


def test_a_site_fits_its_own_numbers_on_its_training_cases_once(own: small.Federation, tmp_path: Path) -> None:
    site = own.copy(tmp_path / "own").site("aa")
    body = train.train(site, small.now(), train.Options("cpu"), quiet).body
    assert isinstance(body, bodies.Update)
    found = preprocessing.current(desk.peek(site))
    assert found is not None
    assert body.preprocessing == found.digest()
    images = [
        np.asarray(nibabel.load(own.root / "data-aa" / each.image["MR"]).dataobj)
        for each in datalist.load(site / "cases.json").training
    ]
    mean = np.mean([image.mean(dtype=np.float64) for image in images])
    square = np.mean([(image.astype(np.float64) ** 2).mean() for image in images])
    assert grey(site).mean == pytest.approx(mean, rel=1e-4)
    assert grey(site).sd == pytest.approx(np.sqrt(square - mean**2), rel=1e-4)
    assert grey(site).high == pytest.approx(np.mean([np.percentile(image, 99.5) for image in images]), rel=1e-4)

    keep(site, FITTED)  # as if other cases had come since
    alone.train_alone(site, small.now(), "cpu", quiet)
    assert preprocessing.current(desk.peek(site)) == FITTED


def test_no_numbers_are_fitted_on_images_that_changed(own: small.Federation, tmp_path: Path) -> None:
    site = own.copy(tmp_path / "own").site("aa")
    data = shutil.copytree(own.root / "data-aa", tmp_path / "data")
    settings = site / "fedmed.yaml"
    lines = [f"  root: {data}" if "root:" in line else line for line in settings.read_text().splitlines()]
    settings.write_text("\n".join(lines))
    image = data / str(datalist.load(site / "cases.json").training[0].image["MR"])
    image.write_bytes(image.read_bytes() + b"\0")
    assert code_of(lambda: train.train(site, small.now(), train.Options("cpu"), quiet)) == "FM-DAT-46"
    assert preprocessing.current(desk.peek(site)) is None


def test_sites_that_evaluate_first_fit_as_well(own: small.Federation, tmp_path: Path) -> None:
    world = own.copy(tmp_path / "own")
    for name in world.sites:
        evaluate.evaluate(world.site(name), small.now(), "validation", "cpu", quiet)
    assert grey(world.site("aa")) != grey(world.site("bb"))
