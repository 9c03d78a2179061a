"""The rules of a round: which model follows which, and what an approval, update or report must answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedmed.errors import FedmedError
from fedmed.exchange import attempts, keys, laps, predicates, rotations, statement
from fedmed.exchange.verdict import Decided, Outcome

if TYPE_CHECKING:
    from fedmed.exchange.federation import Federation
    from fedmed.exchange.record import Known
    from fedmed.exchange.statement import Statement
    from fedmed.exchange.verdict import Situation


Answer = predicates.UpdatePredicate | predicates.UnmaskReplyPredicate | predicates.ReportPredicate


def of_coordinator(said: Statement, situation: Situation) -> Outcome:
    """What the coordinator sends, at a site."""
    predicate = said.predicate
    if isinstance(predicate, predicates.RevocationPredicate):
        return _of_a_member(predicate, situation)
    if isinstance(predicate, predicates.RotationPredicate):
        return _rotation(predicate, situation)
    if isinstance(predicate, predicates.FederationPredicate | predicates.ReceiptPredicate):
        return Outcome.ACCEPTED
    if isinstance(predicate, predicates.UnmaskRequestPredicate):
        return attempts.request(predicate, situation)
    if not isinstance(predicate, predicates.ModelPredicate) or situation.federation is None:
        raise TypeError("a site takes models, within a federation")
    rounds, newest = situation.federation.body.limits.rounds, situation.record.newest("model")
    may_be_last = predicate.round == rounds or (situation.stops and predicate.round > 0)
    is_fit = may_be_last if predicate.body.last else predicate.round < rounds
    if predicate.round > rounds or not is_fit or not (predicate.attempt == 1 or situation.masks):
        raise FedmedError(
            "FM-RND-01",
            f"model of round {predicate.round}, attempt {predicate.attempt}: the federation has {rounds} rounds",
        )
    _nothing_behind_the_last(predicate, newest)
    if predicate.tensor_table != situation.tables["model"]:
        raise FedmedError("FM-TEN-01", "model: the table of tensors is not the federation's")
    _chained(predicate, situation)
    attempts.require_masks(said, predicate, situation)
    before = situation.record.model(predicate.round - 1)
    laps.require_order(predicate, situation.federation, situation.lap_seed, before.order if before else None)
    return Outcome.LATE if attempts.is_over(predicate, situation) else Outcome.ACCEPTED


def _of_a_member(predicate: predicates.RevocationPredicate, situation: Situation) -> Outcome:
    body = predicate.body
    if (body.site, body.key) not in [(each.name, each.key) for each in _roster(situation)]:
        raise FedmedError("FM-ROS-03", f"revocation of {body.site}: expected a site of the roster with its key there")
    return Outcome.ACCEPTED


def _rotation(predicate: predicates.RotationPredicate, situation: Situation) -> Outcome:
    """By the key in force, to a new one that it holds; one key is replaced by one. Raises FedmedError FM-ROS-12."""
    name, federation = predicate.sender.name, situation.federation
    if federation is None:
        raise TypeError("keys are replaced within a federation")
    rotations.check(predicate.body, federation.founding.id, name, federation.key_of(name))
    new = keys.parse_public_line(predicate.body.key)
    digest, before = keys.digest_in(keys.fingerprint(new)), situation.record.of("rotation")
    if any(each.payload != digest for each in before if each.key == predicate.sender.key):
        raise FedmedError("FM-ROS-12", f"rotation of {name}: a second one by the same key")
    is_named = digest in [each.payload for each in before if each.key != predicate.sender.key]
    if is_named or federation.owner(new) or federation.former_owner(new):  # no site would take such a version
        raise FedmedError("FM-ROS-12", f"rotation of {name}: to a key that was in use before, or is another's")
    return Outcome.ACCEPTED


def _roster(situation: Situation) -> list[predicates.Actor]:
    return situation.federation.sites() if situation.federation else []


def _nothing_behind_the_last(predicate: predicates.ModelPredicate, newest: Known | None) -> None:
    """In whatever order they arrive: the test fold is opened with the last model, and nobody trains on from it."""
    if newest is None:
        return
    if newest.last and predicate.round > newest.round_number:
        message = f"model of round {predicate.round}: that of round {newest.round} was the last"
        raise FedmedError("FM-RND-01", message)
    if predicate.body.last and predicate.round < newest.round_number:
        message = (
            f"model of round {predicate.round}: says that it is the last, but that of round {newest.round} is here"
        )
        raise FedmedError("FM-RND-01", message)


def _chained(predicate: predicates.ModelPredicate, situation: Situation) -> None:
    """One model a round and attempt, each naming the one before."""
    record = situation.record
    if record.model(predicate.round, predicate.attempt):
        raise Decided(Outcome.CONFLICT, "FM-TRU-03", f"the coordinator signed two models for round {predicate.round}")
    before = [each.id for each in record.models() if each.round == predicate.round - 1]
    if (predicate.round == 0) != (predicate.body.previous is None):
        raise FedmedError("FM-RND-02", f"model of round {predicate.round}: does not follow the model before it")
    if before and predicate.body.previous not in before:
        attempts.may_follow_another(predicate, situation)


def of_site(said: Statement, situation: Situation) -> Outcome:
    """What a site sends, at the coordinator; in a lap also an update, at the next site."""
    predicate = said.predicate
    if not isinstance(predicate, predicates.RoundPredicate):
        return _without_round(said, situation)
    if not isinstance(predicate, Answer) or situation.federation is None:
        raise TypeError("a coordinator takes updates, replies and reports, within a federation")
    _answers_a_model(said.sender, predicate, situation)
    if isinstance(predicate, predicates.UnmaskReplyPredicate):
        return attempts.reply(said.sender, predicate, situation)
    if isinstance(predicate, predicates.ReportPredicate):
        if predicate.body.facts is None and not said.is_encrypted:
            raise FedmedError("FM-FRM-03", f"report of {said.sender}: statement.json: body.facts: a report tells them")
        return Outcome.ACCEPTED
    if predicate.tensor_table != situation.tables["update"]:
        raise FedmedError("FM-TEN-01", f"update of {said.sender}: the table of tensors is not the federation's")
    require_plausible(said, situation.federation)
    numbers = situation.federation.preprocessing
    if numbers is not None and predicate.body.preprocessing != numbers:
        raise FedmedError("FM-NRM-06", f"update of {said.sender}: not made with the federation's fitted numbers")
    laps.require_hop(said, predicate, situation)
    attempts.require_masked(said.sender, predicate, situation)
    is_over = attempts.is_over(predicate, situation)
    return Outcome.LATE if is_over else _newest_of(said.sender, predicate, situation)


def _without_round(said: Statement, situation: Situation) -> Outcome:
    predicate = said.predicate
    if isinstance(predicate, predicates.ReceiptPredicate):
        return attempts.receipt(said.sender, predicate, situation)
    if isinstance(predicate, predicates.RotationPredicate):
        return _rotation(predicate, situation)
    if isinstance(predicate, predicates.FingerprintPredicate):
        return _fingerprint(said, predicate, situation)
    if not isinstance(predicate, predicates.ApprovalPredicate):
        raise TypeError("a coordinator takes approvals, fingerprints, rotations and receipts, within a federation")
    return Outcome.ACCEPTED


def require_plausible(said: Statement, federation: Federation) -> None:
    """As many cases and patients as a site may have here, where a file tells. Raises FedmedError FM-TEN-03."""
    if isinstance(said.predicate, predicates.FingerprintPredicate) and said.predicate.body is not None:
        _within_bound(said, said.predicate.body.num_cases, federation)
    facts = said.predicate.body.facts if isinstance(said.predicate, predicates.UpdatePredicate) else None
    if facts is None:
        return
    _within_bound(said, facts.num_cases, federation)
    if facts.num_patients > facts.num_cases:
        raise FedmedError("FM-TEN-03", f"update of {said.sender}: expected at most as many patients as cases")


def _within_bound(said: Statement, num_cases: int, federation: Federation) -> None:
    bound = federation.member(said.sender).max_num_cases
    if num_cases > bound:
        raise FedmedError("FM-TEN-03", f"{said.kind} of {said.sender}: expected at most {bound} cases, got {num_cases}")


def _fingerprint(said: Statement, predicate: predicates.FingerprintPredicate, situation: Situation) -> Outcome:
    """The newest of a sender counts until they are pooled."""
    if situation.federation is None or not situation.pools:
        raise FedmedError("FM-RND-03", f"fingerprint of {said.sender}: the recipe asks for none")
    require_plausible(said, situation.federation)
    if situation.federation.preprocessing is not None:
        return Outcome.LATE
    held = situation.record.newest("fingerprint", sender=said.sender)
    return Outcome.SUPERSEDED if held and held.seq > predicate.seq else Outcome.ACCEPTED


def gets_a_receipt(said: Statement, situation: Situation) -> bool:
    """A rejected update of this federation, to this coordinator, about the open round: its sender is told why.

    Nothing else that is rejected goes into the ledger, and of this one line a sender and round, so that nobody can
    make it grow. `said` is a statement whose sender is certain.
    """
    predicate, federation = said.predicate, situation.federation
    if not isinstance(predicate, predicates.UpdatePredicate) or federation is None or situation.role != "coordinator":
        return False
    me = statement.actor(situation.name, situation.public_key)
    model = situation.record.model(predicate.round)
    named = federation.under(model) if model else federation.membership
    is_about_now = predicate.round == situation.round and predicate.federation == named
    is_new = (said.sender, predicate.round) not in situation.record.refused
    return is_about_now and is_new and me in predicate.recipients


def _answers_a_model(sender: str, predicate: Answer, situation: Situation) -> None:
    if predicate.round > situation.round:
        raise Decided(
            Outcome.EARLY,
            "FM-WAI-05",
            f"{predicate.kind} of {sender}: round {predicate.round} is not open yet",
        )
    model = situation.record.model(predicate.round, predicate.attempt)
    if model is None:
        raise FedmedError(
            "FM-RND-01",
            f"{predicate.kind} of {sender}: round {predicate.round}, attempt {predicate.attempt} does not exist",
        )
    if predicate.base_model != model.payload:
        raise FedmedError(
            "FM-RND-02",
            f"{predicate.kind} of {sender}: starts from another model than that of round {predicate.round}",
        )


def _newest_of(sender: str, predicate: predicates.UpdatePredicate, situation: Situation) -> Outcome:
    """A later statement of the same sender and round counts; this one does not if a later one is here."""
    record = situation.record
    held: Known | None = record.newest(predicate.kind, sender=sender, round=predicate.round, attempt=predicate.attempt)
    return Outcome.SUPERSEDED if held and held.seq > predicate.seq else Outcome.ACCEPTED
