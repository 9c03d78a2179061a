"""Compressed payloads: what is packed comes back, and no frame makes a receiver do more than the table foresees."""

from __future__ import annotations

import struct
from itertools import pairwise

import numpy as np
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from fedmed.learning import compression
from tests.coded import code_of

REGIONS = [(1, 24), (4, 40), (2, 12), (1, 5)]
SIZE = 81
PAYLOAD = bytes(range(SIZE))
RAW, RLE = 0, 1


def block(kind: int, data: bytes, size: int = 0, *, last: bool = True) -> bytes:
    """A block of a zstd frame: RFC 8878, section 3.1.1.2."""
    return struct.pack("<I", (size or len(data)) << 3 | kind << 1 | last)[:3] + data


def frame(blocks: bytes, size: int) -> bytes:
    """A frame of one segment that says its size in eight bytes: RFC 8878, section 3.1.1.1."""
    return b"\x28\xb5\x2f\xfd" + bytes([0b11100000]) + struct.pack("<Q", size) + blocks


def unpacked(data: bytes, cuts: list[int] | None = None, regions: list[tuple[int, int]] = REGIONS) -> list[bytes]:
    found: list[bytes] = []
    unpacker = compression.Unpacker(regions, found.append)
    for first, last in pairwise([0, *sorted(cut % (len(data) + 1) for cut in cuts or []), len(data)]):
        unpacker.feed(data[first:last])
    unpacker.close()
    return found


def test_bytes_are_shuffled_by_hand() -> None:
    # a header of 2 bytes, two numbers of 4 bytes, one of 2 and one of 1
    packed = compression.pack(b"HHabcdABCDxyz", [(1, 2), (4, 8), (2, 2), (1, 1)])
    assert zstandard.decompress(packed) == b"HHaAbBcCdDxyz"


@given(st.lists(st.integers(0, 2**16), max_size=6))
def test_it_comes_back_however_it_is_cut(cuts: list[int]) -> None:
    assert b"".join(unpacked(compression.pack(PAYLOAD, REGIONS), cuts)) == PAYLOAD


def test_large_payloads_come_back_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compression, "PIECE", 1000)
    regions = [(1, 8), (4, 40_000), (1, 3)]
    payload = bytes(8) + np.random.RandomState(1).randn(10_000).astype("<f4").tobytes() + b"abc"
    packed = compression.pack(payload, regions)
    assert len(packed) < len(payload)
    found = unpacked(packed, [700], regions)
    assert b"".join(found) == payload
    assert max(map(len, found)) == 4000


def test_what_cannot_be_packed_stays_below_the_bound() -> None:
    for size in (0, 1000, 300_000):
        payload = np.random.RandomState(2).bytes(SIZE + size)
        assert len(compression.pack(payload, [(1, SIZE + size)])) <= compression.most(SIZE + size)


def test_numbers_of_an_update_get_smaller_when_shuffled() -> None:
    numbers = (1e-3 * np.random.RandomState(3).randn(50_000)).astype("<f4").view("<u4") >> 16
    data = numbers.astype("<u2").tobytes()
    assert len(compression.pack(data, [(2, len(data))])) < 0.8 * len(data)


def test_a_frame_by_hand() -> None:
    shuffled = zstandard.decompress(compression.pack(PAYLOAD, REGIONS))
    assert b"".join(unpacked(frame(block(RAW, shuffled), SIZE))) == PAYLOAD
    two = block(RAW, shuffled[:50], last=False) + block(RAW, shuffled[50:])
    assert b"".join(unpacked(frame(two, SIZE), [30])) == PAYLOAD


GOOD = frame(block(RAW, PAYLOAD), SIZE)
WINDOWED = b"\x28\xb5\x2f\xfd" + bytes([0b11000000, (24 - 10) << 3]) + struct.pack("<Q", SIZE) + block(RAW, PAYLOAD)


@pytest.mark.parametrize(
    "data",
    [
        GOOD + b"\0",
        GOOD + GOOD,
        GOOD + frame(block(RAW, b""), 0),
        GOOD + b"\x50\x2a\x4d\x18" + bytes(4),  # a skippable frame
        b"\x50\x2a\x4d\x18" + bytes(4) + GOOD,
        GOOD[:-1],
        GOOD[:10],
        b"",
        PAYLOAD,
        frame(block(RAW, PAYLOAD + b"x"), SIZE + 1),
        frame(block(RAW, PAYLOAD[:-1]), SIZE),
        frame(block(RAW, PAYLOAD, last=False) + block(RAW, b"more"), SIZE),
        frame(block(3, PAYLOAD), SIZE),  # a kind of block that does not exist
        b"\x28\xb5\x2f\xfd" + bytes([0b11100100]) + struct.pack("<Q", SIZE) + block(RAW, PAYLOAD) + bytes(4),
        b"\x28\xb5\x2f\xfd" + bytes([0b11100001]) + struct.pack("<BQ", 7, SIZE) + block(RAW, PAYLOAD),
        b"\x28\xb5\x2f\xfd" + bytes([0, 0]) + block(RAW, PAYLOAD),  # does not say its size
        WINDOWED,
    ],
    ids=[
        "byte behind",
        "second frame",
        "empty second frame",
        "skippable behind",
        "skippable before",
        "cut",
        "cut in the header",
        "nothing",
        "not compressed",
        "more than the table",
        "less than it says",
        "more than it says",
        "unknown block",
        "checksum",
        "dictionary",
        "no size",
        "window of 16 MiB",
    ],
)
def test_anything_but_one_frame_of_the_right_size_is_refused(data: bytes) -> None:
    assert code_of(lambda: unpacked(data)) == "FM-ENC-03"
    assert code_of(lambda: unpacked(data, list(range(0, len(data), 7)))) == "FM-ENC-03"


def test_a_bomb_is_not_unpacked() -> None:
    """A frame that says the right size and holds 1.3 GB in 40 kB."""
    handed: list[int] = []
    bomb = frame(b"".join(block(RLE, b"\0", 1 << 17, last=False) for _ in range(10_000)), SIZE)
    unpacker = compression.Unpacker(REGIONS, lambda data: handed.append(len(data)))
    unpacker.feed(bomb)
    assert sum(handed) == 0
    assert code_of(unpacker.close) == "FM-ENC-03"


def test_a_bomb_behind_a_good_size_stops_at_the_size() -> None:
    regions = [(1, 1 << 20)]
    handed: list[int] = []
    bomb = frame(b"".join(block(RLE, b"\0", 1 << 17, last=False) for _ in range(10_000)), 1 << 20)
    unpacker = compression.Unpacker(regions, lambda data: handed.append(len(data)))
    unpacker.feed(bomb)
    assert sum(handed) <= 1 << 20
    assert code_of(unpacker.close) == "FM-ENC-03"


def test_the_beginning_of_a_frame_is_shown_without_trust() -> None:
    assert compression.beginning(GOOD, 10) == PAYLOAD[:10]
    assert compression.beginning(b"no frame at all", 10) == b""
