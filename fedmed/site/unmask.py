"""`unmask` at a site: its shares of the masks in one sum, once an attempt, for a request that it has checked itself.

What stands in the ledger is written before anything leaves. Whoever gets answers about two sets of sites that differ by
one has that site's update, so a site answers one set in each attempt, and another one on the same model only for a
reason. Source: PRIVACY.md section 1.3.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fedmed.errors import FedmedError, about
from fedmed.exchange import (
    agreement,
    archived,
    artifact,
    attempts,
    bodies,
    bodies_masking,
    evidence,
    intake,
    predicates,
    requests,
    sealing,
    seeds,
    statement,
    unmasking,
)
from fedmed.exchange.federation import COORDINATOR
from fedmed.site import desk, masks

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime
    from pathlib import Path

    from fedmed.exchange.bodies_masking import UnmaskRequest
    from fedmed.exchange.intake import Arrival
    from fedmed.exchange.predicates import UnmaskRequestPredicate
    from fedmed.exchange.record import Known
    from fedmed.exchange.requests import Request
    from fedmed.exchange.sealing import Opening
    from fedmed.exchange.seeds import Context
    from fedmed.site.desk import Approved, Site

CONSENT = "unmask-consent"


@dataclass(frozen=True)
class Answered:
    """The reply that is in the outbox, and the sites in the sum that it helps to open. `warning`: what the operator
    should know about them.
    """

    round: int
    attempt: int
    is_new: bool
    sites: list[str]
    posted: Path
    warning: str = ""
    arrivals: list[Arrival] = field(default_factory=list)


def unmask(root: Path, now: datetime, *, consent: str = "") -> Answered:
    """Safe to repeat: the same reply is posted again. `consent` is the operator's reason to answer about another set of
    sites on a model that this site has answered about before; it stays in the ledger.

    Raises FedmedError FM-WAI-02 without a request, FM-MSK-01, -02, -08 to -13, FM-SHR-*, FM-TRU-*, FM-RES-*.
    """
    with desk.opened(root, now) as site:
        agreed = desk.require_approved(site)
        agreement.require_valid(site.workspace, agreed.agreement, now)
        agreed, arrivals = desk.receive(site, agreed, now, "unmask")
        agreement.require_valid(site.workspace, agreed.agreement, now)  # its key may have been revoked just now
        known = site.workspace.record.newest("unmask-request")
        _require_taken_in(site, known, arrivals)
        if known is None:
            next_ = "put the coordinator's unmask-request into inbox/ and run the command again"
            raise FedmedError("FM-WAI-02", "no request to unmask has arrived", next=next_)
        return _answer(site, agreed, known, arrivals, consent, now)


def _require_taken_in(site: Site, known: Known | None, arrivals: list[Arrival]) -> None:
    """A request that was answered does not stand for a later one that lies in the inbox and does not count.

    Raises the FedmedError of that file.
    """
    where = (known.round_number, known.attempt) if known else (-1, 0)
    if known and not site.workspace.record.of("unmask-reply", round=known.round, attempt=known.attempt):
        return
    for each in arrivals:
        said = _told(each)
        is_later = isinstance(said, predicates.UnmaskRequestPredicate) and (said.round, said.attempt) > where
        if is_later and each.verdict.exit_code:
            with about(each.path):
                raise each.verdict.error()


def _told(arrival: Arrival) -> object:
    """What a file says; also one that was judged by an earlier look, if it was certain then who had signed it."""
    if arrival.verdict.statement is not None:
        return arrival.verdict.statement.predicate
    is_signed = arrival.verdict.exit_code and not arrival.verdict.code.startswith(("FM-SIG", "FM-FRM"))
    envelope = intake.envelope_of(arrival.path) if is_signed else None
    return statement.decode(envelope.raw).predicate if envelope else None


def _answer(
    site: Site, consent: Approved, known: Known, arrivals: list[Arrival], reason: str, now: datetime
) -> Answered:
    found = site.workspace
    predicate = archived.read_archived(found, known.id).predicate
    if not isinstance(predicate, predicates.UnmaskRequestPredicate):
        raise TypeError("a request has the predicate of a request")
    body, round_, attempt = predicate.body, predicate.round, predicate.attempt
    sites = [each.site for each in body.included]
    attempts.require_one_set(found.record, predicate)
    before = attempts.answered(found.record, round_, attempt)
    said = found.record.newest("unmask-reply", round=round_, attempt=attempt)
    if said is not None:  # the sites it was about, which the ledger holds; not those that this request names
        told = before[-1]["sites"] if before else []
        return Answered(round_, attempt, False, told, sealing.post(found, said), "", arrivals)
    model = _require_open(site, known)
    _require_own(site, consent, model, body)
    request = requests.read(archived.read_payload(found, known.id, requests.PAYLOAD))
    if not before:
        _require_same_set(site, consent, model, body, request, reason, now)
    warning = _changed(site, consent, model, sites)
    reply = _shares(site, consent, model, request, predicate)
    if not before:  # before anything leaves
        facts = {"round": round_, "attempt": attempt, "base_model": model.payload}
        found.write_entry("unmask", "note", now, what=attempts.ANSWERED, included=body.digest, sites=sites, **facts)
    answer = _say(site, consent, model, known, body, reply, now)
    masks.erase_spent(site)
    return Answered(round_, attempt, True, sites, sealing.post(found, answer), warning, arrivals)


def _require_open(site: Site, known: Known) -> Known:
    """The model that is asked about, which is the newest one, and nothing was said of it before a restore.

    Raises FedmedError FM-MSK-10.
    """
    record = site.workspace.record
    newest = record.newest("model")
    is_newest = newest is not None and (newest.round, newest.attempt) == (known.round, known.attempt)
    if newest is None or not is_newest or newest.round_number <= record.answered:
        raise FedmedError("FM-MSK-10", f"round {known.round}, attempt {known.attempt}: closed here")
    return newest


def _require_own(site: Site, consent: Approved, model: Known, body: UnmaskRequest) -> None:
    """The sum holds this site's own update, and enough others. Raises FedmedError FM-MSK-10, FM-MSK-11."""
    found, least = site.workspace, masks.terms(consent).least
    own = found.record.newest("update", sender=found.name, round=model.round, attempt=model.attempt)
    if own is None:
        raise FedmedError("FM-MSK-10", f"round {model.round}: this site has sealed no update in this attempt")
    if len(body.included) < least:
        raise FedmedError("FM-MSK-11", f"expected {least} sites or more in a sum, got {len(body.included)}")
    if own.id not in [each.update for each in body.included if each.site == found.name]:
        raise FedmedError("FM-MSK-11", "the update of this site is not in the sum, or another one is")


def _require_same_set(
    site: Site, consent: Approved, model: Known, body: UnmaskRequest, request: Request, reason: str, now: datetime
) -> None:
    """On one model a site answers about one set of sites in whatever attempt, or without those that are proven to have
    spoiled one. Raises FedmedError FM-MSK-12, FM-MSK-19.
    """
    sites, record = [each.site for each in body.included], site.workspace.record
    before = [facts["sites"] for facts in attempts.answered(record) if facts["base_model"] == model.payload]
    if all(answered == sites for answered in before) or _is_private(site, model):
        return
    federation, contexts = consent.agreement.federation, _contexts(site, consent)
    guilty = {evidence.culprit(each, federation, record.counts, contexts) for each in request.evidence}
    if all(set(sites) == set(answered) - guilty for answered in before):
        return
    if not reason:
        told = f"this site has answered about {', '.join(before[-1])}; asked is about {', '.join(sites)}"
        raise FedmedError("FM-MSK-12", told)
    site.workspace.write_entry("unmask", "note", now, what=CONSENT, reason=reason, round=model.round, sites=sites)


def _contexts(site: Site, consent: Approved) -> Callable[[int, int], Context | None]:
    """What masks were bound to that answered a model which this site holds."""
    threshold = masks.terms(consent).threshold

    def found(round_: int, attempt: int) -> Context | None:
        model = site.workspace.record.model(round_, attempt)
        return seeds.context(model.id, masks.body_of(site, model).masks, threshold) if model else None

    return found


def _is_private(site: Site, model: Known) -> bool:
    """Whether this site's own update is under patient-level differential privacy: then a difference of sums may show
    it.
    """
    found = site.workspace
    own = found.record.newest("update", sender=found.name, round=model.round, attempt=model.attempt)
    body = archived.read_archived(found, own.id).predicate.body if own else None
    return isinstance(body, bodies.Update) and body.privacy is not None


def _changed(site: Site, consent: Approved, model: Known, sites: Sequence[str]) -> str:
    """Whether the sites in this sum differ from those of the last one by so few that these show in the difference.

    Raises FedmedError FM-MSK-13 where the recipe says so.
    """
    earlier = [facts for facts in attempts.answered(site.workspace.record) if facts["base_model"] != model.payload]
    if not earlier or _is_private(site, model):
        return ""
    changed = sorted(set(sites) ^ set(earlier[-1]["sites"]))
    if not 0 < len(changed) < masks.terms(consent).colluders + 2:
        return ""
    words = f"{', '.join(changed)}: in this sum or in the last one and not in both; the difference tells of them"
    if consent.recipe.aggregation.set_change == "refuse":
        raise FedmedError("FM-MSK-13", words)
    return words


def _shares(
    site: Site, consent: Approved, model: Known, request: Request, predicate: UnmaskRequestPredicate
) -> unmasking.Reply:
    """What this site reveals, out of bundles that their dealers signed for it and for this very model.

    Raises FedmedError FM-MSK-01, -02, -08, FM-SHR-*.
    """
    masking = masks.require(site, consent, model)
    dealt = requests.check(
        predicate, request, consent.agreement.federation, site.workspace.record.counts, masking.context
    )
    return unmasking.reply(masking.context, masking.own, dealt)


def _say(
    site: Site,
    consent: Approved,
    model: Known,
    request: Known,
    body: UnmaskRequest,
    reply: unmasking.Reply,
    now: datetime,
) -> Known:
    federation = consent.agreement.federation
    data = unmasking.to_bytes(reply)
    contents = [artifact.json_content(evidence.REPLY, data)]
    answer = bodies_masking.UnmaskReply(request=request.id, included=body.digest, shown=artifact.sha256(data))

    def build(
        opening: Opening, payload: list[predicates.Payload], subject: list[statement.Subject]
    ) -> statement.Statement:
        predicate = predicates.UnmaskReplyPredicate(
            **opening.fields(),
            kind="unmask-reply",
            federation=federation.under(model),
            recipients=[federation.coordinator()],
            round=model.round_number,
            attempt=model.attempt,
            ack=site.workspace.record.last_from("coordinator"),
            base_model=model.payload,
            payload=payload,
            body=answer,
        )
        return statement.make("unmask-reply", subject, predicate)

    readers = federation.readers(COORDINATOR, site.workspace.name)
    return sealing.say(
        site.workspace, "unmask", "unmask-reply", model.round_number, contents, build, now, readers=readers
    )
