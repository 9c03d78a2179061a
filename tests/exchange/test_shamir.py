"""Shares: any threshold of them is the secret, and one fewer fits every secret there is."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedmed.exchange import shamir
from fedmed.exchange.shamir import PRIME

secrets = st.binary(min_size=31, max_size=31)


def drawn(threshold: int, seed: int = 1) -> bytes:
    return bytes((seed * 31 + place * 17 + place * place * seed) % 256 for place in range(shamir.randomness(threshold)))


def value_at(points: dict[int, int], x: int) -> int:
    """Lagrange's polynomial through these points, at x."""
    total = 0
    for one, y in points.items():
        above, below = 1, 1
        for other in points:
            if other != one:
                above, below = above * (x - other) % PRIME, below * (one - other) % PRIME
        total += y * above * pow(below, -1, PRIME)
    return total % PRIME


def test_a_line_by_hand() -> None:
    """Threshold 2: the share at x is secret + x * random."""
    random = (5).to_bytes(64)
    shares = shamir.split((1000).to_bytes(31), 2, 3, random)
    assert [int.from_bytes(share) for share in shares] == [1005, 1010, 1015]
    assert shamir.combine({1: shares[0], 3: shares[2]}) == (1000).to_bytes(31)


def test_random_bytes_are_taken_modulo_the_prime() -> None:
    shares = shamir.split(bytes(31), 2, 1, (PRIME + 5).to_bytes(64))
    assert int.from_bytes(shares[0]) == 5


@given(secrets, st.integers(2, 6), st.data())
@settings(deadline=None)
def test_any_of_them_give_the_secret(secret: bytes, threshold: int, data: st.DataObject) -> None:
    count = data.draw(st.integers(threshold, 9))
    random = data.draw(st.binary(min_size=shamir.randomness(threshold), max_size=shamir.randomness(threshold)))
    shares = dict(enumerate(shamir.split(secret, threshold, count, random), start=1))
    for size in (threshold, count):
        for chosen in combinations(shares, size):
            assert shamir.combine({x: shares[x] for x in chosen}) == secret


@given(secrets, secrets)
@settings(deadline=None)
def test_one_fewer_fits_every_secret(secret: bytes, other: bytes) -> None:
    """For each secret there is exactly one polynomial through the t - 1 shares, so they say nothing of it."""
    threshold = 4
    held = dict(enumerate(shamir.split(secret, threshold, threshold - 1, drawn(threshold)), start=1))
    points = {0: int.from_bytes(other), **{x: int.from_bytes(share) for x, share in held.items()}}
    fourth = value_at(points, 4).to_bytes(32)
    assert shamir.combine({**held, 4: fourth}) == other


def test_one_fewer_gives_another_secret() -> None:
    secret = bytes(range(31))
    shares = dict(enumerate(shamir.split(secret, 3, 5, drawn(3)), start=1))
    assert all(shamir.combine({x: shares[x] for x in two}) != secret for two in combinations(shares, 2))


def test_what_is_no_secret_is_told() -> None:
    """A dealer may share a number that no secret is: 2^248 or more."""
    assert shamir.combine({1: (2**248).to_bytes(32)}) is None
    assert shamir.combine({1: (2**248 - 1).to_bytes(32)}) == b"\xff" * 31


def test_a_share_is_a_number_of_the_field_in_one_form() -> None:
    assert shamir.is_share((PRIME - 1).to_bytes(32))
    assert not shamir.is_share(PRIME.to_bytes(32))
    assert not shamir.is_share(b"\1" * 31)


@pytest.mark.parametrize(
    ("secret", "random"), [(bytes(30), drawn(3)), (bytes(31), drawn(3)[:-1]), (bytes(32), drawn(3))]
)
def test_other_lengths_are_a_mistake_of_the_caller(secret: bytes, random: bytes) -> None:
    with pytest.raises(ValueError, match="length"):
        shamir.split(secret, 3, 5, random)
