"""What was made before a key was replaced and counts after: receipts, and answers to the version before."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from fedmed.auditor import rounds
from fedmed.coordinator import aggregate
from fedmed.coordinator import recover as vouched
from fedmed.exchange import succession
from fedmed.site import recover
from tests.coded import code_of
from tests.vectors import samples

from .simulator import predicate_of
from .test_rotated import Killed, agreed, key_of, play, restored, say

if TYPE_CHECKING:
    from pathlib import Path

    from fedmed.exchange.federation import Federation

    from .simulator import Simulation


def test_a_receipt_by_a_key_that_was_replaced_since_is_made_anew(simulation: Simulation, tmp_path: Path) -> None:
    """Who was restored has the version behind it already, and believes no receipt by the key of before."""
    backup = simulation.copied_to(tmp_path / "backup").sites["aa"].root
    site, coordinator, now = simulation.sites["aa"], simulation.coordinator, simulation.now
    for name in simulation.names:
        simulation.send_update(name, 1.0)
    coordinator.look(now)
    restored(site, backup, "archive", "state", "keys")
    (site.root / "outbox" / "update-r0000-aa.fedmed").unlink()
    (path,) = vouched.vouch(coordinator.root, "aa", now)
    first = path.read_bytes()
    say(simulation, "coordinator")
    coordinator.aggregate(now)
    simulation.carry_down()
    site.deliver(first, now, path.name)
    assert code_of(lambda: recover.recover(site.root, now)) == "FM-WAI-02"
    for _ in range(2):
        assert vouched.vouch(coordinator.root, "aa", now) == [path]
    assert predicate_of(path.read_bytes())["seq"] == coordinator.workspace().record.next_seq - 1
    site.deliver(path.read_bytes(), now, path.name)
    assert recover.recover(site.root, now).statements == 1


def test_a_receipt_for_a_key_that_was_replaced_since_is_made_anew(simulation: Simulation) -> None:
    """Nothing newer of its recipient is here than the rotation."""
    now, root = simulation.now, simulation.coordinator.root
    for name in simulation.names:
        simulation.send_update(name, 1.0)
    say(simulation, "aa")
    simulation.coordinator.look(now)
    told = [predicate_of(vouched.vouch(root, "aa", now)[0].read_bytes())]
    simulation.coordinator.aggregate(now)
    simulation.carry_down()
    simulation.sites["aa"].look(now)
    told.append(predicate_of(vouched.vouch(root, "aa", now)[0].read_bytes()))
    assert told[0]["ack"] == told[1]["ack"]
    assert told[0]["recipients"] != told[1]["recipients"]
    assert told[1]["recipients"] == [{"name": "aa", "key": key_of(simulation, "aa")}]


def test_a_round_is_audited_whose_late_site_has_a_new_key_already(
    simulation: Simulation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The power went between version 2 and its model; the site has that version, and answers the model of version 1."""
    coordinator, now = simulation.coordinator, simulation.now
    simulation.sites["aa"].look(now)
    for name in ("bb", "cc"):
        simulation.send_update(name, 1.0)
    old = key_of(simulation, "aa")
    say(simulation, "aa")

    def killed(*_: Any, **__: Any) -> Any:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(aggregate.model, "say", killed)
        with pytest.raises(Killed):
            coordinator.aggregate(now, close=True)
    assert code_of(lambda: coordinator.aggregate(now)) == "FM-WAI-03"
    simulation.carry_down()
    said = predicate_of(simulation.send_update("aa", 1.0))
    assert (said["federation"]["version"], said["sender"]["key"] == old) == (1, False)
    assert len(coordinator.aggregate(now).parents) == 3
    assert rounds.audit(coordinator.root, 0, lambda *_: None).sites == ["aa", "bb", "cc"]


def test_the_keys_since_a_version_are_those_that_owners_put_in_their_place(simulation: Simulation) -> None:
    """Of the versions between the two, and of none that another federation, or another order of rotations, has."""
    stranger = samples.public("stranger")
    first, keys_of_aa = agreed(simulation.sites["bb"]), [simulation.sites["aa"].workspace().public_key]
    versions = [first]
    for _ in range(2):
        say(simulation, "aa")
        play(simulation)
        versions.append(agreed(simulation.sites["bb"]))
        keys_of_aa.append(simulation.sites["aa"].workspace().public_key)
    one, two, three = versions

    def owner(known: Federation, later: Federation, key: bytes) -> str | None:
        found = succession.owner_since(known, later, key)
        return found.name if found else None

    assert [owner(one, three, key) for key in keys_of_aa] == ["aa"] * 3
    assert [owner(two, three, key) for key in keys_of_aa] == [None, "aa", "aa"], "not one that was given up before"
    assert owner(one, three, stranger) is None
    assert owner(three, two, keys_of_aa[1]) is None
    usurped = [
        replace(two, body=two.body.model_copy(update={"rotations": []}), former=()),
        replace(two, founding=two.founding.model_copy(update={"id": "f" * 32})),
        replace(two, founding=two.founding.model_copy(update={"approved": "f" * 64})),
    ]
    assert [owner(one, each, keys_of_aa[1]) for each in usurped] == [None] * 3
