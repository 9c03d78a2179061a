"""Proof that a site spoiled the sum of an attempt, in signed files alone: why another attempt may go without it.

Without this a coordinator that wants to see one site's update calls an attempt void and asks again without that site.
Source: PRIVACY.md section 1, attempts.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from pydantic import Field

from fedmed.errors import FedmedError
from fedmed.exchange import artifact, bundles, predicates, quoted, unmasking
from fedmed.exchange.bodies_masking import LEAST, included_digest
from fedmed.exchange.bodies_roster import Quoted
from fedmed.exchange.bundles import Table
from fedmed.exchange.fields import Digest, Sent
from fedmed.exchange.unmasking import Proof, Reply

if TYPE_CHECKING:
    from fedmed.exchange.federation import Federation
    from fedmed.exchange.quoted import Counts
    from fedmed.exchange.seeds import Context

REPLY = "reply.json"


class Answer(Sent):
    """The signed reply of a holder, and what it revealed."""

    said: Quoted
    shown: Reply


class Evidence(Sent):
    """What is proven, the ids of all updates in the sum, the update of the site that dealt, all that it committed to,
    and what holders replied.
    """

    proof: Proof
    included: list[Digest] = Field(min_length=LEAST, max_length=100)
    update: Quoted
    table: Table
    answers: list[Answer] = Field(min_length=1, max_length=100)


def culprit(
    found: Evidence, federation: "Federation", counts: "Counts", context_of: Callable[[int, int], "Context | None"]
) -> str:
    """The site that spoiled an attempt, as these files show. `context_of(round, attempt)` is that of a model which the
    reader itself holds.

    Raises FedmedError FM-MSK-19.
    """
    proof = found.proof
    try:
        _require_dealer(proof)
        envelope, said = quoted.verified(found.update, federation, counts)
        update = said.predicate
        if not isinstance(update, predicates.UpdatePredicate) or update.body.masked is None:
            raise _unproven(proof, "the update is none that is masked")
        context = context_of(update.round, update.attempt)
        if context is None or context.x != update.body.masked.context or said.sender != proof.dealer:
            raise _unproven(proof, "the update is of another model than any that came here")
        table = bundles.table_to_bytes(found.table)
        masked = update.body.masked
        bundles.read_table(table, masked.table, context, proof.dealer, masked.dealt)
        replies, sums = _replies(found, federation, counts, update.round, update.attempt)
        _require_of_sum(found, envelope.id, sums)
        _require_about(proof, context, replies)
        if not unmasking.is_proven(context, proof, found.table, replies):
            raise _unproven(proof, "the shares do not show it")
    except FedmedError as error:
        if error.code == "FM-MSK-19":
            raise
        raise _unproven(proof, error.message) from error
    return proof.site


def _require_dealer(proof: Proof) -> None:
    """Without the false share of a holder the sum still opens: it is told of, and no reason for another attempt."""
    if proof.fault != "dealer":
        raise _unproven(proof, "a share that a holder replied spoils no sum")


def _require_of_sum(found: Evidence, update: str, sums: set[str]) -> None:
    """Every reply is about one sum, and the update is in it. A dealer can sign a second update in an attempt, of which
    the replies say nothing: with that, any honest holder would seem to have replied false shares.
    """
    if sums != {included_digest(found.included)} or update not in found.included:
        raise _unproven(found.proof, "the replies are about other updates")


def _replies(
    found: Evidence, federation: "Federation", counts: "Counts", round_: int, attempt: int
) -> tuple[Mapping[str, Reply], set[str]]:
    """What holders revealed in this attempt, as each of them signed it, and the digests of the sums it is about."""
    replies: dict[str, Reply] = {}
    sums: set[str] = set()
    for each in found.answers:
        _, said = quoted.verified(each.said, federation, counts)
        answer = said.predicate
        if not isinstance(answer, predicates.UnmaskReplyPredicate) or (answer.round, answer.attempt) != (
            round_,
            attempt,
        ):
            raise _unproven(found.proof, f"what {said.sender} says is no reply of this attempt")
        if answer.body.shown != artifact.sha256(unmasking.to_bytes(each.shown)):
            raise _unproven(found.proof, f"the reply of {said.sender} is another one")
        replies[said.sender] = each.shown
        sums.add(answer.body.included)
    return replies, sums


def _require_about(proof: Proof, context: "Context", replies: Mapping[str, Reply]) -> None:
    """The replies of all holders are about one set of sites, in which the secret was one that they revealed."""
    if not set(proof.holders) <= replies.keys() or not {proof.secret, *replies} <= set(context.sites):
        raise _unproven(proof, "a reply is missing")
    names = [shown.dealer for shown in replies[proof.holders[0]].shown]
    if not set(names) <= set(context.sites):
        raise _unproven(proof, "a reply is about others")
    for holder, reply in replies.items():
        unmasking.require_about(context, reply, names, holder)
    if proof.dealer not in names or (proof.secret != proof.dealer and proof.secret in names):
        raise _unproven(proof, "the replies are about other secrets")


def _unproven(proof: Proof, why: str) -> FedmedError:
    return FedmedError("FM-MSK-19", f"that {proof.site} spoiled a sum: {why}")
