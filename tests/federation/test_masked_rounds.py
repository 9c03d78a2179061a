"""Masked rounds through real files: the mean is the plain one, whoever is missing, and the masks come off once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from pydantic import ValidationError

from fedmed.exchange import bodies
from fedmed.exchange.bodies_privacy import PrivacyBlock
from tests import small
from tests.federation import masked_world
from tests.federation.masked_world import play
from tests.federation.simulator import INITIAL, filled
from tests.vectors import samples

if TYPE_CHECKING:
    from pathlib import Path

    from tests.federation.simulator import Simulation


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Simulation:
    return masked_world.founded(tmp_path_factory.mktemp("masked") / "world")


@pytest.fixture
def world(template: Simulation, tmp_path: Path) -> Simulation:
    return template.copied_to(tmp_path / "world")


def moved_by(world: Simulation) -> set[float]:
    _, weights = world.coordinator.newest_model()
    return {round(float(x), 5) for name in weights for x in (weights[name] - INITIAL[name]).reshape(-1)}


def test_the_mean_is_the_weighted_one_though_a_site_is_missing(world: Simulation) -> None:
    values, cases = {"aa": 1.0, "bb": -0.5, "cc": 0.25, "dd": 2.0}, {"aa": 10, "bb": 20, "cc": 40, "dd": 5}
    made = play(world, values, cases)
    expected = sum(values[name] * cases[name] for name in values) / sum(cases.values())
    assert moved_by(world) == {round(expected, 5)}
    assert [parent.site for parent in made.parents] == sorted(values)
    assert {parent.weight for parent in made.parents} == {parent.share for parent in made.parents} == {None}


def test_a_masked_update_does_not_tell_its_noise(world: Simulation, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a hospital needs for an epsilon is a function of how many patients it has."""
    block = PrivacyBlock(unit="patient", epsilon="3.1", delta="0.00001", noise_multiplier="1.5")
    trained = small.update_body(10)
    facts = trained.told.model_copy(update={"train_loss": None})
    trained = trained.model_copy(update={"facts": facts, "privacy": block, "reservation": small.RESERVATION})
    monkeypatch.setattr(small, "update_body", lambda _: trained)
    data = world.sites["aa"].masked_update(world.now, filled(1.0))
    said = samples.statement_in(data)["predicate"]["body"]
    assert said["privacy"] == {**block.model_dump(), "noise_multiplier": None}
    said["privacy"]["noise_multiplier"] = "1.5"
    with pytest.raises(ValidationError, match="noise"):
        bodies.Update.model_validate(said)
    silent = trained.model_dump() | {"privacy": {**block.model_dump(), "noise_multiplier": None}}
    with pytest.raises(ValidationError, match="noise"):
        bodies.Update.model_validate(silent)
