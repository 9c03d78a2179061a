"""Pinned peers: sites whose join this operator has compared with that hospital itself, not by the coordinator's word.

The coordinator alone says who is in the roster. A site that nobody here has called could be its own invention, and is
counted among those that may collude. So is one whose key was revoked: a mask certificate has no number, and whoever
stole the key makes new ones in its name. Source: PRIVACY.md section 1, Roster.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedmed.exchange.keys import public_line

if TYPE_CHECKING:
    from fedmed.exchange.federation import Federation
    from fedmed.exchange.record import Record
    from fedmed.exchange.workspace import Workspace

PIN = "pin"  # what the ledger's note is called


def confirmed(record: Record, federation: Federation) -> list[str]:
    """The sites of the roster, by name, that are pinned with the join and the key that they have there.

    A version of the federation that gives a site another key, without its old key's word for it, voids the pin; with
    it, the pin goes over to the new key. A revocation of the key voids it, too.
    """
    keys = [(name, public_line(key)) for name, key in federation.former]
    keys += [(member.name, member.key) for member in federation.body.roster]
    pinned = {(facts["site"], facts["join"], facts["key"]) for _, facts in record.notes if facts.get("what") == PIN}
    taken_back = revoked(record, federation)
    members = sorted(federation.body.roster, key=lambda member: member.name)
    return [
        member.name
        for member in members
        if any(name == member.name and (name, member.join, key) in pinned for name, key in keys)
        and member.name not in taken_back
    ]


def revoked(record: Record, federation: Federation) -> list[str]:
    """The sites, by name, whose key was taken back: from which number on does not matter here."""
    return [site.name for site in federation.sites() if site.key in record.revoked]


def unpinned(workspace: Workspace, federation: Federation) -> list[str]:
    """The other sites of the roster, by name, that this operator has not confirmed, or whose key was revoked since."""
    known = {*confirmed(workspace.record, federation), workspace.name}
    return [name for name in federation.site_names if name not in known]


def uncalled(workspace: Workspace, federation: Federation) -> list[str]:
    """Those of them that can be confirmed: to have called one whose key was revoked says nothing."""
    stolen = revoked(workspace.record, federation)
    return [name for name in unpinned(workspace, federation) if name not in stolen]
