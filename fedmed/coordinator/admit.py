"""`admit`: take a hospital's join file into the roster, and show the fingerprint to compare over the phone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedmed import settings
from fedmed.coordinator import desk
from fedmed.errors import FedmedError, about
from fedmed.exchange import admission, agekeys, archived, bodies_roster, certificates, examining, intake, keys

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from pathlib import Path

    from fedmed.exchange.workspace import Workspace


@dataclass(frozen=True)
class Admitted:
    """One site of the roster. `fingerprint` covers the whole join statement: name, key, contact, nonce."""

    name: str
    contact: str
    key: str
    fingerprint: str
    is_new: bool


def admit(root: Path, paths: Sequence[Path], now: datetime, fingerprint: str | None = None) -> list[Admitted]:
    """`fingerprint`, had from the site by another channel, must be that of the one join given; it may then take the
    place of an earlier join of that name, which was an impostor's or a mistake.

    Raises FedmedError FM-FED-02 after `start`, FM-SET-06 for a name or key that is taken, FM-TRU-12 for another
    fingerprint, FM-SHR-01, FM-SHR-02, FM-SHR-05 for mask keys with which the first model would stop, FM-TIM-02,
    FM-SIG-*, FM-FRM-*, FM-USE-01.
    """
    if fingerprint is not None and len(paths) != 1:
        raise FedmedError("FM-USE-01", f"--fingerprint: expected one join file, got {len(paths)}")
    with desk.opened(root, now) as found:
        return [_admit_one(found, path, now, fingerprint) for path in paths]


def _admit_one(found: Workspace, path: Path, now: datetime, fingerprint: str | None) -> Admitted:
    with about(path):
        data, envelope, said = examining.open_self_signed(path, "join")
        admission.require_past(said, now)
    if fingerprint is not None and keys.normalise_spoken(fingerprint) != envelope.id[: keys.SPOKEN]:
        words = f"{said.sender}: the join has another fingerprint than the one given{keys.misread(fingerprint)}"
        raise FedmedError("FM-TRU-12", words)
    body = said.predicate.body
    if not isinstance(body, bodies_roster.Join):
        raise TypeError("a join has the body of a join")
    fresh = all(known.id != envelope.id for known in found.record.received)
    if fresh:
        _check_free(found, body, may_replace=fingerprint is not None)
        _check_mask(found, body)
        known = intake.to_known(envelope.id, said, "accepted", found.name)
        intake.keep(found, data, known, "admit", now, roster={"name": body.name, "key": body.key, "age": body.age})
    key = keys.fingerprint(envelope.signature.public_key)
    return Admitted(body.name, body.contact, key, keys.spoken(envelope.id), fresh)


def _check_free(found: Workspace, body: bodies_roster.Join, *, may_replace: bool) -> None:
    name, key = body.name, body.key
    if found.record.newest("federation"):
        raise FedmedError("FM-FED-02", f"{name}: the roster is frozen since the federation started")
    if not settings.is_site_name(name):
        raise FedmedError("FM-SET-06", f"{name}: not a name for a site")
    for other in roster(found):
        if name == other.name and not may_replace:
            next_ = "compare both fingerprints with the site, then fedmed admit the right join with --fingerprint"
            raise FedmedError("FM-SET-06", f"{name}: another join of that name was admitted before", next=next_)
        if name != other.name and (key == other.key or body.age == other.age):
            raise FedmedError("FM-SET-06", f"{name}: the key is already in the roster as {other.name}")
    if key == keys.public_line(found.public_key) or body.age == agekeys.recipient(found.age_key):
        raise FedmedError("FM-SET-06", f"{name}: the key is the coordinator's own")


def _check_mask(found: Workspace, body: bodies_roster.Join) -> None:
    """Its mask certificate can stand in a model beside those of the other seats."""
    next_ = "call that site: its join is not admitted; a workspace made anew there gives a join with other keys"
    try:
        certificates.check(body.mask, body.name, keys.parse_public_line(body.key), None)
    except FedmedError as error:
        error.next = next_
        raise
    for seat in roster(found):
        other = archived.read_archived(found, seat.join).predicate.body
        if not isinstance(other, bodies_roster.Join):
            raise TypeError("a join has the body of a join")
        if seat.name != body.name and {body.mask.dh, body.mask.kem} & {other.mask.dh, other.mask.kem}:
            words = f"the mask key is already in the roster as {seat.name}'s"
            raise FedmedError("FM-SHR-02", f"mask certificate of {body.name}: {words}", next=next_)


@dataclass(frozen=True)
class Seat:
    """A site that was admitted, as the ledger tells it."""

    name: str
    key: str
    age: str
    join: str


def roster(found: Workspace) -> list[Seat]:
    """Admitted sites, by name."""
    seats = {
        entry.facts["roster"]["name"]: Seat(**entry.facts["roster"], join=entry.facts["id"])
        for entry in found.ledger.entries
        if entry.event == "received" and entry.facts["kind"] == "join"
    }
    return sorted(seats.values(), key=lambda seat: seat.name)
