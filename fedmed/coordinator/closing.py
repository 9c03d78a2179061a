"""Whether the open round may close, with how many sites, from when on, and what it waits for."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from fedmed.codes.code import OK, WAITING
from fedmed.coordinator import rounds
from fedmed.errors import FedmedError
from fedmed.exchange import bodies_roster, statement
from fedmed.learning import strategies

if TYPE_CHECKING:
    from fedmed.coordinator.desk import Started
    from fedmed.coordinator.rounds import Standing
    from fedmed.exchange.intake import Arrival
    from fedmed.exchange.record import Known
    from fedmed.exchange.workspace import Workspace
    from fedmed.learning.strategy import Strategy
    from fedmed.recipe import Recipe


def chosen(running: Started, round_: int) -> Strategy:
    """The recipe's strategy for a round."""
    federation = running.agreement.federation
    return strategy_of(running.recipe, round_, federation.body.limits.rounds, len(federation.site_names))


def strategy_of(recipe: Recipe, round_: int, num_rounds: int, num_sites: int) -> Strategy:
    """That of a round of a federation which need not have started."""
    settings = recipe.strategy.settings(recipe.training, round_, num_rounds, num_sites)
    return strategies.named(recipe.strategy.name, **settings)


def least(running: Started) -> int:
    """How many sites must be in before a round can close: by the limits, the strategy and the masks."""
    masked = running.terms.least if running.masks else 0
    return max(running.agreement.federation.body.limits.min_sites, chosen(running, 0).min_sites, masked)


def why_open(found: Workspace, running: Started, everyone: list[Standing], now: datetime, *, close: bool) -> str:
    """Empty when the round may close, else what it waits for."""
    limits = running.agreement.federation.body.limits
    usable = [each for each in everyone if each.status == "used"]
    awaited = [each for each in everyone if each.is_awaited]
    if not awaited and len(usable) >= least(running):
        return ""
    if rounds.order(found):
        return _why_lap_is_open(found, limits, everyone, len(usable), now, close=close)
    missing = ", ".join(f"{each.site} ({_why(each)})" for each in everyone if each.status != "used")
    needed = least(running)
    if len(usable) < needed:
        who = "a masked sum" if running.masks else running.recipe.strategy.name
        whose = f" that {who} needs" if needed > limits.min_sites else ""
        return f"{len(usable)} of at least {needed} sites{whose} are in; not in: {missing}"
    if close or _is_over(_deadline(found, limits.deadline_days), now):
        return ""
    return f"{len(usable)} of {len(everyone)} sites are in; not in: {missing}"


def _why_lap_is_open(
    found: Workspace, limits: bodies_roster.Limits, everyone: list[Standing], hops: int, now: datetime, *, close: bool
) -> str:
    """The deadline is that of the turn at which it stands. Before `min_sites` have trained only a person ends it."""
    if close:
        return ""
    hop = everyone[hops - 1].update if hops else None
    if hops >= limits.min_sites and _is_over(_deadline(found, limits.deadline_days, hop), now):
        return ""
    turn = everyone[hops]
    too_few = f"; with fewer than {limits.min_sites} nothing of a lap counts" if hops < limits.min_sites else ""
    trained = f"{hops} of {len(everyone)} sites have trained, one after another"
    return f"{trained}; it waits for {turn.site} ({_why(turn)}){too_few}"


def _why(standing: Standing) -> str:
    """The reason of a file that is here and does not count begins with what became of it."""
    is_here = standing.status in ("held", "refused", "unused")
    return f"{standing.status}, {standing.reason}" if is_here else standing.reason


def still_open(running: Started, everyone: list[Standing], arrivals: list[Arrival], waiting: str) -> FedmedError:
    """FM-WAI-03 in words, or FM-STR-01 where only the strategy needs more; with too few there is nothing to close."""
    refused = sum(each.verdict.exit_code not in (OK, WAITING) for each in arrivals)
    if refused:
        waiting += f"; refused in the inbox: {refused}, fedmed status says why"
    next_ = "" if is_enough(running, everyone) else "ask the sites that are named for their files"
    if running.masks and not next_:
        next_ = "wait, or decide without them: fedmed unmask --close -w HERE"
    limit = running.agreement.federation.body.limits.min_sites
    code = "FM-STR-01" if limit <= _usable(everyone) < least(running) else "FM-WAI-03"
    return FedmedError(code, waiting, next=about_held(running, everyone) or next_)


def is_enough(running: Started, everyone: list[Standing]) -> bool:
    """Whether the round could be closed with those that are in."""
    return _usable(everyone) >= least(running)


def _usable(everyone: list[Standing]) -> int:
    return sum(each.status == "used" for each in everyone)


def about_held(running: Started, everyone: list[Standing]) -> str:
    """What a person can do about updates that are held; empty when there are none."""
    names = [each.site for each in everyone if each.status == "held"]
    if not names:
        return ""
    include = " ".join(f"--include {name}" for name in names)
    words = f"call {', '.join(names)}; what is right counts with: fedmed aggregate {include} --reason WHY -w HERE"
    if is_enough(running, everyone):
        return f"{words}; to close without: fedmed aggregate --close -w HERE"
    return f"{words}; what is wrong comes again with: fedmed train-local --again"


def deadline(found: Workspace, running: Started, everyone: list[Standing]) -> datetime | None:
    """From when on the round closes without who is missing, where enough are in; None where it waits for ever."""
    hops = _usable(everyone) if rounds.order(found) else 0
    hop = everyone[hops - 1].update if hops else None
    return _deadline(found, running.agreement.federation.body.limits.deadline_days, hop)


def _deadline(found: Workspace, deadline_days: str | None, hop: Known | None = None) -> datetime | None:
    """Counted from when the round opened; in a lap from when `hop`, the update before, was taken in."""
    newest = found.record.newest("model") or found.record.newest("federation")  # before r0 fingerprints are awaited
    if deadline_days is None or newest is None:
        return None
    since = _taken_in(found, hop) if hop else newest.created
    return statement.from_time(since) + timedelta(days=float(deadline_days))


def _is_over(deadline: datetime | None, now: datetime) -> bool:
    return deadline is not None and now >= deadline


def _taken_in(found: Workspace, hop: Known) -> str:
    """By this computer's clock: the time in a site's file is its own word."""
    entries = found.ledger.entries
    return next(entry.time for entry in entries if entry.event == "received" and entry.facts["id"] == hop.id)
