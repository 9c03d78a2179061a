"""SSHSIG, the signature format of `ssh-keygen -Y sign`, for Ed25519 keys; bytes in, bytes out.

Source: OpenSSH PROTOCOL.sshsig. Stricter than ssh-keygen in one point: the armour must be the one that we would write
(70 columns, LF, nothing after END), so that a signature has exactly one encoding.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import struct
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from fedmed.errors import FedmedError

MAX_BYTES = 4096
_MAGIC = b"SSHSIG"
_ALGORITHM = b"ssh-ed25519"
_HASH = b"sha512"
_BEGIN, _END = b"-----BEGIN SSH SIGNATURE-----\n", b"-----END SSH SIGNATURE-----\n"


@dataclass(frozen=True)
class Signature:
    """A decoded signature: who claims to have signed (32 raw bytes) for which purpose. Proves nothing by itself."""

    public_key: bytes
    namespace: str
    raw: bytes


def sign(key: Ed25519PrivateKey, namespace: str, message: bytes) -> bytes:
    """The armoured signature, byte for byte what `ssh-keygen -Y sign -n NAMESPACE` writes for this key."""
    public_key = key.public_key().public_bytes_raw()
    raw = key.sign(_signed_bytes(namespace, message))
    blob = (
        _MAGIC
        + struct.pack(">I", 1)
        + b"".join(
            _string(part)
            for part in (
                key_blob(public_key),
                namespace.encode(),
                b"",
                _HASH,
                _string(_ALGORITHM) + _string(raw),
            )
        )
    )
    return _armour(blob)


def decode(armoured: bytes) -> Signature:
    """Strict decoding. Raises FedmedError FM-SIG-02."""
    try:
        if not (armoured.startswith(_BEGIN) and armoured.endswith(_END)) or len(armoured) > MAX_BYTES:
            raise ValueError("not an SSH signature")
        blob = base64.b64decode(armoured[len(_BEGIN) : -len(_END)].replace(b"\n", b""), validate=True)
        if _armour(blob) != armoured:
            raise ValueError("another armour than ours")
        signature = _parse(blob)
    except (ValueError, binascii.Error, struct.error) as error:
        raise FedmedError(
            "FM-SIG-02",
            f"statement.json.sig: expected an Ed25519 SSHSIG in its canonical armour, got {error}",
        ) from error
    return signature


def verify(signature: Signature, message: bytes) -> None:
    """Raises FedmedError FM-SIG-01 when `message` was not signed by this key for this namespace."""
    try:
        key = Ed25519PublicKey.from_public_bytes(signature.public_key)
        key.verify(signature.raw, _signed_bytes(signature.namespace, message))
    except (InvalidSignature, ValueError) as error:
        raise FedmedError("FM-SIG-01", "statement.json: the signature does not belong to these bytes") from error


def to_line(armour: bytes) -> str:
    """The base64 of a signature's blob: the armour without its lines, for a signature inside of a statement."""
    return armour[len(_BEGIN) : -len(_END)].replace(b"\n", b"").decode("ascii")


def from_line(line: str) -> bytes:
    """The armour of a signature that stands in a statement, for `decode`, which refuses any other base64 than ours."""
    text = line.encode()
    return _BEGIN + b"".join(text[i : i + 70] + b"\n" for i in range(0, len(text), 70)) + _END


def key_blob(public_key: bytes) -> bytes:
    """The public key in SSH wire format, 51 bytes: what OpenSSH hashes for a fingerprint."""
    return _string(_ALGORITHM) + _string(public_key)


def _parse(blob: bytes) -> Signature:
    if blob[:10] != _MAGIC + struct.pack(">I", 1):
        raise ValueError("another version")
    parts, rest = [], blob[10:]
    for _ in range(5):
        part, rest = _take(rest)
        parts.append(part)
    public, namespace, reserved, hashed, signature = parts
    if rest or reserved or hashed != _HASH:
        raise ValueError("another hash or extra bytes")
    raw = signature[len(_string(_ALGORITHM)) + 4 :]
    if len(raw) != 64 or signature != _string(_ALGORITHM) + _string(raw):
        raise ValueError("another signature algorithm")
    public_key = public[-32:]
    if len(public) != 51 or public != key_blob(public_key):
        raise ValueError("another key algorithm")
    return Signature(public_key, namespace.decode("ascii"), raw)


def _signed_bytes(namespace: str, message: bytes) -> bytes:
    digest = hashlib.sha512(message).digest()
    return _MAGIC + b"".join(_string(part) for part in (namespace.encode(), b"", _HASH, digest))


def _armour(blob: bytes) -> bytes:
    return from_line(base64.b64encode(blob).decode("ascii"))


def _string(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data


def _take(data: bytes) -> tuple[bytes, bytes]:
    (size,) = struct.unpack(">I", data[:4])
    if size > len(data) - 4:
        raise ValueError("a cut field")
    return data[4 : 4 + size], data[4 + size :]
