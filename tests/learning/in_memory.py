"""A round over arrays, as the coordinator computes it: for the tests of what updates become."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from fedmed.learning import screen
from fedmed.learning.strategy import Block, Meta

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from fedmed.learning.strategy import Strategy

T = TypeVar("T")


@dataclass
class InMemory:
    """`strategy.Updates` in blocks of two elements; from element `buffers` on nothing is learned, from `control` on
    there are control variates.
    """

    base: np.ndarray
    updates: np.ndarray
    meta: Sequence[Meta]
    buffers: int = 1000
    control: int = 1000
    memory: Mapping[str, np.ndarray] = field(default_factory=dict)

    def map(self, work: Callable[[Block], T]) -> Iterator[T]:
        return map(work, self.blocks())

    def blocks(self) -> Iterator[Block]:
        for start in range(0, len(self.base), 2):
            group = "control" if start >= self.control else "buffer" if start >= self.buffers else "param"
            part = slice(start, start + 2)
            memory = {name: vector[part] for name, vector in self.memory.items()}
            yield Block(start, group, self.base[part], self.updates[:, part], memory)


def round_of(
    *updates: Sequence[float],
    base: Sequence[float] = (),
    num_steps: Sequence[int] = (),
    shares: Sequence[float] = (),
    buffers: int = 1000,
    control: int = 1000,
) -> InMemory:
    """Sites aa, bb, ... with equal shares and one step each, onto a model of zeros, unless said otherwise."""
    count, length = len(updates), len(updates[0])
    parts, steps = shares or [1 / count] * count, num_steps or [1] * count
    names = [letter * 2 for letter in "abcdefghijklmnopqrstuvwxyz"[:count]]
    meta = [Meta(name, 1, part, number) for name, part, number in zip(names, parts, steps, strict=True)]
    start = np.array(base or [0] * length, np.float32)
    return InMemory(start, np.array(updates, np.float32), meta, buffers, control)


def combined(strategy: Strategy, updates: InMemory) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """The next model, and what is remembered, which begins with zeros."""
    products = screen.gram(updates) if strategy.needs_products else np.empty((0, 0))
    weights = strategy.weigh(updates.meta, products)
    updates.memory = updates.memory or {name: np.zeros_like(updates.base) for name in strategy.memory}
    parts = [strategy.combine(block, weights) for block in updates.blocks()]
    memory = {name: np.concatenate([part.memory[name] for part in parts]) for name in strategy.memory}
    assert all(set(part.memory) == set(strategy.memory) for part in parts)
    assert all(array.dtype == np.float32 for part in parts for array in (part.base, *part.memory.values()))
    return np.concatenate([part.base for part in parts]), memory


def made(strategy: Strategy, updates: InMemory) -> list[float]:
    """The next model's numbers."""
    return [float(number) for number in combined(strategy, updates)[0]]
