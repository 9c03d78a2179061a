"""Primitives by the published numbers of their standards, and derivations by a second program written from the text."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
from dataclasses import dataclass

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from fedmed.exchange import bundles, certificates, seeds
from fedmed.learning import masking
from tests import masked
from tests.coded import code_of

THREE = masked.circle(3)
CONTEXT = masked.context(THREE)
SEED = bytes(range(31))


def private(text: str) -> X25519PrivateKey:
    return X25519PrivateKey.from_private_bytes(bytes.fromhex(text))


# --- known answers --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scalar", "point", "product"),
    [
        (
            "a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4",
            "e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c",
            "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552",
        ),
        (
            "77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a",
            "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f",
            "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742",
        ),
        (
            "5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb",
            "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a",
            "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742",
        ),
    ],
)
def test_x25519_of_rfc_7748(scalar: str, point: str, product: str) -> None:
    assert certificates.shared_secret(private(scalar), point, "aa").hex() == product


@pytest.mark.parametrize(
    "point",
    [
        "00" * 32,
        "01" + "00" * 31,
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    ],
)
def test_points_of_low_order_are_refused(point: str) -> None:
    """All that there are, as Wycheproof lists them: the product with any key is zero."""
    assert code_of(lambda: certificates.shared_secret(X25519PrivateKey.generate(), point, "aa")) == "FM-SHR-05"


def hkdf(secret: bytes, length: int, info: bytes, salt: bytes = b"") -> bytes:
    """RFC 5869, written from its text."""
    key = hmac.digest(salt or bytes(32), secret, "sha256")
    output, block = b"", b""
    while len(output) < length:
        block = hmac.digest(key, block + info + bytes([len(output) // 32 + 1]), "sha256")
        output += block
    return output[:length]


def test_hkdf_of_rfc_5869() -> None:
    """The second program gives the numbers of test case 3 (no salt, no info) and ours what the second program gives."""
    expected = "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8"
    assert hkdf(b"\x0b" * 22, 42, b"").hex() == expected
    assert seeds.derive(b"\x0b" * 22, 42, "pair", "ab", 1, 2) == hkdf(b"\x0b" * 22, 42, b'["pair","ab",1,2]')


def aes256(key: bytes, block: bytes) -> bytes:
    return Cipher(algorithms.AES256(key), modes.ECB()).encryptor().update(block)


def counter_mode(key: bytes, size: int) -> bytes:
    blocks = (aes256(key, number.to_bytes(16)) for number in range(-(-size // 16)))
    return b"".join(blocks)[:size]


def test_aes_of_sp_800_38a() -> None:
    key = bytes.fromhex("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4")
    plain = bytes.fromhex("6bc1bee22e409f96e93d7e117393172a")
    assert aes256(key, plain).hex() == "f3eed1bdb5d2a03c064b5a7e3db181f8"  # F.1.5
    stream = aes256(key, bytes.fromhex("f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff"))
    assert bytes(a ^ b for a, b in zip(plain, stream, strict=True)).hex() == "601ec313775789a5b7a7f504bbf3d228"  # F.5.5


def test_a_mask_is_aes_in_counter_mode_from_zero() -> None:
    key = hkdf(SEED, 32, json.dumps(["mask", CONTEXT.x], separators=(",", ":")).encode())
    read = seeds.keystream(CONTEXT)
    whole = counter_mode(key, 1000)
    assert read(SEED, 0, 1000) == whole
    assert read(SEED, 160, 333) == whole[160:493]
    assert read(SEED, 2**33, 16) == aes256(key, (2**29).to_bytes(16))
    other = seeds.keystream(masked.context(THREE, model="cd" * 32))
    assert other(SEED, 0, 1000) != whole


# --- HPKE -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Hpke:
    """RFC 9180, base mode, DHKEM(X25519, HKDF-SHA256) and HKDF-SHA256, from its text."""

    aead: int
    key_size: int

    def open(self, sealed: bytes, own: X25519PrivateKey, info: bytes, aad: bytes = b"") -> bytes:
        enc, cipher = sealed[:32], sealed[32:]
        dh = own.exchange(X25519PublicKey.from_public_bytes(enc))
        kem = b"KEM\x00\x20"
        prk = self._extract(kem, b"", b"eae_prk", dh)
        shared = self._expand(kem, prk, b"shared_secret", enc + own.public_key().public_bytes_raw(), 32)
        suite = b"HPKE\x00\x20\x00\x01" + self.aead.to_bytes(2)
        schedule = (
            b"\0" + self._extract(suite, b"", b"psk_id_hash", b"") + self._extract(suite, b"", b"info_hash", info)
        )
        secret = self._extract(suite, shared, b"secret", b"")
        key = self._expand(suite, secret, b"key", schedule, self.key_size)
        nonce = self._expand(suite, secret, b"base_nonce", schedule, 12)
        return AESGCM(key).decrypt(nonce, cipher, aad)

    @staticmethod
    def _extract(suite: bytes, salt: bytes, label: bytes, secret: bytes) -> bytes:
        return hmac.digest(salt or bytes(32), b"HPKE-v1" + suite + label + secret, "sha256")

    @staticmethod
    def _expand(suite: bytes, key: bytes, label: bytes, info: bytes, length: int) -> bytes:
        said = length.to_bytes(2) + b"HPKE-v1" + suite + label + info
        return hmac.digest(key, said + b"\1", "sha256")[:length]


def test_the_second_program_opens_the_message_of_rfc_9180() -> None:
    """A.1.1.1, of the same suite with AES-128-GCM: the RFC's text has no numbers for AES-256-GCM."""
    enc = "37fda3567bdbd628e88668c3c8d7e97d1d1253b6d4ea6d44c150f741f1bf4431"
    cipher = "f938558b5d72f1a23810b4be2ab4f84331acc02fc97babc53a52ae8218a355a96d8770ac83d07bea87e13c512a"
    own = private("4612c550263fc8ad58375df3f557aac531d26850903e55a9f23f21d8534e8ac8")
    info = bytes.fromhex("4f6465206f6e2061204772656369616e2055726e")
    found = Hpke(aead=1, key_size=16).open(bytes.fromhex(enc + cipher), own, info, b"Count-0")
    assert found == b"Beauty is truth, truth beauty"


def test_a_bundle_opens_with_the_second_program() -> None:
    """So it is HPKE with AES-256-GCM, and its first bytes say what it is sealed for."""
    own, peer = THREE.mask["site-aa"], THREE.mask["site-ac"]
    dealt = bundles.deal(CONTEXT, own, "0" * 64)
    sealed = bundles.bundle_of(dealt.bundles, CONTEXT, "site-aa", "site-ac")
    a, c = own.certificate, peer.certificate
    said = ["fedmed/1 share bundle", CONTEXT.x, "site-aa", a.key, "site-ac", c.key]
    listed = json.dumps(c.model_dump(), separators=(",", ":"), sort_keys=True).encode()
    info = json.dumps([*said, hashlib.sha256(listed).hexdigest()], separators=(",", ":")).encode()
    plain = Hpke(aead=2, key_size=32).open(sealed, peer.kem, info)
    assert plain[: len(info)] == info
    assert len(plain) == len(info) + 3 * 32


# --- derivations ----------------------------------------------------------------------------------------------------


def test_both_ends_of_a_pair_come_to_the_same_seed() -> None:
    a, b, c = (THREE.mask[name] for name in THREE.names)
    assert seeds.pair_seed(CONTEXT, a, 2) == seeds.pair_seed(CONTEXT, b, 1)
    expected = hkdf(a.dh.exchange(b.dh.public_key()), 31, f'["pair","{CONTEXT.x}",1,2]'.encode())
    assert seeds.pair_seed(CONTEXT, a, 2) == expected
    assert seeds.pair_seed(CONTEXT, a, 3) == seeds.pair_seed(CONTEXT, c, 1) != expected
    assert seeds.pair_seed(masked.context(THREE, model="cd" * 32), a, 2) != expected


def test_the_context_is_the_models_id() -> None:
    assert CONTEXT.x == hashlib.sha256(b"fedmed/1 masking\0" + bytes.fromhex(masked.MODEL)).hexdigest()


def test_a_self_seed_is_never_the_same_twice() -> None:
    own = THREE.mask["site-aa"]
    assert len({seeds.self_seed(CONTEXT, own, "0" * 64) for _ in range(50)}) == 50


def test_a_machine_that_repeats_its_random_numbers_still_gets_another_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A copied machine: another vector, key or context is another seed, and other polynomials."""
    monkeypatch.setattr(os, "urandom", bytes)
    own, other = THREE.mask["site-aa"], THREE.mask["site-ab"]
    elsewhere = masked.context(THREE, model="cd" * 32)
    drawn = [(CONTEXT, own, "0" * 64), (CONTEXT, own, "1" * 64), (CONTEXT, other, "0" * 64), (elsewhere, own, "0" * 64)]
    assert len({seeds.self_seed(*each) for each in drawn}) == 4
    assert len({tuple(seeds.polynomials(*each, 64)) for each in drawn}) == 4
    assert len(set(seeds.polynomials(*drawn[0], 64))) == 3, "another one for each secret"


def test_commitments_by_hand() -> None:
    x, seed = CONTEXT.x, SEED.hex()
    pair = hashlib.sha256(f'["commit","{x}","pair",1,2,"{seed}"]'.encode()).hexdigest()
    own = hashlib.sha256(f'["commit","{x}","self",2,2,"{seed}"]'.encode()).hexdigest()
    share = hashlib.sha256(f'["share","{x}",1,3,2,"{"07" * 32}"]'.encode()).hexdigest()
    assert seeds.commitment(CONTEXT, 1, 2, SEED) == pair
    assert seeds.commitment(CONTEXT, 2, 2, SEED) == own
    assert seeds.share_commitment(CONTEXT, 1, 3, 2, b"\x07" * 32) == share


def test_no_two_inputs_are_read_as_one() -> None:
    """Joined by a separator, names that hold it would be."""
    assert seeds.array("a", "b|c") != seeds.array("a|b", "c")
    assert seeds.array("a", 12) != seeds.array("a", "12") != seeds.array("a1", "2")


# --- what a mask hides ----------------------------------------------------------------------------------------------


def spread(data: bytes) -> float:
    """Chi-square of the bytes over 255 degrees of freedom; of uniform ones it is 1, and 1.4 by chance never."""
    counts = np.bincount(np.frombuffer(data, np.uint8), minlength=256)
    expected = len(data) / 256
    return float(((counts - expected) ** 2).sum() / expected / 255)


@pytest.mark.parametrize("ring", [32, 64])
def test_masked_bytes_are_uniform_and_say_nothing_of_the_update(ring: masking.Ring) -> None:
    """Fixed seeds, so the same numbers every time."""
    change = np.random.RandomState(1).normal(0, 0.01, 100_000).astype(np.float32)
    plain = masking.Quantiser(3, ring, 0.1, 1000).quantise(change, 500).vector
    hidden = plain.copy()
    masking.mask(hidden, [SEED], [SEED[::-1]], seeds.keystream(CONTEXT))
    assert spread(hidden.tobytes()) < 1.4
    assert spread(plain.tobytes()) > 2
    signed = np.dtype(f"<i{ring // 8}")
    correlation = np.corrcoef(hidden.view(signed).astype(float), plain.view(signed).astype(float))[0, 1]
    assert abs(correlation) < 0.02  # six standard deviations
    bits = np.unpackbits(hidden.view(np.uint8)) ^ np.unpackbits(plain.view(np.uint8))
    assert abs(bits.mean() - 0.5) < 0.002
