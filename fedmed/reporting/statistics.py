"""Numbers about cases: mean, spread and histogram of one site, and their pool over sites from those numbers alone."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fedmed.reporting.detection import MEAN, NAMES

if TYPE_CHECKING:
    from collections.abc import Sequence

BINS = 20
OF_FOLDS = frozenset(
    {"accuracy", "auroc", "auprc", "balanced_accuracy", "c_index", "sensitivity_at_spec90", "specificity_at_spec90"}
    | {MEAN, *NAMES}
)
LOWER_IS_BETTER = frozenset({"hd95"})
UPPER = {"dice": 1.0, "sensitivity": 1.0, "hd95": 50.0}


@dataclass(frozen=True)
class Summary:
    """n values with their mean and sample standard deviation; both None when there are too few values."""

    n: int
    mean: float | None
    sd: float | None


def summarise(values: Sequence[float]) -> Summary:
    """Of one site's cases."""
    if not values:
        return Summary(0, None, None)
    array = np.asarray(values, np.float64)
    return Summary(len(array), float(array.mean()), float(array.std(ddof=1)) if len(array) > 1 else None)


def pool(parts: Sequence[Summary]) -> Summary:
    """The summary of all values together, from the summaries of disjoint parts.

    The sum of squares within parts plus that between their means; exact (Chan, Golub, LeVeque 1983).
    """
    known = [(part.n, part.mean, part.sd or 0.0) for part in parts if part.n and part.mean is not None]
    n = sum(count for count, _, _ in known)
    if not n:
        return Summary(0, None, None)
    mean = math.fsum(count * value for count, value, _ in known) / n
    squares = math.fsum((count - 1) * sd**2 + count * (value - mean) ** 2 for count, value, sd in known)
    return Summary(n, mean, math.sqrt(squares / (n - 1)) if n > 1 else None)


def pool_folds(parts: Sequence[Summary]) -> Summary:
    """Figures that describe a whole fold, as AUROC does: their mean, each weighing its n. It is not the figure of all
    cases together, which no site could compute.
    """
    known = [(part.n, part.mean) for part in parts if part.n and part.mean is not None]
    n = sum(count for count, _ in known)
    return Summary(n, math.fsum(count * value for count, value in known) / n if n else None, None)


def histogram(values: Sequence[float], metric: str) -> list[int]:
    """Counts in 20 equal bins from 0 to the metric's upper end (1, or 50 mm for HD95); the last takes what is above."""
    clipped = np.clip(np.asarray(values, np.float64), 0, UPPER[metric])
    return [int(count) for count in np.histogram(clipped, bins=BINS, range=(0, UPPER[metric]))[0]]
