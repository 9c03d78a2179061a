"""Who is in the open round, who is missing and why, and whether it may close."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from fedmed.codes.code import OK, WAITING
from fedmed.errors import CODES, FedmedError
from fedmed.exchange import archived, attempts, bodies, bodies_roster, fields, keys, statement
from fedmed.learning import strategies
from fedmed.learning.strategies import shares, weight_of
from fedmed.learning.strategy import Meta

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fedmed.coordinator.desk import Started
    from fedmed.exchange.bodies_privacy import PrivacyBlock
    from fedmed.exchange.intake import Arrival
    from fedmed.exchange.record import Known
    from fedmed.exchange.workspace import Workspace
    from fedmed.learning.strategy import Strategy
    from fedmed.recipe import Recipe


@dataclass(frozen=True)
class Standing:
    """One site in a round; `status` as the next model will say. `update` is there when it is `used` or `held`.
    `privacy`: what its patients have spent, by its own word. `sits_out`: it was restored too late for a masked round.
    """

    site: str
    status: bodies.SiteStatus
    reason: str
    update: Known | None
    num_cases: int
    num_patients: int = 0
    num_steps: int = 0
    privacy: PrivacyBlock | None = None
    sits_out: bool = False

    @property
    def is_awaited(self) -> bool:
        """Whether a file of it may still come."""
        return self.status not in ("used", "revoked") and not self.sits_out


def open_round(found: Workspace) -> int:
    """The round of the newest model: the one that updates answer."""
    newest = found.record.newest("model")
    return newest.round if newest and newest.round is not None else -1


def open_name(found: Workspace) -> str:
    """What people call the open round, with its attempt where it is not the first."""
    newest = found.record.newest("model")
    return attempts.named(open_round(found), newest.attempt if newest else 1)


def is_over(found: Workspace) -> bool:
    """Whether the newest model is the last: nobody trains on from it."""
    newest = found.record.newest("model")
    return newest is not None and newest.last


def arrived(found: Workspace, running: Started) -> list[Standing]:
    """Every site of the roster, by name, before its update is compared with the others."""
    round_ = open_round(found)
    everyone = [with_late(found, standing(found, name, round_)) for name in running.agreement.federation.site_names]
    judged = [_as_private(running, unless_revoked(found, running, each)) for each in everyone]
    return [_with_true_steps(running, each) for each in judged]


def unless_revoked(found: Workspace, running: Started, standing: Standing) -> Standing:
    """A site whose key was taken back is not waited for; what it signed before counts."""
    key = keys.parse_public_line(running.agreement.federation.member(standing.site).key)
    last = found.record.revoked.get(keys.fingerprint(key))
    if last is None or standing.update is not None:
        return standing
    return Standing(standing.site, "revoked", f"FM-ROS-04: its key counts up to number {last}", None, 0)


def order(found: Workspace) -> tuple[str, ...]:
    """Who trains when, where the open round is a lap; empty where all train at once."""
    newest = found.record.newest("model")
    return newest.order if newest else ()


def update_body(found: Workspace, known: Known) -> bodies.Update:
    body = archived.read_archived(found, known.id).predicate.body
    if not isinstance(body, bodies.Update):
        raise TypeError("an update has the body of an update")
    return body


def standing(found: Workspace, name: str, round_: int, chosen: Known | None = None) -> Standing:
    """Where one site is, by its newest update of the round, or by the one `chosen`."""
    newest = found.record.newest("model")
    attempt = newest.attempt if newest else 1
    update = chosen or found.record.newest("update", sender=name, round=round_, attempt=attempt)
    refused = found.record.refused.get((name, round_))
    refusal = f"{refused.code}: {CODES[refused.code].meaning}" if refused and refused.code in CODES else ""
    if _equivocated(found, name, round_):
        return Standing(name, "excluded", "FM-TRU-03: two different files with one number", None, 0)
    if update is None and refused is not None:
        return Standing(name, "refused", refusal, None, 0)
    if update is None:
        return Standing(name, "missing", _nothing(found, name, round_, attempt), None, 0)
    if not found.record.of("approval", sender=name):
        return Standing(name, "unapproved", "FM-TRU-07: its approval has not arrived", None, 0)
    body = update_body(found, update)
    facts = body.facts
    reason = f"a later one was refused, {refusal}" if refused and refused.seq > update.seq else ""
    if facts is None:  # masked: nobody knows them
        return Standing(name, "used", reason, update, 0, privacy=body.privacy)
    counts = (facts.num_cases, facts.num_patients, facts.num_steps)
    return Standing(name, "used", reason, update, *counts, body.privacy)


def _nothing(found: Workspace, name: str, round_: int, attempt: int) -> str:
    if attempt == 1:
        return "no update of this round has arrived"
    is_void = found.record.newest("update", sender=name, round=round_) is not None
    return f"no update of attempt {attempt} has arrived" + ("; the one before is void" if is_void else "")


def _as_private(running: Started, standing: Standing) -> Standing:
    """What is averaged has noise from every site or from none, as the recipe says."""
    asked, said = running.recipe.dp, standing.privacy
    fits = asked is None if said is None else asked is not None and said.delta == bodies.decimal(asked.delta)
    if standing.update is None or fits:
        return standing
    words = "FM-PRV-08: what it says of its patients' privacy is not what the recipe asks for"
    return Standing(standing.site, "refused", words, None, 0)


def _with_true_steps(running: Started, standing: Standing) -> Standing:
    """FedNova divides by the steps: who said too few would count more than its share. The recipe gives their number."""
    expected = running.recipe.training.num_steps(max(standing.num_cases, 1))
    is_counted = running.recipe.strategy.name == "fednova" and standing.update is not None
    if not is_counted or standing.num_steps == expected:
        return standing
    words = f"FM-STR-03: {standing.num_steps} steps of {standing.num_cases} cases, the recipe makes it {expected}"
    return Standing(standing.site, "refused", words, None, 0)


def with_late(found: Workspace, standing: Standing) -> Standing:
    """The receipt of an update that came after its round had closed."""
    late = found.record.late.get(standing.site)
    if late is None:
        return standing
    words = f"its update of round {late.round} came after that round had closed"
    if standing.status == "missing":
        return replace(standing, status="late", reason=words)
    return replace(standing, reason="; ".join(filter(None, (standing.reason, words))))


def receipts(found: Workspace, everyone: Sequence[Standing]) -> list[bodies.SiteAck]:
    """What a model says to every site of what became of its file."""
    return [
        bodies.SiteAck(
            site=each.site,
            id=found.record.last_from(each.site),
            status=each.status,
            reason=each.reason[: fields.MAX_TEXT],
        )
        for each in everyone
    ]


def counted(running: Started, used: list[Standing], *, is_lap: bool = False) -> list[Meta]:
    """Weight by the recipe's rule and share after the cap, of the updates that count. In a lap the last one is added
    whole, which says the work of all of them.
    """
    if not used:
        return []
    rule = running.recipe.strategy.weight
    weights = [weight_of(rule, each.num_cases, each.num_patients) for each in used]
    cap = float(running.agreement.federation.body.limits.max_share)
    parts = [0.0] * (len(used) - 1) + [1.0] if is_lap else shares(weights, cap)
    return [
        Meta(each.site, weight, part, each.num_steps) for each, weight, part in zip(used, weights, parts, strict=True)
    ]


def _equivocated(found: Workspace, name: str, round_: int) -> bool:
    """A conflict excludes its sender from the round that it is about and from no other."""
    for conflict in found.record.conflicts:
        if conflict.sender != name:
            continue
        twin = next((k for k in found.record.received if k.sender == name and k.seq == conflict.seq), None)
        if round_ in (conflict.round, twin.round if twin else None):
            return True
    return False


def chosen(running: Started, round_: int) -> Strategy:
    """The recipe's strategy for a round."""
    federation = running.agreement.federation
    return strategy_of(running.recipe, round_, federation.body.limits.rounds, len(federation.site_names))


def strategy_of(recipe: Recipe, round_: int, rounds: int, num_sites: int) -> Strategy:
    """That of a round of a federation which need not have started."""
    settings = recipe.strategy.settings(recipe.training, round_, rounds, num_sites)
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
    if order(found):
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
    hops = _usable(everyone) if order(found) else 0
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
