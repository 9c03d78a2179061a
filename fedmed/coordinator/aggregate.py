"""`aggregate`: admit what has arrived, close the round when its rule holds, and seal the next model."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from fedmed.coordinator import (
    central,
    closing,
    desk,
    fingerprints,
    laps,
    masked,
    memory,
    model,
    opening,
    outlook,
    pooled,
    rounds,
    screening,
    unmasked,
    validation,
    versions,
)
from fedmed.coordinator.combining import Combiner
from fedmed.errors import FedmedError
from fedmed.exchange import agreement, archived, bodies, intake, predicates, sealing

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime
    from pathlib import Path

    from fedmed.coordinator.desk import Started
    from fedmed.coordinator.rounds import Standing
    from fedmed.coordinator.validation import Watched
    from fedmed.exchange.bodies_privacy import CentralBlock, PrivacyBlock
    from fedmed.exchange.intake import Arrival
    from fedmed.exchange.lineage import Best
    from fedmed.exchange.workspace import Workspace


@dataclass(frozen=True)
class Aggregated:
    """The round that closed, what each site counted, and the model that came of it.

    `federations` are versions that came with the model, with new keys or fitted numbers; `numbers` says what images go
    through because of these. `told` is what the strategy made of the updates, where shares do not say it.
    `watched`: the model before on each site's validation cases, where the round closed just now. `best` of all models
    that were scored. `stopped`: why the model is the last before its time. `central`: what noise at the coordinator has
    cost, where the recipe asks for it; `privacy`: what the patients of each site have spent, by its own word.
    """

    round: int
    last: bool
    is_new: bool
    parents: list[bodies.Parent]
    acks: list[bodies.SiteAck]
    pooled: list[bodies.Metric]
    posted: Path
    arrivals: list[Arrival] = field(default_factory=list)
    federations: list[Path] = field(default_factory=list)
    numbers: list[tuple[str, str]] = field(default_factory=list)
    told: str = ""
    watched: Watched | None = None
    best: Best | None = None
    stopped: str = ""
    central: CentralBlock | None = None
    privacy: dict[str, PrivacyBlock] = field(default_factory=dict)


def aggregate(
    root: Path,
    now: datetime,
    *,
    close: bool = False,
    include: Sequence[str] = (),
    reason: str = "",
    trust_clock: str = "",
    progress: Callable[[str, int, int], None] = lambda _what, _done, _total: None,
) -> Aggregated:
    """`include` names sites whose held update counts after all, for the `reason` that a person gives.

    Raises FedmedError FM-WAI-03 or FM-STR-01 with the list of sites that are missing or held, FM-SCR-03, FM-FED-03,
    FM-MSK-07, -14, -21, FM-SHR-12, FM-TIM-01, FM-TIM-02 (this clock is behind), FM-TRU-*, FM-NRM-*, FM-RES-*.
    """
    with desk.opened(root, now) as found:
        running = desk.require_started(found)
        terms = _terms(found, running, trust_clock, now)
        agreement.require_valid(found, running.agreement, now)
        if not trust_clock:
            agreement.require_clock(found, now)
        arrivals = intake.receive_all(found, terms, now, "aggregate")
        if opening.is_open(found, running):
            screening.include(found, [], include, reason, now)  # nothing is held
            return _first_model(found, running, arrivals, now, close=close)
        round_ = rounds.open_round(found)
        if rounds.is_over(found):
            screening.include(found, screening.standings(found, running), include, reason, now)  # nothing is held
            return _already(found, running, arrivals)
        if running.masks:
            everyone = masked.standings(found, running)
            screening.include(found, everyone, include, reason, now)  # nothing is held
            _require_asked(found, running, everyone, arrivals, now, close=close)
            return _open_sum(found, running, arrivals, now, progress)
        combiner = Combiner(found, running, progress)
        if central.share(running) is None:
            everyone = screening.compare(found, running, now, close=close, products=combiner.compare)
        else:  # every update is cut to one length, and who is held because of the others would show in the model
            everyone = screening.standings(found, running)
        if include:
            screening.include(found, everyone, include, reason, now)
            everyone = screening.standings(found, running)
        waiting = closing.why_open(found, running, everyone, now, close=close)
        if waiting:
            _repost(found)
            waiting += _relayed(found, everyone)
            raise closing.still_open(running, everyone, arrivals, f"round {round_}: {waiting}")
        if close:
            found.write_entry("aggregate", "note", now, what="close", round=round_)
        return _close(found, running, everyone, arrivals, now, combiner)


def _terms(found: Workspace, running: Started, trust_clock: str, now: datetime) -> intake.Terms:
    terms = desk.terms(running)
    if trust_clock:
        found.write_entry("aggregate", "note", now, what="trust-clock", reason=trust_clock)
    return replace(terms, trust_clock=bool(trust_clock))


def _close(
    found: Workspace,
    running: Started,
    everyone: list[Standing],
    arrivals: list[Arrival],
    now: datetime,
    combiner: Combiner,
) -> Aggregated:
    round_, is_lap = rounds.open_round(found), bool(rounds.order(found))
    everyone = laps.closing(running, everyone) if is_lap else everyone
    used = [each for each in everyone if each.status == "used"]
    updates = [each.update for each in used if each.update is not None]
    meta = rounds.counted(running, used, is_lap=is_lap)
    draft, weights = combiner.combine(used)
    counted = laps.parts(meta) if is_lap else weights.learned
    if (same := central.share(running)) is not None:  # what an update counts would say how long it was
        counted = [same] * len(meta)
    names, state = combiner.strategy.memory, None
    if draft.memory is not None:
        state = memory.keep(found, running, combiner.base, names, draft.memory, now)
    metrics = pooled.of_updates(found, updates)
    running = versions.with_new_keys(found, running, now)
    next_ = model.Next(
        round=round_ + 1,
        parents=[
            bodies.Parent(site=each.name, update=update.id, weight=each.weight, share=bodies.decimal(share))
            for each, update, share in zip(meta, updates, counted, strict=True)
        ],
        ack=rounds.receipts(found, everyone),
        pooled=metrics,
        state=state,
        stops=validation.is_enough(found, running, round_, metrics),
        central=central.following(found, running, combiner.base, lambda: combiner.norms(used)),
    )
    known = model.say(found, running, next_, draft.model, now, "aggregate")
    laps.withdraw(found)
    return Aggregated(
        round=round_ + 1,
        last=known.last,
        is_new=True,
        parents=next_.parents,
        acks=next_.ack,
        pooled=next_.pooled,
        posted=sealing.post(found, known),
        arrivals=arrivals,
        federations=versions.beside(found, known),
        told=combiner.strategy.tell(meta, weights),
        watched=validation.watch(found, running, round_, updates),
        best=validation.best(found, running),
        stopped=validation.why_stopped(running, round_ + 1) if known.last else "",
        central=next_.central,
        privacy=_spent(used),
    )


def _require_asked(
    found: Workspace, running: Started, everyone: list[Standing], arrivals: list[Arrival], now: datetime, *, close: bool
) -> None:
    """The sites in the sum. Raises FedmedError FM-MSK-21, FM-WAI-03 or FM-STR-01 while the round is open, FM-MSK-07."""
    if lost := outlook.lost(found, running, everyone):
        raise lost
    if masked.fixed(found):
        return
    _repost(found)
    waiting, where = closing.why_open(found, running, everyone, now, close=close), rounds.open_name(found)
    if waiting:
        raise closing.still_open(running, everyone, arrivals, f"{where}: {waiting}")
    next_ = "fedmed unmask --close" if close else "fedmed unmask"
    raise FedmedError("FM-MSK-07", f"{where}: the sites in the sum have not been asked", next=next_)


def _open_sum(
    found: Workspace,
    running: Started,
    arrivals: list[Arrival],
    now: datetime,
    progress: Callable[[str, int, int], None],
) -> Aggregated:
    """The masks come off the sum of a round, and the next model is made of it."""
    made = unmasked.combine(found, running, now, progress)
    round_, everyone = rounds.open_round(found), masked.standings(found, running)
    names, state, base = closing.chosen(running, round_).memory, None, found.record.newest("model")
    if made.draft.memory is not None and base is not None:
        state = memory.keep(found, running, base, names, made.draft.memory, now)
    running = versions.with_new_keys(found, running, now)
    next_ = model.Next(
        round=round_ + 1,
        parents=[
            bodies.Parent(site=site, update=update, weight=None, share=None)
            for site, update in sorted(made.included.items())
        ],
        ack=rounds.receipts(found, everyone),
        state=state,
        clip=unmasked.next_clip(running, made.norm),
        unmask=made.unmask,
    )
    known = model.say(found, running, next_, made.draft.model, now, "aggregate")
    told = "; ".join(filter(None, (unmasked.counted(running, made), made.told)))
    return Aggregated(
        round=round_ + 1,
        last=known.last,
        is_new=True,
        parents=next_.parents,
        acks=next_.ack,
        pooled=[],
        posted=sealing.post(found, known),
        arrivals=arrivals,
        federations=versions.beside(found, known),
        told=told,
        privacy=_spent([each for each in everyone if each.site in made.included]),
    )


def _spent(used: Sequence[Standing]) -> dict[str, PrivacyBlock]:
    return {each.site: each.privacy for each in used if each.privacy is not None}


def _first_model(
    found: Workspace, running: Started, arrivals: list[Arrival], now: datetime, *, close: bool
) -> Aggregated:
    """Approvals are in, fingerprints become a version of the federation, and model r0 goes with it."""
    everyone = opening.standings(found, running)
    waiting = opening.why_open(found, running, everyone, now, close=close)
    if missing := ", ".join(opening.unapproved(found, running)):
        raise FedmedError("FM-WAI-03", waiting, next=f"ask {missing} to approve, and for the file")
    if waiting:
        raise closing.still_open(running, everyone, arrivals, waiting)
    if running.pools and running.agreement.federation.preprocessing is None:
        if close:
            found.write_entry("aggregate", "note", now, what="close", round=None)
        fingerprints.close(found, running, everyone, now)
        running = desk.require_started(found)
    running = versions.with_new_keys(found, running, now)
    known = opening.say_first_model(found, running, everyone, now)
    numbers = fingerprints.told(running) if running.pools else []
    made = _already(found, running, arrivals)
    return replace(made, is_new=True, posted=sealing.post(found, known), numbers=numbers)


def _already(found: Workspace, running: Started, arrivals: list[Arrival]) -> Aggregated:
    """What the newest model says, which is posted again: the last one, when the federation is over."""
    known = found.record.newest("model")
    if known is None:
        raise ValueError("a round is open without a model")
    said = archived.read_archived(found, known.id)
    body, predicate = said.predicate.body, said.predicate
    if not isinstance(body, bodies.Model) or not isinstance(predicate, predicates.ModelPredicate):
        raise TypeError("a model has the body of a model")
    laps.withdraw(found)  # a kill behind the model left what was handed on
    return Aggregated(
        predicate.round,
        body.last,
        False,
        body.parents,
        predicate.ack,
        body.pooled,
        sealing.post(found, known),
        arrivals,
        versions.beside(found, known),
        best=validation.best(found, running),
        stopped=validation.why_stopped(running, predicate.round) if body.last else "",
        central=body.central,
    )


def _relayed(found: Workspace, everyone: list[Standing]) -> str:
    """In a lap the next site gets the update that it goes on from; said in words."""
    relayed = laps.relay(found, everyone)
    return f"; {relayed.posted.name} in outbox/ is what {relayed.to} goes on from" if relayed else ""


def _repost(found: Workspace) -> None:
    """The newest model stays in the outbox while sites still need it."""
    known = found.record.newest("model")
    if known is not None:
        sealing.post(found, known)
