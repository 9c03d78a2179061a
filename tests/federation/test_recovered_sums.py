"""A coordinator that was restored to before it asked for a sum asks about the same sites again, and about no others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from fedmed.coordinator import recover as at_coordinator
from fedmed.coordinator import status, unmask, void
from fedmed.errors import FedmedError
from fedmed.exchange import attempts
from fedmed.exchange.workspace import Workspace
from fedmed.site import recover as at_site
from tests.coded import code_of
from tests.federation import masked_world
from tests.federation.masked_world import answer, ask, request_for, send
from tests.federation.simulator import predicate_of
from tests.federation.test_masked_culprits import send_spoiled
from tests.federation.test_recovered import put_back

if TYPE_CHECKING:
    from pathlib import Path

    from fedmed.coordinator.unmask import Asked
    from tests.federation.simulator import Simulation

NAMES = ("aa", "bb", "cc", "dd")
TRIO = NAMES[:3]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Simulation:
    """Three of four were asked and have answered, and the coordinator was restored to before; dd comes late."""
    folder = tmp_path_factory.mktemp("sums")
    world = masked_world.founded(folder / "world", NAMES)
    send(world, dict.fromkeys(TRIO, 1.0))
    world.coordinator.look(world.now)
    restored(world, folder / "backup")
    return world


def restored(world: Simulation, folder: Path) -> None:
    backup = world.copied_to(folder).coordinator.root
    assert ask(world).sites == list(TRIO)
    for name in TRIO:
        world.sites[name].unmask(world.now)
    put_back(world.coordinator, backup)
    for path in (world.coordinator.root / "outbox").glob("unmask-request*"):
        path.unlink()
    send(world, {"dd": 1.0})


@pytest.fixture
def world(template: Simulation, tmp_path: Path) -> Simulation:
    return template.copied_to(tmp_path / "world")


def bring(world: Simulation, *names: str) -> None:
    """What these sites know of the coordinator, and their answers."""
    for name in names:
        reply = world.sites[name].unmask(world.now)
        for path in at_site.vouch(world.sites[name].root, "coordinator", world.now):
            world.coordinator.deliver(path.read_bytes(), world.now, path.name)
        world.coordinator.deliver(reply, world.now, f"reply-{name}.fedmed")


def ask_again(world: Simulation) -> Asked:
    return unmask.unmask(world.coordinator.root, world.now, close=True)


def opens(world: Simulation) -> None:
    made = world.coordinator.aggregate(world.now)
    assert [each.site for each in made.parents] == list(TRIO)
    assert {each.site: each.status for each in made.acks}["dd"] == "late"


def test_it_asks_about_the_set_that_was_asked_about(world: Simulation) -> None:
    bring(world, *TRIO)
    assert code_of(lambda: ask_again(world)) == "FM-TRU-06"
    assert at_coordinator.recover(world.coordinator.root, world.now).statements == 3
    asked = ask_again(world)
    assert (asked.is_new, asked.sites, asked.missing) == (False, list(TRIO), []), "answers to what is lost are taken"
    opens(world)


def test_a_receipt_that_was_brought_again_decides_nothing_anew(world: Simulation) -> None:
    """Each site knows of its own request alone: they come one by one."""
    for number, name in enumerate(TRIO, start=1):
        bring(world, name)
        at_coordinator.recover(world.coordinator.root, world.now)
        found = world.coordinator.workspace().record
        assert len([each for each in found.lost if each.kind == "unmask-request"]) == number
        assert len(decided(world)) == 1
    opens(world)


def decided(world: Simulation) -> list[list[str]]:
    notes = [facts for _, facts in world.coordinator.workspace().record.notes if facts.get("what") == attempts.INCLUDED]
    return [[row["site"] for row in facts["updates"]] for facts in notes]


def test_what_it_decided_anew_before_it_heard_of_it_falls(world: Simulation) -> None:
    """Nothing in its inbox told that it was restored; the requests about all four reached nobody in time."""
    assert ask_again(world).sites == list(NAMES)
    wrong = predicate_of(request_for(world, "aa"))["body"]["included"]
    bring(world, *TRIO)
    assert code_of(lambda: ask_again(world)) == "FM-TRU-06"
    at_coordinator.recover(world.coordinator.root, world.now)
    assert decided(world) == [list(NAMES), list(TRIO)]
    assert ask_again(world).sites == list(TRIO)
    right = predicate_of(request_for(world, "aa"))["body"]["included"]
    assert right == [each for each in wrong if each["site"] != "dd"]
    world.carry_down()
    assert world.sites["dd"].workspace().record.of("unmask-request") == []
    opens(world)


def test_an_update_that_the_backup_does_not_hold_is_asked_for(tmp_path: Path) -> None:
    world = masked_world.founded(tmp_path / "world", NAMES)
    send(world, dict.fromkeys(TRIO, 1.0))
    restored(world, tmp_path / "backup")
    coordinator, now = world.coordinator, world.now
    for path in (coordinator.root / "inbox").iterdir():
        path.unlink()
    bring(world, *TRIO)
    at_coordinator.recover(coordinator.root, now)
    for name in TRIO[1:]:
        coordinator.deliver(world.sites[name].posted(f"update-r0000-{name}"), now)
    assert status.status(coordinator.root, now).next == "ask again for the updates of aa that are in the sum of round 0"
    for command in (lambda: ask_again(world), lambda: coordinator.aggregate(now)):
        with pytest.raises(FedmedError, match="not here are the updates of aa") as caught:
            command()
        assert caught.value.code == "FM-WAI-03"
    coordinator.deliver(world.sites["aa"].posted("update-r0000-aa"), now)
    assert status.status(coordinator.root, now).next == "fedmed unmask"
    made = coordinator.aggregate(now)
    assert [each.site for each in made.parents] == list(TRIO)


def test_a_culprit_is_shown_by_what_came_back(tmp_path: Path) -> None:
    """The requests of the spoiled attempt are known by their statements alone."""
    world = masked_world.founded(tmp_path / "world")
    names = masked_world.NAMES
    send(world, dict.fromkeys(names[:4], 1.0))
    send_spoiled(world, "ee")
    world.coordinator.look(world.now)
    backup = world.copied_to(tmp_path / "backup").coordinator.root
    ask(world)
    put_back(world.coordinator, backup)
    bring(world, *names)
    at_coordinator.recover(world.coordinator.root, world.now)
    assert code_of(lambda: world.coordinator.aggregate(world.now)) == "FM-MSK-14"
    assert void.void(world.coordinator.root, world.now, "ee spoiled it").without == ["ee"]
    world.carry_down()
    send(world, dict.fromkeys(names[:4], 1.0))
    assert ask(world).sites == list(names[:4])
    answer(world, names[:4])
    assert world.coordinator.aggregate(world.now).round == 1


def test_a_recovery_that_was_killed_begins_anew(world: Simulation, monkeypatch: pytest.MonkeyPatch) -> None:
    bring(world, *TRIO)
    real = Workspace.write_entry

    def fails(found: Workspace, command: str, event: str, *rest: object, **facts: object) -> object:
        if event == "recovered":
            raise FedmedError("FM-RES-01", "disk full")
        return real(found, command, event, *rest, **facts)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(Workspace, "write_entry", fails)
        assert code_of(lambda: at_coordinator.recover(world.coordinator.root, world.now)) == "FM-RES-01"
    assert code_of(lambda: ask_again(world)) == "FM-TRU-06"
    at_coordinator.recover(world.coordinator.root, world.now)
    assert decided(world) == [list(TRIO)]
    opens(world)
