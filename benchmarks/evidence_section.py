"""What one part of the evidence is made of: slices of work, and the figures that come of them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence


@dataclass(frozen=True)
class Figures:
    """What was found. `holds` is whether it is what fedmed claims; `sentences` are true of the rows above them."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    sentences: Sequence[str]
    holds: bool


@dataclass(frozen=True)
class Section:
    """One part of the evidence.

    `slices(quick)` lists the work, each slice as JSON; `work(slice)` does one of them in a process of its own and
    returns JSON, so that a killed run goes on behind the last slice; `figures(done)` makes figures of all of them.
    `alone`: no other slice may run beside one of these.
    """

    name: str
    title: str
    tried: str
    slices: Callable[[bool], list[Any]]
    work: Callable[[Any], Any]
    figures: Callable[[list[Any]], Figures]
    alone: bool = False


class NothingToTryError(Exception):
    """What a section needs is not here."""


def summed(counts: Iterable[dict[str, int]]) -> Counter[str]:
    """All of them added, by key."""
    total: Counter[str] = Counter()
    for each in counts:
        total.update(each)
    return total


def number(value: float) -> str:
    return f"{value:,}"
