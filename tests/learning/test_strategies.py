"""Federated averaging and its weights, with the numbers written out."""

from __future__ import annotations

from itertools import pairwise, permutations
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmed.learning.averaging import cyclic, fedavg
from fedmed.learning.strategies import STRATEGIES, shares, weight_of
from fedmed.learning.strategy import Meta

from .in_memory import InMemory, combined

if TYPE_CHECKING:
    from fedmed.learning.strategies import WeightRule


def average(
    base: list[float], updates: dict[str, list[float]], weights: dict[str, int], cap: float = 1.0
) -> np.ndarray:
    """What fedavg makes of updates that arrive in any order: the caller sorts the sites, as the coordinator does."""
    names = sorted(updates)
    parts = shares([weights[name] for name in names], cap)
    meta = [Meta(name, weights[name], part, 1) for name, part in zip(names, parts, strict=True)]
    block = np.array([updates[name] for name in names], np.float32)
    made, memory = combined(fedavg(), InMemory(np.array(base, np.float32), block, meta))
    assert not memory
    return made


def test_weights_one_to_three() -> None:
    """0 + 1/4 * 4 + 3/4 * 8 = 7; 10 + 1/4 * -4 + 3/4 * 4 = 12; -1 + 1/4 * 0 + 3/4 * 2 = 0.5."""
    made = average([0, 10, -1], {"aa": [4, -4, 0], "bb": [8, 4, 2]}, {"aa": 10, "bb": 30})
    assert made.tolist() == [7, 12, 0.5]
    assert made.dtype == np.float32


def test_equal_weights() -> None:
    made = average([1, 1, 1], {"aa": [2, 0, 4], "bb": [4, 0, -4], "cc": [6, 3, 3]}, {"aa": 7, "bb": 7, "cc": 7})
    assert made.tolist() == [5, 2, 2]


def test_a_capped_site() -> None:
    """Weights 10 and 90 with a cap of 0.6: 0.4 * 10 + 0.6 * 20 = 16, 0.4 * -5 + 0.6 * 0 = -2, 0.4 * 0 + 0.6 * 5 = 3."""
    made = average([0, 0, 0], {"aa": [10, -5, 0], "bb": [20, 0, 5]}, {"aa": 10, "bb": 90}, cap=0.6)
    np.testing.assert_allclose(made, [16, -2, 3], rtol=1e-7)


def test_one_site_is_that_site() -> None:
    assert average([1, 2, 3], {"aa": [1, 1, 1]}, {"aa": 5}, cap=0.6).tolist() == [2, 3, 4]


def test_a_lap_is_the_last_update() -> None:
    """(1, 2, 3) + (4, -2, 0.5): the last one says the work of all; the ones before it are not added a second time."""
    meta = [Meta("bb", 30, 0.0, 1), Meta("cc", 10, 0.0, 1), Meta("aa", 20, 1.0, 1)]
    updates = np.array([[8, 8, 8], [1, -1, 1e30], [4, -2, 0.5]], np.float32)
    made, memory = combined(cyclic(), InMemory(np.array([1, 2, 3], np.float32), updates, meta))
    assert made.tolist() == [5, 0, 3.5]
    assert not memory


def test_the_sum_is_made_in_double_precision() -> None:
    """In single precision 2^24 + 1 is 2^24; four quarters of 4 would be lost one by one."""
    updates = {name: [4.0] for name in ("aa", "bb", "cc", "dd")}
    assert average([2.0**25], updates, dict.fromkeys(updates, 1)).tolist() == [2.0**25 + 4]
    updates = {name: [1.0] for name in ("aa", "bb", "cc", "dd")}
    assert average([2.0**23], updates, dict.fromkeys(updates, 1)).tolist() == [2.0**23 + 1]


FLOATS = st.floats(-1e6, 1e6, width=32)
UPDATES = st.dictionaries(
    st.sampled_from(["aa", "bb", "cc", "dd", "ee"]),
    st.tuples(st.lists(FLOATS, min_size=3, max_size=3), st.integers(1, 100_000)),
    min_size=1,
)


@given(st.lists(FLOATS, min_size=3, max_size=3), UPDATES, st.randoms())
def test_the_order_of_arrival_does_not_matter(base: list[float], sent: dict, random) -> None:
    names = list(sent)
    random.shuffle(names)
    one = average(base, {n: sent[n][0] for n in sent}, {n: sent[n][1] for n in sent}, 0.6)
    two = average(base, {n: sent[n][0] for n in names}, {n: sent[n][1] for n in names}, 0.6)
    assert one.tobytes() == two.tobytes()


@given(st.lists(FLOATS, min_size=3, max_size=3), st.lists(st.integers(1, 10**6), min_size=1, max_size=8))
def test_the_mean_of_equal_updates_is_that_update(update: list[float], weights: list[int]) -> None:
    names = [f"s{number}" for number in range(len(weights))]
    made = average([0, 0, 0], dict.fromkeys(names, update), dict(zip(names, weights, strict=True)), 0.6)
    assert made.tolist() == update


@given(UPDATES)
def test_it_is_the_weighted_mean(sent: dict) -> None:
    names = sorted(sent)
    weights = np.array([sent[name][1] for name in names], np.float64)
    expected = (weights / weights.sum()) @ np.array([sent[name][0] for name in names], np.float64)
    made = average([0, 0, 0], {n: sent[n][0] for n in sent}, {n: sent[n][1] for n in sent})
    np.testing.assert_allclose(made, expected, rtol=1e-6, atol=1e-3)


def test_infinity_is_handed_on_for_the_actor_to_refuse() -> None:
    assert np.isinf(average([3e38], {"aa": [3e38]}, {"aa": 1})).all()


@pytest.mark.parametrize(("rule", "weight"), [("cases", 30), ("patients", 12), ("equal", 1)])
def test_what_an_update_of_30_cases_of_12_patients_weighs(rule: WeightRule, weight: int) -> None:
    assert weight_of(rule, num_cases=30, num_patients=12) == weight


# --- shares ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("weights", "cap", "expected"),
    [
        ([1, 3], 1.0, [0.25, 0.75]),
        ([1, 3], 0.6, [0.4, 0.6]),
        ([5], 0.6, [1.0]),
        ([1, 99], 0.5, [0.5, 0.5]),
        ([1, 99], 0.4, [0.5, 0.5]),
        ([1, 2, 3], 0.2, [1 / 3, 1 / 3, 1 / 3]),
        ([10, 30, 60], 0.6, [0.1, 0.3, 0.6]),
        ([5, 15, 80], 0.6, [0.1, 0.3, 0.6]),
        ([10, 40, 50], 0.4, [0.2, 0.4, 0.4]),
        ([1, 8, 91], 0.45, [0.1, 0.45, 0.45]),
        ([1, 1, 8, 90], 0.4, [0.1, 0.1, 0.4, 0.4]),
        ([1, 2, 7, 90], 0.4, [0.2 / 3, 0.4 / 3, 0.4, 0.4]),
        ([7, 7, 7, 7], 0.25, [0.25, 0.25, 0.25, 0.25]),
    ],
)
def test_shares_by_hand(weights: list[int], cap: float, expected: list[float]) -> None:
    assert shares(weights, cap) == pytest.approx(expected, abs=1e-12)


def test_shares_stay_with_their_site() -> None:
    for order in permutations([5, 15, 80]):
        found = dict(zip(order, shares(order, 0.6), strict=True))
        assert found == pytest.approx({5: 0.1, 15: 0.3, 80: 0.6})


@given(st.lists(st.integers(1, 10**6), min_size=1, max_size=20), st.floats(0.01, 1))
def test_shares_are_parts_of_one_below_the_cap_in_the_order_of_weights(weights: list[int], cap: float) -> None:
    found = shares(weights, cap)
    assert sum(found) == pytest.approx(1)
    assert max(found) <= max(cap, 1 / len(weights)) + 1e-9
    assert min(found) > 0
    by_weight = [share for _, share in sorted(zip(weights, found, strict=True))]
    assert all(left <= right + 1e-12 for left, right in pairwise(by_weight))


@given(st.lists(st.integers(1, 1000), min_size=2, max_size=8))
def test_without_a_cap_shares_are_the_weights(weights: list[int]) -> None:
    assert shares(weights, 1.0) == pytest.approx([weight / sum(weights) for weight in weights])


@pytest.mark.parametrize("weights", [[0, 1], [-1, 2], [0]])
def test_a_weight_is_positive(weights: list[int]) -> None:
    with pytest.raises(ValueError, match="positive"):
        shares(weights, 0.6)


def test_the_table_of_strategies_is_closed() -> None:
    assert set(STRATEGIES) == {
        "fedavg", "fednova", "fedavgm", "fedadam", "fedyogi", "fedadagrad", "scaffold", "norm_clipped_mean", "krum",
        "multi_krum", "geometric_median", "median", "trimmed_mean", "cyclic",
    }  # fmt: skip
