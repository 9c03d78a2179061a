"""An actor's folder: keys, doors, archive, state. One workspace is one federation and one key pair."""

from __future__ import annotations

import shlex
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedmed import files
from fedmed.errors import FedmedError
from fedmed.exchange import agekeys, keys, lock
from fedmed.exchange.ledger import Ledger
from fedmed.exchange.record import KEY, Record, facts_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from fedmed.exchange.ledger import Entry
    from fedmed.exchange.record import Known

CACHE = "cache"  # prepared cases: patient data, and nothing that cannot be made again
PRIVATE = ("keys", "archive", "quarantine", "state", "state/spool", "state/seen", CACHE, "logs", "reports")


@dataclass
class Workspace:
    """An opened workspace. `record` follows every entry that goes through `write_entry`, and `key` becomes the next one
    when the federation comes to name it.
    """

    root: Path
    role: str
    name: str
    inbox: Path
    outbox: Path
    key: Ed25519PrivateKey
    ledger: Ledger
    record: Record

    @property
    def public_key(self) -> bytes:
        return self.key.public_key().public_bytes_raw()

    def owns(self, public_key: bytes) -> bool:
        """Whether this workspace signs with it, or did."""
        return keys.fingerprint(public_key) in {*self.record.keys, keys.fingerprint(self.public_key)}

    @property
    def spool(self) -> Path:
        return self.root / "state" / "spool"

    @property
    def mask_keys(self) -> Path:
        """A site's private halves of its mask certificates (`maskkeys`)."""
        return self.root / "keys" / "mask"

    @property
    def age_key(self) -> Path:
        """What opens payloads that are encrypted to this actor (`agekeys`)."""
        return self.root / "keys" / "age.key"

    def archived(self, statement_id: str) -> Path:
        return self.root / "archive" / f"{statement_id}.fedmed"

    def write_entry(self, command: str, event: str, now: datetime, **facts: object) -> Entry:
        """Append to the ledger and keep `record` in step."""
        entry = self.ledger.append(command, event, now, **facts)
        self.record.add(entry)
        return entry

    def write_known(self, command: str, event: str, now: datetime, known: Known, **facts: object) -> Entry:
        return self.write_entry(command, event, now, **facts_of(known), **facts)


@contextmanager
def founded(root: Path, role: str, name: str, now: datetime) -> Iterator[Workspace]:
    """A new workspace with its key, or one whose `init` was killed; the caller writes fedmed.yaml last and ends it.

    Raises FedmedError FM-SET-04 when `root` is a workspace already, FM-WAI-01.
    """
    if (root / "fedmed.yaml").exists():
        raise _exists(root)
    make_folders(root)
    with locked(root):
        if not (root / "keys" / "signing.key").exists():
            keys.create(root / "keys" / "signing.key")
        if not (root / "keys" / "age.key").exists():
            agekeys.create(root / "keys" / "age.key")
        found = _read(root, role, name, "inbox", "outbox")
        begun = next((entry.facts for entry in found.ledger.entries), None)
        if begun is None:
            found.write_entry("init", "founded", now, role=role, name=name, key=keys.fingerprint(found.public_key))
        elif (begun["role"], begun["name"]) != (role, name):
            raise FedmedError(
                "FM-SET-04", f"the workspace of {begun['name']} was begun here", next="choose another folder"
            )
        yield found


def _exists(root: Path) -> FedmedError:
    message, next_ = "a workspace is here already; nothing was changed", f"fedmed status -w {shlex.quote(str(root))}"
    return FedmedError("FM-SET-04", message, next=next_, local=str(root))


def make_folders(root: Path) -> None:
    """What a workspace consists of; folders that are there already are kept."""
    for name in PRIVATE:
        files.make_private(root / name)
    for name in ("inbox", "outbox"):
        files.make_folder(root / name)


def load(root: Path, role: str, name: str, inbox: str, outbox: str) -> Workspace:
    """Raises FedmedError FM-KEY-01, FM-KEY-02, FM-TRU-08, FM-SET-03 when fedmed.yaml is no longer of this workspace."""
    found = _read(root, role, name, inbox, outbox)
    _require_founded(found)
    return found


def _read(root: Path, role: str, name: str, inbox: str, outbox: str) -> Workspace:
    ledger = Ledger(root / "state" / "ledger.jsonl")
    record = Record(ledger.entries)
    key = held_key(root, record)
    return Workspace(root, role, name, root / inbox, root / outbox, key, ledger, record)


def next_key(root: Path) -> Path:
    """The key that a rotation names, until it is in force."""
    return root / "keys" / "next.key"


def held_key(root: Path, record: Record) -> Ed25519PrivateKey:
    """The key to sign with, by the ledger; it lies in its old place when a command was killed that put it in force.

    Raises FedmedError FM-KEY-01, FM-KEY-02.
    """
    if record.keys[1:] and next_key(root).exists():
        key = keys.load(next_key(root))
        if keys.fingerprint(key.public_key().public_bytes_raw()) == record.keys[-1]:
            return key
    return keys.load(root / "keys" / "signing.key")


def use_next_key(found: Workspace, in_force: bytes, now: datetime) -> None:
    """Sign with the next key from here on, and erase the one before, if the next is the one in force by the federation.

    The ledger comes first: whatever a kill leaves in keys/, the ledger says which of both it is. Raises FM-KEY-*,
    FM-RES-*.
    """
    path = next_key(found.root)
    if not path.exists():
        return
    key = keys.load(path)
    public_key = key.public_key().public_bytes_raw()
    if public_key != in_force:
        return
    if found.record.keys[-1] != keys.fingerprint(public_key):
        found.write_entry("keys rotate", "note", now, what=KEY, key=keys.fingerprint(public_key))
    keys.replace(found.root / "keys" / "signing.key", path)
    found.key = key


def _require_founded(found: Workspace) -> None:
    """The ledger's first line says whose workspace this is; a lost ledger must not begin anew with used numbers."""
    first = next(iter(found.ledger.entries), None)
    if first is None or first.event != "founded":
        raise FedmedError("FM-TRU-08", "the ledger is missing or does not begin with the founding")
    expected = f"{first.facts.get('role')} {first.facts.get('name')}"
    if expected != f"{found.role} {found.name}":
        raise FedmedError("FM-SET-03", f"fedmed.yaml: expected {expected}, as founded, got {found.role} {found.name}")
    if found.record.keys[-1] != keys.fingerprint(found.public_key):
        raise FedmedError("FM-KEY-02", "signing.key: not the key that this workspace signs with, by its ledger")


@contextmanager
def locked(root: Path) -> Iterator[None]:
    """Only one command at a time works in a workspace; the system frees the lock when a process dies.

    Raises FedmedError FM-SET-01, FM-WAI-01, FM-RES-*.
    """
    if not (root / "state").is_dir():
        raise FedmedError("FM-SET-01", "expected a workspace here, found none", local=str(root))
    with lock.held(root / "state"):
        yield
