"""Sites that spoiled a sum, as their own signed files prove: another attempt goes without them, and shows why."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from fedmed.errors import FedmedError
from fedmed.exchange import archived, bodies, bodies_masking, bundles, evidence, quoted, seeds, unmasking
from fedmed.exchange.unmasking import Proof

if TYPE_CHECKING:
    from datetime import datetime

    from fedmed.exchange.record import Known
    from fedmed.exchange.workspace import Workspace

CULPRIT = "culprit"


def note(found: Workspace, model: Known, proof: Proof, now: datetime) -> None:
    """What was found when the masks of this model should come off."""
    facts = {"round": model.round, "attempt": model.attempt, "site": proof.site}
    found.write_entry("aggregate", "note", now, what=CULPRIT, proof=proof.model_dump(mode="json"), **facts)


def names(found: Workspace) -> list[str]:
    """Those that spoiled an attempt of the open round."""
    return sorted({str(facts["site"]) for facts in _notes(found)})


def _notes(found: Workspace) -> list[dict[str, Any]]:
    newest = found.record.newest("model")
    notes = [facts for _, facts in found.record.notes if facts.get("what") == CULPRIT]
    return [facts for facts in notes if newest and facts["round"] == newest.round]


def gathered(found: Workspace, threshold: int) -> list[evidence.Evidence]:
    """What proves it of each of them, by name. Raises FedmedError FM-TRU-11."""
    rows = {str(facts["site"]): facts for facts in _notes(found)}
    return [_evidence(found, facts, threshold) for _, facts in sorted(rows.items())]


def _evidence(found: Workspace, facts: dict[str, Any], threshold: int) -> evidence.Evidence:
    proof = Proof.model_validate(facts["proof"])
    where = {"round": facts["round"], "attempt": facts["attempt"]}
    model = found.record.model(where["round"], where["attempt"])
    update = found.record.newest("update", sender=proof.dealer, round=where["round"], attempt=where["attempt"])
    if model is None or update is None:
        raise FedmedError("FM-TRU-11", f"archive: what proves that {proof.site} spoiled a sum is missing")
    said, listed = archived.read_archived(found, update.id).predicate.body, archived.read_archived(found, model.id)
    body = listed.predicate.body
    if not (isinstance(said, bodies.Update) and said.masked and isinstance(body, bodies.Model)):
        raise TypeError("a masked round has masked updates")
    context = seeds.context(model.id, body.masks, threshold)
    table = archived.read_payload(found, update.id, bundles.SHARES)
    answers = [_answer(found, holder, where) for holder in proof.holders]
    asked = found.record.newest("unmask-request", **where)
    request = archived.read_archived(found, asked.id).predicate.body if asked else None
    if not isinstance(request, bodies_masking.UnmaskRequest):
        raise TypeError("a sum that was spoiled was asked for")
    return evidence.Evidence(
        proof=proof,
        included=[each.update for each in request.included],
        update=_quoted(found, update.id),
        table=bundles.read_table(table, context, proof.dealer, said.masked.dealt),
        answers=answers,
    )


def _answer(found: Workspace, holder: str, where: dict[str, Any]) -> evidence.Answer:
    known = found.record.newest("unmask-reply", sender=holder, round=where["round"], attempt=where["attempt"])
    if known is None:
        raise FedmedError("FM-TRU-11", f"archive: a reply of {holder} is missing")
    data = archived.read_payload(found, known.id, evidence.REPLY)
    return evidence.Answer(said=_quoted(found, known.id), shown=unmasking.Reply.model_validate_json(data, strict=True))


def _quoted(found: Workspace, statement_id: str) -> quoted.Quoted:
    fd, envelope, _ = archived.open_archived(found, statement_id)
    os.close(fd)
    return quoted.quote(envelope)
