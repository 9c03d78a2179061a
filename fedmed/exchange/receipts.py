"""A receipt: the recipient's own statements with their signatures, for a workspace that was restored from a backup.

It asks for no trust in its sender: who was restored believes its own signatures, and nothing else in it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field, ValidationError

from fedmed.errors import FedmedError
from fedmed.exchange import archived, artifact, bodies_roster, canonical, intake, predicates, quoted, sealing, statement
from fedmed.exchange.bodies_roster import Receipt
from fedmed.exchange.federation import COORDINATOR
from fedmed.exchange.fields import Sent

if TYPE_CHECKING:
    from datetime import datetime

    from fedmed.exchange.certificates import Certificate
    from fedmed.exchange.federation import Federation
    from fedmed.exchange.intake import Terms
    from fedmed.exchange.record import Known
    from fedmed.exchange.sealing import Opening
    from fedmed.exchange.workspace import Workspace

PAYLOAD = statement.ANSWERED
MAX_BYTES = 8 << 20
MOST = 1000


class Answered(Sent):
    """By number, the newest last."""

    answered: list[bodies_roster.Quoted] = Field(min_length=1, max_length=MOST)


def give(
    workspace: Workspace, federation: Federation, name: str, now: datetime, mask: Certificate | None = None
) -> Known:
    """Seal a receipt for `name`, or find the one that says the same, by and for the keys in force: who is restored may
    know no others. Raises FedmedError FM-ROS-10, FM-TRU-11.
    """
    mine = sorted((each for each in workspace.record.received if each.sender == name), key=lambda each: each.seq)
    if not mine:
        raise FedmedError("FM-ROS-10", f"{name[:40]}: no statement of that name is here")
    newest = mine[-1]
    body = Receipt(seq=newest.seq, mask=mask)
    recipient = statement.actor(name, federation.key_of(name))
    same = (statement.actor(workspace.name, workspace.public_key), [recipient], body)
    for said in workspace.record.of("receipt", sender=workspace.name):
        before = archived.read_archived(workspace, said.id).predicate if said.ack == newest.id else None
        if isinstance(before, predicates.ReceiptPredicate) and (before.sender, before.recipients, before.body) == same:
            return said

    def build(
        opening: Opening, payload: list[predicates.Payload], subject: list[statement.Subject]
    ) -> statement.Statement:
        predicate = predicates.ReceiptPredicate(
            **opening.fields(),
            kind="receipt",
            federation=federation.membership,
            recipients=[recipient],
            ack=newest.id,
            payload=payload,
            body=body,
        )
        return statement.make("receipt", subject, predicate)

    content = artifact.json_content(PAYLOAD, to_bytes(_quotes(workspace, mine)))
    return sealing.say(workspace, "recover", "receipt", None, [content], build, now)


def _quotes(workspace: Workspace, mine: list[Known]) -> list[bodies_roster.Quoted]:
    """As many of the newest as the payload may hold."""
    found: list[bodies_roster.Quoted] = []
    size = 0
    for known in reversed(mine[-MOST:]):
        each = quoted.quote(archived.read_envelope(workspace, known.id))
        size += len(canonical.encode(each.model_dump(mode="json"))) + 1
        if size > MAX_BYTES - 100 and found:
            break
        found.append(each)
    return found[::-1]


def to_bytes(quotes: list[bodies_roster.Quoted]) -> bytes:
    """Canonical JSON."""
    return canonical.encode(Answered(answered=quotes).model_dump(mode="json"))


def read(data: bytes) -> list[bodies_roster.Quoted]:
    """Raises FedmedError FM-ROS-08."""
    try:
        canonical.decode(data)
        return Answered.model_validate_json(data, strict=True).answered
    except (FedmedError, ValidationError) as error:
        raise FedmedError("FM-ROS-08", f"{PAYLOAD}: not in its form", local=str(error)) from error


def require_counterpart(workspace: Workspace, federation: Federation, name: str) -> None:
    """Files go between the coordinator and each site. Raises FedmedError FM-ROS-10."""
    others = federation.site_names if workspace.name == COORDINATOR else [COORDINATOR]
    if name not in others:
        raise FedmedError("FM-ROS-10", f"expected one of {', '.join(others)}, got {name[:40]!r}")


def require_claim(workspace: Workspace, terms: Terms, name: str, now: datetime) -> None:
    """A file of `name` in the inbox acknowledges what this workspace never signed, or did before it was dismissed.

    Raises FedmedError FM-ROS-10.
    """
    verdicts = [each.verdict for each in intake.look_at_all(workspace, terms, now)]
    claims = [each.statement.sender for each in verdicts if each.code == "FM-TRU-06" and each.statement]
    if name not in (*claims, *workspace.record.dismissed):
        message = f"{name[:40]}: no file in inbox/ acknowledges what this workspace never signed: nothing to dismiss"
        raise FedmedError("FM-ROS-10", message)


def dismiss(workspace: Workspace, federation: Federation, name: str, reason: str, now: datetime) -> None:
    """Its sender could not prove that this workspace signed what it acknowledges. Raises FedmedError FM-ROS-10."""
    require_counterpart(workspace, federation, name)
    workspace.write_entry("recover", "note", now, what="dismissed", sender=name, reason=reason)
