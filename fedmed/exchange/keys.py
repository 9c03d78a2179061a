"""Signing keys: OpenSSH Ed25519 key files, mode 0600, usable by `ssh-keygen` as they are."""

from __future__ import annotations

import base64
import hashlib
import os
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fedmed import files
from fedmed.errors import FedmedError
from fedmed.exchange import sshsig

if TYPE_CHECKING:
    from pathlib import Path

_PREFIX = "ssh-ed25519 "
SPOKEN = 32  # hex digits that people read to each other


def create(path: Path) -> Ed25519PrivateKey:
    """A new key in `path`, from the operating system's randomness, readable by its owner alone."""
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat  # noqa: PLC0415

    key = Ed25519PrivateKey.generate()
    files.write_atomic(path, key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()), mode=0o600)
    return key


def replace(path: Path, by: Path) -> None:
    """Put the key file `by` in the place of `path`, whose key is erased as far as the disk forgets. Raises FM-RES-*."""
    try:
        with path.open("r+b", buffering=0) as file:
            files.write_all(file.fileno(), bytes(path.stat().st_size))
            files.sync(file.fileno())
        by.replace(path)
        files.fsync_folder(path.parent)
    except OSError as error:
        raise files.disk_error(error, path) from error


def load(path: Path) -> Ed25519PrivateKey:
    """Raises FedmedError FM-KEY-01 when others may read the file, FM-KEY-02 when it holds no usable key."""
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization import load_ssh_private_key  # noqa: PLC0415 - `verify` has no key

    require_private(path)
    try:
        key = load_ssh_private_key(files.read_bounded(path, 16 * 1024), password=None)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise FedmedError(
            "FM-KEY-02", f"{path.name}: not a readable OpenSSH key without passphrase", local=str(error)
        ) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise FedmedError("FM-KEY-02", f"{path.name}: expected an Ed25519 key")
    return key


def require_private(path: Path) -> None:
    """Raises FedmedError FM-KEY-01 when others than the owner may touch the file. Windows has no such mode."""
    try:
        mode = path.stat().st_mode & 0o777
    except OSError as error:
        raise FedmedError("FM-KEY-02", f"{path.name}: not readable", local=str(error)) from error
    if os.name == "posix" and mode & 0o077:
        raise FedmedError("FM-KEY-01", f"{path.name}: expected mode 0600, got {mode:04o}")


def public_line(public_key: bytes) -> str:
    """`ssh-ed25519 AAAA...`, without a comment: the form in statements and in allowed_signers."""
    return _PREFIX + base64.b64encode(sshsig.key_blob(public_key)).decode()


def parse_public_line(line: str) -> bytes:
    """The 32 raw bytes of a `public_line`. Raises ValueError for any other text."""
    try:
        blob = base64.b64decode(line.removeprefix(_PREFIX), validate=True)
    except ValueError as error:
        raise ValueError("not an OpenSSH Ed25519 public key") from error
    public_key = blob[-32:]
    if public_line(public_key) != line:
        raise ValueError("not an OpenSSH Ed25519 public key")
    return public_key


def fingerprint(public_key: bytes) -> str:
    """What `ssh-keygen -lf` prints: `SHA256:` and 43 characters of unpadded base64."""
    return fingerprint_of(hashlib.sha256(sshsig.key_blob(public_key)).hexdigest())


def fingerprint_of(digest: str) -> str:
    """The fingerprint of a key by the SHA-256 of its wire form, in hex."""
    return "SHA256:" + base64.b64encode(bytes.fromhex(digest)).decode().rstrip("=")


def digest_in(fingerprint_: str) -> str:
    """The SHA-256 in a fingerprint, in hex. Raises ValueError."""
    digest = base64.b64decode(fingerprint_.removeprefix("SHA256:") + "=", validate=True).hex()
    if fingerprint_of(digest) != fingerprint_:
        raise ValueError("not a fingerprint")
    return digest


def spoken(statement_id: str) -> str:
    """The first 128 bits of a statement's SHA-256 as eight groups of four hex digits, to read over the phone."""
    return " ".join(statement_id[i : i + 4] for i in range(0, SPOKEN, 4))


def normalise_spoken(typed: str) -> str:
    """What an operator typed, as 32 hex digits if it can be that; groups may be parted by blanks, hyphens or colons."""
    return "".join(typed.lower().split()).replace("-", "").replace(":", "")


def misread(typed: str) -> str:
    """Why it cannot be a fingerprint at all, for behind a message; empty where it is another one."""
    digits = normalise_spoken(typed)
    if len(digits) == SPOKEN and not set(digits) - set("0123456789abcdef"):
        return ""
    return f": expected {SPOKEN} hex digits, got {len(digits)} characters"
