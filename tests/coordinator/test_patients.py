"""What the patients of each hospital have spent, as the coordinator is told and tells it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from fedmed.cli.app import app
from fedmed.coordinator import aggregate, evaluate, status
from fedmed.errors import FedmedError
from fedmed.exchange.bodies_privacy import PrivacyBlock
from fedmed.site import desk, promised
from tests import small

if TYPE_CHECKING:
    from pathlib import Path

DP = {"clip_norm": 1.0, "patients_per_step": 2}
SITES = ("aa", "bb")


@pytest.fixture(scope="module")
def private(tmp_path_factory: pytest.TempPathFactory) -> small.Federation:
    return small.founded(tmp_path_factory.mktemp("private"), SITES, limits={"min_sites": 2}, recipe={"dp": DP})


def block(epsilon: str, delta: str = "0.00001") -> PrivacyBlock:
    return PrivacyBlock(unit="patient", epsilon=epsilon, delta=delta, noise_multiplier="1.5")


def test_what_each_site_says_is_told(private: small.Federation, tmp_path: Path) -> None:
    world = private.copy(tmp_path / "w")
    for name, epsilon in (("aa", "3.3"), ("bb", "0.7")):
        small.seal_update(world.site(name), 0.1, privacy=block(epsilon))
    world.carry()
    made = aggregate.aggregate(world.coordinator, small.now())
    assert {name: each.epsilon for name, each in made.privacy.items()} == {"aa": "3.3", "bb": "0.7"}
    file = next((world.site("aa") / "outbox").glob("update-*"))
    assert f"reservation: {small.RESERVATION}\n" in CliRunner().invoke(app, ["inspect", str(file)]).output


def test_status_and_aggregate_print_it(private: small.Federation, tmp_path: Path) -> None:
    world = private.copy(tmp_path / "w")
    small.seal_update(world.site("aa"), 0.1, privacy=block("3.3"))
    world.carry()
    status.status(world.coordinator, small.now())
    with pytest.raises(FedmedError):  # bb is missing; what is here was taken in
        aggregate.aggregate(world.coordinator, small.now())
    shown = CliRunner().invoke(app, ["status", "-w", str(world.coordinator)]).output
    assert "epsilon of a patient so far, of the weights alone: aa 3.3 at delta 0.00001" in shown
    small.seal_update(world.site("bb"), 0.1, privacy=block("0.7"))
    world.carry()
    shown = CliRunner().invoke(app, ["aggregate", "-w", str(world.coordinator)]).output
    assert "of the weights alone: aa 3.3 at delta 0.00001, bb 0.7 at delta 0.00001" in shown
    assert "metrics and numbers of cases carry no noise" in shown


def test_a_report_names_who_has_spent_most(private: small.Federation, tmp_path: Path) -> None:
    world = private.copy(tmp_path / "w")
    for name in SITES:
        small.seal_report(world.site(name), mean=0.5, n=4)
    world.carry()
    begin = "differential privacy of each training patient: epsilon "
    agreed = f"{begin}8 at delta 1e-05 over all rounds, of the weights alone"
    assert evaluate.evaluate(world.coordinator, small.now(), "validation").promises == [agreed]
    for name, epsilon in (("aa", "9.3"), ("bb", "10.7")):
        small.seal_update(world.site(name), 0.1, privacy=block(epsilon))
    world.carry()
    shown = CliRunner().invoke(app, ["evaluate", "-w", str(world.coordinator)]).output
    assert f"{begin}10.7 at delta 0.00001 in this federation so far, of the weights alone" in shown
    site = desk.peek(world.site("aa"))
    model = site.workspace.record.newest("model")
    assert model is not None
    (told,) = promised.in_report(site, desk.require_approved(site), model)
    assert told == f"{begin}9.3 at delta 0.00001 in this federation so far, of the weights alone"


@pytest.mark.parametrize("said", [None, block("1", "0.0001")])
def test_an_update_without_the_noise_that_was_agreed_does_not_count(
    private: small.Federation, tmp_path: Path, said: PrivacyBlock | None
) -> None:
    world = private.copy(tmp_path / "w")
    small.seal_update(world.site("aa"), 0.1, privacy=block("3.3"))
    small.seal_update(world.site("bb"), 0.1, privacy=said)
    world.carry()
    with pytest.raises(FedmedError) as caught:
        aggregate.aggregate(world.coordinator, small.now())
    assert "bb (refused, FM-PRV-08" in caught.value.message


def test_nor_does_one_that_claims_noise_in_a_federation_without(tmp_path: Path) -> None:
    world = small.founded(tmp_path / "w", SITES, limits={"min_sites": 2})
    small.seal_update(world.site("aa"), 0.1, privacy=block("3.3"))
    small.seal_update(world.site("bb"), 0.1)
    world.carry()
    with pytest.raises(FedmedError) as caught:
        aggregate.aggregate(world.coordinator, small.now())
    assert "aa (refused, FM-PRV-08" in caught.value.message
