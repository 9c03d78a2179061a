"""`status` at a site: what was approved, which model is here, what was sent, what became of it, what to do next."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fedmed.exchange import approvals, archived, bodies, intake, keys, pins, predicates, rotations
from fedmed.site import agenda, desk

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from fedmed.exchange.intake import Arrival
    from fedmed.site.desk import Approved, Site


@dataclass(frozen=True)
class Status:
    """`round` and `attempt` are those of the newest model, -1 and 1 before the first; `ack` says what became of the
    last update, and `lap` who trains when, where the round is one. `is_over`: the newest model is the last, and
    perhaps not of the last round. `approved`: the sites whose approvals came with the newest model, by name;
    `unpinned`: those that nobody called; `rotating`: who has named a next key that the federation does not have yet;
    `revoked`: whose key was taken back. `refusal`: why the step that is due would fail.
    """

    name: str
    title: str
    fingerprint: str
    round: int
    rounds: int
    has_cases: bool
    update_sent: bool
    ack: str
    waiting: list[Arrival]
    next: str
    lap: list[str] = field(default_factory=list)
    is_over: bool = False
    approved: list[str] = field(default_factory=list)
    unpinned: list[str] = field(default_factory=list)
    rotating: list[str] = field(default_factory=list)
    revoked: list[str] = field(default_factory=list)
    attempt: int = 1
    refusal: str = ""


def status(root: Path, now: datetime) -> Status:
    site = desk.peek(root)
    consent = desk.approved(site)
    waiting = intake.look_at_all(site.workspace, desk.terms(consent), now)
    next_ = agenda.due(site, consent, waiting)
    if consent is None:
        return Status(site.settings.name, "", "", -1, 0, False, False, "", waiting, next_.next)
    record = site.workspace.record
    model = record.newest("model")
    round_ = -1 if model is None or model.round is None else model.round
    federation = consent.agreement.federation
    attempt = model.attempt if model else 1
    sent = record.newest("update", sender=site.settings.name, round=round_, attempt=attempt) is not None
    return Status(
        name=site.settings.name,
        title=federation.founding.title,
        fingerprint=keys.spoken(federation.root),
        round=round_,
        rounds=federation.body.limits.rounds,
        has_cases=site.cases_file.exists(),
        update_sent=sent,
        ack=_ack(site) if round_ or consent.recipe.data.pools else "",
        waiting=waiting,
        next=next_.next,
        lap=list(model.order) if model else [],
        is_over=model is not None and model.last,
        approved=_approved(site, consent),
        unpinned=pins.uncalled(site.workspace, federation),
        rotating=[each.sender for each in rotations.pending(record, federation)],
        revoked=pins.revoked(record, federation),
        attempt=attempt,
        refusal=str(next_.refused or ""),
    )


def _approved(site: Site, consent: Approved) -> list[str]:
    """Who agreed to this federation too, by the approvals that came with the newest model."""
    model = site.workspace.record.newest("model")
    if model is None:
        return []
    brought = archived.read_payload(site.workspace, model.id, approvals.PAYLOAD)
    return list(approvals.approved_by(brought, consent.agreement.federation, site.workspace.record.counts))


def _ack(site: Site) -> str:
    """What the newest model says about this site's last update."""
    model = site.workspace.record.newest("model")
    if model is None:
        return ""
    predicate = archived.read_archived(site.workspace, model.id).predicate
    if not isinstance(predicate, predicates.ModelPredicate):
        raise TypeError("a model has the predicate of a model")
    mine = next((ack for ack in predicate.ack if ack.site == site.settings.name), None)
    return "" if mine is None else _words(mine, predicate.body)


_NOT_USED = ("held", "refused", "late", "unused", "void")  # an update was here and does not count


def _words(ack: bodies.SiteAck, body: bodies.Model) -> str:
    share = next((parent.share for parent in body.parents if parent.site == ack.site), None)
    status = f"{ack.status}, not used" if ack.status in _NOT_USED else ack.status
    return f"{status}{f', share {float(share):.3f}' if share else ''}{f': {ack.reason}' if ack.reason else ''}"
