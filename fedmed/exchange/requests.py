"""`request.json`: what a site is given to take the masks off a sum with, in a form that it can check itself.

For each included site its own signed statement, its row of `shares.json` and the one bundle that it sealed to the
recipient. The recipient takes nothing on the coordinator's word: it verifies each signature, and that each statement is
a masked update of this federation, round and attempt whose row and bundle these are. Source: PRIVACY.md section 1.3.
"""

import base64
import binascii
import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

from pydantic import Field, ValidationError

from fedmed.errors import FedmedError
from fedmed.exchange import canonical, predicates, quoted, unmasking
from fedmed.exchange.artifact import Envelope
from fedmed.exchange.bodies_masking import IncludedUpdate, Masked
from fedmed.exchange.bodies_roster import Quoted
from fedmed.exchange.bundles import Requested, Row
from fedmed.exchange.evidence import Evidence
from fedmed.exchange.fields import Sent
from fedmed.exchange.unmasking import Reply

if TYPE_CHECKING:
    from fedmed.exchange.federation import Federation
    from fedmed.exchange.predicates import UnmaskRequestPredicate
    from fedmed.exchange.quoted import Counts
    from fedmed.exchange.seeds import Context

PAYLOAD = "request.json"
Base64 = Annotated[str, Field(pattern=r"^[A-Za-z0-9+/]*={0,2}$", max_length=1 << 16)]


class Brought(Sent):
    """An included site: its signed update, and what it dealt to the recipient."""

    update: Quoted
    row: Row
    bundle: Base64


class Request(Sent):
    """`evidence`: against the culprits that the statement names."""

    included: list[Brought] = Field(min_length=3, max_length=100)
    evidence: list[Evidence] = Field(max_length=97)


def brought(envelope: Envelope, row: Row, sealed: bytes) -> Brought:
    return Brought(update=quoted.quote(envelope), row=row, bundle=base64.b64encode(sealed).decode())


def to_bytes(included: Sequence[Brought], evidence: Sequence[Evidence]) -> bytes:
    """Canonical JSON."""
    return canonical.encode(Request(included=list(included), evidence=list(evidence)).model_dump(mode="json"))


def read(data: bytes) -> Request:
    """Raises FedmedError FM-MSK-08."""
    try:
        canonical.decode(data)
        return Request.model_validate_json(data, strict=True)
    except (FedmedError, ValidationError) as error:
        raise FedmedError("FM-MSK-08", f"{PAYLOAD}: not in its form", local=str(error)) from error


def check(
    said: "UnmaskRequestPredicate", request: Request, federation: "Federation", counts: "Counts", context: "Context"
) -> list[Requested]:
    """What was dealt to the recipient, by dealer, each as its dealer signed it and of exactly the updates in `said`.

    `context` is the one that the recipient itself stored, never one of the request. Raises FedmedError FM-MSK-08.
    """
    if len(request.included) != len(said.body.included):
        raise _foreign("the request", f"expected {len(said.body.included)} updates, got {len(request.included)}")
    position = context.position(said.recipients[0].name)
    found = []
    for named, each in zip(said.body.included, request.included, strict=True):
        masked, sealed = _checked(said, named, each, federation, counts)
        if masked.context != context.x or len(masked.dealt) != len(context.sites):
            raise _foreign(named.site, "its update was masked for another model")
        found.append(Requested(named.site, masked.dealt[position - 1], each.row, sealed))
    return found


def _checked(
    said: "UnmaskRequestPredicate", named: IncludedUpdate, each: Brought, federation: "Federation", counts: "Counts"
) -> tuple[Masked, bytes]:
    try:
        envelope, update = quoted.verified(each.update, federation, counts)
        sealed = base64.b64decode(each.bundle, validate=True)
    except (FedmedError, binascii.Error) as error:
        raise _foreign(
            named.site, "its update is not signed by it, or with a key that was revoked", str(error)
        ) from error
    predicate = update.predicate
    if not isinstance(predicate, predicates.UpdatePredicate) or update.sender != named.site:
        raise _foreign(named.site, "its update is not signed by it")
    faults = {
        "its update is another one than the request names": envelope.id != named.update,
        "its update is of another federation": predicate.federation != said.federation,
        "its update is of another round or attempt": (predicate.round, predicate.attempt) != (said.round, said.attempt),
        "its update starts from another model": predicate.base_model != said.base_model,
    }
    for fault, is_there in faults.items():
        if is_there:
            raise _foreign(named.site, fault)
    if predicate.body.masked is None:
        raise _foreign(named.site, "its update is not masked")
    return predicate.body.masked, sealed


def read_reply(data: bytes, shown: str, context: "Context", names: Sequence[str], holder: str) -> Reply | None:
    """`reply.json` of a holder; None where it is not about exactly these sites, or not what the statement tells by the
    digest `shown`: it opens nothing then.
    """
    if hashlib.sha256(data).hexdigest() != shown:
        return None
    try:
        canonical.decode(data)
        found = Reply.model_validate_json(data, strict=True)
        unmasking.require_about(context, found, names, holder)
    except (FedmedError, ValidationError):
        return None
    return found


def _foreign(what: str, fault: str, local: str = "") -> FedmedError:
    return FedmedError("FM-MSK-08", f"{what}: {fault}", local=local)
