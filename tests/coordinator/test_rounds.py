"""When a round closes, whom it counts, and what every site is told."""

from __future__ import annotations

import shutil
from datetime import timedelta
from typing import TYPE_CHECKING

import numpy as np
import pytest

from fedmed.coordinator import aggregate, desk
from fedmed.errors import FedmedError
from fedmed.exchange import archived
from fedmed.learning import params
from tests import small

if TYPE_CHECKING:
    from pathlib import Path

    from fedmed.coordinator.aggregate import Aggregated


def send(world: small.Federation, name: str, value: float = 1.0, *, num_cases: int = 3) -> None:
    small.seal_update(world.site(name), value, num_cases=num_cases)
    world.carry()


def close(world: small.Federation, *, days: float = 0, force: bool = False) -> Aggregated:
    return aggregate.aggregate(world.coordinator, small.now() + timedelta(days=days), close=force)


def waits(world: small.Federation, *, days: float = 0, force: bool = False) -> FedmedError:
    with pytest.raises(FedmedError) as caught:
        close(world, days=days, force=force)
    assert caught.value.code == "FM-WAI-03"
    return caught.value


def weights(world: small.Federation) -> np.ndarray:
    """All weights of the newest model, one after the other."""
    found = desk.peek(world.coordinator)
    table = desk.require_started(found).table
    newest = found.record.newest("model")
    assert newest
    model = params.from_payload(archived.read_payload(found, newest.id, "model.safetensors"), table)
    return np.concatenate([model[name].ravel() for name in sorted(model)])


START = np.concatenate([np.ones(12), np.zeros(5)]).astype(np.float32)


def test_closes_when_all_are_in(world: small.Federation) -> None:
    for value, name in enumerate(world.sites):
        error = waits(world)
        assert name in error.message
        send(world, name, value)
    made = close(world)
    assert (made.round, made.last, made.is_new) == (1, False, True)
    assert [ack.status for ack in made.acks] == ["used"] * 3
    np.testing.assert_allclose(weights(world), START + (0 + 1 + 2) / 3, atol=1e-6)


def test_never_below_min_sites_whatever_the_operator_says(world: small.Federation) -> None:
    send(world, "aa")
    for days, force in ((0, True), (20, False), (20, True)):
        error = waits(world, days=days, force=force)
        assert "1 of at least 2 sites" in error.message
        assert "--close" not in error.next


def test_with_min_sites_it_waits_for_the_deadline(world: small.Federation) -> None:
    send(world, "aa", 1)
    send(world, "cc", 2)
    error = waits(world)
    assert "2 of 3 sites are in; not in: bb" in error.message
    assert "fedmed aggregate --close" in error.next
    waits(world, days=13.9)
    made = close(world, days=14.1)
    assert [(ack.site, ack.status) for ack in made.acks] == [("aa", "used"), ("bb", "missing"), ("cc", "used")]
    np.testing.assert_allclose(weights(world), START + 1.5, atol=1e-6)


def test_close_by_hand_is_in_the_ledger(world: small.Federation) -> None:
    send(world, "aa")
    send(world, "bb")
    close(world, force=True)
    notes = [facts for _, facts in desk.peek(world.coordinator).record.notes]
    assert {"what": "close", "round": 0} in notes


def test_the_share_of_a_site_is_capped(world: small.Federation) -> None:
    for name, cases in (("aa", 96), ("bb", 2), ("cc", 2)):
        send(world, name, 1.0 if name == "aa" else 0.0, num_cases=cases)
    made = close(world)
    assert [(each.site, each.weight, float(each.share)) for each in made.parents] == [
        ("aa", 96, 0.6),
        ("bb", 2, 0.2),
        ("cc", 2, 0.2),
    ]
    np.testing.assert_allclose(weights(world), START + 0.6, atol=1e-6)


def test_a_later_update_of_the_round_counts_and_the_earlier_does_not(world: small.Federation, tmp_path: Path) -> None:
    small.seal_update(world.site("aa"), 1)
    earlier = shutil.copyfile(world.site("aa") / "outbox" / "update-r0000-aa.fedmed", tmp_path / "earlier.fedmed")
    second = small.seal_update(world.site("aa"), 5)
    send(world, "bb", 0)
    send(world, "cc", 0)
    shutil.copyfile(earlier, world.coordinator / "inbox" / "z-came-last.fedmed")
    made = close(world)
    assert made.parents[0].update == second.id
    np.testing.assert_allclose(weights(world), START + 5 / 3, atol=1e-6)
    assert [each.verdict.outcome for each in made.arrivals if each.path.name == "z-came-last.fedmed"] == ["superseded"]


def test_no_update_counts_without_its_approval(world: small.Federation) -> None:
    (world.coordinator / "inbox" / "approval-v0001-bb.fedmed").unlink()
    (world.site("bb") / "outbox" / "approval-v0001-bb.fedmed").unlink()
    for name in world.sites:
        send(world, name)
    error = waits(world)
    assert "bb (FM-TRU-07: its approval has not arrived)" in error.message
    made = close(world, force=True)
    assert [ack.status for ack in made.acks] == ["used", "unapproved", "used"]


def test_one_bad_site_does_not_stop_the_round_and_is_named(world: small.Federation) -> None:
    for name in world.sites:
        send(world, name)
    path = world.coordinator / "inbox" / "update-r0000-bb.fedmed"
    data = bytearray(path.read_bytes())
    data[data.rindex(b"b.bias")] ^= 1
    path.write_bytes(data)
    error = waits(world, days=1)  # a day later it is no copy in progress any more
    assert "refused in the inbox: 1" in error.message
    assert "bb (refused, FM-TRU-10: a payload is not the one that was signed)" in error.message
    made = close(world, days=1, force=True)
    assert [ack.status for ack in made.acks] == ["used", "refused", "used"]
    assert path.read_bytes() == data, "nothing in the inbox is changed"


def test_the_last_round_ends_it_and_again_gives_the_same_file(world: small.Federation) -> None:
    for _ in range(2):
        for name in world.sites:
            send(world, name)
        made = close(world)
        world.carry()
    assert (made.round, made.last) == (2, True)
    before = made.posted.read_bytes()
    made.posted.unlink()
    again = close(world)
    assert (again.round, again.last, again.is_new) == (2, True, False)
    assert again.posted.read_bytes() == before


def test_the_order_of_arrival_changes_no_byte(three: small.Federation, tmp_path: Path) -> None:
    hashes = set()
    for names in (("aa", "bb", "cc"), ("cc", "aa", "bb")):
        world = three.copy(tmp_path / names[0])
        for value, name in zip((0.1, 0.2, 0.3), sorted(names), strict=True):
            small.seal_update(world.site(name), value, num_cases=3 + ord(name[0]))
        for name in names:
            shutil.copy(world.site(name) / "outbox" / f"update-r0000-{name}.fedmed", world.coordinator / "inbox")
            if name != names[-1]:
                waits(world)
        close(world)
        found = desk.peek(world.coordinator).record.newest("model")
        assert found
        hashes.add(found.payload)
    assert len(hashes) == 1
