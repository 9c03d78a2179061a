"""The fitted numbers on their way to bytes and back, and what is refused."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from fedmed import preprocessing
from fedmed.preprocessing import Intensity, Preprocessing
from tests.coded import code_of

FITTED = Preprocessing(
    channels={"MR": Intensity(mean=100.5, sd=20, low=1, high=250)}, spacing=(1, 1, 2.5), class_counts={0: 30, 1: 12}
)
BYTES = (
    b'{"channels":{"MR":{"high":250.0,"low":1.0,"mean":100.5,"sd":20.0}},"class_counts":{"0":30,"1":12},'
    b'"columns":null,"spacing":[1.0,1.0,2.5]}'
)


def test_the_bytes_are_canonical_and_come_back() -> None:
    assert FITTED.to_bytes() == BYTES
    assert preprocessing.from_bytes(BYTES, "x") == FITTED
    assert FITTED.digest() == hashlib.sha256(BYTES).hexdigest() == preprocessing.digest_of(FITTED)
    assert preprocessing.digest_of(None) is None


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        BYTES + b"\n",
        BYTES.replace(b"20.0", b"0.0"),
        BYTES.replace(b"20.0", b"NaN"),
        BYTES.replace(b"20.0", b"2e1"),
        BYTES.replace(b'"low":1.0', b'"low":null'),
        BYTES.replace(b'"low":1.0', b'"low":251.0'),
        BYTES.replace(b'"spacing"', b'"colour"'),
        BYTES.replace(b"2.5", b"0.0"),
    ],
)
def test_other_bytes_are_refused(data: bytes) -> None:
    assert code_of(lambda: preprocessing.from_bytes(data, "state/preprocessing.json")) == "FM-NRM-01"


def test_a_digest_tells_any_other_number() -> None:
    others: list[dict[str, Any]] = [{"spacing": (1, 1, 2)}, {"class_counts": None}, {"channels": None}]
    digests = {FITTED.digest(), *(FITTED.model_copy(update=other).digest() for other in others)}
    assert len(digests) == 4
