"""Gaussian noise out of secret bytes, for who trains and for who averages."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

BYTES = 32  # of the stream, for one number
BLOCK = 1 << 18  # numbers made at a time: 8 MB of the stream


def gaussian(take: Callable[[int], bytes], count: int) -> NDArray[np.float64]:
    """Standard normal float64 numbers: (g1 + g2 + g3 + g4) / 2 of Box and Muller's, so that the holes of one floating-
    point sample do not show in the sum (Holohan and Braghin 2021, arXiv:2107.10138). `take(n)` gives the next n bytes.
    """
    found = np.empty(count)
    for begin in range(0, count, BLOCK):
        size = min(BLOCK, count - begin)
        bits = np.frombuffer(take(BYTES * size), "<u8").reshape(2, 2, size) >> np.uint64(11)
        one, two = (bits[0] + 1.0) * 2.0**-53, bits[1] * (2 * np.pi * 2.0**-53)
        radius = np.sqrt(-2 * np.log(one))
        found[begin : begin + size] = (radius * (np.cos(two) + np.sin(two))).sum(0) / 2
    return found
