"""`keys rotate`: an actor replaces its own signing key, and signs with the old one until a version of the federation
names the new one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedmed.errors import FedmedError
from fedmed.exchange import keys, maskkeys, predicates, rotations, sealing, statement
from fedmed.exchange.bodies_roster import Rotation
from fedmed.exchange.federation import COORDINATOR
from fedmed.exchange.workspace import next_key

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from fedmed.exchange.federation import Federation
    from fedmed.exchange.record import Known
    from fedmed.exchange.sealing import Opening
    from fedmed.exchange.workspace import Workspace


@dataclass(frozen=True)
class Rotated:
    """The fingerprints of the key in force and of the one that comes next, and the file that says so."""

    old: str
    new: str
    is_new: bool
    posted: Path


def rotate(
    workspace: Workspace, federation: Federation, now: datetime, mask_index: int | None = None, *, anew: bool = False
) -> Rotated:
    """Safe to repeat: one key is replaced by one, and the key that lies in keys/next.key already is the next one.

    `mask_index`: at a site that of new mask keys. `anew`: those that a rotation named are outdated, it is said again.

    Raises FedmedError FM-ROS-14 when the next key was lost, FM-ROS-15 when the federation is over, FM-KEY-*, FM-RES-*.
    """
    newest, path = workspace.record.newest("model"), next_key(workspace.root)
    if newest is not None and newest.last:
        raise FedmedError("FM-ROS-15", "the last model is here, and no version of the federation follows it")
    said = next(
        (each for each in rotations.pending(workspace.record, federation) if each.sender == workspace.name), None
    )
    if said is None and not path.exists():
        keys.create(path)
    new = _next(path)
    public_key = new.public_key().public_bytes_raw()
    if said is not None and said.payload != keys.digest_in(keys.fingerprint(public_key)):
        raise FedmedError("FM-ROS-14", f"{path.name}: another key than the one that {workspace.name} has named")
    stands = None if anew else said
    known = stands or _say(workspace, federation, new, mask_index, now)
    old = keys.fingerprint(workspace.public_key)
    return Rotated(old, keys.fingerprint(public_key), stands is None, sealing.post(workspace, known))


def _next(path: Path) -> Ed25519PrivateKey:
    if not path.exists():
        raise FedmedError("FM-ROS-14", f"{path.name}: the key that this workspace has named is not here")
    return keys.load(path)


def _say(
    workspace: Workspace, federation: Federation, new: Ed25519PrivateKey, mask_index: int | None, now: datetime
) -> Known:
    name, id_, public_key = workspace.name, federation.founding.id, new.public_key().public_bytes_raw()
    is_site = name != COORDINATOR
    mask = None if mask_index is None else maskkeys.make(workspace.mask_keys, new, name, id_, mask_index).certificate
    proof = rotations.proven(new, id_, name, workspace.public_key)
    body = Rotation(key=keys.public_line(public_key), proof=proof, mask=mask)

    def build(opening: Opening, payload: list[predicates.Payload], _: list[statement.Subject]) -> statement.Statement:
        predicate = predicates.RotationPredicate(
            **opening.fields(),
            kind="rotation",
            federation=federation.membership,
            recipients=[federation.coordinator()] if is_site else federation.sites(),
            ack=workspace.record.last_from(COORDINATOR) if is_site else None,
            payload=payload,
            body=body,
        )
        digest = keys.digest_in(keys.fingerprint(public_key))
        return statement.make("rotation", statement.about("rotation", digest), predicate)

    return sealing.say(workspace, "keys rotate", "rotation", None, [], build, now)
