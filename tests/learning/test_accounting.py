"""Epsilons against published figures, against the library called directly, and what composing means."""

from __future__ import annotations

from math import erf, exp, sqrt

import pytest
from dp_accounting import dp_event
from dp_accounting.pld import PLDAccountant

from fedmed.learning import accounting
from fedmed.learning.accounting import Event


@pytest.mark.parametrize(
    ("patients", "batch", "epochs", "expected"), [(300, 32, 20, 5.24), (1000, 64, 30, 4.83), (5000, 128, 50, 3.73)]
)
def test_epsilon_at_the_usual_noise(patients: int, batch: int, epochs: int, expected: float) -> None:
    """z = 1.5, delta = 1e-5: the table of a published review."""
    events = [Event(batch / patients, 1.5, epochs * patients // batch)]
    found = accounting.epsilon(events, 1e-5)
    assert found == pytest.approx(expected, abs=0.01)
    assert found <= accounting.epsilon_by_renyi(events, 1e-5) <= 1.2 * found


def test_it_is_what_the_library_says_of_the_same_event() -> None:
    step = dp_event.PoissonSampledDpEvent(0.05, dp_event.GaussianDpEvent(1.1))
    direct = PLDAccountant().compose(dp_event.SelfComposedDpEvent(step, 300)).get_epsilon(1e-5)
    assert accounting.epsilon([Event(0.05, 1.1, 300)], 1e-5) == pytest.approx(direct, rel=1e-3)


def test_the_gaussian_mechanism_by_hand() -> None:
    """One step that everybody takes part in: delta(eps) = Phi(1/2z - eps z) - e^eps Phi(-1/2z - eps z)
    (Balle and Wang 2018, theorem 5), solved for delta = 1e-5 and z = 2.
    """
    found = accounting.epsilon([Event(1.0, 2.0, 1)], 1e-5)

    def phi(x: float) -> float:
        return (1 + erf(x / sqrt(2))) / 2

    assert phi(0.25 - 2 * found) - exp(found) * phi(-0.25 - 2 * found) == pytest.approx(1e-5, rel=0.02)


def test_events_compose_and_do_not_add_up() -> None:
    once = accounting.epsilon([Event(0.1, 1.0, 50)], 1e-5)
    twice = accounting.epsilon([Event(0.1, 1.0, 50), Event(0.1, 1.0, 50)], 1e-5)
    assert twice == accounting.epsilon([Event(0.1, 1.0, 100)], 1e-5)
    assert once < twice < 2 * once
    assert accounting.epsilon([], 1e-5) == 0


def test_the_order_of_events_does_not_matter() -> None:
    one, two = Event(0.1, 1.0, 50), Event(0.02, 2.0, 10)
    assert accounting.folded([one, two, one]) == accounting.folded([two, one, one]) == (two, Event(0.1, 1.0, 100))


def test_calibrated_noise_reaches_the_target_and_a_hundredth_less_does_not() -> None:
    noise = accounting.calibrate(4.0, 1e-5, 0.1, 200)
    assert noise is not None
    assert accounting.epsilon([Event(0.1, noise, 200)], 1e-5) <= 4.0
    assert accounting.epsilon([Event(0.1, round(noise - 0.01, 2), 200)], 1e-5) > 4.0


@pytest.mark.slow
def test_what_was_spent_before_asks_for_more_noise_and_may_leave_nothing() -> None:
    before = [Event(0.1, 1.0, 100)]
    spent = accounting.epsilon(before, 1e-5)
    alone, behind = (accounting.calibrate(spent + 0.5, 1e-5, 0.1, 20, each) for each in ((), before))
    assert alone is not None
    assert behind is not None
    assert behind > alone
    assert accounting.calibrate(spent - 0.1, 1e-5, 0.1, 20, before) is None
