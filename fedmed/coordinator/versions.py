"""The next version of the federation: with the numbers fitted on all sites, or with keys that their owners replaced."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedmed.coordinator import desk, masks, revoke
from fedmed.exchange import (
    archived,
    artifact,
    bodies_roster,
    predicates,
    quoted,
    rotations,
    sealing,
    statement,
    workspace,
)
from fedmed.exchange.federation import COORDINATOR

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from fedmed.coordinator.desk import Started
    from fedmed.exchange.agreement import Agreement
    from fedmed.exchange.record import Known
    from fedmed.exchange.sealing import Opening
    from fedmed.exchange.workspace import Workspace


def say_next(
    found: Workspace, agreed: Agreement, body: bodies_roster.Federation, now: datetime, numbers: bytes | None
) -> Known:
    """The federation in force with this body and these numbers, and nothing else changed: not even the date of its end.

    It is signed with the key, and addressed to the keys, of the version before.
    """
    federation = agreed.federation
    contents = [
        artifact.json_content("recipe.json", agreed.recipe),
        artifact.json_content("tensors.json", agreed.tensors),
        *([] if numbers is None else [artifact.json_content(statement.PREPROCESSING, numbers)]),
    ]
    founding = federation.founding.model_copy(
        update={
            "version": federation.founding.version + 1,
            "previous": federation.digest,
            "approved": federation.root,
        }
    )

    def build(
        opening: Opening, payload: list[predicates.Payload], subject: list[statement.Subject]
    ) -> statement.Statement:
        predicate = predicates.FederationPredicate(
            **opening.fields(),
            kind="federation",
            federation=founding,
            recipients=federation.sites(),
            ack=None,
            expires=federation.expires,
            payload=payload,
            body=body,
        )
        return statement.make("federation", subject, predicate)

    return sealing.say(found, "aggregate", "federation", None, contents, build, now)


def beside(found: Workspace, model: Known) -> list[Path]:
    """What a site needs with this model, in the outbox: the versions of the federation and the revocations since the
    model before.
    """
    place = (model.round, model.attempt)
    before = [each for each in found.record.models() if (each.round, each.attempt) < place]
    version, number = max((each.version for each in before), default=1), max((each.seq for each in before), default=0)
    later = [each for each in found.record.of("federation") if version < each.version <= model.version]
    revocations = {each.payload: each for each in found.record.of("revocation", sender=found.name)}  # of a key the last
    since = [each for each in revocations.values() if number < each.seq < model.seq]
    return [sealing.post(found, each) for each in (*later, *since)]


def with_new_keys(found: Workspace, running: Started, now: datetime) -> Started:
    """Before the next model: a version of the federation with the keys that owners have replaced, if any did.

    From its own new key on the coordinator signs with that one, and revocations that the old one signed are said anew.
    """
    running = _with_pending(found, running, now)
    revoke.stand(found, running.agreement.federation, now)
    return running


def _with_pending(found: Workspace, running: Started, now: datetime) -> Started:
    body, federation = running.agreement.federation.body, running.agreement.federation
    left = bodies_roster.MAX_ROTATIONS - len(body.rotations)  # behind these the federation goes on with the keys it has
    pending = masks.with_masks(found, running, rotations.pending(found.record, federation))[:left]
    if not pending:
        return running
    lines: dict[str, str] = {}
    for known in pending:
        predicate = archived.read_archived(found, known.id).predicate
        if isinstance(predicate, predicates.RotationPredicate):
            lines[known.sender] = predicate.body.key
    roster = [each.model_copy(update={"key": lines.get(each.name, each.key)}) for each in body.roster]
    quotes = [quoted.quote(archived.read_envelope(found, known.id)) for known in pending]
    changed = {
        "coordinator": lines.get(COORDINATOR, body.coordinator),
        "roster": roster,
        "rotations": [*body.rotations, *quotes],
    }
    say_next(found, running.agreement, body.model_copy(update=changed), now, running.agreement.preprocessing)
    running = desk.require_started(found)
    workspace.use_next_key(found, running.agreement.federation.key_of(COORDINATOR), now)
    return running
