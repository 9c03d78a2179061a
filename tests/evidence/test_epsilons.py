"""Our epsilon beside those of others: one event."""

from __future__ import annotations

import pytest

from fedmed.learning.accounting import Event

from . import epsilons


def test_the_difference_is_the_largest_of_both() -> None:
    assert epsilons.Compared(2.0, 2.0, 3.0, 1.0).largest_difference == 1.0
    assert epsilons.Compared(3.0, 2.0, 3.0, 3.0).largest_difference == 0.5
    assert epsilons.Compared(2.0, 2.0, 3.0, None).largest_difference == 0


def test_events_are_those_of_hospitals() -> None:
    events = epsilons.events()
    assert len(set(events)) == len(events) == 22
    assert all(0 < event.rate <= 1 and event.steps >= 1 for event in events)


@pytest.mark.slow
@pytest.mark.skipif(not epsilons.OPACUS, reason="opacus is not installed")
def test_one_event_by_all_of_them() -> None:
    found = epsilons.compared(Event(0.1, 2.0, 50))
    assert found.opacus is not None
    assert found.largest_difference < 0.01
    assert found.ours < found.renyi < 1.2 * found.ours
