"""Pairs of sites that did not mask with the same seed, and which updates to leave out so that none is in the sum.

Looked at before the set of included sites is fixed: with such a pair in it the masks would not cancel.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fedmed.exchange.bundles import Table
    from fedmed.exchange.seeds import Context

Pair = tuple[str, str]
MAX_STEPS = 20_000  # of the search; what takes more is answered by a set that may not be the smallest


def found(context: Context, tables: Mapping[str, Table]) -> list[Pair]:
    """Pairs, by name, that committed to different seeds of theirs: one of the two masked something else."""
    names = sorted(tables)
    return [
        (one, other)
        for place, one in enumerate(names)
        for other in names[place + 1 :]
        if tables[one].seeds[context.position(other) - 1] != tables[other].seeds[context.position(one) - 1]
    ]


def fewest(pairs: Sequence[Pair]) -> list[str]:
    """The fewest sites without which no such pair is left, by name: a smallest vertex cover.

    The smallest for any number of sites that fedmed allows unless dozens of them disagree with each other; then one
    that is found by leaving out whoever disagrees with most.
    """
    search = _Search()
    for size in range(len(pairs) + 1):
        left_out = search.cover(list(pairs), size)
        if left_out is not None:
            return sorted(left_out)
        if search.steps > MAX_STEPS:
            break
    return sorted(_greedy(list(pairs)))


class _Search:
    """Either a site is left out, or all that disagree with it are."""

    def __init__(self) -> None:
        self.steps = 0

    def cover(self, pairs: list[Pair], size: int) -> set[str] | None:
        """A cover of at most `size` sites; None where there is none, or the search took too long."""
        self.steps += 1
        if not pairs:
            return set()
        most = _most(pairs)
        others = {other for pair in pairs for other in pair if most in pair} - {most}
        if size == 0 or self.steps > MAX_STEPS or len(pairs) > size * len(others):
            return None
        for chosen in ({most}, others):
            if len(chosen) <= size:
                rest = self.cover([pair for pair in pairs if not chosen & set(pair)], size - len(chosen))
                if rest is not None:
                    return chosen | rest
        return None


def _greedy(pairs: list[Pair]) -> set[str]:
    left_out = set()
    while pairs:
        most = _most(pairs)
        left_out.add(most)
        pairs = [pair for pair in pairs if most not in pair]
    return left_out


def _most(pairs: Sequence[Pair]) -> str:
    """Who disagrees with most others; of several the first by name."""
    counts = Counter(site for pair in pairs for site in pair)
    return min(counts, key=lambda site: (-counts[site], site))
