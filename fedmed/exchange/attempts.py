"""The rules of a masked round: its attempts, which updates and models are masked, who is asked and what answers that.

A round that was declared void is begun again with the same weights as another attempt, whose number grows. What the
shares in a request are worth, the site that answers it decides with its keys (`requests`, `unmasking`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fedmed.errors import FedmedError
from fedmed.exchange import certificates, keys, seeds
from fedmed.exchange.statement import is_encrypted, is_of_masked
from fedmed.exchange.verdict import Decided, Outcome

if TYPE_CHECKING:
    from fedmed.exchange.predicates import (
        ModelPredicate,
        ReceiptPredicate,
        RoundPredicate,
        UnmaskReplyPredicate,
        UnmaskRequestPredicate,
        UpdatePredicate,
    )
    from fedmed.exchange.record import Record
    from fedmed.exchange.statement import Statement
    from fedmed.exchange.verdict import Situation


ANSWERED = "unmask-answered"  # what the note is called that stands in a site's ledger before every reply
INCLUDED = "included"  # and that which stands in the coordinator's before every request


def named(round_: int | None, attempt: int) -> str:
    """How people call a round that was begun so often."""
    return f"round {round_}, attempt {attempt}" if attempt > 1 else f"round {round_}"


def is_over(predicate: RoundPredicate, situation: Situation) -> bool:
    """Whether a later round, or a later attempt of this one, has begun."""
    return (predicate.round, predicate.attempt) < (situation.round, situation.attempt)


def require_masks(said: Statement, predicate: ModelPredicate, situation: Situation) -> None:
    """A model lists mask certificates where it will be answered and the recipe masks, and nowhere else; and another
    attempt begins with the weights of the one before. Raises FedmedError FM-MSK-03, FM-RND-02.
    """
    body, round_ = predicate.body, predicate.round
    is_answered = situation.masks and not body.last
    listed = len(situation.federation.body.roster) if is_answered and situation.federation else 0
    if len(body.masks) != listed:
        raise FedmedError("FM-MSK-03", f"model of round {round_}: expected {listed} masks, got {len(body.masks)}")
    if is_of_masked(predicate) != (situation.masks and round_ > 0):
        raise FedmedError("FM-MSK-03", f"model of round {round_}: made of masked updates, or not, against the recipe")
    if not said.is_encrypted:
        require_same_weights(predicate, said.subject[0].digest.sha256, situation.record)


def require_same_weights(predicate: ModelPredicate, weights: str, record: Record) -> None:
    """Another attempt begins with the weights of the one before; `weights` is their digest, in clear.

    Raises FedmedError FM-RND-02.
    """
    held = record.model(predicate.round)
    if held and held.payload != weights:
        words = f"model of round {predicate.round}: other weights than in another attempt of that round"
        raise FedmedError("FM-RND-02", words)


def may_follow_another(predicate: ModelPredicate, situation: Situation) -> None:
    """A model that names none of those that are here follows an attempt that did not arrive, or is a false one.

    Raises Decided for the first, FedmedError FM-RND-02 for the second.
    """
    words = f"model of round {predicate.round}: does not follow the model before it"
    if situation.masks:
        raise Decided(Outcome.EARLY, "FM-WAI-05", f"{words}; has another attempt of that round not arrived?")
    raise FedmedError("FM-RND-02", words)


def require_masked(sender: str, predicate: UpdatePredicate, situation: Situation) -> None:
    """An update is masked where the recipe says so, for this very model and all sites; and nobody masks twice in one
    attempt. Raises FedmedError FM-MSK-05, FM-MSK-16, FM-SHR-01.
    """
    masked, federation = predicate.body.masked, situation.federation
    model = situation.record.model(predicate.round, predicate.attempt)
    if federation is None or model is None:
        raise TypeError("an update answers a model, within a federation")
    if (masked is not None) != situation.masks:
        expected, got = ("a masked one", "a plain one")[:: 1 if situation.masks else -1]
        raise FedmedError("FM-MSK-05", f"update of {sender}: expected {expected}, got {got}")
    if masked is None:
        if predicate.body.facts is None and not is_encrypted(predicate):
            raise FedmedError("FM-FRM-03", f"update of {sender}: statement.json: body.facts: a plain update tells them")
        return
    if masked.context != seeds.binding(model.id) or len(masked.dealt) != len(federation.body.roster):
        raise FedmedError("FM-MSK-05", f"update of {sender}: masked for another model, or for another number of sites")
    certificates.check(
        masked.next, sender, keys.parse_public_line(federation.member(sender).key), federation.founding.id
    )
    if situation.record.of("update", sender=sender, round=predicate.round, attempt=predicate.attempt):
        raise FedmedError("FM-MSK-16", f"update of {sender}: round {predicate.round} has one of this attempt already")


def request(predicate: UnmaskRequestPredicate, situation: Situation) -> Outcome:
    """At a site: it is about a model that is here, and about the set of sites that was answered, if one was.

    Raises FedmedError FM-RND-03, FM-MSK-09, FM-MSK-10, Decided for what is not open yet.
    """
    if not situation.masks:
        raise FedmedError("FM-RND-03", "unmask-request: the recipe masks nothing")
    if (predicate.round, predicate.attempt) > (situation.round, situation.attempt):
        raise Decided(Outcome.EARLY, "FM-WAI-05", f"unmask-request: the model of round {predicate.round} is not here")
    model = situation.record.model(predicate.round, predicate.attempt)
    if model is None or (model.id, model.payload) != (predicate.body.model, predicate.base_model):
        raise FedmedError("FM-MSK-10", f"unmask-request: round {predicate.round}: about another model than came here")
    require_one_set(situation.record, predicate)
    return Outcome.LATE if is_over(predicate, situation) else Outcome.ACCEPTED


def answered(record: Record, round_: int | None = None, attempt: int | None = None) -> list[dict[str, Any]]:
    """The sets of sites that this site has answered about, or is about to, in the order of the ledger."""
    found = [facts for _, facts in record.notes if facts.get("what") == ANSWERED]
    return [facts for facts in found if round_ in (None, facts["round"]) and attempt in (None, facts["attempt"])]


def decided(record: Record, round_: int | None, attempt: int) -> dict[str, Any]:
    """What the coordinator has decided of the sum of an attempt; nothing before that. The last note counts: where it
    was restored and decided anew, that brings back what sites have been asked about.
    """
    notes = (facts for _, facts in reversed(record.notes) if facts.get("what") == INCLUDED)
    return next((facts for facts in notes if (facts["round"], facts["attempt"]) == (round_, attempt)), {})


def included(record: Record, round_: int | None, attempt: int) -> dict[str, str]:
    """The updates in that sum, by site."""
    return {row["site"]: row["update"] for row in decided(record, round_, attempt).get("updates", [])}


def require_one_set(record: Record, predicate: UnmaskRequestPredicate) -> None:
    """In one attempt a site answers about one set of sites. Raises FedmedError FM-MSK-09."""
    for facts in answered(record, predicate.round, predicate.attempt):
        if facts["included"] != predicate.body.digest:
            told = f"answered was about {', '.join(facts['sites'])}"
            raise FedmedError("FM-MSK-09", f"round {predicate.round}, attempt {predicate.attempt}: {told}")


def receipt(sender: str, predicate: ReceiptPredicate, situation: Situation) -> Outcome:
    """At the coordinator: a site that was restored may bring the certificate of new mask keys. Raises FM-SHR-01."""
    federation, mask = situation.federation, predicate.body.mask
    if mask is not None and federation is not None:
        key = keys.parse_public_line(federation.member(sender).key)
        certificates.check(mask, sender, key, federation.founding.id)
    return Outcome.ACCEPTED


def reply(sender: str, predicate: UnmaskReplyPredicate, situation: Situation) -> Outcome:
    """At the coordinator: it answers a request of this attempt. Raises FedmedError FM-MSK-17."""
    record, round_, attempt = situation.record, predicate.round, predicate.attempt
    asked = [known for known in (*record.said, *record.lost) if known.kind == "unmask-request"]
    if predicate.body.request not in [each.id for each in asked if (each.round, each.attempt) == (round_, attempt)]:
        raise FedmedError("FM-MSK-17", f"unmask-reply of {sender}: answers no request of round {round_}")
    if record.of("unmask-reply", sender=sender, round=round_, attempt=attempt):
        raise FedmedError("FM-MSK-17", f"unmask-reply of {sender}: a second one in one attempt")
    return Outcome.LATE if is_over(predicate, situation) else Outcome.ACCEPTED
