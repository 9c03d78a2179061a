"""Steps of the coordinator's own, with the numbers written out."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmed.learning.server import fedadagrad, fedadam, fedavgm, fedyogi, scaffold

from .in_memory import InMemory, combined, made, round_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from fedmed.learning.strategy import Strategy

ADAPTIVE: list[Callable[..., Strategy]] = [fedadam, fedyogi, fedadagrad]


def rounds(strategy: Strategy, *means: list[float]) -> tuple[list[float], dict[str, list[float]]]:
    """Model and memory after a round of each mean, which two sites make that are one off it."""
    model, memory = np.zeros(len(means[0]), np.float32), {}
    for mean in means:
        updates = round_of([x - 1 for x in mean], [x + 1 for x in mean])
        model, memory = combined(strategy, replace(updates, base=model, memory=memory))
    return model.tolist(), {name: vector.tolist() for name, vector in memory.items()}


def test_two_rounds_of_fedavgm_by_hand() -> None:
    """d = (2, -4, 0), then (1, 1, 8). m = d, then m = 1/2 (2, -4, 0) + (1, 1, 8) = (2, -1, 8).
    With server_lr 1/2: w = (1, -2, 0) + (1, -0.5, 4).
    """
    model, memory = rounds(fedavgm(server_lr=0.5, momentum=0.5), [2, -4, 0], [1, 1, 8])
    assert model == [2, -2.5, 4]
    assert memory == {"m": [2, -1, 8]}


def test_fedavgm_without_momentum_is_the_mean() -> None:
    assert rounds(fedavgm(momentum=0), [2, -4, 0], [1, 1, 8])[0] == [3, -3, 8]


def test_two_rounds_of_fedadam_by_hand() -> None:
    """beta1 = 1/2, beta2 = 3/4, tau = 1, server_lr = 2.
    d = (4, 0, -8): m = (2, 0, -4), v = 1/4 (16, 0, 64) = (4, 0, 16), w = 2 (2, 0, -4) / ((2, 0, 4) + 1)
    = (4/3, 0, -8/5). d = (2, 4, 0): m = (1 + 1, 2, -2) = (2, 2, -2), v = 3/4 (4, 0, 16) + 1/4 (4, 16, 0) = (4, 4, 12),
    w + 2 (2, 2, -2) / (2 + 1, 2 + 1, sqrt 12 + 1).
    """
    model, memory = rounds(fedadam(server_lr=2, beta1=0.5, beta2=0.75, tau=1), [4, 0, -8], [2, 4, 0])
    assert memory == {"m": [2, 2, -2], "v": [4, 4, 12]}
    assert model == pytest.approx([4 / 3 + 4 / 3, 4 / 3, -8 / 5 - 4 / (12**0.5 + 1)], rel=1e-6)


def test_two_rounds_of_fedyogi_by_hand() -> None:
    """As fedadam, but v = 0 + 1/4 (16, 0, 64) = (4, 0, 16), then d = (4, 1, 2), d^2 = (16, 1, 4):
    v = (4 + 1/4 * 16, 0 + 1/4, 16 - 1/4 * 4) = (8, 0.25, 15). m = (2, 0, -4), then (1 + 2, 1/2, -2 + 1) = (3, 0.5, -1).
    """
    model, memory = rounds(fedyogi(server_lr=2, beta1=0.5, beta2=0.75, tau=1), [4, 0, -8], [4, 1, 2])
    assert memory == {"m": [3, 0.5, -1], "v": [8, 0.25, 15]}
    assert model == pytest.approx([4 / 3 + 6 / (8**0.5 + 1), 1 / 1.5, -8 / 5 - 2 / (15**0.5 + 1)], rel=1e-6)


def test_two_rounds_of_fedadagrad_by_hand() -> None:
    """No momentum: m = d. v = (9, 0, 16), then (9 + 16, 4, 16 + 9) = (25, 4, 25).
    w = 6 (3, 0, -4) / ((3, 0, 4) + 1) = (4.5, 0, -4.8), then + 6 (4, 2, 3) / ((5, 2, 5) + 1) = (4, 4, 3).
    """
    model, memory = rounds(fedadagrad(server_lr=6, tau=1), [3, 0, -4], [4, 2, 3])
    assert memory == {"m": [4, 2, 3], "v": [25, 4, 25]}
    assert model == pytest.approx([8.5, 4, -1.8], rel=1e-6)


def test_fedadagrad_with_momentum() -> None:
    """beta1 = 1/2: m = 1/2 * 3 = 1.5, w = 1.5 / (3 + 1)."""
    model, memory = rounds(fedadagrad(server_lr=1, beta1=0.5, tau=1), [3])
    assert (model, memory) == ([0.375], {"m": [1.5], "v": [9]})


@pytest.mark.parametrize("strategy", ADAPTIVE)
def test_an_update_of_zero_changes_nothing_at_the_start(strategy: Callable[..., Strategy]) -> None:
    assert rounds(strategy(server_lr=1), [0, 0, 0]) == ([0, 0, 0], {"m": [0, 0, 0], "v": [0, 0, 0]})


@given(
    st.sampled_from([fedadam, fedyogi, fedadagrad]),
    st.lists(st.lists(st.floats(-1e3, 1e3, width=32), min_size=2, max_size=2), min_size=1, max_size=6),
)
def test_a_second_moment_is_never_below_zero_and_a_step_has_the_sign_of_the_first(
    strategy: Callable[..., Strategy], means: list[list[float]]
) -> None:
    model, memory = rounds(strategy(server_lr=0.1), *means)
    before, _ = rounds(strategy(server_lr=0.1), *means[:-1]) if means[1:] else ([0.0, 0.0], {})
    for number in range(2):
        assert memory["v"][number] >= 0
        assert (model[number] - before[number]) * memory["m"][number] >= 0


@pytest.mark.parametrize(
    ("strategy", "settings_"),
    [(fedavgm, {"momentum": 0.5}), *((each, {"server_lr": 1}) for each in ADAPTIVE), (scaffold, {"num_sites": 9})],
)
def test_running_statistics_are_never_stepped(strategy: Callable[..., Strategy], settings_: dict[str, Any]) -> None:
    """Elements 2 and 3 are statistics: shares 1/4 and 3/4 of (4, 0) and (8, -4) give (7, -3), round after round."""
    updates = round_of([1, 1, 4, 0], [1, 1, 8, -4], shares=[0.25, 0.75], buffers=2)
    memory = {name: np.array([1, 1, 0, 0], np.float32) for name in strategy(**settings_).memory}
    model, memory = combined(strategy(**settings_), replace(updates, memory=memory))
    assert model[2:].tolist() == [7, -3]
    assert all(vector[2:].tolist() == [0, 0] for vector in memory.values())


def test_a_moment_that_is_not_finite_is_handed_on_for_the_actor_to_refuse() -> None:
    _, memory = combined(fedadagrad(server_lr=1), round_of([1e30]))
    assert np.isinf(memory["v"]).all()


def test_scaffold_by_hand() -> None:
    """Two of four sites, server_lr 1/2: w = 1/2 * (mean of 2 and 6) = 2, 1/2 * (mean of 4 and -8) = -1;
    c = (8, 1) + 2/4 * (mean of (1, 3), mean of (-2, 6)) = (8 + 1, 1 + 1). Whatever the shares say.
    """
    updates = round_of([2, 4, 1, -2], [6, -8, 3, 6], base=[0, 0, 8, 1], shares=[0.1, 0.9], control=2)
    assert made(scaffold(num_sites=4, server_lr=0.5), updates) == [2, -1, 9, 2]


def test_scaffold_with_all_sites_and_no_variates_is_the_plain_mean() -> None:
    updates: InMemory = round_of([2, 4, 0], [6, -8, 1], shares=[0.1, 0.9])
    assert made(scaffold(num_sites=2), updates) == [4, -2, 0.5]
