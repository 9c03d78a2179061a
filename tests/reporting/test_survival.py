"""Harrell's C with the numbers written out, and against the definition, pair by pair."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmed.reporting import survival


def c_index(rows):
    time, event, risk = (np.array(column) for column in zip(*rows, strict=True))
    return survival.c_index(time.astype(float), event.astype(bool), risk.astype(float))


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        # (time, event, risk)
        ([(1, 1, 3), (2, 1, 2), (3, 1, 1)], 1.0),
        ([(1, 1, 1), (2, 1, 2), (3, 1, 3)], 0.0),
        ([(1, 1, 3), (2, 1, 1), (3, 1, 2)], 2 / 3),
        ([(1, 1, 5), (2, 1, 5)], 0.5),  # equal risks
        ([(1, 0, 1), (2, 1, 2), (3, 0, 1)], 1.0),  # who was lost at 1 is comparable with nobody
        ([(2, 1, 2), (2, 0, 1)], 1.0),  # at the same time: not seen to have it means later
        ([(2, 1, 2), (2, 0, 3)], 0.0),
        ([(2, 1, 2), (2, 1, 1)], None),  # two events at one time
        ([(1, 0, 2), (2, 0, 1)], None),
        ([(1, 1, 2)], None),
        # 1st with 2, 3, 4, 5: right, right, right, wrong; 3rd with 2, 4, 5: right, half, wrong; 4th with 5: wrong
        ([(1, 1, 4), (2, 0, 1), (2, 1, 3), (3, 1, 3), (4, 0, 9)], 4.5 / 8),
    ],
)
def test_by_hand(rows, expected):
    assert c_index(rows) == (None if expected is None else pytest.approx(expected))


ROWS = st.lists(st.tuples(st.integers(0, 6), st.booleans(), st.integers(-3, 3)), min_size=1, max_size=25)


@given(ROWS)
def test_against_the_definition(rows):
    right = pairs = 0.0
    for time, event, risk in rows:
        for later_time, later_event, later_risk in rows:
            if event and (time < later_time or (time == later_time and not later_event)):
                pairs += 1
                right += 1.0 if risk > later_risk else 0.5 if risk == later_risk else 0.0
    assert c_index(rows) == (None if not pairs else pytest.approx(right / pairs))


@given(ROWS)
def test_turning_all_risks_round_turns_the_index_round(rows):
    value = c_index(rows)
    turned = c_index([(time, event, -risk) for time, event, risk in rows])
    assert (value is None) == (turned is None)
    if value is not None:
        assert value + turned == pytest.approx(1)
