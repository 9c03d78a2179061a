"""`status` at the coordinator: the round, who is in, who is missing and why, and whose turn it is. Reads only."""

from __future__ import annotations

import dataclasses
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedmed import settings
from fedmed.coordinator import desk, rounds
from fedmed.coordinator.admit import roster
from fedmed.errors import CODES
from fedmed.exchange import intake, keys

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from fedmed.coordinator.rounds import Standing
    from fedmed.exchange.intake import Arrival
    from fedmed.exchange.workspace import Workspace


@dataclass(frozen=True)
class Status:
    """`round` is -1 before `start`; `waiting` lies in the inbox and was not taken in yet."""

    title: str
    fingerprint: str
    round: int
    rounds: int
    sites: list[Standing]
    waiting: list[Arrival]
    next: str


def status(root: Path, now: datetime) -> Status:
    found = desk.peek(root)
    running = desk.started(found)
    waiting = intake.look_at_all(found, desk.terms(running), now)
    if running is None:
        draft = settings.load_federation(root)
        names = [seat.name for seat in roster(found)]
        joins = [str(each.path) for each in waiting if each.verdict.statement and each.verdict.statement.kind == "join"]
        sites = [
            rounds.Standing(name, "missing", "admitted; the federation has not started", None, 0) for name in names
        ]
        next_ = "fedmed start" if len(names) >= draft.min_sites else "put the sites' join files into inbox/"
        if joins:
            next_ = shlex.join(["fedmed", "admit", *joins])
        return Status(draft.title, "", -1, draft.rounds, sites, waiting, next_)
    federation = running.agreement.federation
    round_, everyone = rounds.open_round(found), rounds.standings(found, running)
    expected = _with_what_waits(found, everyone, waiting, round_)
    missing = ", ".join(each.site for each in expected if each.status != "used")
    if round_ == federation.body.limits.rounds:
        has_report = found.record.of("report") or "report" in {kind for kind, _ in _acceptable(waiting)}
        next_ = "fedmed evaluate" if has_report else f"wait for the reports of {', '.join(federation.site_names)}"
    elif rounds.why_open(found, running, expected, now, close=False):
        next_ = f"wait for {missing}"
    else:
        next_ = "fedmed aggregate"
    next_ = _held(waiting, next_)
    fingerprint = keys.spoken(federation.digest)
    return Status(
        federation.founding.title, fingerprint, round_, federation.body.limits.rounds, everyone, waiting, next_
    )


def _held(waiting: list[Arrival], next_: str) -> str:
    """A file that a person must decide about comes before waiting; one that stops every command before all else."""
    codes = [each.verdict.code for each in waiting if each.verdict.outcome in ("rollback", "expired", "future")]
    if "FM-TRU-06" in codes:
        return CODES["FM-TRU-06"].remedy
    return CODES[codes[0]].remedy if codes and next_.startswith("wait") else next_


def _with_what_waits(found: Workspace, everyone: list[Standing], waiting: list[Arrival], round_: int) -> list[Standing]:
    """Where the sites will stand once the inbox is taken in."""
    new = _acceptable(waiting)

    def is_in(site: str) -> bool:
        has_approval = found.record.of("approval", sender=site) or ("approval", site) in new
        has_update = found.record.newest("update", sender=site, round=round_) or ("update", site) in new
        return bool(has_approval and has_update)

    return [
        dataclasses.replace(each, status="used") if each.status != "excluded" and is_in(each.site) else each
        for each in everyone
    ]


def _acceptable(waiting: list[Arrival]) -> set[tuple[str, str]]:
    """Kind and sender of what would be accepted now."""
    said = [each.verdict.statement for each in waiting if each.verdict.outcome == "accepted"]
    return {(each.kind, each.sender) for each in said if each}
