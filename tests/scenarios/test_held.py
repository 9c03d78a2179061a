"""What `status` says to do when a file in the inbox is held: not to wait for what is there, not to go on over it."""

from __future__ import annotations

import shutil
from datetime import timedelta
from typing import TYPE_CHECKING

from fedmed.coordinator import aggregate
from fedmed.coordinator import status as desk
from fedmed.errors import CODES
from fedmed.site import status as bedside
from tests import small

if TYPE_CHECKING:
    from pathlib import Path


def partitioned(world: small.Federation) -> Path:
    """`status` asks only whether cases.json is there."""
    (world.site("aa") / "cases.json").touch()
    return world.site("aa")


def test_a_restored_site_does_not_train(world: small.Federation, tmp_path: Path) -> None:
    site = partitioned(world)
    backup = shutil.copytree(site, tmp_path / "backup")
    for name in world.sites:
        small.seal_update(world.site(name))
    world.carry()
    aggregate.aggregate(world.coordinator, small.now())
    shutil.copy(world.coordinator / "outbox" / "model-r0001.fedmed", backup / "inbox")
    assert bedside.status(backup, small.now()).next == CODES["FM-TRU-06"].remedy.replace("NAME", "aa")
    (backup / "cases.json").unlink()
    assert bedside.status(backup, small.now()).next == CODES["FM-TRU-06"].remedy.replace("NAME", "aa")


def test_a_restored_coordinator_does_not_aggregate(world: small.Federation, tmp_path: Path) -> None:
    backup = shutil.copytree(world.coordinator, tmp_path / "backup")
    for name in world.sites:
        small.seal_update(world.site(name))
    world.carry()
    aggregate.aggregate(world.coordinator, small.now())
    world.carry()
    small.seal_update(world.site("aa"))
    shutil.copy(world.site("aa") / "outbox" / "update-r0001-aa.fedmed", backup / "inbox")
    assert desk.status(backup, small.now()).next == CODES["FM-TRU-06"].remedy.replace("NAME", "coordinator")


def test_an_expired_model_is_not_waited_for(world: small.Federation) -> None:
    site = partitioned(world)
    assert bedside.status(site, small.now()).next == "fedmed train-local"
    remedy = bedside.status(site, small.now() + timedelta(days=181)).next
    assert remedy == CODES["FM-TIM-01"].remedy
    assert "fedmed train-local --accept-expired REASON" in remedy


def test_a_model_from_the_future_is_not_waited_for(world: small.Federation) -> None:
    site = partitioned(world)
    assert bedside.status(site, small.now() - timedelta(days=3)).next == CODES["FM-TIM-02"].remedy
    (site / "cases.json").unlink()
    assert bedside.status(site, small.now() - timedelta(days=3)).next == "fedmed partition"


def test_an_update_from_the_future_is_not_waited_for(world: small.Federation) -> None:
    small.seal_update(world.site("aa"))
    small.seal_update(world.site("bb"), moment=small.now() + timedelta(days=3))
    world.carry()
    assert desk.status(world.coordinator, small.now()).next == CODES["FM-TIM-02"].remedy
    (world.coordinator / "inbox" / "update-r0000-bb.fedmed").unlink()
    assert desk.status(world.coordinator, small.now()).next == "wait for bb"
