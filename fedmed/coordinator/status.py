"""`status` at the coordinator: the round, who is in, who is missing and why, and whose turn it is. Reads only."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fedmed import settings
from fedmed.coordinator import agenda, central, closing, desk, opening, rounds, validation
from fedmed.coordinator.admit import roster
from fedmed.exchange import intake, keys, pins, rotations, statement

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from fedmed.coordinator.rounds import Standing
    from fedmed.exchange.bodies_privacy import CentralBlock
    from fedmed.exchange.intake import Arrival
    from fedmed.exchange.lineage import Best


@dataclass(frozen=True)
class Status:
    """`round` is -1 before model r0, `attempt` how often it was begun, and `fingerprint` empty before `start`;
    `waiting` lies in the inbox and was not taken in yet. `is_over`: the newest model is the last, and perhaps not of
    the last round; `best` of those scored. `reported` are the sites whose report on the last model and the test fold
    is here. From `deadline` on the round closes without who is missing; empty where it waits for ever. `awaits`:
    which files come before the first model. `central`: what its noise has cost so far. `rotating`: whose next key the
    next model brings. `revoked`: whose key was taken back. `refusal`: why the round cannot close.
    """

    title: str
    fingerprint: str
    round: int
    rounds: int
    sites: list[Standing]
    waiting: list[Arrival]
    next: str
    is_over: bool = False
    best: Best | None = None
    reported: list[str] = field(default_factory=list)
    deadline: str = ""
    awaits: str = ""
    central: CentralBlock | None = None
    rotating: list[str] = field(default_factory=list)
    revoked: list[str] = field(default_factory=list)
    attempt: int = 1
    refusal: str = ""


def status(root: Path, now: datetime) -> Status:
    found = desk.peek(root)
    running = desk.started(found)
    waiting = intake.look_at_all(found, desk.terms(running), now)
    if running is None:
        draft = settings.load_federation(root)
        words = "admitted; the federation has not started"
        sites = [rounds.Standing(seat.name, "missing", words, None, 0) for seat in roster(found)]
        first = agenda.due(found, running, waiting, now).next
        return Status(draft.title, "", -1, draft.rounds, sites, waiting, first)
    federation = running.agreement.federation
    is_open = opening.is_open(found, running)
    everyone = agenda.standings(found, running)
    next_ = agenda.due(found, running, waiting, now, everyone)
    round_, fingerprint = rounds.open_round(found), keys.spoken(federation.root)
    newest = found.record.newest("model")
    title, last = federation.founding.title, federation.body.limits.rounds
    is_over, best = rounds.is_over(found), validation.best(found, running)
    reported = sorted(agenda.reports_on_test_fold(found)) if is_over else []
    ends = None if is_over or next_.refused else closing.deadline(found, running, everyone)
    deadline = statement.to_time(ends) if ends else ""
    awaits = ("approvals" if opening.unapproved(found, running) else "fingerprints") if is_open else ""
    return Status(
        title,
        fingerprint,
        round_,
        last,
        everyone,
        waiting,
        next_.next,
        is_over,
        best,
        reported,
        deadline,
        awaits,
        central.said(found),
        [each.sender for each in rotations.pending(found.record, federation)],
        pins.revoked(found.record, federation),
        newest.attempt if newest else 1,
        str(next_.refused or ""),
    )
