"""Central differential privacy by numbers written out: clipping, noise once, the fixed denominator, adaptive clips."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmed.exchange import secret
from fedmed.learning import central, screen
from fedmed.learning.averaging import fedavg
from fedmed.learning.central import SHRINK, Adapting
from fedmed.learning.server import fedavgm
from fedmed.noise import BYTES, gaussian

from .in_memory import combined, made, round_of

if TYPE_CHECKING:
    from fedmed.learning.strategy import Strategy


def silent(_start: int, count: int) -> np.ndarray:
    return np.zeros(count)


def counting(start: int, count: int) -> np.ndarray:
    return np.arange(start, start + count, dtype=np.float64)


def noised(inner: Strategy | None = None, **changed: Any) -> Strategy:
    settings = {"clip_norm": 1.0, "noise_multiplier": 1.0, "num_sites": 4, "noise": silent, **changed}
    return central.central(inner or fedavg(), **settings)


def test_a_long_update_is_cut_and_a_short_one_is_not() -> None:
    """(3, 4) has length 5 and becomes (0.6, 0.8); of (0.3, -0.4) nothing goes. The sum (0.9, 0.4) over 4 sites."""
    assert made(noised(), round_of([3, 4], [0.3, -0.4])) == pytest.approx([0.225, 0.1], rel=2e-6)


def test_the_denominator_is_the_roster_whoever_took_part() -> None:
    assert made(noised(), round_of([0.4, 0])) == pytest.approx([0.1, 0])
    assert made(noised(num_sites=40), round_of([0.4, 0])) == pytest.approx([0.01, 0])


def test_noise_is_added_once_to_the_sum() -> None:
    """z C / N = 2 * 3 / 4 of each number of the noise, on updates of zero; how many there are makes no difference."""
    for updates in (round_of([0] * 5), round_of([0] * 5, [0] * 5, [0] * 5)):
        strategy = noised(noise=counting, noise_multiplier=2.0, clip_norm=3.0)
        assert made(strategy, updates) == [0, 1.5, 3, 4.5, 6]


def test_no_update_is_longer_than_the_clip_after_it_was_cut() -> None:
    """Also after rounding to float32: the sum that the noise hides is that of the cut updates, in float64."""
    random = np.random.default_rng(7)
    for length in (1.0000001, 3.0, 1e30):
        update = random.normal(size=1000).astype(np.float32)
        update = (update / np.linalg.norm(update.astype(np.float64)) * length).astype(np.float32)
        updates = round_of(update.tolist())
        weights = noised().weigh(updates.meta, screen.gram(updates))
        assert np.linalg.norm(4 * weights.learned[0] * update.astype(np.float64)) <= 1


def test_a_strategy_of_the_coordinators_own_gets_the_noised_mean() -> None:
    """Its memory too holds nothing but the noised mean: m = d."""
    model, memory = combined(noised(fedavgm(server_lr=2.0), noise=counting), round_of([3, 4], [0.3, -0.4]))
    assert memory["m"].tolist() == pytest.approx([0.225, 0.1 + 0.25], rel=2e-6)
    assert model.tolist() == pytest.approx([0.45, 0.7], rel=2e-6)


def test_what_gets_no_noise_is_refused() -> None:
    with pytest.raises(ValueError, match="got a buffer"):
        made(noised(), round_of([1, 1, 1, 1], buffers=2))


def test_a_person_hears_who_was_cut() -> None:
    strategy, updates = noised(), round_of([3, 4], [0.3, -0.4])
    assert strategy.tell(updates.meta, strategy.weigh(updates.meta, screen.gram(updates))) == (
        "cut to the clip norm, to this part of their length: aa 0.2"
    )
    short = round_of([0.3, -0.4])
    assert strategy.tell(short.meta, strategy.weigh(short.meta, screen.gram(short))) == "no update was cut"


def test_the_share_of_the_noise_that_the_count_takes() -> None:
    """1 / z^2 = 1 / z_updates^2 + 1 / (2 s)^2 (Andrew et al. 2021): z = 1, s = 1: z_updates = (1 - 1/4)^(-1/2)."""
    found = central.noise_on_updates(1.0, Adapting(0.5, 0.2, 1.0))
    assert found == pytest.approx(math.sqrt(4 / 3))
    assert central.noise_on_updates(1.5, None) == 1.5
    with pytest.raises(ValueError, match=r"expected more than 0.5, got 0.5"):
        central.noise_on_updates(1.0, Adapting(0.5, 0.2, 0.5))


def test_the_clip_follows_the_median() -> None:
    """Of 4 sites 3 are no longer than 2: b = 0.75, C' = 2 exp(-0.2 (0.75 - 0.5)). A noise of 1 with s = 0.4 adds 0.1
    to b; who did not take part counts a half.
    """
    adapting = Adapting(target=0.5, rate=0.2, count_noise=0.4)
    norms = [1.0, 1.5, 2.0, 9.0]
    assert central.next_clip(2.0, adapting, norms, 4, 0.0) == pytest.approx(2 * math.exp(-0.05))
    assert central.next_clip(2.0, adapting, norms, 4, 1.0) == pytest.approx(2 * math.exp(-0.07))
    assert central.next_clip(2.0, adapting, [9.0], 4, 0.0) == pytest.approx(2 * math.exp(-0.2 * (0.375 - 0.5)))


@given(st.integers(0, 3), st.floats(0, 100))
def test_one_site_moves_the_count_by_a_half(place: int, norm: float) -> None:
    adapting, norms = Adapting(0.5, 1.0, 1.0), [1.0, 2.0, 3.0, 4.0]
    others = norms[:place] + norms[place + 1 :]

    def halves(found: list[float]) -> float:
        return -math.log(central.next_clip(1.0, adapting, found, 10, 0.0)) * 10

    assert abs(halves([*others, norm]) - halves(others)) == pytest.approx(0.5)


@pytest.mark.parametrize(("sites", "times"), [(3, 897), (10, 269), (30, 90), (100, 27)])
def test_how_loud_the_noise_is_beside_the_clip(sites: int, times: int) -> None:
    """20 rounds, epsilon 8 at delta 1e-5 (z = 2.69, see test_accounting), a million weights."""
    assert round(central.relative_noise(2.69, sites, 1_000_000)) == times


def test_a_model_drowns_as_the_figure_says() -> None:
    """The length of the noise on the mean, drawn, beside the clip: z sqrt(d) / N within a few parts in a hundred."""
    key = secret.new_key()
    strategy = noised(
        noise=lambda start, count: gaussian(secret.stream(key, BYTES * start), count),
        noise_multiplier=2.0,
        num_sites=10,
    )
    model = made(strategy, round_of([0.0] * 4000, buffers=4000, control=4000))
    assert np.linalg.norm(model) == pytest.approx(central.relative_noise(2.0, 10, 4000), rel=0.08)


def test_noise_is_the_same_for_an_element_and_another_for_every_element() -> None:
    """A block's noise is that of its place, so that blocks can be worked on side by side."""
    key = secret.new_key()
    at = [float(gaussian(secret.stream(key, place * BYTES), 1)[0]) for place in range(10)]
    assert at == [float(gaussian(secret.stream(key, place * BYTES), 1)[0]) for place in range(10)]
    assert len(set(at)) == 10
    assert gaussian(secret.fresh(), 3).tolist() != gaussian(secret.fresh(), 3).tolist()
    assert secret.stream(key, 16)(16) == secret.stream(key)(32)[16:]
    with pytest.raises(ValueError, match="multiple of 16"):
        secret.stream(key, 8)


def test_cut_to_just_below_the_clip() -> None:
    updates = round_of([2.0, 0.0])
    assert 4 * noised().weigh(updates.meta, screen.gram(updates)).learned[0] == pytest.approx(SHRINK / 2, rel=1e-12)
