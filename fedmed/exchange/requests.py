"""`request.json`: what a site is given to take the masks off a sum with, in a form that it can check itself.

For each included site its own signed statement, its row of `shares.json` and the one bundle that it sealed to the
recipient. The recipient takes nothing on the coordinator's word: it verifies each signature, and that each statement is
a masked update of this federation, round and attempt whose row and bundle these are. Source: PRIVACY.md section 1.3.
"""

import base64
import binascii
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

from pydantic import Field, ValidationError

from fedmed.errors import FedmedError
from fedmed.exchange import canonical, keys, sshsig, statement
from fedmed.exchange.artifact import Envelope
from fedmed.exchange.bodies_masking import IncludedUpdate, Masked
from fedmed.exchange.bundles import Requested, Row
from fedmed.exchange.fields import Sent

if TYPE_CHECKING:
    from fedmed.exchange.federation import Federation
    from fedmed.exchange.seeds import Context
    from fedmed.exchange.statement import UnmaskRequestPredicate, UpdatePredicate

PAYLOAD = "request.json"
Base64 = Annotated[str, Field(pattern=r"^[A-Za-z0-9+/]*={0,2}$", max_length=1 << 16)]


class Brought(Sent):
    """An included site: its update's `statement.json` and the base64 of its signature's blob, and what it dealt to the
    recipient.
    """

    statement: Annotated[str, Field(max_length=statement.MAX_BYTES)]
    signature: Annotated[str, Field(max_length=sshsig.MAX_BYTES)]
    row: Row
    bundle: Base64


class Request(Sent):
    included: list[Brought] = Field(min_length=3, max_length=100)


def brought(envelope: Envelope, row: Row, sealed: bytes) -> Brought:
    return Brought(
        statement=envelope.raw.decode(),
        signature=sshsig.to_line(envelope.armour),
        row=row,
        bundle=base64.b64encode(sealed).decode(),
    )


def to_bytes(included: Sequence[Brought]) -> bytes:
    """Canonical JSON."""
    return canonical.encode(Request(included=list(included)).model_dump(mode="json"))


def read(data: bytes) -> Request:
    """Raises FedmedError FM-MSK-08."""
    try:
        canonical.decode(data)
        return Request.model_validate_json(data, strict=True)
    except (FedmedError, ValidationError) as error:
        raise FedmedError("FM-MSK-08", f"{PAYLOAD}: not in its form", local=str(error)) from error


def check(
    said: "UnmaskRequestPredicate", request: Request, federation: "Federation", context: "Context"
) -> list[Requested]:
    """What was dealt to the recipient, by dealer, each as its dealer signed it and of exactly the updates in `said`.

    `context` is the one that the recipient itself stored, never one of the request. Raises FedmedError FM-MSK-08.
    """
    if len(request.included) != len(said.body.included):
        raise _foreign("the request", f"expected {len(said.body.included)} updates, got {len(request.included)}")
    position = context.position(said.recipients[0].name)
    found = []
    for named, each in zip(said.body.included, request.included, strict=True):
        masked, sealed = _checked(said, named, each, federation)
        if masked.context != context.x or len(masked.dealt) != len(context.sites):
            raise _foreign(named.site, "its update was masked for another model")
        found.append(Requested(named.site, masked.dealt[position - 1], each.row, sealed))
    return found


def _checked(
    said: "UnmaskRequestPredicate", named: IncludedUpdate, each: Brought, federation: "Federation"
) -> tuple[Masked, bytes]:
    try:
        armour = sshsig.from_line(each.signature)
        envelope = Envelope(each.statement.encode(), armour, sshsig.decode(armour))
        sealed = base64.b64decode(each.bundle, validate=True)
        predicate = _verified(envelope, named.site, federation)
    except (FedmedError, binascii.Error) as error:
        raise _foreign(named.site, "its update is not signed by it", str(error)) from error
    faults = {
        "its update is another one than the request names": envelope.id != named.update,
        "its update is of another federation": predicate.federation != federation.membership,
        "its update is of another round or attempt": (predicate.round, predicate.attempt) != (said.round, said.attempt),
        "its update starts from another model": predicate.base_model != said.base_model,
    }
    for fault, is_there in faults.items():
        if is_there:
            raise _foreign(named.site, fault)
    if predicate.body.masked is None:
        raise _foreign(named.site, "its update is not masked")
    return predicate.body.masked, sealed


def _verified(envelope: Envelope, site: str, federation: "Federation") -> "UpdatePredicate":
    """The update that `site` signed, by its key in the roster. Raises FedmedError."""
    sshsig.verify(envelope.signature, envelope.raw)
    owner = federation.owner(envelope.signature.public_key)
    decoded = statement.decode(envelope.raw)
    predicate = decoded.predicate
    is_named = owner is not None and owner.name == site == decoded.sender
    has_key = predicate.sender.key == keys.fingerprint(envelope.signature.public_key)
    is_update = envelope.signature.namespace == statement.namespace("update")
    if not (is_named and has_key and is_update and isinstance(predicate, statement.UpdatePredicate)):
        raise FedmedError("FM-MSK-08", f"{site}: not its update")
    return predicate


def _foreign(what: str, fault: str, local: str = "") -> FedmedError:
    return FedmedError("FM-MSK-08", f"{what}: {fault}", local=local)
