"""Who stands out among the updates of a round, with the numbers written out."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmed.learning import screen
from fedmed.learning.strategy import Block, Meta

from .in_memory import InMemory

if TYPE_CHECKING:
    from fedmed.learning.screen import Figures


def screened(*updates: list[float]) -> list[Figures]:
    """Sites aa, bb, ... over blocks of two elements."""
    names = [letter * 2 for letter in "abcdefghijkl"[: len(updates)]]
    block = np.array(updates, np.float32)
    source = InMemory(np.zeros(block.shape[1], np.float32), block, [Meta(name, 1, 0, 1) for name in names])
    return screen.figures(names, screen.gram(source))


def held(found: list[Figures], max_norm_ratio: float = 5, min_cosine: float = -0.5) -> list[str]:
    return [each.site for each in found if screen.beyond(each, max_norm_ratio, min_cosine)]


def test_three_sites_by_hand() -> None:
    """Norms 5, 10, 13; median 10. Beside aa: (0, 10) + 10/13 * (12, 5) = (9.23, 13.85), cosine to (3, 4) 0.9985."""
    aa, bb, cc = screened([3, 4], [0, 10], [12, 5])
    assert [each.norm for each in (aa, bb, cc)] == [5, 10, 13]
    assert [each.ratio for each in (aa, bb, cc)] == [0.5, 1, 1.3]
    other = np.array([0, 10]) + np.array([12, 5]) * 10 / 13
    assert aa.cosine == pytest.approx((3 * other[0] + 4 * other[1]) / (5 * np.hypot(*other)), abs=1e-12)
    assert aa.cosine == pytest.approx(0.9985, abs=1e-4)
    other = np.array([3, 4]) + np.array([12, 5]) * 10 / 13
    assert bb.cosine == pytest.approx(other[1] / np.hypot(*other), abs=1e-12)
    assert cc.cosine == pytest.approx((12 * 3 + 5 * 14) / (13 * np.hypot(3, 14)), abs=1e-12)


def test_the_products_are_summed_over_all_blocks_in_double_precision() -> None:
    block = np.array([[2.0**12, 1, 1, 1, 1], [1, 0, 0, 0, 3]], np.float32)
    done: list[int] = []
    source = InMemory(np.zeros(5, np.float32), block, [Meta("aa", 1, 0, 1), Meta("bb", 1, 0, 1)])
    assert screen.gram(source, done.append).tolist() == [[2.0**24 + 4, 2.0**12 + 3], [2.0**12 + 3, 10]]
    assert done == [2, 4, 5]


@pytest.mark.parametrize("sites", [1, 2, 13, 30])
def test_estimates_have_six_digits(sites: int) -> None:
    """Of lengths; a product of two updates is as exact beside their lengths."""
    updates = np.random.default_rng(sites).standard_normal((sites, 20_000)).astype(np.float32) + np.float32(0.1)
    block = Block(0, "param", np.zeros(20_000, np.float32), updates)
    exact, found = screen.products(block), screen.estimates(block)
    lengths = np.sqrt(np.diag(exact))
    assert np.abs((found - exact) / np.outer(lengths, lengths)).max() < 2e-6
    assert found.tolist() == found.T.tolist()


@pytest.mark.parametrize("size", [1e-30, 1e-20, 1e25, 1e38])
def test_what_float32_cannot_multiply_is_multiplied_in_float64(size: float) -> None:
    updates = np.array([[1, 2, 2], [size, 0, 0], [0, size, -size]], np.float32)
    block = Block(0, "param", np.zeros(3, np.float32), updates)
    assert screen.estimates(block).tolist() == screen.products(block).tolist()
    assert screen.estimates(block)[1, 1] == float(np.float32(size)) ** 2


def test_an_update_of_zeros_has_no_length_by_estimate_either() -> None:
    block = Block(0, "param", np.zeros(2, np.float32), np.array([[3, 4], [0, 0]], np.float32))
    assert screen.estimates(block).tolist() == [[25, 0], [0, 0]]


def test_running_statistics_are_left_out() -> None:
    """Statistics a thousand times as long as the weights would hide weights that were changed tenfold."""
    block = np.array([[1, 1, 1000, 1000, 1000], [10, 10, 1000, 1000, 1000]], np.float32)
    source = InMemory(np.zeros(5, np.float32), block, [Meta("aa", 1, 0, 1), Meta("bb", 1, 0, 1)], buffers=2)
    products = screen.gram(source)
    assert products.tolist() == [[2, 20], [20, 200]]
    assert held(screen.figures(["aa", "bb"], products)) == ["bb"]


def test_of_two_sites_the_longer_stands_out() -> None:
    aa, bb = screened([1, 0], [6, 8])
    assert (aa.ratio, bb.ratio) == (1, 10)
    assert (aa.cosine, bb.cosine) == (None, None), "of two nobody can say which points the wrong way"
    assert held([aa, bb]) == ["bb"]
    assert screen.beyond(bb, 5, -0.5) == "FM-SCR-01: its norm is 10 times the median, the limit is 5"


def test_a_limit_that_is_reached_is_not_passed() -> None:
    aa, bb = screened([1, 0], [5, 0])
    assert bb.ratio == 5
    assert held([aa, bb]) == []
    assert held([aa, bb], max_norm_ratio=4.999) == ["bb"]
    found = screened([1, 0], [1, 0], [-1, 0])
    assert held(found) == ["cc"]
    assert held(found, min_cosine=-1) == [], "-1 holds nothing"


def test_nobody_is_held_where_the_others_do_not_agree() -> None:
    """Near convergence every honest hospital pulls its own way, and each is minus the sum of the rest."""
    thirds = [[np.cos(angle), np.sin(angle)] for angle in (0, 2 * np.pi / 3, 4 * np.pi / 3)]
    for updates in ([[1, 1], [-1, -1]], thirds, [[1, 0], [0, 1], [-1, 0], [0, -1]]):
        found = screened(*updates)
        assert [each.cosine for each in found] == [None] * len(updates)
        assert held(found) == []


def test_others_agree_from_three_tenths_on() -> None:
    """aa and bb have a cosine of 0.3 or a little less; cc points against both."""
    for cosine, expected in ((0.3001, ["cc"]), (0.2999, [])):
        bb = [cosine, np.sqrt(1 - cosine**2)]
        assert held(screened([1, 0], bb, [-1 - bb[0], -bb[1]])) == expected


def test_one_against_two_is_held_alone() -> None:
    """aa (4, 1), bb (4, -1), cc (-4, 0): norms sqrt 17, sqrt 17, 4; cc against (8, 0)."""
    aa, bb, cc = screened([4, 1], [4, -1], [-4, 0])
    assert cc.cosine == pytest.approx(-1)
    assert held([aa, bb, cc]) == ["cc"]


@pytest.mark.parametrize("factor", [1, 10, 1e6])
def test_however_long_it_is_it_does_not_turn_the_others_into_outliers(factor: float) -> None:
    """The sum of the others would point where the longest does: the cosine of aa and bb to it would be -1."""
    found = screened([4, 1], [4, -1], [3, 0], [-4 * factor, 0])
    assert held(found) == ["dd"]
    codes = screen.beyond(found[3], 5, -0.5)
    assert codes.count("FM-SCR-02") == 1
    assert codes.count("FM-SCR-01") == (factor > 5)


def test_one_site_has_nobody_to_stand_out_from() -> None:
    (aa,) = screened([3, 4])
    assert (aa.norm, aa.ratio, aa.cosine) == (5, 1, None)
    assert held([aa], 1, 1) == []


def test_a_zero_update_has_no_direction_and_makes_nobody_long() -> None:
    aa, bb, cc = screened([0, 0], [0, 0], [3, 4])
    assert [(each.ratio, each.cosine) for each in (aa, bb, cc)] == [(0, None), (0, None), (1, None)]
    assert held([aa, bb, cc]) == []
    assert [(each.norm, each.ratio, each.cosine) for each in screened([0, 0], [0, 0])] == [(0, 0, None)] * 2


def test_both_reasons_are_given() -> None:
    found = screened([1, 0], [1, 0], [-7, 0])
    assert screen.beyond(found[2], 5, -0.5) == (
        "FM-SCR-01: its norm is 7 times the median, the limit is 5; "
        "FM-SCR-02: its cosine to the others is -1.000, the limit is -0.5"
    )


@given(st.integers(2, 12), st.integers(0, 2**32 - 1), st.data())
def test_one_that_is_ten_times_as_long_is_held_and_no_other(sites: int, seed: int, data: st.DataObject) -> None:
    """Random directions in 600 dimensions: cosines lie within a few times 1 / sqrt(600) of zero."""
    which = data.draw(st.integers(0, sites - 1))
    updates = np.random.RandomState(seed).randn(sites, 600)
    updates /= np.linalg.norm(updates, axis=1, keepdims=True)
    assert held(screened(*updates.tolist())) == []
    updates[which] *= 10
    found = screened(*updates.tolist())
    assert held(found) == [found[which].site]
    assert found[which].ratio == pytest.approx(10, rel=1e-6)


@given(st.integers(1, 6), st.integers(0, 2**32 - 1), st.floats(1e-20, 1e20))
def test_the_unit_of_the_weights_does_not_matter(sites: int, seed: int, unit: float) -> None:
    updates = np.random.RandomState(seed).randn(sites, 40)
    for one, two in zip(screened(*updates.tolist()), screened(*(updates * unit).tolist()), strict=True):
        assert two.ratio == pytest.approx(one.ratio, rel=1e-5)
        assert two.cosine == pytest.approx(one.cosine, abs=1e-5)


def test_the_largest_numbers_that_are_admitted_do_not_overflow() -> None:
    found = screened([1e30, 1e30], [1e-40, 0], [1, 0])
    assert all(math.isfinite(each.norm) and math.isfinite(each.ratio) for each in found)
    assert [each.site for each in found if each.ratio > 5] == ["aa"]


def test_what_each_site_of_a_lap_added() -> None:
    """(1, 0), then (0, 2), then (3, 0) were added: the whole differences are (1, 0), (1, 2), (4, 2)."""
    whole = np.array([[1.0, 0], [1, 2], [4, 2]])
    assert screen.added(whole @ whole.T).tolist() == [[1, 0, 3], [0, 4, 0], [3, 0, 9]]


@given(st.lists(st.lists(st.integers(-1000, 1000), min_size=3, max_size=3), min_size=1, max_size=6))
def test_what_was_added_out_of_the_products_alone(steps: list[list[int]]) -> None:
    added = np.array(steps, float)
    whole = np.cumsum(added, axis=0)
    np.testing.assert_allclose(screen.added(whole @ whole.T), added @ added.T, atol=1e-6)


def test_a_length_that_rounding_made_negative_is_zero() -> None:
    whole = np.array([[0.1, 0.7], [0.1, 0.7]])
    products = whole @ whole.T + np.array([[0, 1e-17], [1e-17, -2e-16]])
    assert screen.added(products)[1, 1] == 0


def test_a_length_that_is_nothing_but_rounding_is_zero() -> None:
    """Or sites that added nothing would have lengths of their own, a tiny median, and hold the one that trained."""
    products = np.ones((3, 3))
    products[1, 1] += 4e-16
    assert np.diag(screen.added(products)).tolist() == [1, 0, 0]
    assert [each.ratio for each in screen.figures_in_a_lap(["a", "b", "c"], products)] == [1, 0, 0]
    products[1, 1] = 1 + 1e-12  # a millionth of it is no rounding
    assert np.diag(screen.added(products))[1] == pytest.approx(1e-12, rel=1e-3)


def test_in_a_lap_the_length_counts_and_not_the_direction() -> None:
    """(3, 4), then (30, 40) and then (-6, -8) were added, the last one back: lengths 5, 50 and 10, their median 10."""
    whole = np.cumsum([[3.0, 4], [30, 40], [-6, -8]], axis=0)
    found = screen.figures_in_a_lap(["cc", "aa", "bb"], whole @ whole.T)
    assert [(each.site, each.norm, each.ratio, each.cosine) for each in found] == [
        ("cc", 5, 0.5, None),
        ("aa", 50, 5, None),
        ("bb", pytest.approx(10), pytest.approx(1), None),
    ]
