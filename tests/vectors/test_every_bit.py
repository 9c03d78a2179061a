"""No file with one bit, one byte or the end changed is accepted: every place of a sample of each kind.

The same functions as `fedmed verify FILE --federation F`, on bytes in memory.
"""

from __future__ import annotations

import io
import random
from typing import TYPE_CHECKING

import pytest

from fedmed.auditor import inspection
from fedmed.exchange import container
from tests.coded import code_of

from .make_vectors import DATA
from .samples import KINDS, sample

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

FAST = 500
FEDERATION = inspection.read_federation(DATA / "federation-ok.fedmed")


def is_accepted(data: bytes) -> bool:
    return code_of(lambda: inspection.check(container.Reader(io.BytesIO(data).read), FEDERATION)) == "ok"


def flipped(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def cut(data: bytes, length: int) -> bytes:
    return data[:length]


def with_a_zero(data: bytes, place: int) -> bytes:
    return data[:place] + b"\0" + data[place:]


def tried_and_accepted(
    data: bytes, change: Callable[[bytes, int], bytes], places: Iterable[int]
) -> tuple[int, list[int]]:
    """How many changed files were looked at, and at which places the change was not noticed."""
    tried, accepted = 0, []
    for place in places:
        changed = change(data, place)
        tried += changed != data
        if is_accepted(changed):
            accepted.append(place)
    return tried, accepted


@pytest.mark.parametrize("kind", KINDS)
def test_the_samples_are_small_and_accepted(kind: str) -> None:
    assert is_accepted(sample(kind))
    assert len(sample(kind)) <= 8192


@pytest.mark.parametrize("kind", KINDS)
def test_five_hundred_flips_of_each_kind(kind: str) -> None:
    data = sample(kind)
    places = random.Random(kind).sample(range(8 * len(data)), FAST)
    assert tried_and_accepted(data, flipped, places) == (FAST, [])


@pytest.mark.parametrize("kind", KINDS)
def test_a_hundred_truncations_of_each_kind(kind: str) -> None:
    data = sample(kind)
    places = random.Random(kind).sample(range(len(data)), 100)
    assert tried_and_accepted(data, cut, places) == (100, [])


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_every_flip(kind: str) -> None:
    data = sample(kind)
    assert tried_and_accepted(data, flipped, range(8 * len(data))) == (8 * len(data), [])


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_every_truncation(kind: str) -> None:
    data = sample(kind)
    assert tried_and_accepted(data, cut, range(len(data))) == (len(data), [])


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_every_inserted_byte(kind: str) -> None:
    data = sample(kind)
    tried, accepted = tried_and_accepted(data, with_a_zero, range(len(data) + 1))
    assert (tried, accepted) == (len(data) + 1, [])


@pytest.mark.slow
def test_how_many_places_that_is() -> None:
    """Nothing of a file is left out above."""
    assert sum(8 * len(sample(kind)) for kind in KINDS) == 544_768
    assert sum(len(sample(kind)) for kind in KINDS) == 68_096
