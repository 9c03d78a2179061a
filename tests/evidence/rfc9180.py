"""HPKE in base mode, written again from RFC 9180 for this suite alone: a second opinion, never used by fedmed.

DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEM_ID = b"KEM" + b"\x00\x20"
SUITE_ID = b"HPKE" + b"\x00\x20" + b"\x00\x01" + b"\x00\x02"


@dataclass(frozen=True)
class Opener:
    """What a recipient derives from an encapsulated key (sections 4.1 and 5.1)."""

    shared_secret: bytes
    key: bytes
    base_nonce: bytes

    def open(self, number: int, text: bytes, aad: bytes = b"") -> bytes:
        """Message `number`, from 0. Raises InvalidTag."""
        nonce = int.from_bytes(self.base_nonce, "big") ^ number
        return AESGCM(self.key).decrypt(nonce.to_bytes(12, "big"), text, aad)


def opener(encapsulated: bytes, private: X25519PrivateKey, info: bytes) -> Opener:
    exchanged = private.exchange(X25519PublicKey.from_public_bytes(encapsulated))
    context = encapsulated + private.public_key().public_bytes_raw()
    shared = _expand(KEM_ID, _extract(KEM_ID, b"", b"eae_prk", exchanged), b"shared_secret", context, 32)
    schedule = b"\0" + _extract(SUITE_ID, b"", b"psk_id_hash", b"") + _extract(SUITE_ID, b"", b"info_hash", info)
    secret = _extract(SUITE_ID, shared, b"secret", b"")
    key, nonce = (_expand(SUITE_ID, secret, *what) for what in ((b"key", schedule, 32), (b"base_nonce", schedule, 12)))
    return Opener(shared, key, nonce)


def _extract(suite: bytes, salt: bytes, label: bytes, secret: bytes) -> bytes:
    return hmac.digest(salt or bytes(32), b"HPKE-v1" + suite + label + secret, hashlib.sha256)


def _expand(suite: bytes, secret: bytes, label: bytes, info: bytes, length: int) -> bytes:
    """Of at most 32 bytes: one block of HKDF-Expand."""
    return hmac.digest(secret, length.to_bytes(2, "big") + b"HPKE-v1" + suite + label + info + b"\1", hashlib.sha256)[
        :length
    ]
