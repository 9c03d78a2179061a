"""`status` at the coordinator: the round, who is in, who is missing and why, and whose turn it is. Reads only."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedmed import settings
from fedmed.coordinator import desk, rounds
from fedmed.coordinator.admit import roster
from fedmed.exchange import intake, keys

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from fedmed.coordinator.rounds import Standing
    from fedmed.exchange.intake import Arrival


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
    if round_ == federation.body.limits.rounds:
        next_ = "fedmed evaluate"
    elif waiting or not rounds.why_open(found, running, everyone, now, close=False):
        next_ = "fedmed aggregate"
    else:
        missing = ", ".join(each.site for each in everyone if each.status != "used")
        next_ = f"wait for {missing}"
    fingerprint = keys.spoken(federation.digest)
    return Status(
        federation.founding.title, fingerprint, round_, federation.body.limits.rounds, everyone, waiting, next_
    )
