"""Secure aggregation's arithmetic: safe parameters, exact sums, and what cannot be a sum of honest updates."""

from __future__ import annotations

from itertools import product
from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmed.learning import masking, masking_terms
from fedmed.learning.masking import Quantiser
from tests.coded import code_of

CASES = 1000


@pytest.mark.parametrize(
    ("num_sites", "colluders", "threshold"),
    [(3, 1, 3), (4, 1, 3), (5, 1, 4), (7, 2, 5), (10, 3, 7), (20, 6, 14), (100, 33, 67)],
)
def test_the_default_assumes_a_third(num_sites: int, colluders: int, threshold: int) -> None:
    found = masking_terms.parameters(num_sites, None, CASES)
    assert (found.colluders, found.threshold) == (colluders, threshold)


def test_no_two_sets_of_sites_are_both_answered() -> None:
    """Honest sites answer one set, colluders both: whatever the split, one of the two has too few replies."""
    for num_sites in range(3, 13):
        for colluders in range(1, num_sites - 1):
            threshold = masking_terms.parameters(num_sites, colluders, CASES).threshold
            assert 2 * threshold > num_sites + colluders
            assert colluders + 2 <= threshold <= num_sites
            honest = num_sites - colluders
            assert not any(min(answered, honest - answered) + colluders >= threshold for answered in range(honest + 1))
            lower = threshold - 1
            assert any(min(answered, honest - answered) + colluders >= lower for answered in range(honest + 1))


def test_numbers_that_protect_nobody_are_refused() -> None:
    for num_sites, colluders in product((0, 1, 2), (None, 0, 1)):
        assert code_of(lambda n=num_sites, c=colluders: masking_terms.parameters(n, c, CASES)) == "FM-SHR-06"
    for num_sites, colluders in [(3, 0), (3, 2), (5, 0), (5, 4), (5, -1), (10, 9)]:
        assert code_of(lambda n=num_sites, c=colluders: masking_terms.parameters(n, c, CASES)) == "FM-SHR-06"


def test_all_cases_together_fit_into_the_ring() -> None:
    assert masking_terms.parameters(4, 1, 2**29 - 1).num_sites == 4
    assert code_of(lambda: masking_terms.parameters(4, 1, 2**29)) == "FM-SHR-06"
    assert code_of(lambda: masking_terms.parameters(4, 1, 0)) == "FM-SHR-06"


# --- whole numbers --------------------------------------------------------------------------------------------------


def quantiser(num_sites: int = 4, ring: Literal[32, 64] = 32, clip: float = 1.0, cases: int = CASES) -> Quantiser:
    return Quantiser(num_sites, ring, clip, cases)


def stream(seed: bytes, offset: int, size: int) -> bytes:
    """Not a cipher, but each byte of it can be had by its place alone."""
    return np.random.RandomState(seed[0]).bytes(offset + size)[offset:]


def test_numbers_by_hand() -> None:
    """N = 4, ring 32: b = 29, Q = 2^28 - 1; half the cases halve what a change weighs."""
    of = quantiser()
    assert (of.bits, of.largest) == (29, 2**28 - 1)
    found = of.quantise(np.array([0.5, -0.5, 0.25, 0, 1e-12], np.float32), 500)
    q = 2**28 - 1
    quarter = round(q / 4)
    assert found.vector.dtype == np.dtype("<u4")
    assert found.vector.tolist() == [quarter, 2**32 - quarter, round(q / 8), 0, 0, 500]
    assert found.factor == 1.0
    whole = of.quantise(np.array([0, -1], np.float32), CASES)
    assert whole.vector.tolist() == [0, 2**32 - q, CASES]
    assert quantiser(4, 64).bits == 61
    assert [quantiser(n).bits for n in (3, 4, 5, 8, 9, 100)] == [29, 29, 28, 28, 27, 24]


def test_it_does_not_matter_where_pieces_end(monkeypatch: pytest.MonkeyPatch) -> None:
    change = np.random.RandomState(1).normal(0, 0.1, 1001).astype(np.float32)
    whole = quantiser().quantise(change, 700)
    monkeypatch.setattr(masking, "PIECE", 8)
    monkeypatch.setattr(masking, "SPAN", 24)
    parts = quantiser().quantise(change, 700)
    assert np.array_equal(whole.vector, parts.vector)
    assert parts.factor == pytest.approx(whole.factor, rel=1e-12)
    assert whole.factor < 1


def test_an_update_longer_than_the_clip_is_shortened() -> None:
    found = quantiser(clip=0.5).quantise(np.array([3, -4, 0], np.float32), CASES)
    q = 2**28 - 1
    assert found.factor == pytest.approx(0.1)
    assert found.vector.tolist() == [round(q * 0.6), 2**32 - round(q * 0.8), 0, CASES]
    assert quantiser(clip=5.0).quantise(np.array([3, -4, 0], np.float32), CASES).factor == 1.0


def test_more_cases_than_the_federation_allows_count_as_many_as_it_does() -> None:
    change = np.array([0.25], np.float32)
    assert quantiser().quantise(change, 5000).vector.tolist() == quantiser().quantise(change, CASES).vector.tolist()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e31])
def test_what_is_no_number_is_refused(bad: float) -> None:
    change = np.zeros(70_000, np.float32)
    change[-1] = bad
    assert code_of(lambda: quantiser().quantise(change, 1)) == "FM-TEN-02"


def test_a_clip_is_a_positive_number() -> None:
    for clip in (0.0, -1.0, float("nan"), float("inf")):
        assert code_of(lambda clip=clip: quantiser(clip=clip)) == "FM-SHR-06"


@given(
    st.sampled_from([32, 64]),
    st.integers(3, 100),
    st.floats(1e-6, 1e6),
    st.lists(st.tuples(st.floats(-1, 1, width=32), st.integers(1, 2 * CASES)), min_size=1, max_size=20),
)
def test_the_sum_of_any_updates_is_their_mean(
    ring: Literal[32, 64], num_sites: int, clip: float, drawn: list[tuple[float, int]]
) -> None:
    """However large the changes and however many sites: nothing runs over, and nothing honest is refused."""
    of = quantiser(num_sites, ring, clip)
    drawn = drawn[:num_sites]
    changes = [np.array([part * clip, 0, -clip], np.float32) for part, _ in drawn]
    total = np.zeros(4, of.dtype)
    for change, (_, cases) in zip(changes, drawn, strict=True):
        total += of.quantise(change, cases).vector
    weights = np.array([min(cases, CASES) for _, cases in drawn], np.float64)
    cases = of.cases(int(total[-1]), len(drawn))
    assert cases == weights.sum()
    found = of.mean(total[:-1], cases, len(drawn))
    whole = np.array(changes, np.float64)
    whole /= np.maximum(1, np.linalg.norm(whole, axis=1) / clip)[:, None]
    exact = weights @ whole / weights.sum()
    assert np.abs(found - exact).max() <= of.error(cases, len(drawn)) + clip * 2**-50
    of.require_norm(float(found @ found), len(found), cases, len(drawn))


def test_every_site_of_all_its_cases_is_within_the_published_bound() -> None:
    """With n_max cases each the mean is within clip x 2^-b of the plain one."""
    for num_sites in (3, 5, 8):
        of = quantiser(num_sites)
        assert of.error(num_sites * CASES, num_sites) == pytest.approx(of.clip * 2.0**-of.bits, rel=1e-6)


def test_a_number_of_cases_that_no_sites_have_is_refused() -> None:
    of = quantiser()
    assert of.cases(3, 3) == 3
    assert of.cases(3000, 3) == 3000
    for total in (0, 2, 3001, 2**32 - 1):
        assert code_of(lambda total=total: of.cases(total, 3)) == "FM-SHR-12"


def test_a_sum_beyond_what_honest_updates_give_is_refused() -> None:
    """A site that says it has few cases and sends a large vector would move the mean as it likes."""
    of = quantiser()
    most = (2 * of.largest * 300 + 3 * CASES) // (2 * CASES)
    for value, expected in [(most, "ok"), (-most, "ok"), (most + 1, "FM-SHR-12"), (-most - 1, "FM-SHR-12")]:
        total = np.array([0, value % 2**32], "<u4")
        assert code_of(lambda total=total: of.mean(total, 300, 3)) == expected


def test_a_mean_longer_than_the_clip_is_refused() -> None:
    of = quantiser()
    assert code_of(lambda: of.require_norm(1.0, 100, 3000, 3)) == "ok"
    assert code_of(lambda: of.require_norm(1.01**2, 100, 3000, 3)) == "FM-SHR-12"


# --- masks ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["<u4", "<u8"])
def test_masks_come_off_again(monkeypatch: pytest.MonkeyPatch, dtype: str) -> None:
    monkeypatch.setattr(masking, "MASK_PIECE", 8)
    monkeypatch.setattr(masking, "SPAN", 16)
    vector = np.arange(37, dtype=dtype)
    hidden = vector.copy()
    masking.mask(hidden, [b"a", b"b"], [b"c"], stream)
    assert not np.any(hidden == vector)
    whole = vector.copy()
    for seed, sign in ((b"a", 1), (b"b", 1), (b"c", -1)):
        mask = np.frombuffer(stream(seed, 0, whole.nbytes), dtype)
        whole = whole + mask if sign > 0 else whole - mask
    assert np.array_equal(hidden, whole)
    masking.mask(hidden, [b"c"], [b"a", b"b"], stream)
    assert np.array_equal(hidden, vector)


def test_pooled_updates_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(masking, "MASK_PIECE", 8)
    of = quantiser(3)
    changes = [np.linspace(-0.05, 0.05, 41, dtype=np.float32) * sign for sign in (1, 2, -1)]
    vectors = [of.quantise(change, cases).vector for change, cases in zip(changes, (100, 200, 700), strict=True)]
    masking.mask(vectors[0], [b"a"], [], stream)
    masking.mask(vectors[1], [b"b"], [b"c"], stream)
    read = [lambda first, count, vector=vector: vector[first : first + count] for vector in vectors]
    found = masking.pooled(of, read, 41, [b"c"], [b"a", b"b"], stream)
    pieces = list(found.pieces)
    assert found.cases == 1000
    assert [len(piece) for piece in pieces] == [8, 8, 8, 8, 8, 1]
    expected = 0.1 * changes[0] + 0.2 * changes[1] + 0.7 * changes[2]
    assert np.abs(np.concatenate(pieces) - expected).max() < 1e-8


def test_a_mean_is_checked_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of its numbers is within the clip, all together are too long."""
    monkeypatch.setattr(masking, "MASK_PIECE", 8)
    of = quantiser(3)
    vector = np.array([of.largest // 2] * 40 + [CASES], "<u4")
    read = [lambda first, count: vector[first : first + count]] * 3
    taken: list[np.ndarray] = []
    assert code_of(lambda: taken.extend(masking.pooled(of, read, 40, [], [], stream).pieces)) == "FM-SHR-12"


def test_with_a_mask_left_on_the_sum_is_refused() -> None:
    """It would have to fall into the bounds by chance: the number of cases, and every element."""
    of = quantiser(3)
    vectors = [of.quantise(np.zeros(100, np.float32), CASES).vector for _ in range(3)]
    masking.mask(vectors[0], [b"a"], [], stream)
    read = [lambda first, count, vector=vector: vector[first : first + count] for vector in vectors]
    assert code_of(lambda: list(masking.pooled(of, read, 100, [], [], stream).pieces)) == "FM-SHR-12"
