"""May this statement count? Pure rules over bytes and over what the receiver knows; no disk, no clock of its own.

Order: signature, owner of the key, canonical parse, schema, agreement of signature and statement, federation,
recipient, seen before, `seq`/`prev`, `ack`, time, kind and round, base model and tensor table, weight. The payloads
follow (`artifact.read_payloads`) once a statement is accepted. Nothing is parsed beyond the failing step.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

from fedmed.errors import CODES, FedmedError
from fedmed.exchange import sshsig, statement
from fedmed.exchange.federation import COORDINATOR
from fedmed.exchange.keys import fingerprint, public_line

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fedmed.exchange.artifact import Envelope
    from fedmed.exchange.federation import Federation, Owner
    from fedmed.exchange.record import Known, Record
    from fedmed.exchange.statement import Statement

AHEAD = timedelta(hours=26)


class Outcome(StrEnum):
    """What becomes of a file; FORMAT.md section 6."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    NOT_FOR_ME = "not-for-me"
    INCOMPLETE = "incomplete"
    EARLY = "early"
    SUPERSEDED = "superseded"
    LATE = "late"
    CONFLICT = "conflict"
    REJECTED = "rejected"
    EXPIRED = "expired"
    FUTURE = "future"
    ROLLBACK = "rollback"


ARCHIVED = (Outcome.ACCEPTED, Outcome.SUPERSEDED, Outcome.LATE)


@dataclass(frozen=True)
class Verdict:
    """The outcome for one file, with the words for a person; `statement` is set once it was parsed and verified."""

    outcome: Outcome
    code: str = ""
    message: str = ""
    statement: Statement | None = None

    @property
    def exit_code(self) -> int:
        return CODES[self.code].exit if self.code else 0

    def error(self) -> FedmedError:
        return FedmedError(self.code, self.message)


@dataclass(frozen=True)
class Situation:
    """What the receiver knows. `round` is the open round (coordinator) or the newest model's (site; -1 before)."""

    role: str
    name: str
    public_key: bytes
    federation: Federation | None
    record: Record
    round: int
    now: datetime
    tables: Mapping[str, str] = field(default_factory=dict)
    accept_expired: bool = False
    trust_clock: bool = False

    @property
    def effective_now(self) -> datetime:
        """Never earlier than signed time that was already seen, so that a clock set back revives no expired file."""
        floor = self.record.floor
        return max(self.now, statement.from_time(floor)) if floor else self.now


class _Decided(Exception):  # noqa: N818 - carries a verdict out of the first rule that decides
    def __init__(self, outcome: Outcome, code: str = "", message: str = "") -> None:
        super().__init__(message)
        self.verdict = (outcome, code, message)


def judge(envelope: Envelope, situation: Situation) -> Verdict:
    """Apply every rule to one statement. Never raises for what the bytes contain."""
    said: Statement | None = None
    try:
        owner, kind = _signer(envelope, situation)
        said = statement.decode(envelope.raw)
        agrees(said, envelope, owner, kind)
        _for_me(said, envelope, situation)
        _in_sequence(said, envelope.id, situation)
        _acknowledges(said, situation)
        _in_time(said, situation)
        outcome = (_of_coordinator if kind in statement.COORDINATOR_KINDS else _of_site)(said, situation)
    except _Decided as decided:
        return Verdict(*decided.verdict, said)
    except FedmedError as error:
        return Verdict(Outcome.REJECTED, error.code, error.message, said)
    return Verdict(outcome, statement=said)


def judge_self_signed(envelope: Envelope, kind: str) -> Statement:
    """A join or a federation, signed by the key that it brings. Proves possession of that key and nothing more.

    Raises FedmedError FM-SIG-01, FM-SIG-04, FM-SIG-05, FM-FRM-02, FM-FRM-03.
    """
    sshsig.verify(envelope.signature, envelope.raw)
    if statement.kind_of(envelope.signature.namespace) != kind:
        raise FedmedError("FM-SIG-04", f"expected a {kind}, got a signature for {envelope.signature.namespace[:40]!r}")
    said = statement.decode(envelope.raw)
    agrees(said, envelope, None, kind)
    brings_its_key(said, envelope)
    return said


def brings_its_key(said: Statement, envelope: Envelope) -> None:
    """A join or a federation holds the key that signed it. Raises FedmedError FM-SIG-05."""
    predicate = said.predicate
    brought = predicate.body.key if isinstance(predicate, statement.JoinPredicate) else ""
    if isinstance(predicate, statement.FederationPredicate):
        brought = predicate.body.coordinator
    name_agrees = not isinstance(predicate, statement.JoinPredicate) or predicate.body.name == said.sender
    if brought != public_line(envelope.signature.public_key) or not name_agrees:
        raise FedmedError("FM-SIG-05", f"{said.kind} of {said.sender}: the key it brings is not the one that signed")


def _signer(envelope: Envelope, situation: Situation) -> tuple[Owner | None, str]:
    """The signature holds; the key, looked up in the federation, may sign this kind. None: self-signed."""
    sshsig.verify(envelope.signature, envelope.raw)
    kind = statement.kind_of(envelope.signature.namespace)
    if kind is None:
        raise FedmedError(
            "FM-SIG-04", f"namespace {envelope.signature.namespace[:40]!r}: expected one of fedmed's kinds"
        )
    federation = situation.federation
    if federation is None:
        if kind not in ("federation", "join") and situation.role == "site":
            raise _Decided(Outcome.EARLY, "FM-WAI-05", f"a {kind} came before this site approved the federation")
        if kind not in ("federation", "join"):
            raise FedmedError("FM-SIG-03", f"a {kind}: the federation has not started, so no key is known")
        return None, kind
    owner = federation.owner(envelope.signature.public_key)
    if owner is None and kind != "join":
        raise FedmedError("FM-SIG-03", f"a {kind}: {fingerprint(envelope.signature.public_key)} is not in the roster")
    if owner is not None and kind not in owner.kinds:
        raise FedmedError("FM-SIG-04", f"{owner.name} signed a {kind}: expected one of {', '.join(owner.kinds)}")
    return owner, kind


def agrees(said: Statement, envelope: Envelope, owner: Owner | None, kind: str) -> None:
    """Signature, kind and sender say the same."""
    sender, key = said.predicate.sender, fingerprint(envelope.signature.public_key)
    if said.kind != kind or sender.key != key or (owner is not None and sender.name != owner.name):
        raise FedmedError("FM-SIG-05", f"signed as {kind} by {key}, but says {said.kind} by {sender.name} {sender.key}")
    if (kind in statement.COORDINATOR_KINDS) != (sender.name == COORDINATOR):
        raise FedmedError("FM-SIG-05", f"a {kind} cannot come from {sender.name}")


def _for_me(said: Statement, envelope: Envelope, situation: Situation) -> None:
    """New here, of this federation and addressed to this actor."""
    if envelope.signature.public_key == situation.public_key:
        raise _Decided(Outcome.NOT_FOR_ME, "", "a file of this workspace itself")
    if any(known.id == envelope.id for known in situation.record.received):
        raise _Decided(Outcome.DUPLICATE, "", f"{said.kind} of {said.sender} is here already")
    predicate, federation = _of_federation(said, situation)
    if predicate.federation != federation.membership:
        raise FedmedError("FM-TRU-02", f"{said.kind} of {said.sender}: made for another federation or version")
    if statement.party(situation.name, situation.public_key) not in predicate.recipients:
        raise _Decided(Outcome.NOT_FOR_ME, "", f"{said.kind} of {said.sender} is addressed to others")
    kinds = statement.COORDINATOR_KINDS if situation.role == "site" else statement.SITE_KINDS
    if said.kind not in kinds:  # before its `ack` is read: another site must not be able to stop this one
        raise FedmedError("FM-RND-03", f"a {said.kind} is not expected here")


def _of_federation(
    said: Statement, situation: Situation
) -> tuple[statement.ApprovalPredicate | statement.RoundPredicate, Federation]:
    """What is said within a running federation. Joins and the first federation are taken by commands of their own."""
    predicate, federation = said.predicate, situation.federation
    if isinstance(predicate, statement.JoinPredicate):
        if situation.role == "site" or federation is not None:
            raise _Decided(Outcome.NOT_FOR_ME, "", "a join is for a coordinator that has not started")
        raise _Decided(Outcome.EARLY, "FM-WAI-05", f"{said.sender} asks to join: fedmed admit")
    if federation is None:
        raise _Decided(Outcome.EARLY, "FM-WAI-05", "a federation waits for consent: fedmed approve")
    if isinstance(predicate, statement.FederationPredicate):
        founding, known = predicate.federation, federation.founding
        if (founding.id, founding.version) == (known.id, known.version):
            raise _Decided(Outcome.CONFLICT, "FM-TRU-03", "a second statement of the same federation version")
        raise FedmedError("FM-TRU-02", "a federation other than the one in force here")
    return predicate, federation


def _in_sequence(said: Statement, statement_id: str, situation: Situation) -> None:
    """One number, one statement; one statement, one successor. Gaps and late arrivals are normal."""
    predicate, received = said.predicate, situation.record.received
    mine = [known for known in received if known.sender == said.sender]
    if any(known.seq == predicate.seq for known in mine):
        raise _Decided(
            Outcome.CONFLICT, "FM-TRU-03", f"{said.sender} signed two statements with number {predicate.seq}"
        )
    before = next((known for known in mine if known.seq == predicate.seq - 1), None)
    after = next((known for known in mine if known.seq == predicate.seq + 1), None)
    forked = any(known.prev == predicate.prev for known in mine)
    forked = forked or (before is not None and before.id != predicate.prev)
    forked = forked or (after is not None and after.prev != statement_id)
    if forked:
        raise _Decided(
            Outcome.CONFLICT,
            "FM-TRU-04",
            f"{said.sender}: number {predicate.seq} does not fit its neighbours",
        )


def _acknowledges(said: Statement, situation: Situation) -> None:
    """What the sender last had from me must be mine, and must not go backwards while its own numbers rise."""
    ack = acknowledged(said, situation.name)
    if ack is None:
        return
    record = situation.record
    position = record.own_seq(ack)
    if position is None:
        raise _Decided(
            Outcome.ROLLBACK,
            "FM-TRU-06",
            f"{said.sender} has a file of this workspace that its ledger does not know",
        )
    for known in record.received:
        if known.sender != said.sender or known.ack is None:
            continue
        older = (record.own_seq(known.ack) or 0) - position
        if older * (known.seq - said.predicate.seq) < 0:
            raise _Decided(
                Outcome.ROLLBACK,
                "FM-TRU-05",
                f"{said.sender}: number {said.predicate.seq} acknowledges an older file than before",
            )


def acknowledged(said: Statement, name: str) -> str | None:
    """The statement of `name` that this one acknowledges."""
    predicate = said.predicate
    if isinstance(predicate, statement.ModelPredicate):
        return next((ack.id for ack in predicate.ack if ack.site == name), None)
    return None if isinstance(predicate, statement.JoinPredicate) else predicate.ack


def _in_time(said: Statement, situation: Situation) -> None:
    predicate = said.predicate
    created = statement.from_time(predicate.created)
    if created > situation.now + AHEAD and not situation.trust_clock:
        raise _Decided(
            Outcome.FUTURE,
            "FM-TIM-02",
            f"{said.kind} of {said.sender}: signed {predicate.created}, "
            f"this clock says {statement.to_time(situation.now)}",
        )
    expires = (
        predicate.expires if isinstance(predicate, statement.FederationPredicate | statement.ModelPredicate) else None
    )
    if expires and situation.effective_now > statement.from_time(expires) and not situation.accept_expired:
        raise _Decided(Outcome.EXPIRED, "FM-TIM-01", f"{said.kind} of {said.sender}: expired {expires}")


def _of_coordinator(said: Statement, situation: Situation) -> Outcome:
    """A model at a site."""
    predicate = said.predicate
    if not isinstance(predicate, statement.ModelPredicate) or situation.federation is None:
        raise TypeError("a site takes models, within a federation")
    rounds = situation.federation.body.limits.rounds
    if predicate.attempt != 1 or predicate.round > rounds or predicate.body.last != (predicate.round == rounds):
        raise FedmedError(
            "FM-RND-01",
            f"model of round {predicate.round}, attempt {predicate.attempt}: the federation has {rounds} rounds",
        )
    if predicate.tensor_table != situation.tables["model"]:
        raise FedmedError("FM-TEN-01", "model: the table of tensors is not the federation's")
    _chained(predicate, situation)
    return Outcome.LATE if predicate.round < situation.round else Outcome.ACCEPTED


def _chained(predicate: statement.ModelPredicate, situation: Situation) -> None:
    """One model a round, each naming the one before."""
    record = situation.record
    if any(known.kind == "model" and known.round == predicate.round for known in record.received):
        raise _Decided(Outcome.CONFLICT, "FM-TRU-03", f"the coordinator signed two models for round {predicate.round}")
    before = record.model(predicate.round - 1)
    if (predicate.round == 0) != (predicate.body.previous is None) or (before and before.id != predicate.body.previous):
        raise FedmedError("FM-RND-02", f"model of round {predicate.round}: does not follow the model before it")


def _of_site(said: Statement, situation: Situation) -> Outcome:
    """An approval, update or report at the coordinator."""
    predicate = said.predicate
    if isinstance(predicate, statement.ApprovalPredicate):
        return Outcome.ACCEPTED
    if not isinstance(predicate, statement.UpdatePredicate | statement.ReportPredicate) or situation.federation is None:
        raise TypeError("a coordinator takes approvals, updates and reports, within a federation")
    _answers_a_model(said.sender, predicate, situation)
    if isinstance(predicate, statement.ReportPredicate):
        return Outcome.ACCEPTED
    if predicate.tensor_table != situation.tables["update"]:
        raise FedmedError("FM-TEN-01", f"update of {said.sender}: the table of tensors is not the federation's")
    bound = situation.federation.member(said.sender).max_num_cases
    if predicate.body.num_cases > bound or predicate.body.num_patients > predicate.body.num_cases:
        raise FedmedError(
            "FM-TEN-03",
            f"update of {said.sender}: expected at most {bound} cases, got {predicate.body.num_cases}",
        )
    return Outcome.LATE if predicate.round < situation.round else _newest_of(said.sender, predicate, situation)


def _answers_a_model(
    sender: str, predicate: statement.UpdatePredicate | statement.ReportPredicate, situation: Situation
) -> None:
    if predicate.round > situation.round:
        raise _Decided(
            Outcome.EARLY,
            "FM-WAI-05",
            f"{predicate.kind} of {sender}: round {predicate.round} is not open yet",
        )
    model = situation.record.model(predicate.round)
    if predicate.attempt != 1 or model is None:
        raise FedmedError(
            "FM-RND-01",
            f"{predicate.kind} of {sender}: round {predicate.round}, attempt {predicate.attempt} does not exist",
        )
    if predicate.base_model != model.payload:
        raise FedmedError(
            "FM-RND-02",
            f"{predicate.kind} of {sender}: starts from another model than that of round {predicate.round}",
        )


def _newest_of(sender: str, predicate: statement.UpdatePredicate, situation: Situation) -> Outcome:
    """A later statement of the same sender and round counts; this one does not if a later one is here."""
    held: Known | None = situation.record.newest(predicate.kind, sender=sender, round=predicate.round)
    return Outcome.SUPERSEDED if held and held.seq > predicate.seq else Outcome.ACCEPTED
