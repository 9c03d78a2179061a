"""The key that payloads for an actor are encrypted to: a native X25519 identity of age, in a file that `age` opens.

It is apart from the signing key: who can read for an actor cannot speak for it. Source: C2SP age-encryption.org/v1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedmed import files
from fedmed.errors import FedmedError
from fedmed.exchange import keys

if TYPE_CHECKING:
    from pathlib import Path

    from pyrage.x25519 import Identity

MAX_BYTES = 4096
_PREFIX = "AGE-SECRET-KEY-1"


def create(path: Path) -> None:
    """A new identity in `path`, from the operating system's randomness, readable by its owner alone."""
    from pyrage import x25519  # noqa: PLC0415 - only where something is encrypted

    identity = x25519.Identity.generate()
    text = f"# public key: {identity.to_public()}\n{identity}\n"
    files.write_atomic(path, text.encode(), mode=0o600)


def load(path: Path) -> Identity:
    """Raises FedmedError FM-KEY-01 when others may read the file, FM-KEY-02 when it holds not exactly one identity."""
    from pyrage import IdentityError, x25519  # noqa: PLC0415

    keys.require_private(path)
    try:
        lines = files.read_bounded(path, MAX_BYTES).decode("ascii").split("\n")
        (secret,) = [line for line in lines if line.startswith(_PREFIX)]
        return x25519.Identity.from_str(secret)
    except (OSError, ValueError, IdentityError) as error:
        raise FedmedError("FM-KEY-02", f"{path.name}: not a file with one age identity") from error


def recipient(path: Path) -> str:
    """The public half, `age1...`. Raises FedmedError FM-KEY-01, FM-KEY-02."""
    return str(load(path).to_public())
