"""`status` at a site: what was approved, which model is here, what was sent, what became of it, what to do next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedmed.errors import CODES
from fedmed.exchange import bodies, intake, keys, sealing, statement
from fedmed.site import desk

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from fedmed.exchange.intake import Arrival
    from fedmed.site.desk import Approved, Site


@dataclass(frozen=True)
class Status:
    """`round` is that of the newest model, -1 before the first; `ack` says what became of the last update."""

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


def status(root: Path, now: datetime) -> Status:
    site = desk.peek(root)
    consent = desk.approved(site)
    waiting = intake.look_at_all(site.workspace, desk.terms(consent), now)
    if consent is None:
        has_federation = any(each.verdict.statement and each.verdict.statement.kind == "federation" for each in waiting)
        next_ = (
            "fedmed approve" if has_federation else f"send outbox/join-{site.settings.name}.fedmed to the coordinator"
        )
        return Status(site.settings.name, "", "", -1, 0, False, False, "", waiting, next_)
    record = site.workspace.record
    model = record.newest("model")
    round_ = -1 if model is None or model.round is None else model.round
    federation = consent.agreement.federation
    sent = record.newest("update", sender=site.settings.name, round=round_) is not None
    has_cases = site.cases_file.exists()
    return Status(
        name=site.settings.name,
        title=federation.founding.title,
        fingerprint=keys.spoken(federation.digest),
        round=round_,
        rounds=federation.body.limits.rounds,
        has_cases=has_cases,
        update_sent=sent,
        ack=_ack(site),
        waiting=waiting,
        next=_next(consent, round_, sent=sent, has_cases=has_cases, waiting=waiting),
    )


def _ack(site: Site) -> str:
    """What the newest model says about this site's last update."""
    model = site.workspace.record.newest("model")
    if model is None or not model.round:
        return ""
    predicate = sealing.read_archived(site.workspace, model.id).predicate
    if not isinstance(predicate, statement.ModelPredicate):
        raise TypeError("a model has the predicate of a model")
    mine = next((ack for ack in predicate.ack if ack.site == site.settings.name), None)
    return "" if mine is None else _words(mine, predicate.body)


def _words(ack: bodies.SiteAck, body: bodies.Model) -> str:
    share = next((parent.share for parent in body.parents if parent.site == ack.site), None)
    return f"{ack.status}{f', share {float(share):.3f}' if share else ''}{f': {ack.reason}' if ack.reason else ''}"


def _next(consent: Approved, round_: int, *, sent: bool, has_cases: bool, waiting: list[Arrival]) -> str:
    last = consent.agreement.federation.body.limits.rounds
    stopped = _held(waiting, round_)
    if stopped == "FM-TRU-06":  # it ends every command that reads the inbox
        return CODES[stopped].remedy
    if not has_cases:
        return "fedmed partition"
    if any(each.verdict.outcome == "accepted" for each in waiting):
        return "fedmed evaluate" if any(_round_of(each) == last for each in waiting) else "fedmed train-local"
    if stopped:
        return CODES[stopped].remedy
    if round_ == last:
        return "fedmed evaluate --split test"
    return f"wait for model-r{round_ + 1:04d}.fedmed" if sent or round_ < 0 else "fedmed train-local"


def _held(waiting: list[Arrival], round_: int) -> str:
    """The code of a file that a person must decide about; an expired one only if it is of a round to come."""
    codes = []
    for each in waiting:
        outcome, said = each.verdict.outcome, _round_of(each)
        is_ahead = said is None or said > round_
        if outcome == "rollback" or (outcome in ("expired", "future") and is_ahead):
            codes.append(each.verdict.code)
    return "FM-TRU-06" if "FM-TRU-06" in codes else next(iter(codes), "")


def _round_of(arrival: Arrival) -> int | None:
    said = arrival.verdict.statement
    return getattr(said.predicate, "round", None) if said else None
