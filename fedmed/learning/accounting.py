"""How much privacy a training costs: the epsilon of everything that has looked at a patient, composed, never added up.

By privacy loss distributions (Koskela et al. 2020; Doroshenko et al. 2022) as Google's dp-accounting computes them, for
neighbours that differ in one patient; Renyi divergences (Mironov 2017) are the cross-check.
"""

from __future__ import annotations

import functools
import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

GRID = 0.01  # noise multipliers are whole multiples of this
MOST = 1000.0
INTERVAL = 1e-3  # of losses: ten times the library's, a tenth of its time, and above its epsilon in the fourth digit
LEAST = 0.3  # below it the distributions grow and no epsilon worth having comes out


@dataclass(frozen=True, order=True)
class Event:
    """`steps` times: a patient takes part with probability `rate`, and the sum of gradients of length C at most gets
    Gaussian noise of standard deviation `noise_multiplier` times C.
    """

    rate: float
    noise_multiplier: float
    steps: int


def folded(events: Iterable[Event]) -> tuple[Event, ...]:
    """The same events with those of one kind counted together, in one order."""
    steps: Counter[tuple[float, float]] = Counter()
    for event in events:
        steps[event.rate, event.noise_multiplier] += event.steps
    return tuple(Event(*kind, count) for kind, count in sorted(steps.items()) if count)


def epsilon(events: Iterable[Event], delta: float) -> float:
    """Of all events together at `delta`, for a patient who may be in each. 0 of none."""
    return _epsilon(folded(events), delta)


@functools.lru_cache(maxsize=256)
def _epsilon(events: tuple[Event, ...], delta: float) -> float:
    if not events:
        return 0.0
    from dp_accounting.pld import PLDAccountant  # noqa: PLC0415 - more than a second, only where a budget is spent

    accountant = PLDAccountant(value_discretization_interval=INTERVAL)
    return float(_composed(accountant, events).get_epsilon(delta))


def epsilon_by_renyi(events: Iterable[Event], delta: float) -> float:
    """An upper bound of the same by another way."""
    from dp_accounting.rdp import RdpAccountant  # noqa: PLC0415

    return float(_composed(RdpAccountant(), folded(events)).get_epsilon(delta))


def _composed(accountant: Any, events: Sequence[Event]) -> Any:
    from dp_accounting import dp_event  # noqa: PLC0415

    for event in events:
        noise = dp_event.GaussianDpEvent(event.noise_multiplier)
        step = noise if event.rate == 1 else dp_event.PoissonSampledDpEvent(event.rate, noise)
        accountant.compose(step, event.steps)
    return accountant


def calibrate(target: float, delta: float, rate: float, steps: int, before: Sequence[Event] = ()) -> float | None:
    """The smallest noise multiplier, a whole multiple of GRID, with which `steps` at `rate` behind the events `before`
    come to `target` at most. None where even MOST is too little: `before` has spent it.
    """
    low, high = round(LEAST / GRID), round(MOST / GRID)

    def is_enough(place: int) -> bool:
        return epsilon([*before, Event(rate, _multiplier(place), steps)], delta) <= target

    if not is_enough(high):
        return None
    guess = min(high, max(low, round(math.sqrt(steps) * rate / GRID)))  # doubled or halved until it lies between
    while guess < high and not is_enough(guess):
        low, guess = guess + 1, min(high, 2 * guess)
    high = guess
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if is_enough(middle) else (middle + 1, high)
    return _multiplier(low)


def _multiplier(place: int) -> float:
    return round(place * GRID, 2)
