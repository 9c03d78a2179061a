"""Figures of a classifier: by hand, against a count of all pairs, and where they are undefined."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmed.reporting import discrimination as d
from fedmed.reporting.statistics import Summary, pool_folds

TRUTH = np.array([True, True, False, False, False])
SCORES = np.array([0.9, 0.3, 0.4, 0.2, 0.1])


def test_auroc_by_hand() -> None:
    """Of the six pairs the finding is above in five: only 0.3 lies below 0.4."""
    assert d.auroc(TRUTH, SCORES) == pytest.approx(5 / 6)


def test_auprc_by_hand() -> None:
    """Precision 1 at the first finding, 2 of 3 at the second: their mean."""
    assert d.auprc(TRUTH, SCORES) == pytest.approx((1 + 2 / 3) / 2)


def test_balanced_accuracy_by_hand() -> None:
    """Of class 0 three of four, of class 1 one of two, of class 2 one of one."""
    truth, predicted = np.array([0, 0, 0, 0, 1, 1, 2]), np.array([0, 0, 0, 1, 1, 0, 2])
    assert d.balanced_accuracy(truth, predicted) == pytest.approx((0.75 + 0.5 + 1) / 3)


def test_the_threshold_leaves_at_most_a_tenth_above() -> None:
    negatives = np.arange(20) / 20
    truth = np.array([False] * 20 + [True] * 4)
    scores = np.concatenate([negatives, [0.1, 0.85, 0.86, 0.99]])
    above = d.threshold(truth, scores)
    assert above == 0.85
    assert d.specificity(truth, scores, above) == 0.9
    assert d.sensitivity(truth, scores, above) == 0.5  # 0.85 itself is not above


@pytest.mark.parametrize("truth", [[True, True], [False, False], []])
def test_one_kind_of_case_gives_no_figure(truth: list[bool]) -> None:
    known, scores = np.array(truth, bool), np.full(len(truth), 0.5)
    assert d.auroc(known, scores) is None
    assert d.auprc(known, scores) is None
    assert d.balanced_accuracy(known.astype(int), known.astype(int)) is None
    if not truth or truth[0]:
        assert d.threshold(known, scores) is None
    assert d.sensitivity(known, scores, None) is None
    assert d.specificity(known, scores, None) is None


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 99)), min_size=2, max_size=60))
def test_the_binned_figure_is_that_of_all_cases_on_the_grid_of_bins(cases: list[tuple[bool, int]]) -> None:
    truth, scores = np.array([t for t, _ in cases]), np.array([(s + 0.5) / 100 for _, s in cases])
    found = d.binned_auroc(d.histogram(scores[truth]), d.histogram(scores[~truth]))
    pairs = [(a > b) + (a == b) / 2 for a in scores[truth] for b in scores[~truth]]
    assert found == (pytest.approx(np.mean(pairs)) if pairs else None)


def test_figures_of_folds_are_averaged_by_their_size() -> None:
    assert pool_folds([Summary(30, 0.8, None), Summary(10, 0.6, None), Summary(0, None, None)]) == Summary(
        40, pytest.approx(0.75), None
    )
    assert pool_folds([]) == Summary(0, None, None)
