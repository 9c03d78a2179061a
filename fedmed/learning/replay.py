"""A round again, out of its files: the blocks that its strategy combined, one after another."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fedmed.learning import shapes
from fedmed.learning.strategy import Block

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from fedmed.learning.shapes import Table

    Read = Callable[[int, int], np.ndarray]

CHUNK = 1 << 16  # elements of a block at most; where blocks end changes no number


def blocks(table: Table, base: Read, updates: Sequence[Read], memory: Mapping[str, Read | None]) -> Iterator[Block]:
    """`read(first, count)` gives float32 numbers of a flat vector as `shapes` orders it; no memory is one of zeros."""
    for start, stop, group in shapes.stretches(table):
        for first in range(start, stop, CHUNK):
            count = min(CHUNK, stop - first)
            remembered = {
                name: read(first, count) if read else np.zeros(count, np.float32) for name, read in memory.items()
            }
            rows = np.stack([read(first, count) for read in updates])
            yield Block(first, group, base(first, count), rows, remembered)
