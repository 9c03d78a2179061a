"""Which mask certificates a model lists: of each site the newest that it sent, in its join, an update, a rotation or a
receipt, and that its key in force has signed.

Also one that came with an update which was late or void: a site goes on from what it told last.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedmed.exchange import archived, bodies, bodies_roster, certificates, keys
from fedmed.exchange.bodies_roster import Receipt, Rotation

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fedmed.coordinator.desk import Started
    from fedmed.exchange.certificates import Certificate
    from fedmed.exchange.federation import Federation
    from fedmed.exchange.record import Known
    from fedmed.exchange.workspace import Workspace

_BRINGING = ("update", "receipt", "rotation")


def listed(found: Workspace, running: Started) -> list[Certificate]:
    """One of each site, by name. Raises FedmedError FM-SHR-01, FM-SHR-02 when two joins hold one key, FM-TRU-11."""
    federation = running.agreement.federation
    chosen = _before(found, federation)
    signers = {name: keys.fingerprint(federation.key_of(name)) for name in federation.site_names}
    # first those with a new signing key, which have no old one to keep
    for name in sorted(signers, key=lambda name: (chosen[name].key == signers[name], name)):
        newer = _told(found, name, signers[name])
        if newer and _may_follow(newer, chosen):
            chosen[name] = newer
    certificates.check_signed(list(chosen.values()), federation)
    return list(chosen.values())


def with_masks(found: Workspace, running: Started, rotations: list[Known]) -> list[Known]:
    """Those of these rotations behind which a model can list certificates of all sites: another one would stop all."""
    chosen = _before(found, running.agreement.federation) if running.masks else {}
    fit = []
    for each in rotations:
        body = archived.read_archived(found, each.id).predicate.body
        mask = body.mask if isinstance(body, Rotation) else None
        if chosen and mask and not _may_follow(mask, chosen):
            continue
        fit.append(each)
        chosen |= {mask.site: mask} if chosen and mask else {}
    return fit


def _may_follow(newer: Certificate, chosen: Mapping[str, Certificate]) -> bool:
    """A site that copies another's key keeps its old one, so that it stops nobody."""
    others = {key for site, each in chosen.items() if site != newer.site for key in (each.dh, each.kem)}
    return newer.index > chosen[newer.site].index and not {newer.dh, newer.kem} & others


def _before(found: Workspace, federation: Federation) -> dict[str, Certificate]:
    """What the newest model lists; before the first one, what the joins brought."""
    newest = found.record.newest("model")
    body = archived.read_archived(found, newest.id).predicate.body if newest else None
    if isinstance(body, bodies.Model):
        return {each.site: each for each in body.masks}
    return {name: _first(found, federation.member(name).join) for name in federation.site_names}


def _first(found: Workspace, join: str) -> Certificate:
    body = archived.read_archived(found, join).predicate.body
    if not isinstance(body, bodies_roster.Join):
        raise TypeError("a join has the body of a join")
    return body.mask


def _told(found: Workspace, name: str, key: str) -> Certificate | None:
    """What came with the newest update of a site, whatever became of it, with its receipt after a restore, or with its
    rotation, and was certified by this key.

    Not with one that a thief may have signed, with a number beyond that of a revocation.
    """
    record = found.record
    brought = [each for each in record.received if each.sender == name and each.kind in _BRINGING]
    brought = [each for each in brought if record.counts(each.key, each.seq)]
    for each in sorted(brought, key=lambda each: each.seq, reverse=True):
        body = archived.read_archived(found, each.id).predicate.body
        told = body.mask if isinstance(body, Receipt | Rotation) else None
        if isinstance(body, bodies.Update) and body.masked:
            told = body.masked.next
        if told is not None and told.key == key:
            return told
    return None
