"""Secret sharing over the field of 2^255 - 19: any `threshold` shares give the secret, fewer say nothing of it.

Shamir, How to share a secret, Communications of the ACM 22 (1979). Shares lie at x = 1, 2, ..., 32 bytes each, the
highest first; a secret has 31 bytes, so it is below the prime.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

PRIME = 2**255 - 19
SECRET, SHARE = 31, 32  # bytes
RANDOM = 64  # bytes for a coefficient: modulo the prime they are uniform but for 2^-257


def randomness(threshold: int) -> int:
    """How many random bytes a secret's polynomial takes."""
    return (threshold - 1) * RANDOM


def split(secret: bytes, threshold: int, count: int, random: bytes) -> list[bytes]:
    """`count` shares. `random` are `randomness(threshold)` bytes that nobody knows and that are used once."""
    if len(secret) != SECRET or len(random) != randomness(threshold):
        raise ValueError("another length of secret or of random bytes than a polynomial takes")
    coefficients = [int.from_bytes(random[at : at + RANDOM]) % PRIME for at in range(0, len(random), RANDOM)]
    coefficients.append(int.from_bytes(secret))  # from the highest power down
    shares = []
    for x in range(1, count + 1):
        value = 0
        for coefficient in coefficients:
            value = (value * x + coefficient) % PRIME
        shares.append(value.to_bytes(SHARE))
    return shares


def combine(shares: Mapping[int, bytes]) -> bytes | None:
    """The secret of these shares, by x; None when what they give is none. All of them are used."""
    points = tuple(sorted(shares))
    factors = _at_zero(points)
    value = sum(int.from_bytes(shares[x]) * factor for x, factor in zip(points, factors, strict=True)) % PRIME
    return value.to_bytes(SECRET) if value < 2 ** (8 * SECRET) else None


def is_share(share: bytes) -> bool:
    """Whether these bytes are a number of the field, in its one form."""
    return len(share) == SHARE and int.from_bytes(share) < PRIME


@functools.lru_cache(maxsize=64)
def _at_zero(points: tuple[int, ...]) -> list[int]:
    """Lagrange's factors for the value at x = 0."""
    factors = []
    for x in points:
        above, below = 1, 1
        for other in points:
            if other != x:
                above, below = above * other % PRIME, below * (other - x) % PRIME
        factors.append(above * pow(below, -1, PRIME) % PRIME)
    return factors
