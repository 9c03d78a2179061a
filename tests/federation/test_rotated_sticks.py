"""Sticks arrive in any order: what a new key signed may come before the version of the federation that names it."""

from __future__ import annotations

import itertools
import shutil
from typing import TYPE_CHECKING

import pytest

from fedmed.coordinator import revoke
from fedmed.exchange.verdict import Outcome
from fedmed.site import status
from tests.vectors import samples

from .simulator import end, predicate_of, statement_id
from .test_rotated import ACCEPTED, agreed, key_of, play, say

if TYPE_CHECKING:
    from .simulator import End, Simulation

LATE = (Outcome.LATE, "", 0)
UNKNOWN = (Outcome.REJECTED, "FM-SIG-03", 4)


def round_without_aa(world: Simulation, *, leaves: str = "coordinator") -> None:
    """An actor has a new key behind it; the others have all of it."""
    say(world, leaves)
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


def looked(world: Simulation, *names: str) -> dict[str, tuple[End, str]]:
    """How these files of the coordinator end at aa, in one look, by name."""
    site = world.sites["aa"]
    for name in names:
        site.deliver(world.coordinator.posted(name), world.now, f"{name}.fedmed")
    return {each.path.stem: (end(each.verdict), each.verdict.message) for each in site.look(world.now)}


def test_a_model_of_before_a_version_is_judged_like_any_other(simulation: Simulation) -> None:
    """A site that was away finds it beside the version: what a site remembers hangs on it."""
    round_without_aa(simulation, leaves="bb")
    found = looked(simulation, "model-r0001", "federation-v0002")
    assert [found[name][0] for name in ("model-r0000", "model-r0001")] == [ACCEPTED] * 2
    assert not list((simulation.sites["aa"].root / "quarantine").iterdir())


def test_two_models_of_one_number_are_seen_behind_a_version_too(simulation: Simulation) -> None:
    site = simulation.sites["aa"]
    site.look(simulation.now)
    false = simulation.change(
        simulation.coordinator.posted("model-r0000"), "coordinator", lambda p: p.update(created="2031-03-01T08:00:01Z")
    )
    round_without_aa(simulation, leaves="bb")
    looked(simulation, "model-r0001", "federation-v0002")
    assert site.judge(false, simulation.now) == (Outcome.CONFLICT, "FM-TRU-03", 4)
    back = simulation.change(
        simulation.coordinator.posted("model-r0001"),
        "coordinator",
        lambda p: p.update(federation=predicate_of(false)["federation"], seq=p["seq"] + 1, round=2),
    )
    assert site.judge(back, simulation.now) == (Outcome.REJECTED, "FM-TRU-02", 4), (
        "no later model is of an older version"
    )


def test_a_model_by_the_key_of_before_counts_when_the_next_one_names_it(simulation: Simulation) -> None:
    first = simulation.sites["aa"].root / "inbox" / "model-r0000.fedmed"
    assert first.exists()
    round_without_aa(simulation)
    found = looked(simulation, "federation-v0002")
    words = "model of coordinator: signed with the key that it has replaced since"
    early = ((Outcome.EARLY, "FM-WAI-05", 75), f"{words}; it counts when the next model names it")
    assert found["model-r0000"] == early
    assert looked(simulation, "model-r0001")["model-r0000"][0] == LATE, "in the same look"


def test_a_whole_row_of_models_by_keys_of_before(simulation: Simulation) -> None:
    """Of three rounds, each by another key: each is named by the next one, in whatever order they are looked at."""
    first = simulation.coordinator.posted("model-r0000")
    for _ in range(2):
        round_without_aa(simulation)
    found = looked(simulation, "federation-v0002", "federation-v0003", "model-r0002")
    assert (found["model-r0000"][0][0], found["model-r0002"][0]) == (Outcome.EARLY, ACCEPTED)
    looked(simulation, "model-r0001")
    models = simulation.sites["aa"].workspace().record.models()
    assert [(each.round, each.outcome) for each in models] == [(0, "late"), (1, "late"), (2, "accepted")]
    assert not list((simulation.sites["aa"].root / "quarantine").iterdir())
    assert simulation.sites["aa"].judge(first, simulation.now) == (Outcome.DUPLICATE, "", 0)


def test_a_thief_of_the_key_of_before_moves_nothing(simulation: Simulation) -> None:
    """Neither by numbers that are free nor by later ones, beside the version or behind it."""
    site, thief = simulation.sites["aa"], simulation.coordinator.key
    (site.root / "inbox" / "model-r0000.fedmed").unlink()
    true = simulation.coordinator.posted("model-r0000")
    old = revoke.revoke(simulation.coordinator.root, "aa", 3, "stolen", simulation.now).posted.read_bytes()
    for _ in range(2):
        round_without_aa(simulation)

    def forged(data: bytes, name: str, **changed: object) -> bytes:
        made = samples.resigned(data, thief, lambda said: said.update(created="2031-03-01T08:00:01Z", **changed))
        site.deliver(made, simulation.now, f"{name}.fedmed")
        return made

    model = forged(true, "model")
    forged(old, "free")
    forged(old, "later", seq=500, prev="ab" * 32)
    names = ("federation-v0002", "federation-v0003", "model-r0001", "model-r0002")
    ends = {name: each[0] for name, each in looked(simulation, *names).items()}
    assert (ends["free"], ends["later"]) == ((Outcome.NOT_FOR_ME, "", 0), (Outcome.REJECTED, "FM-ROS-13", 4))
    assert ends["model"] == (Outcome.NOT_FOR_ME, "", 0), "model r1 names another"
    assert statement_id(model) not in {each.id for each in site.workspace().record.models()}
    assert list(site.workspace().record.revoked.values()) == [], "not before the coordinator says it anew"
    assert looked(simulation, "revocation-aa")["revocation-aa"][0] == ACCEPTED


def test_a_revocation_is_said_anew_by_the_next_key(simulation: Simulation) -> None:
    """The word of the key of before reaches nobody who has the version."""
    site, stolen = simulation.sites["aa"], key_of(simulation, "cc")
    old = revoke.revoke(simulation.coordinator.root, "cc", 3, "stolen", simulation.now).posted.read_bytes()
    say(simulation, "coordinator")
    for name in ("bb", "cc"):
        simulation.send_update(name, 1.0)
    made = simulation.coordinator.aggregate(simulation.now, close=True)
    assert [path.name for path in made.federations] == ["federation-v0002.fedmed", "revocation-cc.fedmed"]
    looked(simulation, "federation-v0002", "model-r0001")
    assert site.judge(old, simulation.now) == (Outcome.NOT_FOR_ME, "", 0)
    assert site.workspace().record.revoked == {}
    again = revoke.revoke(simulation.coordinator.root, "cc", 3, "stolen", simulation.now)
    assert (again.is_new, again.posted.read_bytes()) == (False, simulation.coordinator.posted("revocation-cc"))
    assert site.judge(again.posted.read_bytes(), simulation.now) == ACCEPTED
    assert site.workspace().record.revoked == {stolen: 3}
