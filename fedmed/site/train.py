"""`train-local`: verify the model, train on this hospital's cases, and seal what changed.

Before the first model the federation may wait for a fingerprint of the cases: then that is what it seals. Behind the
last one it may be fine-tuned (`tune`), which seals nothing.
"""

from __future__ import annotations

import platform
from dataclasses import dataclass, field
from importlib import metadata
from typing import TYPE_CHECKING

from fedmed import __version__, files
from fedmed import preprocessing as preprocessings
from fedmed.cases import datalist
from fedmed.errors import FedmedError
from fedmed.exchange import agreement, artifact, bodies, sealing, statement
from fedmed.exchange.laps import recipients
from fedmed.site import (
    change,
    desk,
    ditto,
    fingerprint,
    laps,
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
    from collections.abc import Callable, Mapping
    from datetime import datetime
    from pathlib import Path

    from fedmed.cases.datalist import Datalist
    from fedmed.exchange.intake import Arrival
    from fedmed.exchange.record import Known
    from fedmed.exchange.sealing import Opening
    from fedmed.learning.params import Params
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

    `behind` is the site that goes on from it in a lap.
    """

    round: int
    is_new: bool
    over: bool
    body: bodies.Update | None
    posted: Path | None
    arrivals: list[Arrival] = field(default_factory=list)
    behind: str = ""


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
        if consent.awaits_numbers:
            return fingerprint.make(site, consent, arrivals, now, progress, again=options.again)
        model = desk.newest_model(site, arrivals)
        round_ = model.round_number
        if model.last:
            if consent.recipe.training.fine_tune_steps:
                return tune.tune(site, consent, model, arrivals, options.device, now, progress)
            return Trained(round_, False, True, None, None, arrivals)
        said = site.workspace.record.newest("update", sender=site.workspace.name, round=round_)
        if said is not None and not options.again:
            return _found(site, said, arrivals)
        if round_ <= site.workspace.record.answered:
            raise FedmedError("FM-ROS-07", f"round {round_}: answered before this workspace was restored")
        turn = laps.turn(site, model)
        cases = rounds.require_cases(site, consent)
        preprocessing.require(site, consent, cases, progress)
        body, content, kept, reserved = _train(site, consent, model, turn, cases, options, progress, now)
        known = _say(site, consent, model, body, content, now, kept)
        private.end(site, reserved, known.id, now)
        for path in (checkpoint(site, round_), checkpoint(site, round_).with_suffix(".personal")):
            path.unlink(missing_ok=True)
        posted = sealing.post(site.workspace, known)
        return Trained(round_, True, False, body, posted, arrivals, turn.behind)


def _note(site: Site, options: Options, now: datetime) -> None:
    """A person's reason to take what else would be held."""
    for what, reason in (("accept-expired", options.accept_expired), ("trust-clock", options.trust_clock)):
        if reason:
            site.workspace.write_entry("train-local", "note", now, what=what, reason=reason)


def checkpoint(site: Site, round_: int) -> Path:
    return site.workspace.root / "state" / "checkpoints" / f"r{round_:04d}-a1.safetensors"


def _train(
    site: Site,
    consent: Approved,
    model: Known,
    turn: Turn,
    cases: Datalist,
    options: Options,
    progress: Callable[[str, int, int], None],
    now: datetime,
) -> tuple[bodies.Update, artifact.Content, dict[str, Params], Private | None]:
    """What the update says, its tensors, what this site remembers with it, by part, and what was reserved for it."""
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
    if own.is_scorable(consent, model.round_number, entered.remembered):
        scored = rounds.score(
            site, consent, cases, "validation", base, device=options.device,
            progress=lambda done, total: progress("validating the received model", done, total),
        )  # fmt: skip
    personal = ditto.train(
        site, consent, cases, model.round_number, base, entered.remembered, checkpoint=path.with_suffix(".personal"),
        device=options.device, progress=lambda step, total: progress("training the personal model", step, total),
    )  # fmt: skip
    made = change.changed(consent, entered, fitted)
    body = bodies.Update(
        chain=turn.chain,
        facts=bodies.UpdateFacts(
            num_cases=fitted.num_cases,
            num_patients=cases.header.patients["training"],
            num_steps=fitted.num_steps,
            train_loss=bodies.decimal(fitted.train_loss),
            base_metrics=results.overall(scored, consent.recipe),
            exclusions=exclusions(cases),
        ),
        data=datalist.digest(cases),
        label_map=rounds.label_map_digest(site),
        preprocessing=preprocessings.digest_of(preprocessing.current(site)),
        state=None,
        privacy=reserved.block if reserved else None,
        masked=None,
        versions=versions(),
    )
    content = artifact.streamed_content(PAYLOAD, made.encoded.size, made.encoded.chunks, consent.layout.coding)
    return body, content, made.kept | personal, reserved


def exclusions(cases: Datalist) -> list[bodies.Exclusion]:
    return [bodies.Exclusion(code=code, count=count) for code, count in sorted(cases.header.excluded.items())]


def versions() -> list[bodies.Version]:
    """The software that made the numbers. No host, no user, no path."""
    packages = {name: metadata.version(name) for name in ("monai", "numpy", "torch")}
    found = {"fedmed": __version__, "python": platform.python_version(), **packages}
    return [bodies.Version(name=name, version=version.lower()) for name, version in sorted(found.items())]


def _say(
    site: Site,
    consent: Approved,
    model: Known,
    body: bodies.Update,
    content: artifact.Content,
    now: datetime,
    kept: Mapping[str, Params] | None = None,
) -> Known:
    """Seal the update, behind what is remembered with it: `kept`, by part, all of `memory.parts`."""
    federation = consent.agreement.federation
    if kept:
        body = body.model_copy(update={"state": memory.keep(site, consent, model, kept, now)})

    def build(
        opening: Opening, payload: list[statement.Payload], subject: list[statement.Subject]
    ) -> statement.Statement:
        predicate = statement.UpdatePredicate(
            **opening.fields(),
            kind="update",
            federation=federation.membership,
            recipients=recipients(federation, model.order, site.workspace.name),
            round=model.round_number,
            attempt=1,
            ack=site.workspace.record.last_from("coordinator"),
            base_model=model.payload,
            tensor_table=consent.layout.digest,
            payload=payload,
            body=body,
        )
        return statement.make("update", subject, predicate)

    looked = outgoing.guarded(site, consent, build)
    return sealing.say(site.workspace, "train-local", "update", model.round_number, [content], looked, now)


def _found(site: Site, said: Known, arrivals: list[Arrival]) -> Trained:
    body = sealing.read_archived(site.workspace, said.id).predicate.body
    return Trained(
        said.round_number,
        False,
        False,
        body if isinstance(body, bodies.Update) else None,
        sealing.post(site.workspace, said),
        arrivals,
        laps.behind(site, said.round_number),
    )
