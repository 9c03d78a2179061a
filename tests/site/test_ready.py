"""Before the hours of work: the images are those of `partition`. Behind them: numbers that everybody would refuse."""

from __future__ import annotations

import dataclasses
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from fedmed.errors import FedmedError
from fedmed.site import alone, evaluate, partition, rounds, train
from fedmed.training import fit
from tests import small

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def run_train(site: Path, device: str = "cpu", progress: Any = lambda *_: None) -> None:
    train.train(site, small.now(), train.Options(device), progress)


def run_alone(site: Path, device: str = "cpu", progress: Any = lambda *_: None) -> None:
    alone.train_alone(site, small.now(), device, progress)


def run_evaluate(site: Path, device: str = "cpu", progress: Any = lambda *_: None) -> None:
    evaluate.evaluate(site, small.now(), "validation", device, progress)


COMMANDS = pytest.mark.parametrize("command", [run_train, run_alone, run_evaluate])


def refused(command: Callable[..., None], site: Path, device: str = "cpu") -> FedmedError:
    with pytest.raises(FedmedError) as caught:
        command(site, device)
    assert not list((site / "outbox").glob("[ur]*.fedmed"))
    return caught.value


def rewrite(data: Path) -> None:
    """Every image gets other bytes under its name; it can still be read."""
    other = small.write_hospital(data.parent / "other", seed=5)
    shutil.copytree(other, data, dirs_exist_ok=True)


@COMMANDS
def test_an_image_that_was_rewritten_stops_until_partition(
    command: Callable[..., None], moved: tuple[Path, Path]
) -> None:
    site, data = moved
    rewrite(data)
    error = refused(command, site)
    assert (error.code, error.next) == ("FM-DAT-46", "fedmed partition")
    assert str(data) not in error.message
    partition.partition(site, small.now())
    command(site)


@COMMANDS
def test_a_data_folder_that_is_gone(command: Callable[..., None], moved: tuple[Path, Path]) -> None:
    site, data = moved
    data.rename(data.parent / "elsewhere")
    assert refused(command, site).code == "FM-DAT-04"


@COMMANDS
def test_another_folder_with_the_same_names(command: Callable[..., None], moved: tuple[Path, Path]) -> None:
    site, data = moved
    other = small.write_hospital(data.parent / "other", seed=5)
    settings = site / "fedmed.yaml"
    settings.write_text(settings.read_text().replace(str(data), str(other)))
    assert refused(command, site).code == "FM-DAT-46"


@COMMANDS
def test_a_device_that_does_not_exist_is_refused_first(command: Callable[..., None], world: small.Federation) -> None:
    assert refused(command, world.site("aa"), "cuda:x").code == "FM-USE-01"


@pytest.mark.parametrize(("command", "cases"), [(run_train, 4), (run_alone, 3), (run_evaluate, 1)])
def test_the_images_are_read_once_and_only_those_that_are_used(
    command: Callable[..., None], cases: int, world: small.Federation
) -> None:
    told: list[tuple[int, int]] = []

    def progress(what: str, done: int, total: int) -> None:
        if what == "checking the data":
            told.append((done, total))

    command(world.site("aa"), "cpu", progress)
    assert told == [(done, cases) for done in range(1, cases + 1)]
    command(world.site("aa"), "cpu", progress)
    assert len(told) == cases, "what is done needs no image"


@pytest.mark.parametrize("command", [run_train, run_alone])
@pytest.mark.parametrize("what", ["loss", "weight"])
def test_numbers_that_everybody_would_refuse(
    command: Callable[..., None], what: str, world: small.Federation, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = fit.fit

    def absurd(*given: Any, **options: Any) -> fit.Fitted:
        fitted = real(*given, **options)
        if what == "loss":
            return dataclasses.replace(fitted, train_loss=1e12)
        name, array = next(iter(fitted.params.items()))
        return dataclasses.replace(fitted, params={**fitted.params, name: np.full_like(array, 2e30)})

    monkeypatch.setattr(fit, "fit", absurd)
    assert refused(command, world.site("aa")).code == "FM-TRN-01"


def test_a_difference_too_large_to_send() -> None:
    large = {"a": np.full(3, 1e30, np.float32)}
    assert rounds.require_sane(large, "the weights") is large
    with pytest.raises(FedmedError) as caught:
        rounds.require_sane({"a": large["a"] * 2}, "the update")
    assert caught.value.code == "FM-TRN-01"
