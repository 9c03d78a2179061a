"""Who is in the open round, who is missing and why, and whether it may close."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from fedmed.errors import OK, WAITING, FedmedError
from fedmed.exchange import bodies, sealing, statement

if TYPE_CHECKING:
    from fedmed.coordinator.desk import Started
    from fedmed.exchange.intake import Arrival
    from fedmed.exchange.record import Known
    from fedmed.exchange.workspace import Workspace


@dataclass(frozen=True)
class Standing:
    """One site in a round. `status` is `used`, `missing`, `excluded` or `unapproved`, as the next model will say."""

    site: str
    status: bodies.SiteStatus
    reason: str
    update: Known | None
    num_cases: int


def open_round(found: Workspace) -> int:
    """The round of the newest model: the one that updates answer."""
    newest = found.record.newest("model")
    return newest.round if newest and newest.round is not None else -1


def standings(found: Workspace, running: Started) -> list[Standing]:
    """Every site of the roster, by name."""
    round_ = open_round(found)
    return [_standing(found, name, round_) for name in running.agreement.federation.site_names]


def _standing(found: Workspace, name: str, round_: int) -> Standing:
    update = found.record.newest("update", sender=name, round=round_)
    if _equivocated(found, name, round_):
        return Standing(name, "excluded", "FM-TRU-03: two different files with one number", None, 0)
    if update is None:
        return Standing(name, "missing", "no update of this round has arrived", None, 0)
    if not found.record.of("approval", sender=name):
        return Standing(name, "unapproved", "FM-TRU-07: its approval has not arrived", None, 0)
    body = sealing.read_archived(found, update.id).predicate.body
    cases = body.num_cases if isinstance(body, bodies.Update) else 0
    return Standing(name, "used", "", update, cases)


def _equivocated(found: Workspace, name: str, round_: int) -> bool:
    """A conflict excludes its sender from the round that it is about and from no other."""
    for conflict in found.record.conflicts:
        if conflict.sender != name:
            continue
        twin = next((k for k in found.record.received if k.sender == name and k.seq == conflict.seq), None)
        if round_ in (conflict.round, twin.round if twin else None):
            return True
    return False


def why_open(found: Workspace, running: Started, everyone: list[Standing], now: datetime, *, close: bool) -> str:
    """Empty when the round may close, else what it waits for."""
    limits = running.agreement.federation.body.limits
    usable = [each for each in everyone if each.status == "used"]
    if len(usable) == len(everyone):
        return ""
    missing = ", ".join(f"{each.site} ({each.reason})" for each in everyone if each.status != "used")
    if len(usable) < limits.min_sites:
        return f"{len(usable)} of at least {limits.min_sites} sites are in; not in: {missing}"
    if close or _deadline_is_over(found, limits.deadline_days, now):
        return ""
    return f"{len(usable)} of {len(everyone)} sites are in; not in: {missing}"


def still_open(running: Started, everyone: list[Standing], arrivals: list[Arrival], waiting: str) -> FedmedError:
    """FM-WAI-03 in words; below `min_sites` there is nothing to close."""
    refused = sum(each.verdict.exit_code not in (OK, WAITING) for each in arrivals)
    if refused:
        waiting += f"; refused in the inbox: {refused}, fedmed status says why"
    enough = sum(each.status == "used" for each in everyone) >= running.agreement.federation.body.limits.min_sites
    return FedmedError("FM-WAI-03", waiting, next="" if enough else "ask the sites that are named for their files")


def _deadline_is_over(found: Workspace, deadline_days: str | None, now: datetime) -> bool:
    newest = found.record.newest("model")
    if deadline_days is None or newest is None:
        return False
    return now >= statement.from_time(newest.created) + timedelta(days=float(deadline_days))
