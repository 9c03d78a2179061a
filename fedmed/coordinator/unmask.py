"""`unmask` at the coordinator: decide once which sites are in the sum, and ask each of them for its shares."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fedmed.coordinator import closing, desk, masked, outlook, rounds
from fedmed.errors import FedmedError
from fedmed.exchange import agreement, intake, sealing

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from fedmed.exchange.intake import Arrival


@dataclass(frozen=True)
class Asked:
    """The sites in the sum, and those of them that have not answered; `needed` answers open it."""

    round: int
    attempt: int
    is_new: bool
    sites: list[str]
    missing: list[str]
    needed: int
    posted: list[Path]
    arrivals: list[Arrival] = field(default_factory=list)


def unmask(root: Path, now: datetime, *, close: bool = False) -> Asked:
    """Safe to repeat: the set stays as it was decided, and the same requests are posted again.

    Raises FedmedError FM-WAI-03 with the list of sites that are missing, FM-MSK-15 where nothing is masked, FM-MSK-21,
    FM-FED-03, FM-TIM-01, FM-TIM-02 (this clock is behind), FM-TRU-*, FM-RES-*.
    """
    with desk.opened(root, now) as found:
        running = desk.require_started(found)
        agreement.require_valid(found, running.agreement, now)
        agreement.require_clock(found, now)
        arrivals = intake.receive_all(found, desk.terms(running), now, "unmask")
        round_ = rounds.open_round(found)
        if not running.masks or round_ < 0 or rounds.is_over(found):
            raise FedmedError("FM-MSK-15", "unmask: no round with masked updates is open")
        included, everyone = masked.fixed(found), masked.standings(found, running)
        if lost := outlook.lost(found, running, everyone):
            raise lost
        is_new = not included
        if is_new:
            waiting = closing.why_open(found, running, everyone, now, close=close)
            if waiting:
                raise closing.still_open(running, everyone, arrivals, f"{rounds.open_name(found)}: {waiting}")
            if close:
                found.write_entry("unmask", "note", now, what="close", round=round_)
            included = masked.fix(found, running, everyone, now)
        said = masked.say_requests(found, running, included, now)
        open_ = masked.opened(found, running)
        missing = masked.missing(included, masked.replies(found, open_, included))
        posted = [sealing.post(found, known) for known in said]
        attempt, needed = open_.model.attempt, running.terms.threshold
        return Asked(round_, attempt, is_new, sorted(included), missing, needed, posted, arrivals)
