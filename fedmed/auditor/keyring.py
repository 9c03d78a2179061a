"""`keys`: fingerprints to compare, and the roster in the form that `ssh-keygen -Y verify` reads."""

from __future__ import annotations

import shlex
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedmed.errors import FedmedError, about
from fedmed.exchange import agekeys, examining, federation, keys, pins, workspace
from fedmed.exchange.ledger import Ledger
from fedmed.exchange.record import Record

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from fedmed.exchange.artifact import Envelope
    from fedmed.exchange.statement import Statement

_NO_FEDERATION = ("FM-FRM-01", "FM-SIG-04")


@dataclass(frozen=True)
class Peer:
    """A site of the roster. `is_pinned`: this operator has confirmed it with that hospital. `is_revoked`: the
    coordinator took its key back.
    """

    name: str
    key: str
    is_pinned: bool
    is_revoked: bool = False


@dataclass(frozen=True)
class Fingerprints:
    """`key` is what `ssh-keygen -lf` prints, `next_key` the one that a rotation names; `join` and `federation` are what
    people read over the phone, of the version that they approved; `version` is the one in force, with the fingerprint
    `later` where it follows that. `peers` are the other sites. `is_revoked`: the coordinator took back the key of this
    workspace.
    """

    key: str
    join: str
    federation: str
    peers: list[Peer]
    next_key: str = ""
    is_revoked: bool = False
    version: int = 0
    later: str = ""


def fingerprints(root: Path) -> Fingerprints:
    """Of a workspace. Raises FedmedError FM-SET-01, FM-KEY-*."""
    record = _record(root)
    key = workspace.held_key(root, record).public_key().public_bytes_raw()
    own = next((known.id for known in record.said if known.kind == "join"), "")
    agreed = min(record.of("federation"), key=lambda known: known.seq, default=None)  # the version people compared
    newest = record.newest("federation")
    path = workspace.next_key(root)
    next_ = keys.fingerprint(keys.load(path).public_key().public_bytes_raw()) if path.exists() else ""
    return Fingerprints(
        keys.fingerprint(key),
        keys.spoken(own) if own else "",
        keys.spoken(agreed.id) if agreed else "",
        _peers(root, record, keys.fingerprint(key)),
        next_ if next_ != keys.fingerprint(key) else "",
        keys.fingerprint(key) in record.revoked,
        newest.version if newest else 0,
        keys.spoken(newest.id) if newest and newest != agreed else "",
    )


def _peers(root: Path, record: Record, own: str) -> list[Peer]:
    agreed = record.newest("federation")
    if agreed is None:
        return []
    _, envelope, said = examining.open_self_signed(root / "archive" / f"{agreed.id}.fedmed", "federation")
    in_force = federation.from_statement(said, envelope.id)
    pinned = pins.confirmed(record, in_force)
    return [
        Peer(each.name, each.key, each.name in pinned, each.key in record.revoked)
        for each in in_force.sites()
        if each.key != own
    ]


def allowed_signers(root: Path, federation_path: Path | None) -> str:
    """From a federation file, or the federation in force in a workspace, which also knows what keys were revoked.

    Raises FedmedError FM-FED-03, FM-FRM-*.
    """
    revoked: dict[str, str] = {}
    if federation_path is not None:
        path = federation_path
    else:
        record = _record(root)
        agreed = record.newest("federation")
        if agreed is None:
            raise FedmedError("FM-FED-03", "no federation is in force here")
        path = root / "archive" / f"{agreed.id}.fedmed"
        revoked = {keys.fingerprint_of(each.payload): each.created for each in reversed(record.of("revocation"))}
    _, envelope, said = federation_file(path)
    return federation.allowed_signers(federation.from_statement(said, envelope.id), said.predicate.created, revoked)


def federation_file(path: Path) -> tuple[bytes, Envelope, Statement]:
    """The one that somebody names. Raises FedmedError as `examining.open_self_signed`."""
    try:
        with about(path):
            return examining.open_self_signed(path, "federation")
    except FedmedError as error:
        if error.code in _NO_FEDERATION:
            error.next = f"{shlex.quote(str(path))}: give a federation file, such as federation-v0001.fedmed"
        raise


def age_key(root: Path | None, path: Path | None) -> Path | None:
    """The key that somebody names as that of a recipient, else that of the workspace `root`.

    Raises FedmedError FM-KEY-01, FM-KEY-02, FM-SET-01.
    """
    if path is None:
        if root is not None:
            require_workspace(root)
        return None if root is None else root / "keys" / "age.key"
    try:
        agekeys.load(path)
    except FedmedError as error:  # no key of a workspace here is at fault
        name = shlex.quote(str(path))
        error.next = f"chmod 600 {name}" if error.code == "FM-KEY-01" else "give keys/age.key of a recipient: --age-key"
        raise
    return path


@contextmanager
def opened_by(said: Statement) -> Iterator[None]:
    """What does not open with the key that was given is told as that: its bytes are those that were signed.

    Raises FedmedError FM-AGE-02.
    """
    try:
        yield
    except FedmedError as error:
        if error.code != "FM-AGE-02":
            raise
        names = ", ".join([said.sender, *(each.name for each in getattr(said.predicate, "recipients", ()))])
        message = f"{said.kind} of {said.sender}: the age key given is not one of those that it is encrypted to"
        next_ = f"give the age key of one of {names}: its workspace as -w, or its keys/age.key as --age-key"
        raise FedmedError("FM-AGE-02", message, next=next_, local=error.local) from error


def require_workspace(root: Path) -> None:
    """Raises FedmedError FM-SET-01."""
    if not (root / "state").is_dir():
        raise FedmedError("FM-SET-01", "expected a workspace here, found none")


def _record(root: Path) -> Record:
    require_workspace(root)
    return Record(Ledger(root / "state" / "ledger.jsonl").entries)
