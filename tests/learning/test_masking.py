"""Secure aggregation's arithmetic: safe parameters, exact sums, and what cannot be a sum of honest updates."""

from __future__ import annotations

from itertools import product

import pytest

from fedmed.learning import masking
from tests.coded import code_of

CASES = 1000


@pytest.mark.parametrize(
    ("num_sites", "colluders", "threshold"),
    [(3, 1, 3), (4, 1, 3), (5, 1, 4), (7, 2, 5), (10, 3, 7), (20, 6, 14), (100, 33, 67)],
)
def test_the_default_assumes_a_third(num_sites: int, colluders: int, threshold: int) -> None:
    found = masking.parameters(num_sites, None, CASES)
    assert (found.colluders, found.threshold) == (colluders, threshold)


def test_no_two_sets_of_sites_are_both_answered() -> None:
    """Honest sites answer one set, colluders both: whatever the split, one of the two has too few replies."""
    for num_sites in range(3, 13):
        for colluders in range(1, num_sites - 1):
            threshold = masking.parameters(num_sites, colluders, CASES).threshold
            assert 2 * threshold > num_sites + colluders
            assert colluders + 2 <= threshold <= num_sites
            honest = num_sites - colluders
            assert not any(min(answered, honest - answered) + colluders >= threshold for answered in range(honest + 1))
            lower = threshold - 1
            assert any(min(answered, honest - answered) + colluders >= lower for answered in range(honest + 1))


def test_numbers_that_protect_nobody_are_refused() -> None:
    for num_sites, colluders in product((0, 1, 2), (None, 0, 1)):
        assert code_of(lambda n=num_sites, c=colluders: masking.parameters(n, c, CASES)) == "FM-SHR-06"
    for num_sites, colluders in [(3, 0), (3, 2), (5, 0), (5, 4), (5, -1), (10, 9)]:
        assert code_of(lambda n=num_sites, c=colluders: masking.parameters(n, c, CASES)) == "FM-SHR-06"


def test_all_cases_together_fit_into_the_ring() -> None:
    assert masking.parameters(4, 1, 2**29 - 1).num_sites == 4
    assert code_of(lambda: masking.parameters(4, 1, 2**29)) == "FM-SHR-06"
    assert code_of(lambda: masking.parameters(4, 1, 0)) == "FM-SHR-06"
