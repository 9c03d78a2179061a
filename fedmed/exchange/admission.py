"""May this statement count? Pure rules over bytes and over what the receiver knows; no disk, no clock of its own.

Order: signature, owner of the key, canonical parse, schema, agreement of signature and statement, federation,
recipient, seen before, `seq`/`prev`, `ack`, time, kind and round, base model and tensor table, weight. The payloads
follow (`artifact.read_payloads`) once a statement is accepted. Nothing is parsed beyond the failing step.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from fedmed.errors import FedmedError
from fedmed.exchange import answers, laps, predicates, sequence, sshsig, statement
from fedmed.exchange.federation import COORDINATOR, agrees, from_statement
from fedmed.exchange.keys import fingerprint, public_line
from fedmed.exchange.rotations import require_proven
from fedmed.exchange.succession import require_successor
from fedmed.exchange.verdict import Decided, Outcome, Situation, Verdict

if TYPE_CHECKING:
    from datetime import datetime

    from fedmed.exchange.artifact import Envelope
    from fedmed.exchange.federation import Federation, Owner
    from fedmed.exchange.statement import Statement

AHEAD = timedelta(hours=26)


def judge(envelope: Envelope, situation: Situation) -> Verdict:
    """Apply every rule to one statement. Never raises for what the bytes contain."""
    said: Statement | None = None
    try:
        owner, kind = _signer(envelope, situation)
        decoded = statement.decode(envelope.raw)
        agrees(decoded, envelope, owner, kind)
        said = decoded  # from here on it is certain who speaks
        _not_revoked(said, situation)
        _for_me(said, envelope, situation)
        _by_its_key_of_now(said, envelope, situation)
        sequence.in_sequence(said, envelope.id, situation)
        sequence.goes_on(said, situation)
        sequence.acknowledges(said, situation)
        _in_time(said, situation)
        if situation.federation is not None:
            require_agreed(said, situation.federation)
        outcome = (answers.of_coordinator if said.sender == COORDINATOR else answers.of_site)(said, situation)
    except Decided as decided:
        return Verdict(*decided.verdict, said, decided.restored)
    except FedmedError as error:
        return Verdict(Outcome.REJECTED, error.code, error.message, said)
    return Verdict(outcome, statement=said)


def judge_self_signed(envelope: Envelope, kind: str) -> Statement:
    """A join or a federation, signed by the key that it brings. Proves possession of that key and nothing more.

    Raises FedmedError FM-SIG-01, FM-SIG-04, FM-SIG-05, FM-FRM-02, FM-FRM-03.
    """
    sshsig.verify(envelope.signature, envelope.raw)
    if statement.kind_of(envelope.signature.namespace) != kind:
        raise FedmedError("FM-SIG-04", f"expected {kind}, got a signature for {envelope.signature.namespace[:40]!r}")
    said = statement.decode(envelope.raw)
    agrees(said, envelope, None, kind)
    brings_its_key(said, envelope)
    return said


def brings_its_key(said: Statement, envelope: Envelope) -> None:
    """A join or a federation holds the key that signed it, or that key's word for the one which it holds.

    Raises FedmedError FM-SIG-05, FM-ROS-12.
    """
    predicate, signer = said.predicate, public_line(envelope.signature.public_key)
    brought = predicate.body.key if isinstance(predicate, predicates.JoinPredicate) else ""
    if isinstance(predicate, predicates.FederationPredicate):
        require_proven(predicate)
        brought = predicate.body.coordinator
        if brought != signer and from_statement(said, "").replaced_last(COORDINATOR) == envelope.signature.public_key:
            brought = signer
    name_agrees = not isinstance(predicate, predicates.JoinPredicate) or predicate.body.name == said.sender
    if brought != signer or not name_agrees:
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
            raise Decided(Outcome.EARLY, "FM-WAI-05", f"{kind} came before this site approved the federation")
        if kind not in ("federation", "join"):
            raise FedmedError("FM-SIG-03", f"{kind}: the federation has not started, so no key is known")
        return None, kind
    public_key = envelope.signature.public_key
    owner = federation.owner(public_key) or federation.former_owner(public_key)
    if owner is None and kind != "join":
        raise FedmedError("FM-SIG-03", f"{kind}: {_unlisted(public_key, federation, situation.role)}")
    if owner is not None and kind not in owner.kinds:
        raise FedmedError("FM-SIG-04", f"{owner.name} signed {kind}: expected one of {', '.join(owner.kinds)}")
    return owner, kind


def _unlisted(public_key: bytes, federation: Federation, role: str) -> str:
    """That such a file came too early cannot be told: of an unknown key nothing is read, also no version."""
    version = federation.founding.version
    words = f"{fingerprint(public_key)} is not in the roster of version {version}"
    if role != "site":  # the coordinator makes the versions itself
        return words
    return f"{words}; if that is a new key, put federation-v{version + 1:04d}.fedmed into inbox/, too"


def _not_revoked(said: Statement, situation: Situation) -> None:
    """A key that was taken back counts up to the last number that its owner says is his. Acts at once."""
    sender, seq = said.predicate.sender, said.predicate.seq
    if not situation.record.counts(sender.key, seq):
        words = f"number {seq} of a key that counts up to {situation.record.revoked[sender.key]} since it was revoked"
        raise FedmedError("FM-ROS-04", f"{said.kind} of {sender.name}: {words}")


def _by_its_key_of_now(said: Statement, envelope: Envelope, situation: Situation) -> None:
    """With a key that its owner has replaced nothing new is said: an approval may only be late, and a model counts when
    a later one names it. Raises FedmedError FM-ROS-13.
    """
    federation, public_key = situation.federation, envelope.signature.public_key
    if federation is None or federation.owner(public_key) is not None:
        return
    if envelope.raw.decode() in [quote.statement for quote in federation.body.rotations]:
        raise Decided(Outcome.DUPLICATE, "", f"{said.kind} of {said.sender}: the federation in force says so, too")
    is_fit = _fits_what_came_since(said, envelope.id, situation)
    if is_fit and said.sender == COORDINATOR and said.predicate.seq < federation.seq:
        _require_named(said, envelope.id, situation)
    elif not (is_fit and _may_be_late(said, federation, situation)):
        raise FedmedError("FM-ROS-13", f"{said.kind} of {said.sender}: signed with {fingerprint(public_key)}")


def _fits_what_came_since(said: Statement, statement_id: str, situation: Situation) -> bool:
    """Who has the old key now must not use up an honest number, nor make its sender seem to have signed two."""
    try:
        sequence.in_sequence(said, statement_id, situation)
    except Decided:
        return False
    return True


def _require_named(said: Statement, statement_id: str, situation: Situation) -> None:
    """What the coordinator may have signed before its key was replaced raises no alarm, but moves nothing by itself."""
    words = f"{said.kind} of {said.sender}: signed with the key that it has replaced since"
    if not isinstance(said.predicate, predicates.ModelPredicate):
        raise Decided(Outcome.NOT_FOR_ME, "", words)
    if statement_id in [each.previous for each in situation.record.models()]:
        return
    if situation.record.model(said.predicate.round + 1) is None:
        raise Decided(Outcome.EARLY, "FM-WAI-05", f"{words}; it counts when the next model names it")
    raise Decided(Outcome.NOT_FOR_ME, "", f"{words}, and the next model names another")


def _may_be_late(said: Statement, federation: Federation, situation: Situation) -> bool:
    """A first approval, from before its sender's rotation."""
    predicate = said.predicate
    replaced = [statement.decode(quote.statement.encode()).predicate for quote in federation.body.rotations]
    numbers = [each.seq for each in replaced if each.sender == predicate.sender]
    is_first = isinstance(predicate, predicates.ApprovalPredicate) and predicate.seq <= min(numbers)
    return is_first and not situation.record.of("approval", sender=said.sender)


def _for_me(said: Statement, envelope: Envelope, situation: Situation) -> None:
    """New here, of this federation and addressed to this actor."""
    if fingerprint(envelope.signature.public_key) in situation.own_keys:
        raise Decided(Outcome.NOT_FOR_ME, "", "a file of this workspace itself")
    if any(known.id == envelope.id for known in situation.record.received):
        raise Decided(Outcome.DUPLICATE, "", f"{said.kind} of {said.sender} is here already")
    predicate = _of_federation(said, envelope.id, situation)
    if not any(each.name == situation.name and each.key in situation.own_keys for each in predicate.recipients):
        raise Decided(Outcome.NOT_FOR_ME, "", f"{said.kind} of {said.sender} is addressed to others")
    kinds = statement.COORDINATOR_KINDS if situation.role == "site" else statement.SITE_KINDS
    in_lap = situation.role == "site" and situation.lap_seed is not None
    if in_lap and isinstance(predicate, predicates.UpdatePredicate):
        laps.require_turn(said, predicate, situation)
    elif said.kind not in kinds:  # before its `ack` is read: another site must not be able to stop this one
        raise FedmedError("FM-RND-03", f"{said.kind} is not expected here")


Spoken = (
    predicates.FederationPredicate
    | predicates.ApprovalPredicate
    | predicates.FingerprintPredicate
    | predicates.RevocationPredicate
    | predicates.RotationPredicate
    | predicates.ReceiptPredicate
    | predicates.RoundPredicate
)


def _of_federation(said: Statement, statement_id: str, situation: Situation) -> Spoken:
    """What is said within a running federation. Joins and the first federation are taken by commands of their own."""
    predicate, federation = said.predicate, situation.federation
    if isinstance(predicate, predicates.JoinPredicate):
        if situation.role == "site" or federation is not None:
            raise Decided(Outcome.NOT_FOR_ME, "", "a join is for a coordinator that has not started")
        raise Decided(Outcome.EARLY, "FM-WAI-05", f"{said.sender} asks to join: fedmed admit")
    if federation is None:
        raise Decided(Outcome.EARLY, "FM-WAI-05", "a federation waits for consent: fedmed approve")
    if isinstance(predicate, predicates.FederationPredicate):
        _another_version(said, predicate.federation, statement_id, federation, situation)
    elif not _is_of_version(predicate, federation, situation):
        named, known = predicate.federation, federation.founding
        is_ahead = named.id == known.id and named.version > known.version
        if is_ahead and (situation.role == "site" or situation.pools):
            words = f"{said.kind} of {said.sender}: of a version of the federation that has not arrived"
            raise Decided(Outcome.EARLY, "FM-WAI-05", words)
        raise FedmedError("FM-TRU-02", f"{said.kind} of {said.sender}: made for another federation or version")
    return predicate


def _another_version(
    said: Statement, founding: predicates.Founding, statement_id: str, federation: Federation, situation: Situation
) -> None:
    """A site takes one more version: with the numbers fitted on all sites before the first round, with keys always."""
    known = federation.founding
    if statement_id == known.previous:
        raise Decided(Outcome.NOT_FOR_ME, "", "the version before the one in force")
    taken = [each.id for each in situation.record.of("federation") if each.version == founding.version]
    if founding.id == known.id and (founding.version == known.version or taken):
        raise Decided(Outcome.CONFLICT, "FM-TRU-03", "a second statement of the same federation version")
    if founding.id != known.id or situation.role != "site":
        raise FedmedError("FM-TRU-02", "a federation other than the one in force here")
    if founding.version > known.version + 1 and founding.previous != federation.digest:
        words = f"federation version {founding.version}: the one behind version {known.version} has not arrived"
        raise Decided(Outcome.EARLY, "FM-WAI-05", words)
    if founding.version < known.version:
        raise Decided(Outcome.NOT_FOR_ME, "", "a version before the one in force")
    is_fitted = from_statement(said, "").preprocessing is not None and federation.preprocessing is None
    if is_fitted and not (situation.pools and situation.round < 0):
        raise FedmedError("FM-TRU-02", "a federation other than the one in force here")
    require_successor(federation, said, situation.record.revoked)


def _is_of_version(predicate: Spoken, federation: Federation, situation: Situation) -> bool:
    """An answer names the version of the model that it answers, an approval that which people approve. A model names
    that in force, or, as who was away finds old ones beside a new version, one before if it was numbered before that in
    force, and not one before that of an earlier model. All else may be of any before.
    """
    named = predicate.federation
    if isinstance(named, predicates.Founding):
        raise TypeError("a federation names the version before it")
    if isinstance(predicate, predicates.ModelPredicate):
        place, models = (predicate.round, predicate.attempt), situation.record.models()
        goes_back = any(each.version > named.version for each in models if (each.round_number, each.attempt) < place)
        is_earlier = federation.is_known(named) and predicate.seq < federation.seq and not goes_back
        return named == federation.membership or is_earlier
    if isinstance(predicate, predicates.RoundPredicate):
        model = situation.record.model(predicate.round, predicate.attempt)
        return named == (federation.under(model) if model else federation.membership)
    is_agreed = not isinstance(predicate, predicates.ApprovalPredicate) or named.digest in (
        federation.digest,
        federation.root,
    )
    return is_agreed and federation.is_known(named)


def require_agreed(said: Statement, federation: Federation) -> None:
    """Payloads are encrypted where the federation says so, and nowhere else. Raises FedmedError FM-AGE-01."""
    if said.kind in statement.ENCRYPTED and said.is_encrypted != (federation.body.encryption == "age"):
        expected, got = ("encrypted", "in clear")[:: 1 if federation.body.encryption == "age" else -1]
        raise FedmedError("FM-AGE-01", f"{said.kind} of {said.sender}: expected payloads {expected}, got them {got}")


def require_past(said: Statement, now: datetime) -> None:
    """Raises FedmedError FM-TIM-02 when it was signed more than 26 h ahead of this clock."""
    if words := _ahead(said, now):
        raise FedmedError("FM-TIM-02", words)


def _ahead(said: Statement, now: datetime) -> str:
    signed, clock = said.predicate.created, statement.to_time(now)
    is_ahead = statement.from_time(signed) > now + AHEAD
    return f"{said.kind} of {said.sender}: signed {signed}, this clock says {clock}" if is_ahead else ""


def _in_time(said: Statement, situation: Situation) -> None:
    predicate = said.predicate
    if not situation.trust_clock and (words := _ahead(said, situation.now)):
        raise Decided(Outcome.FUTURE, "FM-TIM-02", words)
    expires = getattr(predicate, "expires", None)
    if expires and situation.effective_now > statement.from_time(expires) and not situation.accept_expired:
        raise Decided(Outcome.EXPIRED, "FM-TIM-01", f"{said.kind} of {said.sender}: expired {expires}")
