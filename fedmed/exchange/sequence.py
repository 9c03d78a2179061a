"""How a sender's statements follow one another: by number, by what each acknowledges, and behind a backup."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedmed.errors import FedmedError
from fedmed.exchange import predicates
from fedmed.exchange.federation import COORDINATOR
from fedmed.exchange.verdict import Decided, Outcome

if TYPE_CHECKING:
    from fedmed.exchange.statement import Statement
    from fedmed.exchange.verdict import Situation


def in_sequence(said: Statement, statement_id: str, situation: Situation) -> None:
    """One number, one statement; one statement, one successor. Gaps and late arrivals are normal."""
    predicate, received = said.predicate, situation.record.received
    mine = [known for known in received if known.sender == said.sender]
    if any(known.seq == predicate.seq for known in mine):
        raise Decided(Outcome.CONFLICT, "FM-TRU-03", f"{said.sender} signed two statements with number {predicate.seq}")
    before = next((known for known in mine if known.seq == predicate.seq - 1), None)
    after = next((known for known in mine if known.seq == predicate.seq + 1), None)
    forked = any((known.prev, known.resumes) == (predicate.prev, predicate.resumes) for known in mine)
    forked = forked or (before is not None and before.id != predicate.prev)
    forked = forked or (after is not None and after.prev != statement_id)
    if forked:
        raise Decided(
            Outcome.CONFLICT,
            "FM-TRU-04",
            f"{said.sender}: number {predicate.seq} does not fit its neighbours",
        )


def goes_on(said: Statement, situation: Situation) -> None:
    """A sender whose workspace was restored goes on where this actor's operator vouched for, by a receipt."""
    if said.sender != COORDINATOR and situation.role == "site":  # of a neighbour in a lap: the coordinator judges
        return
    record, resumes = situation.record, said.predicate.resumes
    mine = [known for known in record.received if known.sender == said.sender]
    if resumes <= max((known.resumes for known in mine), default=0):
        return
    newest = max(mine, key=lambda known: known.seq, default=None)
    vouched = {known.ack for known in record.said if known.kind == "receipt"}
    if newest is None or newest.id not in vouched:
        told = "it goes on from a backup, and nobody here has told it where it was; call it, and if that is so, tell it"
        words = f"{said.kind} of {said.sender}: {told}"
        raise Decided(Outcome.ROLLBACK, "FM-ROS-05", words, said.sender)


def acknowledges(said: Statement, situation: Situation) -> None:
    """What the sender last had from me must be mine, and must not go backwards while its own numbers rise."""
    ack = acknowledged(said, situation.name)
    if ack is None:
        return
    record = situation.record
    position = record.own_seq(ack)
    if position is None and said.sender in record.dismissed:
        raise FedmedError("FM-ROS-06", f"{said.kind} of {said.sender}: acknowledges what was never signed here")
    if position is None:
        raise Decided(
            Outcome.ROLLBACK,
            "FM-TRU-06",
            f"{said.sender} has a file of this workspace that its ledger does not know",
            situation.name,
        )
    for known in record.received:
        if known.sender != said.sender or known.ack is None or known.resumes != said.predicate.resumes:
            continue
        older = (record.own_seq(known.ack) or 0) - position
        if older * (known.seq - said.predicate.seq) < 0:
            raise Decided(
                Outcome.ROLLBACK,
                "FM-TRU-05",
                f"{said.sender}: number {said.predicate.seq} acknowledges an older file than before",
            )


def acknowledged(said: Statement, name: str) -> str | None:
    """The statement of `name` that this one acknowledges: sites acknowledge the coordinator's alone, also to others."""
    predicate = said.predicate
    if isinstance(predicate, predicates.ModelPredicate):
        return next((ack.id for ack in predicate.ack if ack.site == name), None)
    if isinstance(predicate, predicates.UnmaskRequestPredicate | predicates.ReceiptPredicate):  # to one, of which it is
        return predicate.ack
    return None if isinstance(predicate, predicates.JoinPredicate) or name != COORDINATOR else predicate.ack
