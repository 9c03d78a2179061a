"""The hospital's budget store: every training with differential privacy that has looked at a patient, by whomever.

One folder for the whole hospital, outside of every workspace: federations that see the same people compose. A patient
is known to it by a keyed hash under the store's own key. What is reserved is spent, whether the training ended or not.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fedmed import files
from fedmed.errors import FedmedError
from fedmed.exchange import keys, lock
from fedmed.exchange.ledger import Ledger
from fedmed.learning import accounting
from fedmed.learning.accounting import Event

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime
    from pathlib import Path

    from fedmed.site.desk import Site

KEY_BYTES = 32


@dataclass(frozen=True)
class Reserved:
    """One training as the store knows it. `extra` are steps that a crash threw away. `sealed` is the update's id."""

    id: str
    workspace: str
    federation: str
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
    """An open store. Raises FedmedError FM-PRV-03 where a line is not what this module writes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            self.ledger = Ledger(folder / "budget.jsonl")
        except FedmedError as error:
            raise FedmedError("FM-PRV-03", f"budget.jsonl: {error.message}") from error
        self.cohorts: dict[str, frozenset[str]] = {}
        self.reserved: dict[str, Reserved] = {}
        for number, entry in enumerate(self.ledger.entries, start=1):
            try:
                self._take(entry.facts)
            except (KeyError, TypeError, ValueError) as error:
                raise FedmedError("FM-PRV-03", f"budget.jsonl: line {number}: not an entry") from error

    def _take(self, facts: dict[str, Any]) -> None:
        what, rest = facts["what"], {name: value for name, value in facts.items() if name != "what"}
        if what == "cohort":
            self.cohorts[_digest(rest["persons"])] = frozenset(rest["persons"])
        elif what == "reserved":
            noise, delta = float(rest.pop("noise_multiplier")), float(rest.pop("delta"))
            found = Reserved(**rest, noise_multiplier=noise, delta=delta)
            if found.cohort not in self.cohorts or found.id in self.reserved:
                raise ValueError("a reservation of nobody, or twice")
            self.reserved[found.id] = found
        elif what in ("charged", "confirmed"):
            before = self.reserved[rest["id"]]
            changed = {"extra": before.extra + rest["steps"]} if what == "charged" else {"sealed": rest["sealed"]}
            self.reserved[before.id] = Reserved(**{**vars(before), **changed})
        else:
            raise ValueError("another entry")

    def _write(self, now: datetime, **facts: Any) -> None:
        self.ledger.append("budget", "note", now, **facts)
        self._take(facts)

    def reserve(self, reserved: Reserved, persons: Sequence[str], now: datetime) -> None:
        """Durable before it returns. Raises FedmedError FM-RES-*."""
        if reserved.cohort not in self.cohorts:
            self._write(now, what="cohort", persons=sorted(persons))
        facts = {
            **vars(reserved),
            "noise_multiplier": f"{reserved.noise_multiplier:.2f}",
            "delta": repr(reserved.delta),
        }
        del facts["extra"], facts["sealed"]
        self._write(now, what="reserved", **facts)

    def charge(self, reservation: str, steps: int, now: datetime) -> None:
        """Steps that were taken and thrown away."""
        self._write(now, what="charged", id=reservation, steps=steps)

    def confirm(self, reservation: str, sealed: str, now: datetime) -> None:
        """What came of it has been sealed; nothing more comes of it."""
        self._write(now, what="confirmed", id=reservation, sealed=sealed)

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


def _events(group: Sequence[Reserved]) -> list[Event]:
    return [event for each in group for event in each.events]


def _deltas(group: Sequence[Reserved]) -> list[float]:
    return [each.delta for each in group]


def _digest(persons: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(sorted(persons)).encode()).hexdigest()


def cohort_of(persons: Sequence[str]) -> str:
    """What a set of patients is called in the store."""
    return _digest(persons)


def new_id() -> str:
    return secrets.token_hex(16)


def folder_of(site: Site) -> Path:
    """Where the store lies. Raises FedmedError FM-PRV-01 where none is named, or one inside of a workspace."""
    named = site.settings.privacy.budget_dir if site.settings.privacy else None
    if named is None:
        raise FedmedError("FM-PRV-01", "fedmed.yaml: privacy.budget_dir: expected a folder, got nothing")
    folder = (site.workspace.root / named).resolve()
    if any((above / "fedmed.yaml").exists() for above in (folder, *folder.parents)):
        raise FedmedError("FM-PRV-01", "fedmed.yaml: privacy.budget_dir lies inside of a workspace", local=str(folder))
    return folder


@contextmanager
def opened(site: Site) -> Iterator[Store]:
    """The store, for this process alone. Raises FedmedError FM-PRV-01, -02, -03, FM-WAI-01."""
    folder = folder_of(site)
    try:
        files.make_private(folder)
        probe = folder / "probe.part"
        files.write_atomic(probe, b"", mode=0o600)
        probe.unlink()
    except (OSError, FedmedError) as error:
        raise FedmedError("FM-PRV-02", "privacy.budget_dir: expected a folder to write to", local=str(error)) from error
    with lock.held(folder):
        store = Store(folder)
        _as_remembered(site, store)
        yield store


def peek(site: Site) -> Store:
    """The store as it is, without its lock. Raises FedmedError FM-PRV-01, -02, -03."""
    folder = folder_of(site)
    if not (folder / "key").exists():
        raise FedmedError("FM-PRV-02", "privacy.budget_dir: no store is there yet", next="fedmed partition")
    store = Store(folder)
    _as_remembered(site, store)
    return store


def _as_remembered(site: Site, store: Store) -> None:
    """The workspace's own ledger, whose head stands in what it signed, says what was reserved: a store without that is
    an older copy, or another store. Raises FedmedError FM-PRV-03.
    """
    noted = [facts for _, facts in site.workspace.record.notes if facts.get("what") == "reserved"]
    missing = sum(facts["id"] not in store.reserved for facts in noted)
    if missing:
        raise FedmedError(
            "FM-PRV-03", f"budget.jsonl: {missing} of {len(noted)} reservations of this workspace are gone"
        )


def person_key(site: Site) -> bytes:
    """The key behind the names of patients in the store; made when first asked for.

    Raises FedmedError FM-PRV-01, -02, FM-KEY-01, -02, and FM-PRV-03 for a store that has lost it.
    """
    with opened(site) as store:
        path = store.folder / "key"
        if not path.exists():
            if store.ledger.length:
                raise FedmedError("FM-PRV-03", "key: missing, and the store holds reservations made with it")
            files.write_atomic(path, os.urandom(KEY_BYTES), mode=0o600)
        keys.require_private(path)
        key = files.read_bounded(path, KEY_BYTES)
    if len(key) != KEY_BYTES:
        raise FedmedError("FM-PRV-03", f"key: expected {KEY_BYTES} bytes, got {len(key)}")
    return key
