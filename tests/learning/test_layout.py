"""The payload of an encoded update: what the stock writer would emit, and what an inspector lets through."""

from __future__ import annotations

import math
import os
import tracemalloc
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pytest
import safetensors
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st

from fedmed import files
from fedmed.learning import compression, params, payloads, shapes
from fedmed.learning.layout import Encoding, Layout
from tests.coded import code_of

if TYPE_CHECKING:
    from pathlib import Path

TABLE = shapes.table_from_rows(
    [
        {"name": "net.0.weight", "shape": [5, 30], "group": "param"},
        {"name": "net.0.bias", "shape": [3], "group": "param"},
        {"name": "net.1.weight", "shape": [64], "group": "param"},
        {"name": "norm.mean", "shape": [80], "group": "buffer"},
        {"name": "scale", "shape": [], "group": "param"},
    ]
)
ENCODINGS = [Encoding(form, 0.1 if form == "topk" else None) for form in ("fp32", "fp16", "bf16", "int8", "topk")]
RANDOM = np.random.RandomState(3)
CHANGE = {each.name: np.array(RANDOM.normal(0, 0.01, each.shape), np.float32) for each in TABLE}
CHANGE["scale"] = np.array(0.125, np.float32)
STOCK = {"F32": "float32", "U32": "uint32", "BF16": "bfloat16", "F16": "float16", "I8": "int8"}

each_encoding = pytest.mark.parametrize("chosen", ENCODINGS, ids=[each.form for each in ENCODINGS])


@each_encoding
def test_the_payload_is_what_the_stock_writer_emits(chosen: Encoding) -> None:
    said = Layout(TABLE, chosen)
    payload = payloads.encode(CHANGE, said).payload
    start = np.frombuffer(payload, np.uint8).ctypes.data + len(said.header)
    entries = {
        each.name: safetensors.TensorSpec(
            dtype=STOCK[each.kind],
            shape=each.shape,
            data_ptr=start + each.offset,
            data_len=each.end - each.offset,
        )
        for each in sorted(said.entries, key=lambda each: hash(each.name))
    }
    assert bytes(safetensors.serialize(entries)) == payload
    assert len(payload) == said.size


def test_the_entries_by_hand() -> None:
    def entries(chosen: Encoding) -> list[tuple[str, str, tuple[int, ...]]]:
        return [(each.name, each.kind, each.shape) for each in Layout(TABLE, chosen).entries]

    left = [("net.0.bias", "F32", (3,)), ("norm.mean", "F32", (80,)), ("scale", "F32", ())]
    assert entries(ENCODINGS[1]) == [*left, ("net.0.weight", "F16", (5, 30)), ("net.1.weight", "F16", (64,))]
    assert entries(ENCODINGS[3]) == [
        *left,
        ("net.0.weight:s", "F16", (3,)),
        ("net.1.weight:s", "F16", (1,)),
        ("net.0.weight:q", "I8", (150,)),
        ("net.1.weight:q", "I8", (64,)),
    ]
    assert entries(ENCODINGS[4]) == [
        *left,
        ("net.0.weight:i", "U32", (15,)),
        ("net.1.weight:i", "U32", (7,)),
        ("net.0.weight:v", "F16", (15,)),
        ("net.1.weight:v", "F16", (7,)),
    ]


def test_plain_float32_is_the_encoding_of_models() -> None:
    assert payloads.encode(CHANGE, Layout(TABLE)).payload == params.to_payload(CHANGE, TABLE)
    assert Layout(TABLE).header == shapes.wire_table(TABLE)
    assert (Layout(TABLE).digest, Layout(TABLE).size) == (shapes.digest(TABLE), shapes.payload_size(TABLE))


@each_encoding
def test_sender_and_receiver_read_the_same_numbers(chosen: Encoding) -> None:
    said = Layout(TABLE, chosen)
    payload = payloads.encode(CHANGE, said).payload
    found = payloads.decode(payload, said)
    params.check(found, TABLE)
    for name in ("net.0.bias", "norm.mean", "scale"):
        assert np.array_equal(found[name], CHANGE[name])
    assert payloads.encode(found, said).payload == payload
    flat = np.concatenate(list(payloads.decoded(said, lambda offset, size: payload[offset : offset + size])))
    assert np.array_equal(flat, np.concatenate([found[each.name].reshape(-1) for each in shapes.in_wire_order(TABLE)]))


def test_the_stock_reader_reads_int8() -> None:
    payload = payloads.encode(CHANGE, Layout(TABLE, ENCODINGS[3])).payload
    found = safetensors.numpy.load(payload)
    step = np.repeat(found["net.0.weight:s"].astype(np.float32) / 4096, 64)[:150]
    expected = payloads.decode(payload, Layout(TABLE, ENCODINGS[3]))["net.0.weight"]
    assert np.array_equal((found["net.0.weight:q"] * step).reshape(5, 30), expected)


@each_encoding
def test_a_compressed_payload_says_the_same(chosen: Encoding) -> None:
    plain, packed = Layout(TABLE, chosen), Layout(TABLE, chosen, "zstd")
    payload = payloads.encode(CHANGE, packed).payload
    assert b"".join(packed.unpacked([payload])) == payloads.encode(CHANGE, plain).payload
    assert inspected(payload, packed, [5, 100, 900]) == "ok"
    assert inspected(payload[:-1], packed, []) == "FM-ENC-03"
    assert len(payload) <= packed.largest
    assert packed.digest == plain.digest
    found = payloads.decode(payload, packed)
    for name, array in payloads.decode(payloads.encode(CHANGE, plain).payload, plain).items():
        assert np.array_equal(found[name], array)


def test_what_lies_in_a_frame_is_looked_at_too() -> None:
    packed = Layout(TABLE, ENCODINGS[1], "zstd")
    payload = bytearray(payloads.encode(CHANGE, Layout(TABLE, ENCODINGS[1])).payload)
    payload[-2:] = b"\x00\x7c"
    assert inspected(compression.pack(bytes(payload), packed.regions), packed, []) == "FM-TEN-02"
    payload[9:10] = b"x"
    assert inspected(compression.pack(bytes(payload), packed.regions), packed, []) == "FM-TEN-01"


def test_the_residual_is_sent_with_the_next_change_and_nothing_is_lost() -> None:
    said = Layout(TABLE, ENCODINGS[4])
    assert said.with_feedback == ["net.0.weight", "net.1.weight"]
    assert [each for chosen in ENCODINGS[:4] for each in Layout(TABLE, chosen).with_feedback] == []
    nothing = {each.name: np.zeros(each.shape, np.float32) for each in TABLE}
    total, residual, change = dict(nothing), None, CHANGE
    for _ in range(11):  # a tenth each time, and at last what the rounding to fp16 left
        encoded = payloads.encode(change, said, residual)
        for name, array in payloads.decode(encoded.payload, said).items():
            total[name] = total[name] + array
        residual, change = encoded.residual, nothing
        assert sorted(residual) == said.with_feedback
        for name, array in CHANGE.items():
            assert np.allclose(total[name] + residual.get(name, 0), array, rtol=0, atol=1e-8), name
    assert max(np.abs(array).max() for array in residual.values()) < 1e-5


def inspected(payload: bytes, said: Layout, cuts: list[int]) -> str:
    def look() -> None:
        inspector = said.inspector()
        places = [0, *sorted(cut % (len(payload) + 1) for cut in cuts), len(payload)]
        for first, last in pairwise(places):
            inspector.feed(payload[first:last])
        inspector.close()

    return code_of(look)


@given(st.sampled_from(ENCODINGS), st.lists(st.integers(0, 2**16), max_size=8))
def test_wherever_the_bytes_are_cut_they_are_looked_at_whole(chosen: Encoding, cuts: list[int]) -> None:
    said = Layout(TABLE, chosen)
    payload = payloads.encode(CHANGE, said).payload
    assert inspected(payload, said, cuts) == "ok"
    assert inspected(payload[:-1], said, cuts) == "FM-TEN-01"
    assert inspected(payload + b"\0", said, cuts) == "FM-TEN-01"
    broken = {"fp32": b"\xff\xff\xff\x7f", "fp16": b"\xff\x7f", "bf16": b"\xff\xff", "int8": b"\x80", "topk": b"\0\x7c"}
    last = broken[chosen.form]
    assert inspected(payload[: -len(last)] + last, said, cuts) in ("FM-TEN-02", "FM-ENC-02")


def spoiled(chosen: Encoding, name: str, data: bytes, number: int) -> str:
    """The outcome when number `number` of an entry is overwritten."""
    said = Layout(TABLE, chosen)
    payload = bytearray(payloads.encode(CHANGE, said).payload)
    entry = next(each for each in said.entries if each.name == name)
    at = len(said.header) + entry.offset + (number % math.prod(entry.shape)) * entry.width
    payload[at : at + len(data)] = data
    return inspected(bytes(payload), said, [at, at + 1])


@pytest.mark.parametrize(
    ("chosen", "name", "data", "code"),
    [
        (ENCODINGS[3], "net.0.weight:q", b"\x80", "FM-ENC-02"),
        (ENCODINGS[3], "net.1.weight:s", b"\0\0", "FM-ENC-02"),
        (ENCODINGS[3], "norm.mean", b"\0\0\xc0\x7f", "FM-TEN-02"),
        (ENCODINGS[4], "net.1.weight:i", (64).to_bytes(4, "little"), "FM-ENC-02"),
        (ENCODINGS[4], "net.1.weight:i", (0).to_bytes(4, "little"), "FM-ENC-02"),
        (ENCODINGS[4], "net.1.weight:v", b"\0\xfc", "FM-TEN-02"),
        (ENCODINGS[2], "net.1.weight", b"\x80\x7f", "FM-TEN-02"),
        (ENCODINGS[1], "net.1.weight", b"\x00\x7c", "FM-TEN-02"),
    ],
)
def test_one_bad_number_is_found_wherever_it_lies(chosen: Encoding, name: str, data: bytes, code: str) -> None:
    assert spoiled(chosen, name, data, -1) == code


def test_indices_start_anew_with_each_tensor() -> None:
    said = Layout(TABLE, ENCODINGS[4])
    change = {**CHANGE, "net.0.weight": np.zeros((5, 30), np.float32)}
    change["net.0.weight"][4] = 1  # its last indices are above all of the next tensor
    assert inspected(payloads.encode(change, said).payload, said, []) == "ok"


def test_another_header_is_refused_before_any_number_is_looked_at() -> None:
    said = Layout(TABLE, ENCODINGS[3])
    assert inspected(params.to_payload(CHANGE, TABLE), said, [9]) == "FM-TEN-01"
    assert inspected(b"", said, []) == "FM-TEN-01"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"scale": np.zeros(2)}, "FM-TEN-01"),
        ({"scale": np.array(np.nan)}, "FM-TEN-02"),
        ({"norm.mean": np.full(80, 2e30)}, "FM-TEN-02"),
        ({"net.1.weight": np.full(64, 3e3)}, "FM-ENC-01"),
    ],
)
def test_what_cannot_be_sent_is_refused_at_the_site(change: dict[str, np.ndarray], code: str) -> None:
    assert code_of(lambda: payloads.encode({**CHANGE, **change}, Layout(TABLE, ENCODINGS[3])).payload) == code


def peak_of_decoding(folder: Path, tensors: int) -> int:
    """Bytes of numpy and Python that unpacking and decoding of so many tensors of 2^18 numbers needs at once."""
    names = [f"w{number}" for number in range(tensors)]
    table = shapes.table_from_rows([{"name": name, "shape": [1 << 18], "group": "param"} for name in names])
    said = Layout(table, Encoding("int8"), "zstd")
    change = {name: RANDOM.normal(0, 1e-3, 1 << 18).astype(np.float32) for name in names}
    packed, plain = folder / "packed", folder / "plain"
    packed.write_bytes(payloads.encode(change, said).payload)
    fd = os.open(packed, os.O_RDONLY)
    tracemalloc.start()
    with plain.open("wb") as out:
        for chunk in said.unpacked(files.read_chunks(fd, 0, packed.stat().st_size)):
            out.write(chunk)
    os.close(fd)
    fd = os.open(plain, os.O_RDONLY)
    count = sum(len(numbers) for numbers in payloads.decoded(said, lambda at, size: os.pread(fd, size, at)))
    os.close(fd)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == tensors << 18
    return peak


def test_memory_of_decoding_does_not_grow_with_the_model(tmp_path: Path) -> None:
    few, many = (peak_of_decoding(tmp_path, tensors) for tensors in (2, 8))
    assert many < few + (1 << 20)  # of 6 MB more numbers
