"""The hospital's budget store: every training with differential privacy that has looked at a patient, by whomever.

One folder for the whole hospital, outside of every workspace: federations that see the same people compose. A patient
is known to it by a keyed hash under the store's own key. What is reserved is spent, whether the training ended or not.
"""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from fedmed import files
from fedmed.errors import CODES, FedmedError
from fedmed.exchange import archived, bodies, keys, lock, statement
from fedmed.exchange.ledger import Ledger
from fedmed.exchange.recovery import RESERVED
from fedmed.learning import accounting
from fedmed.learning.accounting import Event
from fedmed.site import budget_lines
from fedmed.site.budget_lines import Charge, Cohort, Confirmation, Founded, Reservation

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime
    from pathlib import Path

    from fedmed.site.desk import Site

KEY_BYTES = 32
PATIENCE = 30.0  # seconds, for another workspace of the hospital that writes a line
LINES = "budget.jsonl"
CHARGED = "charged"  # what a note of a workspace is called about steps that were charged to its reservation


@dataclass(frozen=True)
class Reserved:
    """One training as the store knows it. `extra` are steps that a crash threw away. `sealed` is the update's id."""

    id: str
    workspace: str
    federation: str
    recipe: str
    round: int
    patients_per_step: int
    num_patients: int
    noise_multiplier: float
    steps: int
    delta: float
    cohort: str
    extra: int = 0
    sealed: str = ""

    @property
    def events(self) -> list[Event]:
        return [Event(self.rate, self.noise_multiplier, self.steps + self.extra)]

    @property
    def rate(self) -> float:
        return min(1.0, self.patients_per_step / self.num_patients)


class Store:
    """An open store. Raises FedmedError FM-PRV-02, and FM-PRV-03 where a line is not what this module writes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            self.ledger = Ledger(folder / LINES)
        except FedmedError as error:
            raise FedmedError("FM-PRV-03", f"budget.jsonl: {error.message}") from error
        except OSError as error:
            raise FedmedError("FM-PRV-02", "budget.jsonl: expected a file to read", local=str(error)) from error
        self.key = ""
        self.cohorts: dict[str, frozenset[str]] = {}
        self.reserved: dict[str, Reserved] = {}
        for number, entry in enumerate(self.ledger.entries, start=1):
            try:
                self._take(entry.facts)
            except (KeyError, ValueError) as error:
                raise FedmedError("FM-PRV-03", f"budget.jsonl: line {number}: not an entry") from error

    def _take(self, facts: dict[str, Any]) -> None:
        line = budget_lines.read(facts)
        if isinstance(line, Founded) == bool(self.key):
            raise ValueError("a store is founded once, and first")
        if isinstance(line, Founded):
            self.key = line.key
        elif isinstance(line, Cohort):
            self.cohorts[cohort_of(line.persons)] = frozenset(line.persons)
        elif isinstance(line, Reservation):
            if line.cohort not in self.cohorts or line.id in self.reserved:
                raise ValueError("a reservation of nobody, or twice")
            said = line.model_dump(exclude={"what"})
            said |= {"noise_multiplier": float(line.noise_multiplier), "delta": float(line.delta)}
            self.reserved[line.id] = Reserved(**said)
        elif isinstance(line, Charge):
            before = self.reserved[line.id]
            self.reserved[line.id] = replace(before, extra=before.extra + line.steps)
        else:
            self.reserved[line.id] = replace(self.reserved[line.id], sealed=line.sealed)

    def _write(self, now: datetime, line: budget_lines.Line) -> None:
        facts = line.model_dump()
        self.ledger.append("budget", "note", now, **facts)
        self._take(facts)

    def found(self, key: bytes, now: datetime) -> None:
        self._write(now, Founded(what="founded", key=hashlib.sha256(key).hexdigest()))

    def reserve(self, reserved: Reserved, persons: Sequence[str], now: datetime) -> None:
        """Durable before it returns. Raises FedmedError FM-RES-*."""
        if reserved.cohort not in self.cohorts:
            self._write(now, Cohort(what="cohort", persons=sorted(persons)))
        facts = {name: value for name, value in vars(reserved).items() if name not in ("extra", "sealed")}
        facts |= {"noise_multiplier": f"{reserved.noise_multiplier:.2f}", "delta": repr(reserved.delta)}
        self._write(now, Reservation(what="reserved", **facts))

    def charge(self, reservation: str, steps: int, now: datetime) -> None:
        """Steps that were taken and thrown away."""
        self._write(now, Charge(what="charged", id=reservation, steps=steps))

    def confirm(self, reservation: str, sealed: str, now: datetime) -> None:
        """What came of it has been sealed; nothing more comes of it."""
        self._write(now, Confirmation(what="confirmed", id=reservation, sealed=sealed))

    def of(self, persons: Sequence[str]) -> list[list[Reserved]]:
        """What has looked at these patients: one list for each set of trainings that some of them have in common."""
        found = {
            tuple(each.id for each in self.reserved.values() if person in self.cohorts[each.cohort])
            for person in persons
        }
        return [[self.reserved[name] for name in group] for group in sorted(found)]

    def spent(self, persons: Sequence[str], delta: float, more: Sequence[Event] = ()) -> float:
        """The epsilon of whoever of them has spent most, with `more` that all of them would take part in."""
        groups = self.of(persons) or [[]]
        return max(accounting.epsilon([*more, *_events(group)], min([delta, *_deltas(group)])) for group in groups)

    def everyone(self) -> list[str]:
        """All patients that anything has looked at."""
        return sorted(frozenset[str]().union(*self.cohorts.values()))


def _events(group: Sequence[Reserved]) -> list[Event]:
    return [event for each in group for event in each.events]


def _deltas(group: Sequence[Reserved]) -> list[float]:
    return [each.delta for each in group]


def cohort_of(persons: Sequence[str]) -> str:
    """What a set of patients is called in the store."""
    return hashlib.sha256("\n".join(sorted(persons)).encode()).hexdigest()


def new_id() -> str:
    return secrets.token_hex(16)


def folder_of(site: Site) -> Path:
    """Where the store lies. Raises FedmedError FM-PRV-01 where none is named, or one inside of a workspace or among the
    data, which are only ever read.
    """
    named = site.settings.privacy.budget_dir if site.settings.privacy else None
    if named is None:
        raise FedmedError("FM-PRV-01", "fedmed.yaml: privacy.budget_dir: expected a folder, got nothing")
    folder = (site.workspace.root / named).resolve()
    if any((above / "fedmed.yaml").exists() for above in (folder, *folder.parents)):
        raise FedmedError("FM-PRV-01", "fedmed.yaml: privacy.budget_dir lies inside of a workspace", local=str(folder))
    if site.settings.data and site.data_root.resolve() in (folder, *folder.parents):
        message = "fedmed.yaml: privacy.budget_dir lies inside of the data folder, which is only read"
        raise FedmedError("FM-PRV-01", message, local=str(folder))
    return folder


@contextmanager
def opened(site: Site, now: datetime, *, founds: bool = False) -> Iterator[Store]:
    """The store, for this process alone; one that is new only who `founds` it makes. Where a share is not mounted
    nothing is written: it would hide that.

    Raises FedmedError FM-PRV-01, -02, -03, FM-KEY-01, FM-WAI-01, FM-RES-*.
    """
    folder = folder_of(site)
    if not (folder / LINES).exists():
        _as_remembered(site, Store(folder))
        if not founds:
            raise _not_there()
    _require_writable(folder)
    with lock.held(folder, PATIENCE):
        store = Store(folder)
        _as_remembered(site, store)
        _found(store, now)
        key_of(store)
        yield store


def _require_writable(folder: Path) -> None:
    """Raises FedmedError FM-PRV-02, FM-RES-* where the disk is full or broken."""
    try:
        files.make_private(folder)
        with tempfile.TemporaryFile(dir=folder):  # without a name: a kill leaves nothing
            pass
    except (OSError, FedmedError) as error:
        cause = error if isinstance(error, OSError) else error.__cause__
        if isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO):
            raise files.disk_error(cause, folder) from error
        raise FedmedError("FM-PRV-02", "privacy.budget_dir: expected a folder to write to", local=str(error)) from error


def is_there(site: Site) -> bool:
    """Whether there is a store, or must be one. Raises FedmedError FM-PRV-01."""
    return (folder_of(site) / LINES).exists() or bool(_remembered(site))


def peek(site: Site) -> Store:
    """The store as it is, without its lock. Raises FedmedError FM-PRV-01, -02, -03, FM-KEY-01."""
    folder = folder_of(site)
    if not is_there(site):
        raise _not_there()
    store = Store(folder)
    _as_remembered(site, store)
    key_of(store)
    return store


def _not_there() -> FedmedError:
    next_ = f"{CODES['FM-PRV-02'].remedy}; if there never was a store: fedmed partition -w HERE"
    return FedmedError("FM-PRV-02", "privacy.budget_dir: no store is there", next=next_)


def _found(store: Store, now: datetime) -> None:
    """A new store with its key, whose name it gets last; or one whose founding was killed."""
    path, begun = store.folder / "key", store.folder / "key.new"
    if store.key or path.exists():  # it says what is wrong with it, if anything is: see key_of
        if store.key and begun.exists() and not path.exists():
            files.publish(begun, path)
        return
    files.write_atomic(begun, os.urandom(KEY_BYTES), mode=0o600)
    store.found(files.read_bounded(begun, KEY_BYTES), now)
    files.publish(begun, path)


def key_of(store: Store) -> bytes:
    """The key behind the names of patients. Raises FedmedError FM-PRV-03 where it is not the store's, FM-KEY-01."""
    path = store.folder / "key"
    if not path.exists():
        raise FedmedError("FM-PRV-03", "key: missing, and the names of all patients were made with it")
    keys.require_private(path)
    try:
        key = files.read_bounded(path, KEY_BYTES)
    except OSError as error:
        raise FedmedError("FM-PRV-02", "key: expected a file to read", local=str(error)) from error
    if hashlib.sha256(key).hexdigest() != store.key:
        raise FedmedError("FM-PRV-03", "key: not the one that budget.jsonl was founded with")
    return key


def _remembered(site: Site) -> dict[str, int]:
    """By id, what this workspace noted or signed that the store must hold: reservations and steps charged to them.

    Its ledger, whose head stands in what it signed, has the notes; its own updates name their reservation, also those
    that a restored workspace has back from the other side (`recover`).
    """
    found: dict[str, int] = {}
    for _, facts in site.workspace.record.notes:
        if facts.get("what") in (RESERVED, CHARGED):
            found[facts["id"]] = found.get(facts["id"], 0) + facts.get("steps", 0)
    for known in site.workspace.record.of("update", sender=site.workspace.name):
        if (name := _signed(site, known.id)) is not None:
            found.setdefault(name, 0)
    return found


def _signed(site: Site, statement_id: str) -> str | None:
    """The reservation that an update of this workspace names."""
    body = statement.decode(archived.read_envelope(site.workspace, statement_id).raw).predicate.body
    return body.reservation if isinstance(body, bodies.Update) else None


def sealed(site: Site) -> dict[str, str]:
    """Reservations that this workspace has signed an update of, with the id of its statement.

    Also of an update that a restored workspace knows by its statement alone: nothing more may come of that reservation.
    """
    record = site.workspace.record
    updates = record.of("update", sender=site.workspace.name)
    found = {name: known.id for known in updates if (name := _signed(site, known.id)) is not None}
    notes = [facts for _, facts in record.notes if facts.get("what") == RESERVED and "update" in facts]
    return {**{facts["id"]: facts["update"] for facts in notes}, **found}


def _as_remembered(site: Site, store: Store) -> None:
    """A store without what the workspace remembers is an older copy, or another store. Raises FedmedError FM-PRV-03."""
    known = _remembered(site)
    gone = sum(name not in store.reserved or store.reserved[name].extra < extra for name, extra in known.items())
    if gone:
        message = f"budget.jsonl: {gone} of {len(known)} reservations of this workspace are gone or say less"
        is_gone = not store.ledger.entries
        next_ = f"{CODES['FM-PRV-02'].remedy}; else {CODES['FM-PRV-03'].remedy}" if is_gone else ""
        raise FedmedError("FM-PRV-03", message, next=next_)
