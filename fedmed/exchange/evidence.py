"""Proof that a site spoiled the sum of an attempt, in signed files alone: why another attempt may go without it.

Without this a coordinator that wants to see one site's update calls an attempt void and asks again without that site.
Source: PRIVACY.md section 1, attempts.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from pydantic import Field

from fedmed.errors import FedmedError
from fedmed.exchange import artifact, bundles, quoted, statement, unmasking
from fedmed.exchange.bundles import Table
from fedmed.exchange.fields import Sent
from fedmed.exchange.quoted import Quoted
from fedmed.exchange.unmasking import Proof, Reply

if TYPE_CHECKING:
    from fedmed.exchange.federation import Federation
    from fedmed.exchange.seeds import Context

REPLY = "reply.json"


class Answer(Sent):
    """The signed reply of a holder, and what it revealed."""

    said: Quoted
    shown: Reply


class Evidence(Sent):
    """What is proven, the update of the site that dealt, all that it committed to, and what holders replied."""

    proof: Proof
    update: Quoted
    table: Table
    answers: list[Answer] = Field(min_length=1, max_length=100)


def culprit(found: Evidence, federation: "Federation", context_of: Callable[[int, int], "Context | None"]) -> str:
    """The site that spoiled an attempt, as these files show. `context_of(round, attempt)` is that of a model which the
    reader itself holds.

    Raises FedmedError FM-MSK-19.
    """
    proof = found.proof
    try:
        _, said = quoted.verified(found.update, federation)
        update = said.predicate
        if not isinstance(update, statement.UpdatePredicate) or update.body.masked is None:
            raise _unproven(proof, "the update is none that is masked")
        context = context_of(update.round, update.attempt)
        if context is None or context.x != update.body.masked.context or said.sender != proof.dealer:
            raise _unproven(proof, "the update is of another model than any that came here")
        table = bundles.table_to_bytes(found.table)
        if said.digest_of(bundles.SHARES) != artifact.sha256(table):  # the rows alone do not tell the seeds
            raise _unproven(proof, "the commitments are others than those that were signed")
        bundles.read_table(table, context, proof.dealer, update.body.masked.dealt)
        replies = _replies(found, federation, update.round, update.attempt)
        _require_about(proof, context, replies)
        if not unmasking.is_proven(context, proof, found.table, replies):
            raise _unproven(proof, "the shares do not show it")
    except FedmedError as error:
        if error.code == "FM-MSK-19":
            raise
        raise _unproven(proof, error.message) from error
    return proof.site


def _replies(found: Evidence, federation: "Federation", round_: int, attempt: int) -> Mapping[str, Reply]:
    """What holders revealed in this attempt, as each of them signed it."""
    replies: dict[str, Reply] = {}
    for each in found.answers:
        _, said = quoted.verified(each.said, federation)
        answer = said.predicate
        is_of_attempt = isinstance(answer, statement.UnmaskReplyPredicate) and (
            (answer.round, answer.attempt) == (round_, attempt)
        )
        if not is_of_attempt or said.digest_of(REPLY) != artifact.sha256(unmasking.to_bytes(each.shown)):
            raise _unproven(found.proof, f"the reply of {said.sender} is another one")
        replies[said.sender] = each.shown
    return replies


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
