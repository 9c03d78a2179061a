"""Our epsilon beside those of other accountants, of the same events."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from itertools import product

import numpy as np

from fedmed.learning import accounting
from fedmed.learning.accounting import Event

DELTA = 1e-5
OPACUS = importlib.util.find_spec("opacus")
PATIENTS, NOISE = (
    ((100, 10, 20), (300, 32, 20), (1000, 64, 30), (5000, 128, 50), (20000, 256, 50)),
    (0.8, 1.0, 1.5, 2.0),
)


@dataclass(frozen=True)
class Compared:
    """Epsilons of one event. `opacus` is its accountant by privacy loss random variables, None without the package."""

    ours: float
    library: float
    renyi: float
    opacus: float | None

    @property
    def largest_difference(self) -> float:
        """From dp-accounting and from Opacus, as a part of theirs."""
        others = [self.library, *([] if self.opacus is None else [self.opacus])]
        return max(abs(self.ours - other) / other for other in others)


def events() -> list[Event]:
    """What hospitals of these sizes do: patients, patients in a step, epochs; and one step with everybody."""
    rounds = [
        Event(batch / patients, noise, epochs * patients // batch)
        for (patients, batch, epochs), noise in product(PATIENTS, NOISE)
    ]
    return [*rounds, Event(1.0, 2.0, 1), Event(1.0, 8.0, 20)]


def compared(event: Event) -> Compared:
    return Compared(
        accounting.epsilon([event], DELTA),
        of_the_library(event),
        accounting.epsilon_by_renyi([event], DELTA),
        of_opacus(event) if OPACUS else None,
    )


def of_the_library(event: Event) -> float:
    """dp-accounting, called directly and at its own resolution."""
    from dp_accounting import dp_event  # noqa: PLC0415 - a second, and most tests here need none
    from dp_accounting.pld import PLDAccountant  # noqa: PLC0415

    noise = dp_event.GaussianDpEvent(event.noise_multiplier)
    step = noise if event.rate == 1 else dp_event.PoissonSampledDpEvent(event.rate, noise)
    return float(PLDAccountant().compose(step, event.steps).get_epsilon(DELTA))


def of_opacus(event: Event) -> float:
    """Gopi, Lee and Wutschitz 2021, as Opacus computes it; its error of epsilon is set below a thousandth."""
    from opacus.accountants import PRVAccountant  # noqa: PLC0415 - it may not be installed

    accountant = PRVAccountant()
    accountant.history = [(event.noise_multiplier, event.rate, event.steps)]
    with np.errstate(all="ignore"):  # logarithms that it then leaves out
        return float(accountant.get_epsilon(DELTA, eps_error=1e-3))
