"""Random numbers without a random state: every seed is a hash of where it is used.

So a sample does not depend on the samples before it, on the number of loader processes, or on a kill and a resume.
These seeds are public knowledge: keys, masks and privacy noise never come from here.
"""

from __future__ import annotations

import hashlib
import json

import numpy as np


def seed(*where: str | int) -> int:
    """63 bits of SHA-256 over the JSON of `where`, for instance (recipe.seed, site, round, attempt, step, index)."""
    digest = hashlib.sha256(json.dumps(where, separators=(",", ":")).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def stream(*where: str | int) -> np.random.RandomState:
    """A generator of its own for `where`. RandomState, because numpy keeps its numbers the same for ever."""
    return np.random.RandomState(seed(*where) % 2**32)
