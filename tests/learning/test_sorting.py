"""Median and trimmed mean by a sorting network, beside numpy's own."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from fedmed.learning import sorting

FLOATS = st.floats(-(2.0**99), 2.0**99, width=32) | st.sampled_from([0.0, -0.0, 1.0, -1.0, 1e-45, -1e-45])


def median(found: np.ndarray) -> np.ndarray:
    return sorting.trimmed_mean(found, (len(found) - 1) // 2)


def rows(most: int = 12) -> st.SearchStrategy[np.ndarray]:
    shapes = st.tuples(st.integers(1, most), st.integers(1, 5))
    return shapes.flatmap(lambda shape: arrays.arrays(np.float32, shape, elements=FLOATS))


@pytest.mark.parametrize("count", range(1, 11))
def test_the_network_sorts_every_row_of_zeros_and_ones(count: int) -> None:
    """Knuth's zero-one principle: what sorts all of these sorts everything."""
    columns = np.array(list(product([0, 1], repeat=count)), np.float32).T
    found = sorting._ordered([*columns.copy(), np.empty(2**count, np.float32)], range(count))
    np.testing.assert_array_equal(found, np.sort(columns, axis=0))


@pytest.mark.parametrize(("count", "steps"), [(1, 0), (2, 1), (3, 3), (4, 5), (8, 19), (16, 63)])
def test_the_whole_network_has_as_many_steps_as_batcher_says(count: int, steps: int) -> None:
    found = sorting.network(count, tuple(range(count)))
    assert len(found) == steps
    assert all(needs_low and needs_high for _, _, needs_low, needs_high in found)


def test_what_no_wanted_row_needs_is_left_out() -> None:
    """The median of three: the larger of the first two falls away, half by half."""
    halves = [sum(step[2:]) for step in sorting.network(3, (1,))]
    assert sum(halves) == 4
    assert sum(sum(step[2:]) for step in sorting.network(16, (7, 8))) < 2 * 63


@given(rows())
def test_the_median_is_numpys(found: np.ndarray) -> None:
    before = found.copy()
    made = median(found)
    np.testing.assert_array_equal(made, np.median(found.astype(np.float64), axis=0))
    assert made.dtype == np.float64
    assert found.tobytes() == before.tobytes(), "the rows are somebody else's"


@given(rows(), st.data())
def test_the_trimmed_mean_is_that_of_sorted_rows(found: np.ndarray, data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, (len(found) - 1) // 2))
    kept = np.sort(found, axis=0)[cut : len(found) - cut].astype(np.float64)
    expected = np.zeros(found.shape[1])
    for row in kept:
        expected += row
    np.testing.assert_array_equal(sorting.trimmed_mean(found, cut), expected / len(kept))


def test_by_hand() -> None:
    found = np.array([[5, -0.0, 1], [1, 0.0, 1], [3, -0.0, 2], [100, 0.0, -7]], np.float32)
    assert median(found).tolist() == [4, 0, 1]
    assert sorting.trimmed_mean(found, 1).tolist() == [4, 0, 1]
    assert sorting.trimmed_mean(found, 0).tolist() == [27.25, 0, -0.75]
    assert not np.signbit(median(found)).any()


def test_more_columns_than_one_piece_and_rows_of_a_wider_array() -> None:
    random = np.random.default_rng(0)
    wide = random.standard_normal((7, 3 * sorting.PIECE)).astype(np.float32)
    found = wide[:, 5 : 2 * sorting.PIECE + 50]
    np.testing.assert_array_equal(median(found), np.median(found, axis=0))


@pytest.mark.parametrize(("count", "cut"), [(1, 1), (4, 2), (5, 3), (5, -1)])
def test_something_must_be_left(count: int, cut: int) -> None:
    with pytest.raises(ValueError, match="cannot be cut"):
        sorting.trimmed_mean(np.zeros((count, 2), np.float32), cut)
