"""Sites that spoiled a sum, as their own signed files prove: another attempt goes without them, and shows why."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from fedmed.errors import FedmedError
from fedmed.exchange import archived, attempts, bodies, bundles, evidence, quoted, seeds, unmasking
from fedmed.exchange.unmasking import Proof

if TYPE_CHECKING:
    from datetime import datetime

    from fedmed.exchange.bodies_roster import Quoted
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
    """What proves it of each of them, by name. Raises FedmedError FM-TRU-11.

    What a key signed that was revoked since proves nothing to anybody: without that culprit the others answer with
    their operators' consent alone.
    """
    rows = {str(facts["site"]): facts for facts in _notes(found)}
    made = (_evidence(found, facts, threshold) for _, facts in sorted(rows.items()))
    return [each for each in made if each is not None]


def _evidence(found: Workspace, facts: dict[str, Any], threshold: int) -> evidence.Evidence | None:
    proof = Proof.model_validate(facts["proof"])
    where = {"round": facts["round"], "attempt": facts["attempt"]}
    model, update = found.record.model(where["round"], where["attempt"]), _taken(found, "update", proof.dealer, where)
    if model is None:
        raise FedmedError("FM-TRU-11", f"archive: what proves that {proof.site} spoiled a sum is missing")
    replies = [_taken(found, "unmask-reply", holder, where) for holder in proof.holders]
    if not all(found.record.counts(each.key, each.seq) for each in (update, *replies)):
        return None
    said, listed = archived.read_archived(found, update.id).predicate.body, archived.read_archived(found, model.id)
    body = listed.predicate.body
    if not (isinstance(said, bodies.Update) and said.masked and isinstance(body, bodies.Model)):
        raise TypeError("a masked round has masked updates")
    context = seeds.context(model.id, body.masks, threshold)
    table = archived.read_payload(found, update.id, bundles.SHARES)
    answers = [_answer(found, each) for each in replies]
    return evidence.Evidence(
        proof=proof,
        included=list(attempts.included(found.record, model.round, model.attempt).values()),
        update=_quoted(found, update.id),
        table=bundles.read_table(table, said.masked.table, context, proof.dealer, said.masked.dealt),
        answers=answers,
    )


def _taken(found: Workspace, kind: str, sender: str, where: dict[str, int]) -> Known:
    """The newest one, whether or not its key was revoked since. Raises FedmedError FM-TRU-11."""
    for each in reversed(found.record.received):
        if (each.kind, each.sender, each.outcome) == (kind, sender, "accepted") and where == {
            "round": each.round,
            "attempt": each.attempt,
        }:
            return each
    raise FedmedError("FM-TRU-11", f"archive: the {kind} of {sender} that proves who spoiled a sum is missing")


def _answer(found: Workspace, known: Known) -> evidence.Answer:
    data = archived.read_payload(found, known.id, evidence.REPLY)
    return evidence.Answer(said=_quoted(found, known.id), shown=unmasking.Reply.model_validate_json(data, strict=True))


def _quoted(found: Workspace, statement_id: str) -> Quoted:
    fd, envelope, _ = archived.open_archived(found, statement_id)
    os.close(fd)
    return quoted.quote(envelope)
