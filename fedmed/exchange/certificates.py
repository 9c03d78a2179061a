"""Mask certificates: which X25519 keys a site's masks and shares are made with, signed by the site's own key.

The coordinator only forwards them. One that it made up, a peer's key under another name, or an old certificate whose
private half was stolen since would open a single site's update, so a site checks the whole list before it masks.
Source: PRIVACY.md section 1.
"""

import functools
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from pydantic import Field

from fedmed.errors import FedmedError
from fedmed.exchange import canonical, keys, sshsig
from fedmed.exchange.fields import Fingerprint, SenderName, Sent

if TYPE_CHECKING:
    from fedmed.exchange.federation import Federation

NAMESPACE = "mask-key@fedmed.v1"
FIRST = 1
_ANY = X25519PrivateKey.from_private_bytes(bytes(32))  # with a point of small order every private key gives zero
MaskPublicKey = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Certificate(Sent):
    """`dh` is for the pair masks, `kem` for the shares that are sealed to this site: raw X25519 public keys in hex.

    `federation` is its id, null in the first certificate, which the join brings; `index` rises by one with each.
    `signature` is the base64 of an SSHSIG blob over the canonical JSON of all the rest.
    """

    federation: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")] | None
    site: SenderName
    key: Fingerprint
    index: Annotated[int, Field(ge=FIRST, le=2**31)]
    dh: MaskPublicKey
    kem: MaskPublicKey
    signature: Annotated[str, Field(pattern=r"^[A-Za-z0-9+/]+={0,2}$", max_length=sshsig.MAX_BYTES)]

    @functools.cached_property
    def digest(self) -> str:
        """SHA-256 of its canonical JSON, signature included."""
        return hashlib.sha256(canonical.encode(self.model_dump(mode="json"))).hexdigest()


@dataclass(frozen=True)
class MaskKey:
    """A certificate with the private halves of its keys; neither is ever shown."""

    certificate: Certificate
    dh: X25519PrivateKey = field(repr=False)
    kem: X25519PrivateKey = field(repr=False)


def create(key: Ed25519PrivateKey, site: str, federation: str | None, index: int) -> MaskKey:
    """New mask keys from the operating system's randomness, certified with the site's own signing key."""
    return certified(key, site, federation, index, X25519PrivateKey.generate(), X25519PrivateKey.generate())


def certified(
    key: Ed25519PrivateKey, site: str, federation: str | None, index: int, dh: X25519PrivateKey, kem: X25519PrivateKey
) -> MaskKey:
    """These mask keys, certified; the same ones give the same certificate, byte for byte."""
    said = {
        "federation": federation,
        "site": site,
        "key": keys.fingerprint(key.public_key().public_bytes_raw()),
        "index": index,
        "dh": dh.public_key().public_bytes_raw().hex(),
        "kem": kem.public_key().public_bytes_raw().hex(),
    }
    signature = sshsig.to_line(sshsig.sign(key, NAMESPACE, canonical.encode(said)))
    return MaskKey(Certificate.model_validate({**said, "signature": signature}), dh, kem)


def check(certificate: Certificate, site: str, public_key: bytes, federation: str | None) -> None:
    """Is this a certificate of `site`, by its signing key, for this federation (null where there is none yet)?

    Whoever takes it in looks at its keys, too: a list with a bad one would be refused by every site. Raises
    FedmedError FM-SHR-01, FM-SHR-02 (one key twice), FM-SHR-05 (a key that gives no secret).
    """
    try:
        signature = sshsig.decode(sshsig.from_line(certificate.signature))
        sshsig.verify(signature, canonical.encode(_signed(certificate)))
    except FedmedError as error:
        raise _unsigned(site, "the signature does not belong to it") from error
    expected = federation if certificate.index > FIRST else None
    faults = {
        "it names another site": certificate.site != site,
        "another key signed it": signature.public_key != public_key or certificate.key != keys.fingerprint(public_key),
        "the signature is for another purpose": signature.namespace != NAMESPACE,
        "it is for another federation": certificate.federation != expected,
        "it is not its first, though there is no federation yet": federation is None and certificate.index > FIRST,
    }
    for fault, is_there in faults.items():
        if is_there:
            raise _unsigned(site, fault)
    if certificate.dh == certificate.kem:
        raise FedmedError("FM-SHR-02", f"mask certificate of {site}: one key for both purposes")
    for public in (certificate.dh, certificate.kem):
        shared_secret(_ANY, public, site)


def check_all(
    certificates: Sequence[Certificate], federation: "Federation", own: MaskKey, highest: Mapping[str, int]
) -> None:
    """Are these the certificates that the site which holds `own` may mask with? They stand in roster order, by name.

    `highest` is the highest index that was accepted of each site before. Raises FedmedError FM-SHR-01 (a signature),
    FM-SHR-02 (not exactly one of each site, or a key twice), FM-SHR-03 (not the own one), FM-SHR-04 (an older one than
    before), FM-SHR-05 (a key that gives no secret).
    """
    check_signed(certificates, federation)
    if own.certificate not in certificates:
        site = own.certificate.site
        raise FedmedError("FM-SHR-03", f"mask certificate of {site}: another one than this site holds the keys of")
    for each in certificates:
        lowest = highest.get(each.site, FIRST)
        if each.index < lowest:
            message = f"expected index {lowest} or higher, got {each.index}"
            raise FedmedError("FM-SHR-04", f"mask certificate of {each.site}: {message}")


def check_signed(certificates: Sequence[Certificate], federation: "Federation") -> None:
    """As far as anyone can check them who holds no key. Raises FedmedError FM-SHR-01, FM-SHR-02, FM-SHR-05."""
    if [each.site for each in certificates] != federation.site_names:
        message = f"expected one of each of {len(federation.site_names)} sites, by name, got {len(certificates)}"
        raise FedmedError("FM-SHR-02", f"mask certificates: {message}")
    for each in certificates:
        owner = keys.parse_public_line(federation.member(each.site).key)
        check(each, each.site, owner, federation.founding.id)
    if len({public for each in certificates for public in (each.dh, each.kem)}) < 2 * len(certificates):
        raise FedmedError("FM-SHR-02", "mask certificates: two of them hold the same mask key")


def shared_secret(private: X25519PrivateKey, public: str, site: str) -> bytes:
    """X25519 (RFC 7748), 32 bytes. Raises FedmedError FM-SHR-05 where the key of `site` makes it zero."""
    try:
        return private.exchange(X25519PublicKey.from_public_bytes(bytes.fromhex(public)))
    except ValueError as error:
        raise FedmedError(
            "FM-SHR-05", f"mask certificate of {site}: a key that gives the same secret to all"
        ) from error


def _signed(certificate: Certificate) -> dict[str, Any]:
    return certificate.model_dump(mode="json", exclude={"signature"})


def _unsigned(site: str, fault: str) -> FedmedError:
    return FedmedError("FM-SHR-01", f"mask certificate of {site}: {fault}")
