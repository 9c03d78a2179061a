"""A round whose updates come masked: who can be in the sum, the set that is fixed once, and what answers it.

Which sites are in the sum is decided once an attempt and stands in the ledger before any request leaves: two sums that
differ by one site would show that site's update. Source: PRIVACY.md section 1.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from fedmed.coordinator import culprits, restored, rounds
from fedmed.errors import FedmedError
from fedmed.exchange import (
    archived,
    artifact,
    attempts,
    bodies,
    bodies_masking,
    bundles,
    evidence,
    mismatches,
    predicates,
    requests,
    sealing,
    seeds,
    statement,
)
from fedmed.exchange.federation import COORDINATOR

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from fedmed.coordinator.desk import Started
    from fedmed.coordinator.rounds import Standing
    from fedmed.exchange.bundles import Row, Table
    from fedmed.exchange.record import Known
    from fedmed.exchange.sealing import Opening
    from fedmed.exchange.seeds import Context
    from fedmed.exchange.unmasking import Reply
    from fedmed.exchange.workspace import Workspace
    from fedmed.learning.masking import Quantiser

VECTOR = "update.safetensors"


@dataclass(frozen=True)
class Open:
    """The model that is answered, what its masks are bound to, and how updates became whole numbers."""

    model: Known
    context: Context
    quantiser: Quantiser


def opened(found: Workspace, running: Started) -> Open:
    """The newest model's round. Raises FedmedError FM-SHR-06, FM-TRU-11."""
    model = found.record.newest("model")
    body = archived.read_archived(found, model.id).predicate.body if model else None
    if model is None or not isinstance(body, bodies.Model) or body.clip is None:
        raise ValueError("a masked round is open without masks")
    context = seeds.context(model.id, body.masks, running.terms.threshold)
    return Open(model, context, running.terms.quantiser(float(body.clip)))


def fixed(found: Workspace) -> dict[str, str]:
    """The updates in the sum of the newest model's attempt, by site; none before they were decided."""
    model = found.record.newest("model")
    return attempts.included(found.record, model.round, model.attempt) if model else {}


def standings(found: Workspace, running: Started) -> list[Standing]:
    """Every site of the roster, by name: whether it is in the sum, or will be. Reads no tensors."""
    arrived = rounds.arrived(found, running)
    if rounds.open_round(found) < 0 or rounds.is_over(found):
        return arrived
    arrived = [_without_the_restored(found, each) for each in arrived]
    open_, included = opened(found, running), fixed(found)
    if included:
        decided = attempts.decided(found.record, open_.model.round, open_.model.attempt)
        left_out = {row["site"]: row["why"] for row in decided["without"]}
        return [_in_sum(each, included, left_out) for each in arrived]
    guilty = culprits.names(found)
    tables: dict[str, Table] = {}
    everyone = [_fit(found, open_, each, guilty, tables) for each in arrived]
    misfits = mismatches.fewest(mismatches.found(open_.context, tables))
    why = "FM-MSK-18: its masks do not fit those of other sites"
    return [
        replace(each, status="excluded", reason=why) if each.site in misfits and each.status == "used" else each
        for each in everyone
    ]


def _without_the_restored(found: Workspace, standing: Standing) -> Standing:
    if standing.status not in ("missing", "late") or not restored.sits_out(found, standing.site):
        return standing
    return replace(standing, sits_out=True, reason="it was restored from a backup, and sits this round out")


def _in_sum(standing: Standing, included: Mapping[str, str], left_out: Mapping[str, str]) -> Standing:
    if standing.site in included or standing.status != "used":
        return standing
    if standing.site in left_out:
        return replace(standing, status="excluded", reason=left_out[standing.site])
    return replace(standing, status="late", reason="it came when the sites in the sum were decided")


def _fit(found: Workspace, open_: Open, standing: Standing, guilty: list[str], tables: dict[str, Table]) -> Standing:
    """As it stands, or why it cannot be in the sum; what it dealt is added to `tables`."""
    if standing.update is None or standing.status != "used":
        return standing
    if standing.site in guilty:
        return replace(standing, status="excluded", reason="FM-MSK-14: it spoiled an attempt before, as files prove")
    try:
        tables[standing.site] = table_of(found, open_, standing.update.id)
    except FedmedError as error:
        if error.code != "FM-SHR-07":
            raise
        return replace(standing, status="refused", reason=f"{error.code}: {error.message}"[:200], update=None)
    return standing


def table_of(found: Workspace, open_: Open, update: str) -> Table:
    """What the site of this update dealt, of the right size for everybody. Raises FedmedError FM-SHR-07, FM-TRU-11."""
    said = archived.read_archived(found, update)
    masked = said.predicate.body.masked if isinstance(said.predicate.body, bodies.Update) else None
    if masked is None:
        raise ValueError("an update of a masked round is masked")
    data = archived.read_payload(found, update, bundles.SHARES)
    table = bundles.read_table(data, masked.table, open_.context, said.sender, masked.dealt)
    bundles.bundle_of(archived.read_payload(found, update, bundles.BUNDLES), open_.context, said.sender, said.sender)
    return table


def not_here(found: Workspace, included: Mapping[str, str]) -> list[str]:
    """The sites in the sum whose updates a backup did not hold."""
    here = {known.id for known in found.record.received}
    return [site for site, update in sorted(included.items()) if update not in here]


def tables_of(found: Workspace, open_: Open, included: Mapping[str, str]) -> dict[str, Table]:
    """What the sites in the sum dealt. Raises FedmedError FM-WAI-03 where updates of them are not here, FM-TRU-11."""
    if lost := ", ".join(not_here(found, included)):
        words = f"{rounds.open_name(found)}: in the sum and not here are the updates of {lost}"
        next_ = f"ask {lost} for the same file again, or begin the round again: fedmed aggregate --void REASON -w HERE"
        raise FedmedError("FM-WAI-03", words, next=next_)
    return {site: table_of(found, open_, update) for site, update in included.items()}


def fix(found: Workspace, running: Started, everyone: list[Standing], now: datetime) -> dict[str, str]:
    """Decide, once for this attempt, which sites are in the sum."""
    open_ = opened(found, running)
    updates = {each.site: each.update.id for each in everyone if each.status == "used" and each.update}
    if len(updates) < running.terms.least:
        raise ValueError("too few sites for a sum")
    rows = [{"site": site, "update": update} for site, update in sorted(updates.items())]
    without = [{"site": each.site, "why": each.reason} for each in everyone if each.status in ("excluded", "refused")]
    facts = {"round": open_.model.round, "attempt": open_.model.attempt, "updates": rows, "without": without}
    found.write_entry("unmask", "note", now, what=attempts.INCLUDED, **facts)
    return updates


def replies(found: Workspace, open_: Open, included: Mapping[str, str]) -> dict[str, Reply]:
    """What included sites have answered about exactly this set, by site."""
    answers: dict[str, Reply] = {}
    digest = bodies_masking.included_digest(list(included.values()))
    for known in found.record.of("unmask-reply", round=open_.model.round, attempt=open_.model.attempt):
        body = archived.read_archived(found, known.id).predicate.body
        if known.sender in included and isinstance(body, bodies_masking.UnmaskReply) and body.included == digest:
            data = archived.read_payload(found, known.id, evidence.REPLY)
            reply = requests.read_reply(data, body.shown, open_.context, sorted(included), known.sender)
            answers |= {known.sender: reply} if reply else {}
    return answers


def missing(included: Mapping[str, str], answers: Mapping[str, object]) -> list[str]:
    """The sites in the sum that have not answered."""
    return sorted(included.keys() - answers.keys())


def say_requests(found: Workspace, running: Started, included: Mapping[str, str], now: datetime) -> list[Known]:
    """One request for each included site; those that were sealed before are kept. Raises FedmedError FM-WAI-03,
    FM-RES-*.
    """
    open_ = opened(found, running)
    said = said_requests(found, open_.model, included)
    waiting = [site for site in sorted(included) if site not in said]
    tables = tables_of(found, open_, included) if waiting else {}
    for site in waiting:
        said[site] = _say_request(found, running, open_, tables, included, site, now)
    return [said[site] for site in sorted(said)]


def said_requests(found: Workspace, model: Known, included: Mapping[str, str]) -> dict[str, Known]:
    """Those that were sealed in this attempt about this set, by the site that is asked."""
    said, digest = {}, bodies_masking.included_digest(list(included.values()))
    for known in found.record.of("unmask-request", round=model.round, attempt=model.attempt):
        predicate = archived.read_archived(found, known.id).predicate
        if not isinstance(predicate, predicates.UnmaskRequestPredicate):
            raise TypeError("a request has the predicate of a request")
        if predicate.body.digest == digest:
            said[predicate.recipients[0].name] = known
    return said


def _say_request(
    found: Workspace,
    running: Started,
    open_: Open,
    tables: Mapping[str, Table],
    included: Mapping[str, str],
    site: str,
    now: datetime,
) -> Known:
    federation, model = running.agreement.federation, open_.model
    place = open_.context.position(site) - 1
    brought = [_brought(found, open_, update, tables[dealer].rows[place], site) for dealer, update in included.items()]
    guilty = culprits.gathered(found, running.terms.threshold)
    contents = [artifact.json_content(requests.PAYLOAD, requests.to_bytes(brought, guilty))]
    body = bodies_masking.UnmaskRequest(
        model=model.id,
        included=[bodies_masking.IncludedUpdate(site=name, update=update) for name, update in included.items()],
        culprits=sorted(each.proof.site for each in guilty),
    )

    def build(
        opening: Opening, payload: list[predicates.Payload], subject: list[statement.Subject]
    ) -> statement.Statement:
        predicate = predicates.UnmaskRequestPredicate(
            **opening.fields(),
            kind="unmask-request",
            federation=federation.under(model),
            recipients=[actor for actor in federation.sites() if actor.name == site],
            round=model.round_number,
            attempt=model.attempt,
            ack=found.record.last_from(site),
            base_model=model.payload,
            expires=opening.expires(federation.body.limits.valid_days),
            payload=payload,
            body=body,
        )
        return statement.make("unmask-request", subject, predicate)

    readers = federation.readers(COORDINATOR, site)
    return sealing.say(found, "unmask", "unmask-request", model.round_number, contents, build, now, readers=readers)


def _brought(found: Workspace, open_: Open, update: str, row: Row, site: str) -> requests.Brought:
    fd, envelope, said = archived.open_archived(found, update)
    os.close(fd)
    sealed = archived.read_payload(found, update, bundles.BUNDLES)
    return requests.brought(envelope, row, bundles.bundle_of(sealed, open_.context, said.sender, site))
