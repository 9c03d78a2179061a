"""What people are told in masked rounds: by `status` at both ends, and by commands that wait or refuse."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from fedmed.coordinator import unmask as asking
from fedmed.errors import FedmedError
from fedmed.site import status as bedside
from fedmed.site import unmask as answering
from tests.federation import masked_world

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.federation.simulator import Hospital, Simulation

TRIO = ("aa", "bb", "cc")


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Simulation:
    """Model r0 lies in every inbox."""
    return with_cases(masked_world.founded(tmp_path_factory.mktemp("told") / "world", TRIO))


@pytest.fixture(scope="module")
def played(begun: Simulation, tmp_path_factory: pytest.TempPathFactory) -> Simulation:
    """Round 0 is over, and model r1 lies in every inbox."""
    world = begun.copied_to(tmp_path_factory.mktemp("told") / "played")
    masked_world.play(world, dict.fromkeys(TRIO, 1.0))
    return world


@pytest.fixture
def world(begun: Simulation, tmp_path: Path) -> Simulation:
    return begun.copied_to(tmp_path / "world")


@pytest.fixture
def second(played: Simulation, tmp_path: Path) -> Simulation:
    return played.copied_to(tmp_path / "second")


def with_cases(world: Simulation) -> Simulation:
    """Partitioned, as far as `status` looks."""
    for site in world.sites.values():
        (site.root / "cases.json").write_text("{}")
    return world


def at(world: Simulation, site: Hospital) -> bedside.Status:
    return bedside.status(site.root, world.now)


def refused(call: Callable[[], object]) -> FedmedError:
    with pytest.raises(FedmedError) as caught:
        call()
    return caught.value


# --- a request that does not count -----------------------------------------------------------------------------------


def test_an_older_request_does_not_stand_for_one_that_is_held(second: Simulation) -> None:
    """The coordinator goes on from a backup, and nobody here has told it where it was."""
    site = second.sites["aa"]
    masked_world.send(second, dict.fromkeys(TRIO, 1.0))
    asking.unmask(second.coordinator.root, second.now)
    request = masked_world.request_for(second, "aa", 1)
    site.deliver(masked_world.forged(second, request, lambda said, _: said.update(resumes=1)), second.now)
    error = refused(lambda: answering.unmask(site.root, second.now))
    assert (error.code, error.exit_code, error.next) == ("FM-ROS-05", 4, "fedmed recover --for coordinator")
    assert at(second, site).next == "fedmed recover --for coordinator"


def test_what_was_answered_is_posted_again_where_nothing_later_came(second: Simulation) -> None:
    site = second.sites["aa"]
    site.deliver(masked_world.request_for(second, "aa"), second.now)
    again = answering.unmask(site.root, second.now)
    assert (again.round, again.is_new) == (0, False)
