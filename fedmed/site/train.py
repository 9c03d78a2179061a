"""`train-local`: verify the model, train on this hospital's cases, and seal what changed.

Before the first model the federation may wait for a fingerprint of the cases: then that is what it seals. Behind the
last one it may be fine-tuned (`tune`), which seals nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from fedmed import files, logs, promises
from fedmed import preprocessing as preprocessings
from fedmed.cases import datalist
from fedmed.errors import FedmedError
from fedmed.exchange import agreement, archived, artifact, bodies, predicates, sealing, statement
from fedmed.exchange.laps import recipients
from fedmed.learning import strategies
from fedmed.site import (
    change,
    desk,
    ditto,
    fingerprint,
    laps,
    masked,
    masks,
    memory,
    outgoing,
    own,
    preprocessing,
    private,
    results,
    rounds,
    tune,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    from fedmed.exchange.intake import Arrival
    from fedmed.exchange.record import Known
    from fedmed.exchange.sealing import Opening
    from fedmed.learning.params import Params
    from fedmed.site.change import Change
    from fedmed.site.desk import Approved, Site
    from fedmed.site.fingerprint import Fingerprinted
    from fedmed.site.laps import Turn
    from fedmed.site.private import Private
    from fedmed.site.results import Scored
    from fedmed.site.tune import Tuned

PAYLOAD = change.PAYLOAD


@dataclass(frozen=True)
class Trained:
    """The update that is in the outbox. `is_new` is false when it had been sealed before, or the federation is over.

    `is_trained` is false of one that was trained for an attempt before, and only masked again. `behind` is the site
    that goes on from it in a lap. `promises`: what its patients and this hospital are promised. `body` is what was
    sealed; `facts` are of the training, and of a masked update at hand only where it was sealed just now.
    """

    round: int
    is_new: bool
    over: bool
    body: bodies.Update | None
    posted: Path | None
    arrivals: list[Arrival] = field(default_factory=list)
    behind: str = ""
    promises: list[str] = field(default_factory=list)
    attempt: int = 1
    is_trained: bool = True
    facts: bodies.UpdateFacts | None = None


@dataclass(frozen=True)
class Options:
    """What the operator asked for on the command line."""

    device: str = ""
    again: bool = False
    accept_expired: str = ""
    trust_clock: str = ""


def train(
    root: Path, now: datetime, options: Options, progress: Callable[[str, int, int], None]
) -> Trained | Fingerprinted | Tuned:
    """Safe to repeat: a killed run goes on at its last checkpoint, also with --again; a finished one finds its update.

    In a lap it waits for the update of the site before. Raises FedmedError FM-TRU-07, FM-WAI-02, FM-CYC-01, FM-DAT-*,
    FM-TRN-01, FM-TEN-02, FM-NRM-*, FM-PRV-*, FM-RES-*, FM-STA-*.
    """
    with desk.opened(root, now) as site:
        consent = desk.require_approved(site)
        _note(site, options, now)
        agreement.require_valid(site.workspace, consent.agreement, now)
        allowed = {"accept_expired": bool(options.accept_expired), "trust_clock": bool(options.trust_clock)}
        consent, arrivals = desk.receive(site, consent, now, "train-local", **allowed)
        agreement.require_valid(site.workspace, consent.agreement, now)  # its key may have been revoked just now
        if consent.awaits_numbers:
            return fingerprint.make(site, consent, arrivals, now, progress, again=options.again)
        model = desk.newest_model(site, arrivals)
        round_ = model.round_number
        if model.last:
            if consent.recipe.training.fine_tune_steps:
                return tune.tune(site, consent, model, arrivals, options.device, now, progress)
            return Trained(round_, False, True, None, None, arrivals)
        said = site.workspace.record.newest("update", sender=site.workspace.name, round=round_, attempt=model.attempt)
        if said is not None and not options.again:
            _forget(site, round_)  # a command was killed behind its update
            return _found(site, consent, said, arrivals)
        if round_ <= site.workspace.record.answered:
            next_ = masks.without_part(consent, round_) if consent.masks else ""
            raise FedmedError("FM-ROS-07", f"round {round_}: answered before this workspace was restored", next=next_)
        turn = laps.turn(site, model)
        if not consent.masks:
            body, made, reserved = _train(site, consent, model, turn, options, progress, now)
            known = _say(site, consent, model, body, [_plain(consent, made)], now, made.kept)
            private.end(site, reserved, known.id, now)
            facts, is_trained = body.facts, True
        else:
            known, facts, is_trained = _masked(site, consent, model, turn, options, now, progress)
        _forget(site, round_)
        found = _found(site, consent, known, arrivals)
        return replace(found, is_new=True, is_trained=is_trained, facts=facts)


def _note(site: Site, options: Options, now: datetime) -> None:
    """A person's reason to take what else would be held."""
    for what, reason in (("accept-expired", options.accept_expired), ("trust-clock", options.trust_clock)):
        if reason:
            site.workspace.write_entry("train-local", "note", now, what=what, reason=reason)


def checkpoint(site: Site, round_: int) -> Path:
    return site.workspace.root / "state" / "checkpoints" / f"r{round_:04d}-a1.safetensors"


def _forget(site: Site, round_: int) -> None:
    """What training kept for the case that it is killed."""
    for suffix in (".safetensors", ".personal", private.BEGUN):
        checkpoint(site, round_).with_suffix(suffix).unlink(missing_ok=True)


def _train(
    site: Site,
    consent: Approved,
    model: Known,
    turn: Turn,
    options: Options,
    progress: Callable[[str, int, int], None],
    now: datetime,
) -> tuple[bodies.Update, Change, Private | None]:
    """What the update says, what training changed, and what was reserved for it."""
    cases = rounds.require_cases(site, consent)
    preprocessing.require(site, consent, cases, progress)
    entered = change.enter(site, consent, model)
    base = entered.start
    begun = own.entering(change.begin(site, consent, entered.received, turn), entered.remembered)
    path = checkpoint(site, model.round_number)
    files.make_private(path.parent)
    rounds.require_ready(site, cases, ("training", "validation"), options.device, progress)
    reserved = private.begin(site, consent, cases, model.round_number, path, now)
    fitted = rounds.train_round(
        site, consent, cases, model.round_number, begun, correction=entered.correction, checkpoint=path,
        device=options.device, mechanism=reserved.mechanism if reserved else None,
        progress=lambda step, total: progress("training", step, total),
    )  # fmt: skip
    scored: Scored = []
    if not consent.masks and own.is_scorable(consent, model.round_number, entered.remembered):  # else nobody is told
        scored = rounds.score(
            site, consent, cases, "validation", base, device=options.device,
            progress=lambda done, total: progress("validating the received model", done, total),
        )  # fmt: skip
    personal = ditto.train(
        site, consent, cases, model.round_number, base, entered.remembered, checkpoint=path.with_suffix(".personal"),
        device=options.device, progress=lambda step, total: progress("training the personal model", step, total),
    )  # fmt: skip
    made = change.changed(consent, entered, fitted)
    made = replace(made, kept=made.kept | personal)
    if reserved:
        words = "round %d: mean loss of training %.6g; it has no noise, and stays here"
        logs.local.info(words, model.round_number, fitted.train_loss)
    body = bodies.Update(
        chain=turn.chain,
        facts=bodies.UpdateFacts(
            num_cases=fitted.num_cases,
            num_patients=cases.header.patients["training"],
            num_steps=fitted.num_steps,
            train_loss=None if reserved else bodies.decimal(fitted.train_loss),
            base_metrics=results.overall(scored, consent.recipe),
            exclusions=rounds.exclusions(cases),
        ),
        data=datalist.digest(cases),
        label_map=rounds.label_map_digest(site),
        preprocessing=preprocessings.digest_of(preprocessing.current(site)),
        state=None,
        reservation=reserved.taken.id if reserved else None,
        privacy=private.block(site, reserved),
        masked=None,
        versions=rounds.versions(),
    )
    return body, made, reserved


def _plain(consent: Approved, made: Change) -> artifact.Content:
    """The tensors of an update that is not masked."""
    if made.encoded is None:
        raise ValueError("a plain update is encoded")
    return artifact.streamed_content(PAYLOAD, made.encoded.size, made.encoded.chunks, consent.layout.coding)


def _masked(
    site: Site,
    consent: Approved,
    model: Known,
    turn: Turn,
    options: Options,
    now: datetime,
    progress: Callable[[str, int, int], None],
) -> tuple[Known, bodies.UpdateFacts, bool]:
    """Train, or take what was trained for another attempt, and seal it behind masks: once, whatever happens. The facts
    are given back for this site's operator alone. Whether it trained comes last.

    Raises FedmedError FM-MSK-01, -02, -04, -06, FM-SHR-*, and as `train`.
    """
    if options.again and site.workspace.record.of("update", round=model.round, attempt=model.attempt):
        raise FedmedError("FM-MSK-04", f"--again: round {model.round} has a masked update of this site already")
    masking = masks.require(site, consent, model)
    masked.forget(site, model.round_number)
    masks.erase_spent(site)
    found, reserved = masked.stored(site, model, masking), None
    is_trained = found is None
    if found is None:
        body, made, reserved = _train(site, consent, model, turn, options, progress, now)
        facts = body.told
        counted = strategies.weight_of(consent.recipe.strategy.weight, facts.num_cases, facts.num_patients)
        found = masked.keep(site, consent, model, masking, body, made.update, counted)
    hidden = masked.hide(site, consent, masking, found)
    once = {"context": masking.context.x, "mask": masking.own.certificate.index}
    known = _say(site, consent, model, hidden.body, hidden.contents, now, once=once)
    private.end(site, reserved, known.id, now)
    return known, found.body.told, is_trained


def _say(
    site: Site,
    consent: Approved,
    model: Known,
    body: bodies.Update,
    contents: Sequence[artifact.Content],
    now: datetime,
    kept: Mapping[str, Params] | None = None,
    once: Mapping[str, object] | None = None,
) -> Known:
    """Seal the update, behind what is remembered with it: `kept`, by part, all of `memory.parts`. `once` as in
    `sealing.say`.
    """
    federation = consent.agreement.federation
    addressed = recipients(federation, model.order, site.workspace.name)
    if kept:
        body = body.model_copy(update={"state": memory.keep(site, consent, model, kept, now)})

    def build(
        opening: Opening, payload: list[predicates.Payload], subject: list[statement.Subject]
    ) -> statement.Statement:
        predicate = predicates.UpdatePredicate(
            **opening.fields(),
            kind="update",
            federation=federation.under(model),
            recipients=addressed,
            round=model.round_number,
            attempt=model.attempt,
            ack=site.workspace.record.last_from("coordinator"),
            base_model=model.payload,
            tensor_table=consent.layout.digest,
            payload=payload,
            body=body,
        )
        return statement.make("update", subject, predicate)

    looked = outgoing.guarded(site, consent, build)
    readers = federation.readers(*(actor.name for actor in addressed), site.workspace.name)
    return sealing.say(
        site.workspace, "train-local", "update", model.round_number, contents, looked, now, once, readers
    )


def _found(site: Site, consent: Approved, said: Known, arrivals: list[Arrival]) -> Trained:
    predicate = archived.read_archived(site.workspace, said.id).predicate
    body = predicate.body if isinstance(predicate, predicates.UpdatePredicate) else None
    return Trained(
        said.round_number,
        False,
        False,
        body,
        sealing.post(site.workspace, said),
        arrivals,
        laps.behind(site, said.round_number),
        promises.so_far(consent.recipe, body.privacy if body else None),
        said.attempt,
        facts=body.facts if body else None,
    )
