"""Hospitals that mask, without files: their keys, their certificates, and the federation that lists them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedmed.exchange import bodies, certificates, keys, statement
from fedmed.exchange.federation import Federation
from tests.vectors import samples

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from fedmed.exchange.certificates import Certificate, MaskKey

FEDERATION_ID = "5eed" * 8


@dataclass(frozen=True)
class Circle:
    """N sites by name, each with its signing key and mask keys."""

    federation: Federation
    signing: dict[str, Ed25519PrivateKey]
    mask: dict[str, MaskKey]

    @property
    def names(self) -> list[str]:
        return sorted(self.mask)

    @property
    def certificates(self) -> tuple[Certificate, ...]:
        return tuple(self.mask[name].certificate for name in self.names)


def circle(num_sites: int, index: int = 1) -> Circle:
    names = [f"site-{chr(ord('a') + place // 26)}{chr(ord('a') + place % 26)}" for place in range(num_sites)]
    signing = {name: samples.key(name) for name in names}
    id_ = None if index == 1 else FEDERATION_ID
    mask = {name: certificates.create(signing[name], name, id_, index) for name in names}
    return Circle(federation(signing), signing, mask)


def federation(signing: dict[str, Ed25519PrivateKey]) -> Federation:
    """Only what is looked at when masks are made."""
    roster = [
        bodies.Member.model_construct(name=name, key=keys.public_line(key.public_key().public_bytes_raw()))
        for name, key in signing.items()
    ]
    founding = statement.Founding(id=FEDERATION_ID, title="Masked", version=1, previous=None)
    body = bodies.Federation.model_construct(roster=roster)
    return Federation("0" * 64, founding, body, "0" * 64, "0" * 64, None, "2033-02-28T08:00:00Z")
