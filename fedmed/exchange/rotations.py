"""A rotation: the owner of a signing key replaces it by another one, and the old key vouches for the new.

Whoever holds the old key can say one, so it helps against wear and not against a thief. The new key signs the rotation
too (`proof`): nobody can name a key that is another's. Source: FORMAT.md section 6.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedmed.errors import FedmedError
from fedmed.exchange import canonical, certificates, keys, predicates, sshsig, statement
from fedmed.exchange.federation import COORDINATOR, agrees
from fedmed.exchange.quoted import opened

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from fedmed.exchange import bodies_roster
    from fedmed.exchange.bodies_roster import Quoted, Rotation
    from fedmed.exchange.federation import Federation
    from fedmed.exchange.predicates import FederationPredicate, RotationPredicate
    from fedmed.exchange.record import Known, Record

NAMESPACE = "rotation-key@fedmed.v1"


def proven(new: Ed25519PrivateKey, federation: str, name: str, old: bytes) -> str:
    """The proof that whoever says the rotation holds the new key: for this federation, owner and old key alone."""
    public = new.public_key().public_bytes_raw()
    return sshsig.to_line(sshsig.sign(new, NAMESPACE, bound(federation, name, old, public)))


def bound(federation: str, name: str, old: bytes, new: bytes) -> bytes:
    """What the new key signs: raw public keys in, canonical JSON out."""
    return canonical.encode(["rotation", federation, name, keys.fingerprint(old), keys.fingerprint(new)])


def check(body: Rotation, federation: str, name: str, old: bytes) -> None:
    """Does the new key belong to who says this, and do the mask keys with it? Raises FedmedError FM-ROS-12."""
    new = keys.parse_public_line(body.key)
    try:
        signature = sshsig.decode(sshsig.from_line(body.proof))
        sshsig.verify(signature, bound(federation, name, old, new))
    except FedmedError as error:
        raise _bad(name, "the new key did not sign it") from error
    if signature.public_key != new or signature.namespace != NAMESPACE:
        raise _bad(name, "the new key did not sign it")
    if (body.mask is None) != (name == COORDINATOR):
        raise _bad(name, "a site has mask keys, and the coordinator none")
    if body.mask is not None:
        certificates.check(body.mask, name, new, federation)


def quoted(quote: Quoted, federation: str) -> tuple[RotationPredicate, bytes]:
    """The rotation in a version of the federation, and the old key, which signed it; whose that was is not looked at.

    Raises FedmedError FM-ROS-12, FM-SIG-*, FM-SHR-01, FM-FRM-*.
    """
    envelope = opened(quote)
    sshsig.verify(envelope.signature, envelope.raw)
    kind = statement.kind_of(envelope.signature.namespace) or ""
    said = statement.decode(envelope.raw)
    agrees(said, envelope, None, kind)
    predicate = said.predicate
    if not isinstance(predicate, predicates.RotationPredicate) or predicate.federation.id != federation:
        raise _bad(said.sender, "expected one of this federation")
    check(predicate.body, federation, said.sender, envelope.signature.public_key)
    return predicate, envelope.signature.public_key


def require_proven(predicate: FederationPredicate) -> dict[str, str]:
    """Every key that is another than when people approved was replaced by its owner: the keys of then, by name.

    From the newest rotation back, so each must name the key that its owner has behind it. No key comes back.
    Raises FedmedError FM-ROS-12.
    """
    then = keys_of(predicate.body)
    used = set(then.values())
    for quote in reversed(predicate.body.rotations):
        try:
            rotation, old = quoted(quote, predicate.federation.id)
        except FedmedError as error:
            raise FedmedError("FM-ROS-12", error.message) from error
        name, line = rotation.sender.name, keys.public_line(old)
        if then.get(name) != rotation.body.key:
            raise _bad(name, "it names another key than its owner has behind it")
        if line in used:
            raise _bad(name, "a key that was in use before, or is another's")
        used.add(line)
        then[name] = line
    return then


def keys_of(body: bodies_roster.Federation) -> dict[str, str]:
    """The public keys in force, as lines, by name."""
    return {COORDINATOR: body.coordinator, **{member.name: member.key for member in body.roster}}


def pending(record: Record, federation: Federation) -> list[Known]:
    """Rotations that are here and that the version in force does not have yet, by name, the coordinator's last. Of two
    to one key, with other mask keys, the later counts.

    None by a key that was revoked, whatever its number: who stole that may have the next key, too.
    """
    found = []
    for name in (*federation.site_names, COORDINATOR):
        key = keys.fingerprint(federation.key_of(name))
        said = [each for each in record.of("rotation", sender=name) if each.key == key]
        found += [] if key in record.revoked else sorted(said, key=lambda each: each.seq)[-1:]
    return found


def _bad(name: str, why: str) -> FedmedError:
    return FedmedError("FM-ROS-12", f"rotation of {name}: {why}")
