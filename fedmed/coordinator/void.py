"""`aggregate --void`: a masked round that cannot be opened is declared void, and begun again with the same weights.

The next attempt is another model statement with the same tensors: its masks are bound to it, so nothing of the void one
fits. Sites mask what they have trained again, and answer about the same sites only. Nobody looks for a culprit by
leaving out one site after another: two such sums differ by that site's update.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from fedmed import files
from fedmed.coordinator import culprits, desk, masked, masks, revoke, rounds, versions
from fedmed.errors import FedmedError
from fedmed.exchange import agreement, approvals, archived, artifact, bodies, intake, predicates, sealing, statement
from fedmed.exchange.federation import COORDINATOR

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from fedmed.coordinator.desk import Started
    from fedmed.exchange.artifact import Content
    from fedmed.exchange.intake import Arrival
    from fedmed.exchange.record import Known
    from fedmed.exchange.sealing import Opening
    from fedmed.exchange.workspace import Workspace

VOID = "void"


@dataclass(frozen=True)
class Voided:
    """The attempt that is open now, and the model that begins it; `without` are sites that spoiled one before.
    `is_new` is false where the same command had begun it before. `federations` are versions that no model brought yet.
    """

    round: int
    attempt: int
    is_new: bool
    without: list[str]
    posted: Path
    federations: list[Path] = field(default_factory=list)
    arrivals: list[Arrival] = field(default_factory=list)


def void(root: Path, now: datetime, reason: str) -> Voided:
    """Declare the open attempt void, for a reason that stays in the ledger.

    Safe to repeat: for the same reason it finds the attempt that it began, while nobody has answered that. Raises
    FedmedError FM-MSK-15 where no masked round is open, FM-USE-01 for a reason that cannot be kept, FM-FED-03,
    FM-TIM-01, FM-TIM-02 (this clock is behind), FM-TRU-*, FM-RES-*.
    """
    with desk.opened(root, now) as found:
        running = desk.require_started(found)
        agreement.require_valid(found, running.agreement, now)
        agreement.require_clock(found, now)
        arrivals = intake.receive_all(found, desk.terms(running), now, "aggregate")
        known = found.record.newest("model")
        if not running.masks or known is None or known.last:
            raise FedmedError("FM-MSK-15", "--void: no round with masked updates is open")
        is_new, made = not _has_begun(found, running, known, reason), known
        if is_new:
            where = {"round": known.round, "attempt": known.attempt}
            found.write_entry("aggregate", "note", now, what=VOID, reason=reason, **where)
            revoke.stand(found, running.agreement.federation, now)
            made = _say_again(found, running, known, now)
        guilty, ahead, posted = culprits.names(found), versions.beside(found, made), sealing.post(found, made)
        return Voided(made.round_number, made.attempt, is_new, guilty, posted, ahead, arrivals)


def _has_begun(found: Workspace, running: Started, known: Known, reason: str) -> bool:
    """Whether the same command began the open attempt, and nothing came since: it was killed, and runs again."""
    begun = {"what": VOID, "round": known.round, "attempt": known.attempt - 1, "reason": reason}
    is_said = any(begun.items() <= facts.items() for _, facts in found.record.notes)
    if not is_said or found.record.of("update", round=known.round, attempt=known.attempt):
        return False
    body = archived.read_archived(found, known.id).predicate.body
    return isinstance(body, bodies.Model) and body.masks == masks.listed(found, running)


def _say_again(found: Workspace, running: Started, known: Known, now: datetime) -> Known:
    """The model of the open round as another attempt: the same payloads but for approvals, other masks. It is of the
    version in force, which a killed `aggregate` may have made without a model.
    """
    said = archived.read_archived(found, known.id)
    before = said.predicate
    if not isinstance(before, predicates.ModelPredicate):
        raise TypeError("a model has the predicate of a model")
    body = before.body.model_copy(update={"masks": masks.listed(found, running)})
    federation = running.agreement.federation
    names = [name for name in statement.payload_names(before) if name != statement.PRIVATE]
    contents = [
        approvals.gathered(found, federation) if name == approvals.PAYLOAD else _again(found, said, known.id, name)
        for name in names
    ]
    acks = _acks(found, running)

    def build(
        opening: Opening, payload: list[predicates.Payload], subject: list[statement.Subject]
    ) -> statement.Statement:
        predicate = before.model_copy(
            update={
                **opening.fields(),
                "federation": federation.membership,
                "recipients": federation.sites(),
                "attempt": known.attempt + 1,
                "ack": acks,
                "expires": opening.expires(federation.body.limits.valid_days),
                "payload": payload,
                "body": body,
            }
        )
        return statement.make("model", subject, predicate)

    readers = federation.readers(COORDINATOR, *federation.site_names)
    return sealing.say(found, "aggregate", "model", known.round, contents, build, now, readers=readers)


def _again(found: Workspace, said: statement.Statement, model: str, name: str) -> Content:
    part = next(each for each in said.predicate.payload if each.name == name)
    size, digest = part.bytes, said.digest_of(name)
    if part.enc != "none":
        path = archived.decrypted(found, model, name)
        size, digest = path.stat().st_size, files.sha256_file(path)
    return artifact.Content(name, part.media, size, digest, lambda: archived.payload_chunks(found, model, name))


def _acks(found: Workspace, running: Started) -> list[bodies.SiteAck]:
    """Everybody's update of the void attempt is void."""
    words = "the attempt was declared void"
    everyone = [
        replace(each, status="void", reason=words) if each.status == "used" else each
        for each in masked.standings(found, running)
    ]
    return rounds.receipts(found, everyone)
