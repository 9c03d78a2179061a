"""Whoever holds the files can follow the weights from hand to hand, and sees where they were passed another way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from fedmed.auditor import books, inspection, laps
from fedmed.exchange import statement
from tests.coded import code_of
from tests.federation.test_laps import FIRST, begun, hop, lap
from tests.vectors import samples

if TYPE_CHECKING:
    from pathlib import Path

    from tests.federation.simulator import Simulation

__all__ = ["begun", "lap"]  # fixtures


def test_a_whole_lap_in_the_books_of_the_coordinator_alone(lap: Simulation) -> None:
    for name, adds in zip(FIRST, (1.0, 2.0, 4.0), strict=True):
        hop(lap, name, adds)
    lap.sites["aa"].look(lap.now)
    assert books.verify(lap.coordinator.root, lambda _done, _total: None).laps == 1
    assert books.verify(lap.sites["aa"].root, lambda _done, _total: None).laps == 0, "it has two updates of three"


@pytest.fixture(scope="module")
def told(begun: Simulation, tmp_path_factory: pytest.TempPathFactory) -> tuple[Simulation, list[bytes]]:
    """Both models of a lap and its three updates."""
    simulation = begun.copied_to(tmp_path_factory.mktemp("told") / "f")
    files = [hop(simulation, name, 1.0) for name in FIRST]
    return simulation, [
        simulation.coordinator.posted("model-r0000"),
        *files,
        simulation.coordinator.posted("model-r0001"),
    ]


def followed(simulation: Simulation, files: list[bytes]) -> int:
    known = inspection.read_federation(simulation.coordinator.root / "outbox" / "federation-v0001.fedmed")
    raw = [samples.members(data)[0][1] for data in files]
    return laps.verify({samples.sha256(each): statement.decode(each) for each in raw}, known)


def parents(change: Any) -> Any:
    return lambda p: change(p["body"]["parents"])


def swap(found: list[dict[str, Any]]) -> None:
    found[0]["update"], found[1]["update"] = found[1]["update"], found[0]["update"]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda _: None, "ok"),
        (parents(swap), "FM-CYC-02"),
        (parents(lambda found: found[1].update(update=found[0]["update"])), "FM-CYC-02"),
        (parents(lambda found: found.pop(0)), "FM-CYC-04"),
        (lambda p: p["body"].update(order=["bb", "cc", "aa"]), "FM-CYC-04"),
        (lambda p: p["ack"][0].update(status="missing"), "FM-CYC-04"),
    ],
)
def test_a_coordinator_that_tells_of_another_chain(
    told: tuple[Simulation, list[bytes]], change: Any, code: str
) -> None:
    simulation, files = told
    model = simulation.change(files[-1], "coordinator", change)
    assert code_of(lambda: followed(simulation, [*files[:-1], model])) == code


@pytest.mark.parametrize(("kept", "whole"), [([0, 1, 2, 3, 4], 1), ([0, 2, 3, 4], 0), ([2, 4], 0), ([0, 4], 0)])
def test_links_that_are_not_here_are_passed_over(
    told: tuple[Simulation, list[bytes]], kept: list[int], whole: int
) -> None:
    simulation, files = told
    assert followed(simulation, [files[each] for each in kept]) == whole


def test_verify_holds_the_order_against_the_roster(told: tuple[Simulation, list[bytes]], tmp_path: Path) -> None:
    simulation, files = told
    federation = simulation.coordinator.root / "outbox" / "federation-v0001.fedmed"
    for name, change, code in (
        ("good", lambda _: None, "ok"),
        ("left-out", lambda p: p["body"].update(order=["aa", "bb"]), "FM-CYC-04"),
    ):
        (tmp_path / name).write_bytes(simulation.change(files[-1], "coordinator", change))
        assert code_of(lambda path=tmp_path / name: inspection.verify(path, federation)) == code
