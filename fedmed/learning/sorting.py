"""The middle of a few rows, coordinate by coordinate: a sorting network of which only the wanted outputs are kept.

A row is one site's stretch of numbers, so that a comparison is one `minimum` and one `maximum` over arrays that stay
in the cache; to sort each coordinate by itself would jump from row to row. Source: Batcher, Sorting Networks and Their
Applications, AFIPS 1968, for any number of rows as in Knuth, The Art of Computer Programming 3, 5.2.2, algorithm M.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

PIECE = 1 << 14  # elements sorted at a time: 64 KB a row


@cache
def network(count: int, wanted: tuple[int, ...]) -> tuple[tuple[int, int, bool, bool], ...]:
    """What brings the order statistics `wanted` (0 the smallest) of `count` rows to the rows of these numbers.

    A step (low, high, needs_low, needs_high) leaves the smaller values in row `low` and the larger ones in row `high`.
    Steps, and halves of steps, that no wanted row depends on are left out.
    """
    needed, kept = set(wanted), []
    for low, high in reversed(list(_merge_exchange(count))):
        if low in needed or high in needed:
            kept.append((low, high, low in needed, high in needed))
            needed |= {low, high}
    return tuple(reversed(kept))


def _merge_exchange(count: int) -> Iterator[tuple[int, int]]:
    """Batcher's comparisons (low, high) that sort `count` rows. The names p, q, r, d are Knuth's."""
    top = 1 << max(count - 1, 0).bit_length() >> 1
    p = top
    while p > 0:
        q, r, d = top, 0, p
        while True:
            yield from ((i, i + d) for i in range(count - d) if i & p == r)
            if q == p:
                break
            d, q, r = q - p, q >> 1, p
        p >>= 1


def trimmed_mean(rows: np.ndarray, cut: int) -> np.ndarray:
    """The mean of every column of finite `rows` without its `cut` smallest and `cut` largest. float64 [elements].

    Added up from the smallest to the largest. With a cut of (sites - 1) // 2 it is the median, of an even number the
    mean of the two in the middle. Raises ValueError when nothing would be left.
    """
    if not 0 <= 2 * cut < len(rows):
        raise ValueError(f"of {len(rows)} rows {cut} cannot be cut at either end")
    wanted = range(cut, len(rows) - cut)
    total = np.zeros(rows.shape[1])  # 0.0 + -0.0 is 0.0: the sign of a zero does not depend on how a machine compares
    work = np.empty((len(rows) + 1, min(PIECE, rows.shape[1])), rows.dtype)
    for first in range(0, rows.shape[1], PIECE):
        piece = rows[:, first : first + PIECE]
        width = piece.shape[1]
        work[:-1, :width] = piece
        found, part = _ordered([row[:width] for row in work], wanted), total[first : first + width]
        for row in found:
            part += row
    total /= len(wanted)
    return total


def _ordered(rows: list[np.ndarray], wanted: Sequence[int]) -> list[np.ndarray]:
    """The wanted order statistics of all rows but the last, which is spare; all rows are written over."""
    spare = rows.pop()
    for low, high, needs_low, needs_high in network(len(rows), tuple(wanted)):
        if needs_low and needs_high:
            np.minimum(rows[low], rows[high], out=spare)
            np.maximum(rows[low], rows[high], out=rows[high])
            rows[low], spare = spare, rows[low]
        elif needs_low:
            np.minimum(rows[low], rows[high], out=rows[low])
        else:
            np.maximum(rows[low], rows[high], out=rows[high])
    return [rows[number] for number in wanted]
