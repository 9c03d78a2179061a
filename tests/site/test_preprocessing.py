"""state/preprocessing.json: private, whole or refused, and part of what a result is bound to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from fedmed.exchange import bodies
from fedmed.preprocessing import Intensity, Preprocessing
from fedmed.site import alone, desk, evaluate, preprocessing, train
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
