"""How well scores tell the cases that have a finding from those that have none.

Every function takes one score and one truth a case; where a figure is undefined, as with cases of one kind alone, it
is None and to be left out, never 0 or 1.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

SPECIFICITY = 0.9
BINS = 100


def auroc(truth: NDArray[np.bool_], scores: NDArray[np.float64]) -> float | None:
    """Area under the receiver operating characteristic (Hanley and McNeil 1982), by scikit-learn."""
    from sklearn.metrics import roc_auc_score  # noqa: PLC0415 - a second, and segmentation never needs it

    return float(roc_auc_score(truth, scores)) if 0 < truth.sum() < len(truth) else None


def auprc(truth: NDArray[np.bool_], scores: NDArray[np.float64]) -> float | None:
    """Area under the precision-recall curve as average precision, by scikit-learn; chance is the share of findings."""
    from sklearn.metrics import average_precision_score  # noqa: PLC0415 - as above

    return float(average_precision_score(truth, scores)) if 0 < truth.sum() < len(truth) else None


def accuracy(truth: NDArray[np.int64], predicted: NDArray[np.int64]) -> float | None:
    """The share of cases whose class was recognised."""
    return float((predicted == truth).mean()) if len(truth) else None


def balanced_accuracy(truth: NDArray[np.int64], predicted: NDArray[np.int64]) -> float | None:
    """Mean over the classes of the share that was recognised (Brodersen et al. 2010); None with one class alone."""
    classes = np.unique(truth)
    if len(classes) < 2:
        return None
    return float(np.mean([(predicted[truth == each] == each).mean() for each in classes]))


def threshold(truth: NDArray[np.bool_], scores: NDArray[np.float64]) -> float | None:
    """The lowest score without a finding above which at most a tenth of such cases lie: a case is called positive
    when its score is higher. None without a case that has no finding.
    """
    negatives = np.sort(scores[~truth])
    if not len(negatives):
        return None
    return float(negatives[math.ceil(SPECIFICITY * len(negatives)) - 1])


def sensitivity(truth: NDArray[np.bool_], scores: NDArray[np.float64], above: float | None) -> float | None:
    """The share of findings with a score above the threshold."""
    return float((scores[truth] > above).mean()) if above is not None and truth.any() else None


def specificity(truth: NDArray[np.bool_], scores: NDArray[np.float64], above: float | None) -> float | None:
    """The share of cases without a finding whose score is not above the threshold."""
    return float((scores[~truth] <= above).mean()) if above is not None and not truth.all() else None


def histogram(scores: NDArray[np.float64]) -> list[int]:
    """Counts of scores in 100 equal bins from 0 to 1."""
    return [int(count) for count in np.histogram(scores, bins=BINS, range=(0, 1))[0]]


def binned_auroc(positives: Sequence[int], negatives: Sequence[int]) -> float | None:
    """AUROC from two histograms: pairs within one bin count half, so it is off by at most half their share."""
    with_, without = np.asarray(positives, np.float64), np.asarray(negatives, np.float64)
    pairs = with_.sum() * without.sum()
    if not pairs:
        return None
    below = np.concatenate([[0.0], np.cumsum(without)[:-1]])
    return float((with_ * (below + without / 2)).sum() / pairs)
