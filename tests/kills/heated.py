"""Epsilons that every child would compute anew, for seconds: the process that is forked imports this, and hands its
cache on. What is not among them is computed where it is needed.
"""

from __future__ import annotations

from fedmed.learning import accounting
from fedmed.learning.accounting import Event

TARGET, DELTA = 8, 1e-5
RATE = 4 / 36  # patients a step, of those that are trained on
STEPS, PLAYED = 2, 5  # of a round; of both rounds, with the spare one


def heat() -> None:
    noise = accounting.calibrate(TARGET, DELTA, RATE, PLAYED) or 0.0
    reserved = Event(RATE, noise, STEPS)
    for lost in (0, 1, 2, PLAYED):  # steps that a crash threw away, or were reserved once more
        accounting.epsilon([Event(RATE, noise, STEPS + lost)], DELTA)
    more = accounting.calibrate(TARGET, DELTA, RATE, PLAYED, [reserved]) or 0.0
    for lost in (0, 1, 2):
        accounting.epsilon([reserved, Event(RATE, more, STEPS + lost)], DELTA)


heat()
