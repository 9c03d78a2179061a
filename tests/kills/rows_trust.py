"""Keys that are taken back, and workspaces that were restored from a backup."""

from __future__ import annotations

import shutil
from contextlib import suppress
from typing import TYPE_CHECKING

from fedmed.auditor import inspection
from fedmed.coordinator import aggregate, revoke, unmask, void
from fedmed.coordinator import recover as vouched
from fedmed.coordinator import rotate as renew
from fedmed.errors import FedmedError
from fedmed.exchange import attempts, keys, maskkeys
from fedmed.site import recover as at_site
from fedmed.site import rotate
from fedmed.site import unmask as answering
from tests import small, tables

from .bench import Row, Stage, record_of, statements
from .stages import answered, closed, coordinator, in_place, masked, masking, site, tabular

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def put_back(workspace: Path, backup: Path) -> None:
    """A backup of the whole folder, but for the doors."""
    for name in ("archive", "state", "keys", "cache"):
        shutil.rmtree(workspace / name)
        shutil.copytree(backup / name, workspace / name)


def restored_site(root: Path, world: small.Federation, seal: Callable[[Path], object]) -> Stage:
    """aa answered, and then a backup from before was put back; the coordinator's receipt lies in its inbox."""
    shutil.copytree(world.site("aa"), root / "backup")
    seal(world.site("aa"))
    world.carry()
    with suppress(FedmedError):  # it takes the update in, and waits for the others
        aggregate.aggregate(world.coordinator, small.now())
    (path,) = vouched.vouch(world.coordinator, "aa", small.now())
    put_back(world.site("aa"), root / "backup")
    shutil.copy(path, world.site("aa") / "inbox")
    return site(world)


def restored_coordinator(root: Path) -> Stage:
    """It sealed model 1, all sites have it, and then it was restored."""
    world = answered(small.founded(root))
    shutil.copytree(world.coordinator, root / "backup")
    aggregate.aggregate(world.coordinator, small.now())
    world.carry()
    for name in world.sites:
        small.seal_update(world.site(name), 0.5)
    posted = at_site.vouch(world.site("aa"), "coordinator", small.now())
    put_back(world.coordinator, root / "backup")
    for path in posted:
        shutil.copy(path, world.coordinator / "inbox")
    return coordinator(world)


def restored_behind_requests(root: Path) -> Stage:
    """It asked for what takes the masks off, all sites answered, and then it was restored."""
    world = masked(root)
    with suppress(FedmedError):  # it takes the updates in
        aggregate.aggregate(world.coordinator, small.now())
    shutil.copytree(world.coordinator, root / "backup")
    unmask.unmask(world.coordinator, small.now(), close=True)
    world.carry()
    posted = []
    for name in world.sites:
        answering.unmask(world.site(name), small.now())
        posted += at_site.vouch(world.site(name), "coordinator", small.now())
    put_back(world.coordinator, root / "backup")
    for path in posted:
        shutil.copy(path, world.coordinator / "inbox")
    return coordinator(world)


def recovered(workspace: Path) -> object:
    """What it signed is known again, and its number and the rounds that it answers go on behind that."""
    record = record_of(workspace)
    held = {known.id for known in (*record.said, *record.lost)}
    return [sorted(held), record.answered, record.resumes > 0]


def recovered_behind_masks(workspace: Path) -> object:
    """Each time is a restore of its own: new mask keys, and a receipt that brings them, whose last one counts."""
    record, held = record_of(workspace), maskkeys.held(workspace / "keys" / "mask")
    kinds = {known.kind for known in (*record.said, *record.lost)}
    return [sorted(kinds), record.answered, len(held), record.resumes > 0]


def lists_the_new_keys(world: small.Federation, workspace: Path) -> None:
    """The coordinator takes the newest certificate, and the attempt that lists it is begun with these keys."""
    in_place(world, workspace, world.site("aa"))
    (held,) = maskkeys.held(world.site("aa") / "keys" / "mask")
    void.void(world.coordinator, small.now(), "aa was restored")
    newest = record_of(world.coordinator).newest("model")
    assert newest is not None
    path = world.coordinator / "archive" / f"{newest.id}.fedmed"
    listed = {each.site: each.index for each in inspection.inspect(path).statement.predicate.body.masks}
    assert listed["aa"] == held


def asks_about_the_same_sum(workspace: Path) -> object:
    notes = record_of(workspace).notes
    return [recovered(workspace), [facts["updates"] for _, facts in notes if facts["what"] == attempts.INCLUDED]]


def dismissed(workspace: Path) -> object:
    return record_of(workspace).dismissed


def revoked(workspace: Path) -> object:
    record = record_of(workspace)
    return [list(record.revoked.values()), statements(workspace)]


def known_to(root: Path) -> small.Federation:
    """A round has passed."""
    return closed(small.founded(root))


def rotated(workspace: Path) -> object:
    """One next key, which is the one that was said."""
    (said,) = record_of(workspace).of("rotation")
    public_key = keys.load(workspace / "keys" / "next.key").public_key().public_bytes_raw()
    assert said.payload == keys.digest_in(keys.fingerprint(public_key))
    return statements(workspace)


def in_force(workspace: Path) -> object:
    """What the ledger says it signs with lies in its place, and the next key is there no more."""
    record = record_of(workspace)
    public_key = keys.load(workspace / "keys" / "signing.key").public_key().public_bytes_raw()
    return [record.keys[-1] == keys.fingerprint(public_key), len(record.keys), statements(workspace)]


def renewing(root: Path, name: str) -> Stage:
    """The round can be closed, and the owner of a key has replaced it: what follows knows versions behind the first. A
    revocation stands, which the coordinator says anew with its next key.
    """
    world = small.founded(root)
    revoke.revoke(world.coordinator, world.sites[-1], 50, "an old laptop", small.now())
    act, where = (renew, world.coordinator) if name == "coordinator" else (rotate, world.site(name))
    act.rotate(where, small.now())
    return Stage(answered(world).coordinator)


def renewed(root: Path) -> Stage:
    """The version of the federation that names aa's new key lies in its inbox."""
    world = tables.founded(root, recipe=tabular())
    rotate.rotate(world.site("aa"), small.now())
    return Stage(closed(world).site("aa"))


TRUST = (
    Row("keys rotate", "site-rotate", lambda root: site(known_to(root)), rotated),
    Row("keys rotate, masked", "site-rotate", lambda root: site(masking(root)), rotated),
    Row("keys rotate, at the coordinator", "rotate", lambda root: coordinator(known_to(root)), rotated),
    Row("aggregate, with a site's new key", "aggregate", lambda root: renewing(root, "aa"), in_force),
    Row("aggregate, with a new key", "aggregate", lambda root: renewing(root, "coordinator"), in_force),
    Row("train-local, with a new key", "train-local", renewed, in_force, is_heavy=True),
    Row("keys revoke", "revoke", lambda root: coordinator(known_to(root))),
    Row("recover", "site-recover", lambda root: restored_site(root, small.founded(root), small.seal_update), recovered),
    Row(
        "recover, masked",
        "site-recover",
        lambda root: restored_site(root, masking(root), lambda path: small.seal_masked(path, 0.1)),
        recovered_behind_masks,
        behind=lists_the_new_keys,
    ),
    Row("recover, at the coordinator", "recover", restored_coordinator, recovered, is_apart=True),
    Row(
        "recover, masked, at the coordinator",
        "recover",
        restored_behind_requests,
        asks_about_the_same_sum,
        is_apart=True,
    ),
    Row("recover --for", "site-vouch", lambda root: site(known_to(root))),
    Row("recover --for, at the coordinator", "vouch", lambda root: coordinator(known_to(root))),
    Row("recover --dismiss", "site-dismiss", lambda root: site(known_to(root)), dismissed),
    Row("recover --dismiss, at the coordinator", "dismiss", lambda root: coordinator(known_to(root)), dismissed),
)
