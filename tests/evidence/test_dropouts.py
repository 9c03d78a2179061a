"""Small versions of all drop-outs and of collusion at c and at t."""

from __future__ import annotations

import pytest

from tests.federation import test_masked_core as core

from . import dropouts


@pytest.mark.parametrize(("colluders", "threshold", "sets", "openings"), [(1, 3, 5, 9), (2, 4, 1, 1)])
def test_four_sites(colluders: int, threshold: int, sets: int, openings: int) -> None:
    """With t = 3: four sets of three, each opened by itself, and all four, opened by any three or by all."""
    found = dropouts.dropped(4, colluders)
    assert (found.threshold, found.sets, found.openings) == (threshold, sets, openings)
    assert 0 < found.error <= 1


def test_collusion_of_three_and_four() -> None:
    assert [dropouts.colluded(*each) for each in [(3, 1), (4, 2)]] == [(True, True)] * 2


def test_a_threshold_that_is_too_low_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(core, "seen_by", lambda of, *_: {name: dict.fromkeys(range(9), b"") for name in of.names})
    assert dropouts.colluded(4, 1)[0] is False
