"""What a minority cannot do, with the numbers written out."""

from __future__ import annotations

from itertools import permutations
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmed.learning import screen
from fedmed.learning.averaging import fedavg
from fedmed.learning.robust import geometric_median, krum, median, multi_krum, norm_clipped_mean, trimmed_mean

from .in_memory import combined, made, round_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fedmed.learning.strategy import Strategy


def told(strategy: Strategy, *updates: Sequence[float]) -> str:
    found = round_of(*updates)
    return strategy.tell(found.meta, strategy.weigh(found.meta, screen.gram(found)))


# --- norms ----------------------------------------------------------------------------------------------------------


def test_clipped_to_the_median_norm_by_hand() -> None:
    """Norms 5, 10 and 100, median 10: cc is a tenth. (3 + 0 + 6) / 3 = 3, (4 + 10 + 8) / 3 = 22/3."""
    updates = ([3, 4, 0], [0, 10, 0], [60, 80, 0])
    assert made(norm_clipped_mean(), round_of(*updates)) == pytest.approx([3, 22 / 3, 0], rel=1e-6)
    assert told(norm_clipped_mean(), *updates) == "shortened, to this part of their length: cc 0.1"


def test_clipped_to_a_fixed_norm_by_hand() -> None:
    """Limit 2.5: aa half, bb a quarter, cc as it is. Shares 1/2, 1/4, 1/4: 3/4, 4/4 + 2.5/4 = 1.625, 2/4."""
    updates = round_of([3, 4, 0], [0, 10, 0], [0, 0, 2], shares=[0.5, 0.25, 0.25])
    assert made(norm_clipped_mean(clip_norm=2.5), updates) == [0.75, 1.625, 0.5]


def test_sites_that_learned_nothing_do_not_make_the_limit_zero() -> None:
    """Norms 0, 0, 0, 5, 10: the median of those above zero is 5 (the lower one)."""
    updates = ([0, 0, 0], [0, 0, 0], [0, 0, 0], [3, 4, 0], [6, 8, 0])
    assert made(norm_clipped_mean(), round_of(*updates)) == pytest.approx([6 / 5, 8 / 5, 0])


def test_nobody_learned_anything() -> None:
    for strategy in (norm_clipped_mean(), geometric_median(), krum(f=0), median()):
        assert made(strategy, round_of([0, 0], [0, 0], [0, 0], base=[1, 2])) == [1, 2]
    assert told(norm_clipped_mean(), [0, 0], [0, 0]) == "no update was shortened"


def test_statistics_are_not_clipped() -> None:
    """Elements 2 and 3 are no part of the norm, which is 5 and 50, and are averaged whole: (4 + 8) / 2, 0 - 4 / 2."""
    updates = round_of([3, 4, 4, 0], [30, 40, 8, -4], buffers=2)
    assert made(norm_clipped_mean(), updates) == [3, 4, 6, -2]


NUMBERS = st.floats(-100, 100, width=32)
ROUND = st.lists(st.lists(NUMBERS, min_size=3, max_size=3), min_size=3, max_size=9)


@given(ROUND)
def test_a_wide_limit_clips_nothing(updates: list[list[float]]) -> None:
    assert made(norm_clipped_mean(clip_norm=1e9), round_of(*updates)) == made(fedavg(), round_of(*updates))


@given(ROUND, st.floats(0.01, 1000))
def test_the_step_is_no_longer_than_the_limit(updates: list[list[float]], limit: float) -> None:
    assert np.linalg.norm(made(norm_clipped_mean(clip_norm=limit), round_of(*updates))) <= limit * 1.0001


# --- krum -----------------------------------------------------------------------------------------------------------

FIVE = ([0, 0, 0], [1, 0, 0], [1, 1, 0], [3, 0, 0], [50, 50, 50])


def test_krum_of_five_with_one_liar_by_hand() -> None:
    """n - f - 2 = 2 nearest. Squared distances of aa: 1, 2, 9; bb: 1, 1, 4; cc: 1, 2, 5; dd: 4, 5, 9.
    Scores 3, 2, 3, 9, and thousands: bb.
    """
    assert made(krum(f=1), round_of(*FIVE)) == [1, 0, 0]
    assert told(krum(f=1), *FIVE) == "the model moves by this update alone: bb"


def test_multi_krum_by_hand() -> None:
    """Scores 3, 2, 3, 9, large: the mean of bb and aa (the first by name of two equal ones); by default n - f = 4."""
    assert made(multi_krum(f=1, m=2), round_of(*FIVE)) == [0.5, 0, 0]
    assert made(multi_krum(f=1), round_of(*FIVE)) == [1.25, 0.25, 0]
    assert told(multi_krum(f=1, m=2), *FIVE) == "the model moves by the mean of these updates: aa, bb"


def test_statistics_of_who_is_not_taken_do_not_count() -> None:
    updates = [[*row, 0, number] for number, row in enumerate(FIVE, start=1)]  # elements 4 on are statistics
    assert made(krum(f=1), round_of(*updates, buffers=4))[4:] == [2]
    assert made(multi_krum(f=1, m=2), round_of(*updates, buffers=4))[4:] == [1.5]


def test_how_many_sites_krum_needs() -> None:
    assert [krum(f=f).min_sites for f in (1, 2, 5)] == [5, 7, 13]
    assert [multi_krum(f=1, m=m).min_sites for m in (None, 1, 4, 6)] == [5, 5, 5, 7]


@given(st.lists(st.lists(NUMBERS, min_size=3, max_size=3), min_size=5, max_size=9), st.floats(1e5, 1e30))
def test_krum_takes_no_update_from_far_away(honest: list[list[float]], far: float) -> None:
    found, _ = combined(krum(f=1), round_of(*honest, [far, -far, far]))
    assert found.tolist() in np.array(honest, np.float32).tolist()


# --- geometric median -----------------------------------------------------------------------------------------------


def test_geometric_median_of_a_triangle_by_hand() -> None:
    """(0, 0), (4, 0) and (2, y): by symmetry x = 2, and below y > 2 / sqrt 3 the angles to the point are 120 degrees:
    y = 2 tan 30 degrees = 1.1547.
    """
    updates = round_of([0, 0, 0], [4, 0, 0], [2, 9, 0])
    assert made(geometric_median(), updates) == pytest.approx([2, 2 / 3**0.5, 0], abs=1e-5)


def test_geometric_median_on_a_line_is_the_median() -> None:
    """1, 2 and 1000: 2. Weighted 3/5, 1/5, 1/5 it is 1: more than half lies there."""
    assert made(geometric_median(), round_of([1, 0, 0], [2, 0, 0], [1000, 0, 0])) == pytest.approx([2, 0, 0], abs=1e-3)
    weighted = round_of([1, 0, 0], [2, 0, 0], [1000, 0, 0], shares=[0.6, 0.2, 0.2])
    assert made(geometric_median(), weighted) == pytest.approx([1, 0, 0], abs=1e-3)


def test_geometric_median_of_equal_updates_is_that_update() -> None:
    assert made(geometric_median(), round_of(*[[1, -2, 3]] * 4)) == [1, -2, 3]


def test_geometric_median_tells_who_was_far() -> None:
    words = told(geometric_median(), [0, 0, 0], [4, 0, 0], [2, 9, 0])
    assert words == "each counted so many times its share, by its distance: aa 1.31, bb 1.31, cc 0.385"


@given(
    st.lists(st.lists(st.floats(1, 100, width=32), min_size=3, max_size=3), min_size=4, max_size=8),
    st.floats(1e3, 1e30),
)
def test_geometric_median_stays_near_the_honest(honest: list[list[float]], far: float) -> None:
    """Lopuhaa and Rousseeuw 1991: of a part a < 1/2 of liars, at most 2 (1 - a) / (1 - 2 a) times the honest reach."""
    share = 1 / (len(honest) + 1)
    reach = max(float(np.linalg.norm(row)) for row in honest)
    found = np.linalg.norm(made(geometric_median(), round_of(*honest, [far, -far, far])))
    assert found <= 2 * (1 - share) / (1 - 2 * share) * reach * 1.001


# --- order ----------------------------------------------------------------------------------------------------------


def test_median_of_three_and_of_four_by_hand() -> None:
    """1, 5, 2: 2. 0, 0, 9: 0. -3, 4, 3: 3. With 100, -100, 1 the means of the middle: (2 + 5) / 2, 0, (1 + 3) / 2."""
    three = ([1, 0, -3], [5, 0, 4], [2, 9, 3])
    assert made(median(), round_of(*three)) == [2, 0, 3]
    assert made(median(), round_of(*three, [100, -100, 1], base=[10, 10, 10])) == [13.5, 10, 12]


def test_trimmed_mean_of_five_by_hand() -> None:
    """trim 0.2 of 5 is one at each end: (1 + 2 + 3) / 3, (0 + 0 + 3) / 3, (4 + 5 + 6) / 3."""
    updates = ([1, 0, 4], [2, 0, 5], [3, 9, 6], [99, 3, 1000], [-99, -9, -1000])
    assert made(trimmed_mean(trim=0.2), round_of(*updates)) == [2, 1, 5]
    words = "of each number the 1 lowest and the 1 highest of 5 were left out"
    assert told(trimmed_mean(trim=0.2), *updates) == words


@pytest.mark.parametrize(
    ("trim", "sites"), [(0.1, 10), (0.2, 5), (0.25, 4), (0.3, 4), (0.34, 3), (0.49, 3), (0.05, 20)]
)
def test_how_many_sites_a_trimmed_mean_needs(trim: float, sites: int) -> None:
    """One at each end falls away with that many and none with one less, which would be a mean by another name."""
    assert trimmed_mean(trim=trim).min_sites == sites
    zeros = [[0.0]] * (sites - 1)
    assert made(trimmed_mean(trim=trim), round_of(*zeros, [1000.0])) == [0]
    with pytest.raises(ValueError, match=f"at least {sites} sites, got {sites - 1}"):
        made(trimmed_mean(trim=trim), round_of(*zeros))


def test_statistics_are_not_sorted() -> None:
    """Elements 2 and 3 are statistics: shares 0.2, 0.2, 0.6 of 1, 2, 9."""
    updates = round_of([1, 1, 1, 1], [2, 2, 2, 2], [9, 9, 9, 9], shares=[0.2, 0.2, 0.6], buffers=2)
    for strategy in (median(), trimmed_mean(trim=0.34)):
        assert made(strategy, updates) == pytest.approx([2, 2, 6, 6])


@given(
    st.lists(NUMBERS, min_size=5, max_size=9),
    st.lists(st.floats(-(2.0**99), 2.0**99, width=32), min_size=1, max_size=4),
)
def test_order_statistics_stay_within_the_honest_range(honest: list[float], lies: list[float]) -> None:
    rows = [[number] for number in (*honest, *lies)]
    for strategy in (median(), trimmed_mean(trim=0.49)):
        [found] = made(strategy, round_of(*rows))
        assert min(honest) <= found <= max(honest)


# --- all of them ----------------------------------------------------------------------------------------------------

ALL = [norm_clipped_mean(), krum(f=1), multi_krum(f=1), geometric_median(), median(), trimmed_mean(trim=0.2)]


@pytest.mark.parametrize("strategy", ALL, ids=["norm", "krum", "multi_krum", "geometric", "median", "trimmed"])
def test_which_site_sent_what_does_not_matter(strategy: Strategy) -> None:
    rows = [[1, 0, 0], [2, 3, 0], [4, 1, 1], [0, 7, 2], [500, -500, 9]]
    expected = made(strategy, round_of(*rows))
    for order in list(permutations(rows))[::7]:
        assert made(strategy, round_of(*order)) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("strategy", "least"), [(krum(f=1), 5), (multi_krum(f=1), 5), (geometric_median(), 3), (median(), 3)]
)
def test_too_few_sites_are_refused(strategy: Strategy, least: int) -> None:
    assert strategy.min_sites == least
    with pytest.raises(ValueError, match=f"at least {least} sites, got {least - 1}"):
        made(strategy, round_of(*[[1.0]] * (least - 1)))
