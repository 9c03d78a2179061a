"""Pooled numbers against numpy on all values together."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmed.reporting import statistics
from fedmed.reporting.statistics import Summary, histogram, pool, summarise

VALUES = st.lists(st.floats(0, 100), max_size=12)


@given(st.lists(VALUES, max_size=6))
def test_the_pool_is_the_summary_of_all_values(sites: list[list[float]]) -> None:
    found = pool([summarise(values) for values in sites])
    together = np.array([value for values in sites for value in values])
    assert found.n == len(together)
    if found.n == 0:
        assert (found.mean, found.sd) == (None, None)
    else:
        assert found.mean == pytest.approx(together.mean(), abs=1e-9)
        expected = pytest.approx(together.std(ddof=1), abs=1e-6) if found.n > 1 else None
        assert found.sd == expected


def test_the_pool_by_hand() -> None:
    """1, 2, 3 and 5, 7: mean 3.6; squares 2.6^2 + 1.6^2 + 0.6^2 + 1.4^2 + 3.4^2 = 23.2; sd = sqrt(23.2 / 4)."""
    found = pool([Summary(3, 2.0, 1.0), Summary(2, 6.0, 2**0.5)])
    assert (found.n, found.mean, found.sd) == (5, pytest.approx(3.6), pytest.approx(5.8**0.5))


def test_one_value_has_no_spread_and_no_value_has_no_mean() -> None:
    assert summarise([]) == Summary(0, None, None)
    assert summarise([0.25]) == Summary(1, 0.25, None)
    assert pool([Summary(0, None, None), Summary(1, 0.25, None)]) == Summary(1, 0.25, None)
    assert pool([]) == Summary(0, None, None)


def test_a_suppressed_site_is_left_out() -> None:
    """A site below min_count sends n without mean."""
    assert pool([Summary(4, None, None), Summary(2, 0.5, 0.1)]).n == 2


@given(st.lists(VALUES.filter(bool), min_size=2, max_size=5), st.randoms())
def test_the_order_of_sites_does_not_matter(sites: list[list[float]], random) -> None:
    parts = [summarise(values) for values in sites]
    shuffled = list(parts)
    random.shuffle(shuffled)
    one, two = pool(parts), pool(shuffled)
    assert one.mean == two.mean
    assert one.sd == pytest.approx(two.sd)


@pytest.mark.parametrize(
    ("values", "metric", "filled"),
    [
        ([0, 0.049, 0.05, 0.999, 1], "dice", {0: 2, 1: 1, 19: 2}),
        ([0, 2.5, 49.9, 50, 1e6], "hd95", {0: 1, 1: 1, 19: 3}),
        ([], "sensitivity", {}),
    ],
)
def test_twenty_bins(values: list[float], metric: str, filled: dict[int, int]) -> None:
    assert histogram(values, metric) == [filled.get(place, 0) for place in range(statistics.BINS)]
