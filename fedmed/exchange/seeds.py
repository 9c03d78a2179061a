"""Seeds of masks: how two sites come to the same one, what it becomes, and what is said of it before it is revealed.

Every derivation names its purpose and the context X first, in a canonical JSON array: no two inputs can be read as one.
A seed has 31 bytes, so that it is below the prime that shares are computed with. Source: PRIVACY.md section 1.
"""

from __future__ import annotations

import functools
import hashlib
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CTR
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from fedmed.exchange import canonical, certificates

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fedmed.exchange.certificates import Certificate, MaskKey

SEED = 31  # bytes
_AES_BLOCK = 16


@dataclass(frozen=True)
class Context:
    """Who masks what with which keys: one model file, and the certificates that it lists, in roster order.

    `x` is X in hex; a site's position is its place in that order, from 1; `threshold` replies open a sum.
    """

    x: str
    certificates: tuple[Certificate, ...]
    threshold: int

    @functools.cached_property
    def sites(self) -> list[str]:
        return [each.site for each in self.certificates]

    @functools.cached_property
    def _positions(self) -> dict[str, int]:
        return {site: place for place, site in enumerate(self.sites, start=1)}

    def position(self, site: str) -> int:
        """Raises KeyError for a site that is not in the list."""
        return self._positions[site]


@dataclass(frozen=True)
class Masks:
    """Seeds of the masks that are added to a vector, and of those that are subtracted. Never shown."""

    added: tuple[bytes, ...] = field(repr=False)
    subtracted: tuple[bytes, ...] = field(repr=False)


def context(model: str, listed: Sequence[Certificate], threshold: int) -> Context:
    """`model` is the id of the model that is answered. The list was checked (`certificates.check_all`)."""
    return Context(binding(model), tuple(listed), threshold)


def binding(model: str) -> str:
    """X of the model with this id, in hex."""
    return hashlib.sha256(b"fedmed/1 masking\0" + bytes.fromhex(model)).hexdigest()


def array(*parts: str | int) -> bytes:
    """What is hashed, derived from and sealed for: one encoding, however long the parts are."""
    return canonical.encode(list(parts))


def derive(secret: bytes, length: int, *info: str | int) -> bytes:
    """HKDF-SHA256 (RFC 5869) without salt."""
    return HKDF(SHA256(), length, None, array(*info)).derive(secret)


def pair_seed(found: Context, own: MaskKey, position: int) -> bytes:
    """What this site and the one at `position` both know. Raises FedmedError FM-SHR-05."""
    peer, mine = found.certificates[position - 1], found.position(own.certificate.site)
    secret = certificates.shared_secret(own.dh, peer.dh, peer.site)
    return derive(secret, SEED, "pair", found.x, min(mine, position), max(mine, position))


def self_seed(found: Context, own: MaskKey, vector: str) -> bytes:
    """Another one at every call; `vector` is the SHA-256 of what it hides.

    A copy of this machine that repeats its random numbers still gets another seed for another vector.
    """
    return derive(_fresh(own), SEED, "self", found.x, vector)


def polynomials(found: Context, own: MaskKey, vector: str, length: int) -> list[bytes]:
    """`length` random bytes for each site's polynomial of shares, with the same care as `self_seed`."""
    secret = derive(_fresh(own), SEED, "polynomials", found.x, vector)
    return [derive(secret, length, "polynomial", found.x, position + 1) for position in range(len(found.sites))]


def _fresh(own: MaskKey) -> bytes:
    return os.urandom(32) + own.dh.private_bytes_raw()


def keystream(found: Context) -> Callable[[bytes, int, int], bytes]:
    """The mask of a seed in this context: `read(seed, offset, size)` gives `size` bytes from byte `offset` on.

    AES-256 in counter mode, zero nonce; `offset` is a multiple of 16. A seed is of one context and has one mask.
    """

    @functools.lru_cache(maxsize=1024)
    def algorithm(seed: bytes) -> AES256:
        return AES256(derive(seed, 32, "mask", found.x))

    def read(seed: bytes, offset: int, size: int) -> bytes:
        counter = CTR((offset // _AES_BLOCK).to_bytes(_AES_BLOCK, "big"))
        return Cipher(algorithm(seed), counter).encryptor().update(_zeros(size))

    return read


@functools.lru_cache(maxsize=4)
def _zeros(size: int) -> bytes:
    return bytes(size)


def commitment(found: Context, low: int, high: int, seed: bytes) -> str:
    """What a site says of a seed in its update: of its self seed where both positions are its own.

    SHA-256, hex. It hides 248 random bits, and two ends of a pair agree on it only with the same context.
    """
    kind = "self" if low == high else "pair"
    return hashlib.sha256(array("commit", found.x, kind, low, high, seed.hex())).hexdigest()


def share_commitment(found: Context, dealer: int, holder: int, secret: int, share: bytes) -> str:
    """What a dealer says of the share of a secret that it gives to a holder: positions, and of the secret the position
    of the pair's other end, or the dealer's own for its self seed.
    """
    return hashlib.sha256(array("share", found.x, dealer, holder, secret, share.hex())).hexdigest()
