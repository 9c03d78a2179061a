"""The free-response curve: by hand, against a search over all thresholds, and from bins."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmed.reporting import detection, discrimination


def scores(*values: float) -> np.ndarray:
    return np.array(values, np.float64)


def test_a_curve_by_hand() -> None:
    """Four images, five boxes, one of which is never found; at 1/4, 1/2, 1, 2 and 4 an image, 1, 2, 4, 8 and 16 false
    positives may be kept.
    """
    hits, false_positives = scores(0.9, 0.7, 0.5, 0.3), scores(0.8, 0.6, 0.4, 0.2, 0.1)
    found = detection.sensitivities(hits, false_positives, 5, 4)
    # above .6: hits .9 .7 with the false positive .8 alone; above .4 three with two; all four with three
    assert found == [2 / 5, 3 / 5, 4 / 5, 4 / 5, 4 / 5]
    assert detection.mean(found) == pytest.approx(17 / 25)


def test_between_two_thresholds_the_lower_sensitivity_counts() -> None:
    """One false positive in two images is half a one an image: at a quarter none may be kept."""
    assert detection.sensitivities(scores(0.9, 0.2), scores(0.5), 2, 2) == [0.5, 1, 1, 1, 1]
    assert detection.sensitivities(scores(0.2), scores(0.5), 1, 2) == [0, 1, 1, 1, 1]


def test_equal_scores_come_in_together() -> None:
    assert detection.sensitivities(scores(0.5, 0.5), scores(0.5, 0.5), 2, 4) == [0, 1, 1, 1, 1]


def test_images_without_findings_dilute_false_positives_and_never_hits() -> None:
    hits, false_positives = scores(0.5), scores(0.9, 0.8)
    assert detection.sensitivities(hits, false_positives, 1, 1) == [0, 0, 0, 1, 1]
    assert detection.sensitivities(hits, false_positives, 1, 8) == [1, 1, 1, 1, 1]


def test_nothing_to_find_gives_no_figure_and_nothing_found_gives_0() -> None:
    assert detection.sensitivities(scores(), scores(0.5), 0, 3) is None
    assert detection.sensitivities(scores(), scores(), 2, 3) == [0] * 5
    assert detection.binned([0] * 100, [0] * 100, 0, 3) is None


def test_the_names_say_the_rates() -> None:
    assert detection.NAMES == (
        "sensitivity_at_0.25fp",
        "sensitivity_at_0.5fp",
        "sensitivity_at_1fp",
        "sensitivity_at_2fp",
        "sensitivity_at_4fp",
    )


LEVELS = st.lists(st.integers(0, 99), max_size=12)


@given(LEVELS, LEVELS, st.integers(0, 3), st.integers(1, 6))
def test_it_is_the_best_of_all_thresholds_and_bins_say_the_same(
    hit: list[int], wrong: list[int], missed: int, images: int
) -> None:
    hits, false_positives = scores(*((s + 0.5) / 100 for s in hit)), scores(*((s + 0.5) / 100 for s in wrong))
    boxes = len(hit) + missed
    found = detection.sensitivities(hits, false_positives, boxes, images)
    if not boxes:
        assert found is None
        return
    expected = [
        max((hits >= t).sum() / boxes for t in np.linspace(0, 1.01, 203) if (false_positives >= t).sum() <= r * images)
        for r in detection.RATES
    ]
    assert found == pytest.approx(expected)
    assert found == sorted(found)
    binned = [discrimination.histogram(each) for each in (hits, false_positives)]
    assert detection.binned(binned[0], binned[1], boxes, images) == pytest.approx(found)
