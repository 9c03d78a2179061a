"""How well candidates point at findings: the free-response curve, FROC (Bunch et al. 1977, Chakraborty 1989).

A candidate that lies in a reference box is a hit, once a box; one that lies in none is a false positive, whether the
image has findings or not. Sensitivity is the share of the boxes that was hit, over all images together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

RATES = (0.25, 0.5, 1.0, 2.0, 4.0)  # false positives an image; LUNA16 goes from 1/8 to 8, CAMELYON16 from 1/4 to 8
MEAN = "froc"
NAMES = tuple(f"sensitivity_at_{rate:g}fp" for rate in RATES)


def sensitivities(
    hits: NDArray[np.float64], false_positives: NDArray[np.float64], boxes: int, images: int
) -> list[float] | None:
    """At each of RATES, from the scores of hits and false positives of `images` images with `boxes` boxes in all.

    The highest share of boxes hit at any threshold that leaves at most so many false positives an image: steps, without
    the interpolation between thresholds that LUNA16 and CAMELYON16 use. None without a box.
    """
    thresholds = np.unique(np.concatenate([hits, false_positives]))[::-1]
    kept = [len(scores) - np.searchsorted(np.sort(scores), thresholds) for scores in (hits, false_positives)]
    return _at_rates(kept[0], kept[1], boxes, images)


def binned(hits: Sequence[int], false_positives: Sequence[int], boxes: int, images: int) -> list[float] | None:
    """The same from counts in bins of the score, lowest first: the thresholds are the lower ends of the bins."""
    kept = [np.cumsum(np.asarray(counts, np.int64)[::-1]) for counts in (hits, false_positives)]
    return _at_rates(kept[0], kept[1], boxes, images)


def _at_rates(
    hits: NDArray[np.int64], false_positives: NDArray[np.int64], boxes: int, images: int
) -> list[float] | None:
    """From what is kept at falling thresholds."""
    if not boxes:
        return None
    return [float(hits[false_positives <= rate * images].max(initial=0) / boxes) for rate in RATES]


def mean(at_rates: Sequence[float]) -> float:
    """One number for a curve, as in LUNA16 and CAMELYON16."""
    return sum(at_rates) / len(at_rates)
