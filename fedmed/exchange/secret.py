"""Random numbers that nobody may ever learn: the coins and the noise of differential privacy.

One stream for a whole process: AES-256 in counter mode under a key of the operating system's, which lives in memory
alone. Who knew the stream could take the noise off again, so it never comes from a recipe's seed and is never kept.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

if TYPE_CHECKING:
    from collections.abc import Callable

KEY_BYTES = 32


def stream(key: bytes, first: int = 0) -> Callable[[int], bytes]:
    """`take(count)`: the next `count` bytes under a 32-byte key that is used for nothing else, from byte `first` on, a
    multiple of 16.
    """
    counter, within = divmod(first, 16)
    if within:
        raise ValueError(f"expected a multiple of 16, got {first}")
    encryptor = Cipher(algorithms.AES(key), modes.CTR(counter.to_bytes(16, "big"))).encryptor()
    return lambda count: encryptor.update(bytes(count))


def new_key() -> bytes:
    return os.urandom(KEY_BYTES)


def fresh() -> Callable[[int], bytes]:
    """A stream that has never been and will never be again."""
    return stream(new_key())
