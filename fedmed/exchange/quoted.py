"""A statement inside of another file, with its signature: said by its sender, whoever brings it."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from fedmed.errors import FedmedError
from fedmed.exchange import sshsig, statement
from fedmed.exchange.artifact import Envelope
from fedmed.exchange.bodies_roster import Quoted
from fedmed.exchange.federation import agrees

if TYPE_CHECKING:
    from fedmed.exchange.federation import Federation
    from fedmed.exchange.statement import Statement


Counts = Callable[[str, int], bool]  # `Record.counts`: a key's fingerprint and a number that it signed


def quote(envelope: Envelope) -> Quoted:
    return Quoted(statement=envelope.raw.decode(), signature=sshsig.to_line(envelope.armour))


def opened(quoted: Quoted) -> Envelope:
    """Decoded, not verified. Raises FedmedError FM-SIG-02."""
    armour = sshsig.from_line(quoted.signature)
    return Envelope(quoted.statement.encode(), armour, sshsig.decode(armour))


def verified(
    quoted: Quoted, federation: "Federation", counts: Counts, *, by_former: bool = False
) -> "tuple[Envelope, Statement]":
    """Signed by a key of the roster that may sign this kind and was not revoked before, and in agreement with itself.
    `by_former`: also by one that its owner has replaced since the federation was approved.

    Raises FedmedError FM-SIG-*, FM-FRM-02, FM-FRM-03, FM-ROS-04.
    """
    envelope = opened(quoted)
    sshsig.verify(envelope.signature, envelope.raw)
    public_key = envelope.signature.public_key
    owner = federation.owner(public_key) or (federation.former_owner(public_key) if by_former else None)
    kind = statement.kind_of(envelope.signature.namespace)
    if owner is None or kind not in owner.kinds:
        raise FedmedError("FM-SIG-03", "a statement inside: signed by nobody of the roster, or for another kind")
    said = statement.decode(envelope.raw)
    agrees(said, envelope, owner, kind)
    sender, seq = said.predicate.sender, said.predicate.seq
    if not counts(sender.key, seq):
        raise FedmedError("FM-ROS-04", f"{kind} of {sender.name}: number {seq} of a key that was revoked before")
    return envelope, said
