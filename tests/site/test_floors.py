"""What is suppressed in a report cannot be worked out from what is not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmed.site import floors, ratings
from fedmed.training.rated import Rated
from tests import radiographs

THREE = radiographs.recipe(data={"labels": {1: "one", 2: "two", 3: "three"}})


@pytest.mark.parametrize(
    ("counts", "told"),
    [
        ({1: 20, 2: 15, 3: 30}, [1, 2, 3]),
        ({1: 20, 2: 15, 3: 4}, [1]),  # 3 is too small, and 2, the smallest of the others, goes with it
        ({1: 20, 2: 4, 3: 4}, [1]),  # two unknown ones: their sum alone is known
        ({1: 20, 2: 4}, []),
        ({1: 4}, []),
        ({1: 20}, [1]),
        ({2: 15, 1: 15, 3: 4}, [2]),
        ({}, []),
    ],
)
def test_which_labels_are_told(counts: dict[int, int], told: list[int]) -> None:
    assert floors.told(counts, {label for label, count in counts.items() if count >= 10}) == told


@given(st.dictionaries(st.integers(1, 8), st.integers(1, 30)), st.integers(1, 20))
def test_never_is_a_single_one_left_out(counts: dict[int, int], min_count: int) -> None:
    told = floors.told(counts, {label for label, count in counts.items() if count >= min_count})
    assert all(counts[label] >= min_count for label in told)
    assert len(counts) - len(told) != 1 or len(counts) == 1


def test_of_the_mean_and_the_others_no_label_of_a_classifier_follows() -> None:
    """3 of 13 cases have label three; its AUROC would be three times the mean minus the other two."""
    cases = [rated(truth, number) for number, truth in enumerate([1] * 6 + [2] * 4 + [3] * 3)]
    shown = {row.label for row in ratings.rows("global", cases, THREE, 4, {}) if row.metric == "auroc"}
    assert shown == {"all", "one"}
    assert [curve.label for curve in ratings.curves("global", cases, THREE, 4)] == ["one"], "a curve tells the AUROC"
    everything = {row.label for row in ratings.rows("global", cases, THREE, 3, {}) if row.metric == "auroc"}
    assert everything == {"all", "one", "two", "three"}


def rated(truth: int, number: int) -> Rated:
    spread = [0.1 + 0.01 * number, 0.2, 0.3, 0.4]
    return Rated(f"case-{number}", truth, tuple(spread[(truth + place) % 4] for place in range(4)))
