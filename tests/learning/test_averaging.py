"""Means that allow for uneven work, with the numbers written out."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmed.learning.averaging import accumulation, average, fedavg, fednova
from fedmed.learning.strategy import Block, Weights

from .in_memory import combined, made, round_of

UPDATES = ([2, 4, 6], [8, 0, -4])


def test_fednova_of_two_and_eight_steps_by_hand() -> None:
    """|a| = 2 and 8, tau_eff = 1/2 * 2 + 1/2 * 8 = 5. Coefficients 5 * 1/2 / 2 = 1.25 and 5 * 1/2 / 8 = 0.3125.
    1.25 * 2 + 0.3125 * 8 = 5, 1.25 * 4 = 5, 1.25 * 6 - 0.3125 * 4 = 6.25.
    """
    assert made(fednova(), round_of(*UPDATES, num_steps=[2, 8])) == [5, 5, 6.25]


def test_fednova_by_share_of_cases() -> None:
    """tau_eff = 1/4 * 2 + 3/4 * 8 = 6.5, coefficients 6.5 * 1/4 / 2 = 0.8125 and 6.5 * 3/4 / 8 = 0.609375."""
    expected = [0.8125 * 2 + 0.609375 * 8, 0.8125 * 4, 0.8125 * 6 - 0.609375 * 4]
    assert made(fednova(), round_of(*UPDATES, num_steps=[2, 8], shares=[0.25, 0.75])) == expected


def test_fednova_with_momentum_by_hand() -> None:
    """r = 1/2: u = 1, 1.5, 1.75, so |a| of 1 step is 1 and of 3 steps 1 + 1.5 + 1.75 = 4.25; tau_eff = 2.625.
    Coefficients 2.625 / 2 / 1 = 1.3125 and 2.625 / 2 / 4.25 = 0.308823...
    """
    one, two = 1.3125, 1.3125 / 4.25
    expected = [one * 2 + two * 8, one * 4, one * 6 - two * 4]
    assert made(fednova(momentum=0.5), round_of(*UPDATES, num_steps=[1, 3])) == pytest.approx(expected, rel=1e-6)


def test_fednova_with_a_proximal_term_by_hand() -> None:
    """client_lr * mu = 0.5 * 0.5 = 1/4: the first of 2 gradients counts 3/4, so |a| is 1.75 for 2 steps and 1 for 1."""
    one, two = 1.375 / 2, 1.375 / 2 / 1.75
    expected = [one * 2 + two * 8, one * 4, one * 6 - two * 4]
    strategy = fednova(proximal_mu=0.5, client_lr=0.5)
    assert made(strategy, round_of(*UPDATES, num_steps=[1, 2])) == pytest.approx(expected, rel=1e-6)


def test_fednova_weighs_running_statistics_by_share() -> None:
    """Elements 2 and 3 are statistics: 1/4 * 4 + 3/4 * 8 = 7 and 1/4 * 0 + 3/4 * -4 = -3."""
    updates = round_of([2, 4, 4, 0], [8, 0, 8, -4], num_steps=[2, 8], shares=[0.25, 0.75], buffers=2)
    assert made(fednova(), updates)[2:] == [7, -3]


def test_fednova_tells_what_steps_made_of_a_share() -> None:
    strategy, updates = fednova(), round_of(*UPDATES, num_steps=[2, 8])
    weights = strategy.weigh(updates.meta, np.zeros((2, 2)))
    assert (
        strategy.tell(updates.meta, weights) == "each counted so many times its share, by its steps: aa 2.5, bb 0.625"
    )


MOMENTUM, PULL = st.floats(0, 0.99), st.floats(0, 0.9)


@given(st.integers(1, 300), MOMENTUM, PULL)
def test_the_formulas_of_the_paper(num_steps: int, momentum: float, pull: float) -> None:
    """Wang et al. 2020, section 4.1: momentum, and the proximal term; and both together gradient by gradient: how far
    SGD goes that meets a gradient of 1 once, and then none.
    """
    by_momentum = sum((1 - momentum**k) / (1 - momentum) for k in range(1, num_steps + 1))
    assert accumulation(num_steps, momentum, 0) == pytest.approx(by_momentum, rel=1e-9)
    assert accumulation(num_steps, 0, pull) == pytest.approx(sum((1 - pull) ** k for k in range(num_steps)), rel=1e-9)
    velocity = distance = length = 0.0
    for k in range(num_steps):
        velocity = momentum * velocity + (k == 0) - pull * distance
        distance += velocity
        length += abs(distance)
    assert accumulation(num_steps, momentum, pull) == pytest.approx(length, rel=1e-6)


def test_fednova_where_sgd_swings_past_where_it_began() -> None:
    """r = 0.81, pull = 0.9, so d' = 0.91 d - 0.81 d before it: a gradient counts 1, 0.91 and 0.0181 at first, and
    0.0181 * 0.91 - 0.81 * 0.91 = -0.720629 three steps later. All four together are 1.207471 with their signs,
    and |a| = 2.648729 without.
    """
    assert accumulation(4, 0.81, 0.9) == pytest.approx(2.648729, rel=1e-12)


@pytest.mark.parametrize("num_steps", [5, 6, 7])
def test_fednova_turns_no_update_round(num_steps: int) -> None:
    """Here SGD that always meets the same gradient stands behind its start after 6 steps."""
    strategy = fednova(momentum=0.99, proximal_mu=9.0, client_lr=0.1)
    updates = round_of(*UPDATES, num_steps=[num_steps, 40])
    learned = strategy.weigh(updates.meta, np.zeros((2, 2))).learned
    lengths = [accumulation(each, 0.99, 0.9) for each in (num_steps, 40)]
    assert learned.tolist() == pytest.approx([sum(lengths) / 4 / each for each in lengths])
    assert all(1 <= length <= 40 for length in lengths)
    assert (learned > 0).all()


def test_many_steps_are_no_work() -> None:
    assert accumulation(1_000_000, 0, 0) == 1_000_000
    assert accumulation(1_000_000, 0.9, 0) == pytest.approx((1_000_000 - 9) * 10)


NUMBERS = st.lists(st.floats(-1e3, 1e3, width=32), min_size=3, max_size=3)


@given(st.lists(NUMBERS, min_size=1, max_size=6), st.integers(1, 1000), MOMENTUM, PULL)
def test_fednova_of_equal_steps_is_the_mean(
    updates: list[list[float]], num_steps: int, momentum: float, pull: float
) -> None:
    strategy = fednova(momentum=momentum, proximal_mu=pull, client_lr=1.0)
    found, _ = combined(strategy, round_of(*updates, num_steps=[num_steps] * len(updates)))
    np.testing.assert_allclose(found, combined(fedavg(), round_of(*updates))[0], rtol=1e-5, atol=1e-3)


def test_without_an_update_nothing_moves() -> None:
    """What a void lap comes down to."""
    block = Block(0, "param", np.array([1, 2], np.float32), np.zeros((0, 2), np.float32))
    found = Weights(np.zeros(0), np.zeros(0))
    assert average(block, found).base.tolist() == [1, 2]
