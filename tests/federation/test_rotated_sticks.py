"""Sticks arrive in any order: what a new key signed may come before the version of the federation that names it."""

from __future__ import annotations

import itertools
import shutil
from typing import TYPE_CHECKING

import pytest

from fedmed.coordinator import revoke
from fedmed.exchange.verdict import Outcome
from fedmed.site import status

from .simulator import end
from .test_rotated import ACCEPTED, agreed, key_of, play, say

if TYPE_CHECKING:
    from .simulator import Simulation

UNKNOWN = (Outcome.REJECTED, "FM-SIG-03", 4)


def round_without_aa(world: Simulation) -> None:
    """Its coordinator has a new key behind it; the others have all of it."""
    say(world, "coordinator")
    for name in ("bb", "cc"):
        world.send_update(name, 1.0)
    world.coordinator.aggregate(world.now, close=True)
    for name in ("bb", "cc"):
        for path in sorted((world.coordinator.root / "outbox").glob("*.fedmed")):
            world.sites[name].deliver(path.read_bytes(), world.now, path.name)
        world.sites[name].look(world.now)


def test_a_model_before_its_version_counts_once_that_is_there(simulation: Simulation) -> None:
    site, now = simulation.sites["aa"], simulation.now
    round_without_aa(simulation)
    path = site.deliver(simulation.coordinator.posted("model-r0001"), now, "model-r0001.fedmed")
    for _ in range(2):  # the second look remembers the first
        verdict = next(each.verdict for each in site.look(now) if each.path == path)
        assert end(verdict) == UNKNOWN
        assert verdict.statement is None
        new = key_of(simulation, "coordinator")
        told = f"model: {new} is not in the roster of version 1; if that is a new key, put federation-v0002.fedmed into"
        assert verdict.message.startswith(told)
    version = site.deliver(simulation.coordinator.posted("federation-v0002"), now)
    ends = {each.path: end(each.verdict) for each in site.look(now)}
    assert (ends[version], ends[path]) == (ACCEPTED, ACCEPTED)
    assert agreed(site).founding.version == 2
    play(simulation)
    done = simulation.coordinator.workspace().record.newest("model")
    assert done is not None
    assert (done.last, done.round) == (True, 2)


def test_a_revocation_before_its_version_counts_once_that_is_there(simulation: Simulation) -> None:
    site, now = simulation.sites["aa"], simulation.now
    round_without_aa(simulation)
    stolen = key_of(simulation, "cc")
    revoked = revoke.revoke(simulation.coordinator.root, "cc", 3, "stolen", now).posted.read_bytes()
    assert site.judge(revoked, now) == UNKNOWN
    assert stolen not in site.workspace().record.revoked
    assert site.judge(simulation.coordinator.posted("federation-v0002"), now) == ACCEPTED
    assert site.workspace().record.revoked == {stolen: 3}


@pytest.fixture(scope="module")
def two_versions_behind(started: Simulation, tmp_path_factory: pytest.TempPathFactory) -> Simulation:
    """The last model is signed by the second key behind the one that `aa` knows."""
    world = started.copied_to(tmp_path_factory.mktemp("behind") / "federation")
    world.sites["aa"].look(world.now)
    for _ in range(2):
        round_without_aa(world)
    return world


@pytest.mark.parametrize("places", itertools.permutations("123"), ids="".join)
def test_together_they_count_in_whatever_order_they_lie(
    two_versions_behind: Simulation, places: tuple[str, ...]
) -> None:
    world = two_versions_behind
    site = world.copied_to(world.root.parent / "".join(places)).sites["aa"]
    brought = ("model-r0002", "federation-v0002", "federation-v0003")
    paths = [
        site.deliver(world.coordinator.posted(name), world.now, f"{place}.fedmed")
        for place, name in zip(places, brought, strict=True)
    ]
    looked = {each.path: end(each.verdict) for each in status.status(site.root, world.now).waiting}
    assert [looked[path] for path in paths] == [ACCEPTED] * 3
    ends = {each.path: end(each.verdict) for each in site.look(world.now)}
    assert [ends[path] for path in paths] == [ACCEPTED] * 3
    assert not list((site.root / "quarantine").iterdir()), "nobody is told of a stranger"


@pytest.mark.parametrize("order", itertools.permutations(("model-r0002", "federation-v0002", "federation-v0003")))
def test_one_after_the_other_they_count_in_whatever_order_they_come(
    two_versions_behind: Simulation, order: tuple[str, ...]
) -> None:
    world = two_versions_behind
    root = world.root.parent / "one after the other"
    site = world.copied_to(root).sites["aa"]
    for name in order:
        site.deliver(world.coordinator.posted(name), world.now)
        site.look(world.now)
    newest = site.workspace().record.newest("model")
    assert newest is not None
    assert (newest.round, newest.last, agreed(site).founding.version) == (2, True, 3)
    shutil.rmtree(root)


def test_a_model_of_long_ago_is_no_alarm(simulation: Simulation) -> None:
    """A site that was away finds the first model beside two new versions: it is passed over, the newest one counts."""
    site, now = simulation.sites["aa"], simulation.now
    first = site.root / "inbox" / "model-r0000.fedmed"
    assert first.exists()
    for _ in range(2):
        round_without_aa(simulation)
    for name in ("model-r0002", "federation-v0002", "federation-v0003"):
        site.deliver(simulation.coordinator.posted(name), now, f"{name}.fedmed")
    ends = {each.path.stem: each.verdict for each in site.look(now)}
    assert end(ends["model-r0002"]) == ACCEPTED
    assert end(ends["model-r0000"]) == (Outcome.NOT_FOR_ME, "", 0)
    assert ends["model-r0000"].message == "a model of version 1 of the federation, in force is version 3"
    assert not list((site.root / "quarantine").iterdir())
