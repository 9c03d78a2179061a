"""Which labels of a report are told apart, so that no figure about a handful of cases leaves a hospital."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping


def told(counts: Mapping[int, int], enough: Collection[int]) -> list[int]:
    """The labels that have `enough` cases, rising, of those in `counts`: how many cases each is about, if its figures
    are defined at all.

    Where a single one has not, the figure over all labels would give it away, so the smallest of the others is left
    out with it. A label that is left out need not be one without cases.
    """
    shown = sorted(label for label in counts if label in enough)
    if len(counts) - len(shown) == 1 and shown:
        shown.remove(min(shown, key=lambda label: (counts[label], label)))
    return shown
