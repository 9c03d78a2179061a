"""`keys revoke`: a site's key is stolen or lost; what it signs from a number on counts nowhere, at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedmed.coordinator import desk
from fedmed.errors import FedmedError
from fedmed.exchange import archived, keys, predicates, sealing, statement
from fedmed.exchange.bodies_roster import Revocation
from fedmed.strict import require_said

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from fedmed.exchange.federation import Federation
    from fedmed.exchange.record import Known
    from fedmed.exchange.sealing import Opening
    from fedmed.exchange.workspace import Workspace


@dataclass(frozen=True)
class Revoked:
    """`undone`: how many statements that were taken in here do not count any more."""

    site: str
    key: str
    last_seq: int
    is_new: bool
    undone: int
    posted: Path


def revoke(root: Path, site: str, last_seq: int, reason: str, now: datetime) -> Revoked:
    """Safe to repeat; a lower number may follow, a higher one changes nothing.

    Raises FedmedError FM-FED-03, FM-ROS-03 (no such site), FM-USE-01 (no reason).
    """
    require_said("--reason", reason)
    with desk.opened(root, now) as found:
        federation = desk.require_started(found).agreement.federation
        if site not in federation.site_names:
            raise FedmedError("FM-ROS-03", f"expected one of {', '.join(federation.site_names)}, got {site[:40]!r}")
        key = keys.fingerprint(keys.parse_public_line(federation.member(site).key))
        before = found.record.revoked.get(key)
        is_new = before is None or last_seq < before
        if is_new:
            known = _say(found, federation, Revocation(site=site, key=key, last_seq=last_seq, reason=reason), now)
        else:
            known = _by_the_key_of_now(found, federation, key, now)
        last = found.record.revoked[key]
        undone = sum(each.key == key and each.seq > last for each in found.record.received)
        return Revoked(site, key, last, is_new, undone, sealing.post(found, known))


def stand(found: Workspace, federation: Federation, now: datetime) -> list[Known]:
    """All that were said, anew where the key was replaced that said them: behind it the old word reaches nobody."""
    listed = [each.key for each in federation.sites()]  # one that is not vouches for nobody either
    said = [_by_the_key_of_now(found, federation, key, now) for key in found.record.revoked if key in listed]
    for each in said:
        sealing.post(found, each)
    return said


def _by_the_key_of_now(found: Workspace, federation: Federation, key: str, now: datetime) -> Known:
    record, last = found.record, found.record.revoked[key]
    said = [each for each in record.of("revocation", sender=found.name) if each.payload == keys.digest_in(key)]
    newest = next((each for each in reversed(said) if each.last_seq == last), None)
    if newest is not None and newest.key == keys.fingerprint(found.public_key):
        return newest
    body = archived.read_archived(found, newest.id).predicate.body if newest is not None else None
    reason = body.reason if isinstance(body, Revocation) else "said before this workspace came from a backup"
    owner = next(each.name for each in federation.sites() if each.key == key)
    return _say(found, federation, Revocation(site=owner, key=key, last_seq=last, reason=reason), now)


def _say(found: Workspace, federation: Federation, body: Revocation, now: datetime) -> Known:
    def build(opening: Opening, payload: list[predicates.Payload], _: list[statement.Subject]) -> statement.Statement:
        predicate = predicates.RevocationPredicate(
            **opening.fields(),
            kind="revocation",
            federation=federation.membership,
            recipients=federation.sites(),
            ack=None,
            payload=payload,
            body=body,
        )
        return statement.make("revocation", statement.about("revocation", keys.digest_in(body.key)), predicate)

    return sealing.say(found, "keys revoke", "revocation", None, [], build, now)
