"""The parameter table and its one encoding on the wire, against the stock safetensors writer."""

from __future__ import annotations

import hashlib
import json
import math
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st

from fedmed.errors import FedmedError
from fedmed.learning import params, shapes
from tests.coded import code_of

NAMES = st.from_regex(r"[A-Za-z0-9_]{1,10}(\.[A-Za-z0-9_]{1,10}){0,3}", fullmatch=True).filter(
    lambda name: name != "__metadata__"
)
SHAPES = st.lists(st.integers(1, 4), max_size=4)
ROWS = st.lists(
    st.fixed_dictionaries({"name": NAMES, "shape": SHAPES, "group": st.sampled_from(["param", "buffer"])}),
    min_size=1,
    max_size=8,
    unique_by=lambda row: row["name"],
)
FINITE = st.integers(0, 2**32 - 1)


def filled(table: params.Table, seed: int) -> params.Params:
    random = np.random.default_rng(seed)
    return {tensor.name: random.normal(size=tensor.shape).astype(np.float32) for tensor in table}


@given(ROWS, FINITE)
def test_a_payload_is_what_the_stock_writer_writes(rows: list[dict[str, Any]], seed: int) -> None:
    table = shapes.table_from_rows(rows)
    values = filled(table, seed)
    payload = params.to_payload(values, table)
    stock = safetensors.numpy.save(values)
    assert payload == stock
    assert stock[: len(shapes.wire_table(table))] == shapes.wire_table(table)
    assert shapes.payload_size(table) == len(stock)
    assert shapes.digest(table) == hashlib.sha256(shapes.wire_table(table)).hexdigest()


@given(ROWS, FINITE)
def test_a_payload_is_read_back_by_us_and_by_the_stock_reader(rows: list[dict[str, Any]], seed: int) -> None:
    table = shapes.table_from_rows(rows)
    values = filled(table, seed)
    payload = params.to_payload(values, table)
    for found in (params.from_payload(payload, table), safetensors.numpy.load(payload)):
        assert {name: (array.shape, array.tobytes()) for name, array in found.items()} == {
            name: (array.shape, array.tobytes()) for name, array in values.items()
        }


@given(ROWS)
def test_the_table_is_read_back(rows: list[dict[str, Any]]) -> None:
    table = shapes.table_from_rows(rows)
    assert shapes.table_from_bytes(shapes.table_to_bytes(table)) == table
    assert shapes.elements(table) == sum(math.prod(row["shape"]) for row in rows)
    assert [tensor.name for tensor in shapes.in_wire_order(table)] == sorted(row["name"] for row in rows)


def test_what_is_read_is_a_copy_that_may_be_changed() -> None:
    payload = params.to_payload(VALUES, TABLE)
    found = params.from_payload(payload, TABLE)
    found["b"] += 1
    assert params.from_payload(payload, TABLE)["b"].tolist() == [5, 6]


TABLE = shapes.table_from_rows(
    [{"name": "a", "shape": [2, 2], "group": "param"}, {"name": "b", "shape": [2], "group": "buffer"}]
)
VALUES = {"a": np.array([[1, 2], [3, 4]], np.float32), "b": np.array([5, 6], np.float32)}
GOOD = shapes.table_to_bytes(TABLE)


def test_the_wire_table_by_hand() -> None:
    text = b'{"a":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]},'
    text += b'"b":{"dtype":"F32","shape":[2],"data_offsets":[16,24]}}'
    text += b" " * (-len(text) % 8)
    assert shapes.wire_table(TABLE) == len(text).to_bytes(8, "little") + text
    assert params.to_payload(VALUES, TABLE)[8 + len(text) :] == np.arange(1, 7, dtype="<f4").tobytes()


def row(**change: Any) -> list[dict[str, Any]]:
    return [{"name": "a", "shape": [2], "group": "param", **change}]


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [*row(), *row()],
        [*row(), *row(shape=[3])],
        row(name=""),
        row(name="a b"),
        row(name="a..b"),
        row(name=".a"),
        row(name="a\n"),
        row(name="ä"),
        row(name="a/b"),
        row(name="__metadata__"),
        row(group="control"),
        row(group=""),
        row(shape=[0]),
        row(shape=[-1]),
        row(shape=[2.0]),
        row(shape=[True]),
        row(shape=["2"]),
        row(shape="22"),
        row(shape=None),
        row(shape=[1] * 9),
        row(shape=[2**31]),
        row(shape=[2**16, 2**16, 2**16, 2**16]),
        row(shape=[2**31 - 1]),
        row(extra=1),
        [{"name": "a", "shape": [2]}],
        ["abc"],
        [1],
        [None],
        [{"name": f"t{number}", "shape": [1], "group": "param"} for number in range(shapes.MAX_TENSORS + 1)],
    ],
    ids=range(30),
)
def test_tables_of_no_network_are_refused(rows: list[Any]) -> None:
    assert code_of(lambda: shapes.table_from_rows(rows)) == "FM-TEN-01"
    assert code_of(lambda: shapes.table_from_bytes(json.dumps(rows, separators=(",", ":")).encode())) == "FM-TEN-01"


@pytest.mark.parametrize(
    "data",
    [
        GOOD + b"\n",
        b" " + GOOD,
        GOOD.replace(b",", b", "),
        b"\xef\xbb\xbf" + GOOD,
        GOOD.decode().encode("utf-16"),
        GOOD.replace(b'"group":"param"', b'"group":"param","group":"param"'),
        GOOD.replace(b'"name":"a"', b'"name":"\\u0061"'),
        GOOD.replace(b"[2,2]", b"[2,2.0]"),
        GOOD.replace(b"[2,2]", b"[2,02]"),
        GOOD.replace(b"[2,2]", b"[2,NaN]"),
        GOOD.replace(b"[2,2]", b"[2," + b"9" * 5000 + b"]"),
        GOOD[:-1],
        b"",
        b"{}",
        b"null",
        b"[" * 100_000,
        b"\xff",
        GOOD.replace(b'"name":"a"', b'"name":1'),
    ],
    ids=range(18),
)
def test_other_bytes_than_the_one_encoding_are_refused(data: bytes) -> None:
    assert data != GOOD
    assert code_of(lambda: shapes.table_from_bytes(data)) == "FM-TEN-01"


@given(st.integers(0, 8 * len(GOOD) - 1))
def test_no_bit_of_the_table_is_free(bit: int) -> None:
    data = bytearray(GOOD)
    data[bit // 8] ^= 1 << bit % 8
    if code_of(lambda: shapes.table_from_bytes(bytes(data))) == "ok":
        assert shapes.table_from_bytes(bytes(data)) != TABLE, "another table, and another digest in the federation"


PAYLOAD = params.to_payload(VALUES, TABLE)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        PAYLOAD[:-1],
        PAYLOAD + b"\0",
        PAYLOAD[1:],
        PAYLOAD.replace(b"[2,2]", b"[4,1]"),
        PAYLOAD.replace(b"F32", b"I32", 1),
    ],
)
def test_other_payloads_are_refused(data: bytes) -> None:
    assert code_of(lambda: params.from_payload(data, TABLE)) == "FM-TEN-01"


@pytest.mark.parametrize(
    "change",
    [{"a": np.zeros((4,))}, {"a": np.zeros((2, 2, 1))}, {"c": np.zeros(1)}, {"b": np.float32(1)}],
)
def test_other_names_or_shapes_are_refused(change: dict[str, np.ndarray]) -> None:
    assert code_of(lambda: params.to_payload({**VALUES, **change}, TABLE)) == "FM-TEN-01"
    assert code_of(lambda: params.check({**VALUES, **change}, TABLE)) == "FM-TEN-01"


def test_a_missing_tensor_is_refused() -> None:
    assert code_of(lambda: params.to_payload({"a": VALUES["a"]}, TABLE)) == "FM-TEN-01"


@pytest.mark.filterwarnings("ignore:overflow")
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e39, 1.01e30, -2e30])
def test_what_no_receiver_would_take_is_not_encoded(value: float) -> None:
    assert code_of(lambda: params.to_payload({**VALUES, "b": np.array([1, value])}, TABLE)) == "FM-TEN-02"


@pytest.mark.parametrize(
    ("bits", "finite"),
    [
        (0x00000000, True),
        (0x80000000, True),
        (0x00000001, True),
        (0x7149F2CA, True),  # 1e30, the bound
        (0xF149F2CA, True),
        (0x7149F2CB, False),
        (0x7F7FFFFF, False),
        (0x7F800000, False),
        (0xFF800000, False),
        (0x7FC00000, False),
        (0x7F800001, False),
        (0xFFFFFFFF, False),
    ],
)
def test_finite_is_judged_on_the_bytes(bits: int, finite: bool) -> None:
    data = np.ones(5, "<f4").tobytes() + bits.to_bytes(4, "little")
    assert params.are_finite(np.frombuffer(data, "<f4")) is finite
    assert params.are_finite(np.zeros(0, "<f4"))


def test_other_dtypes_and_layouts_are_written_as_float32() -> None:
    other = {"a": np.asfortranarray([[1, 2], [3, 4]]).astype(">f8"), "b": np.array([9, 5, 9, 6], np.int64)[1::2]}
    assert params.to_payload(other, TABLE) == PAYLOAD


def test_a_difference_is_taken_name_by_name() -> None:
    found = params.subtract({"a": np.array([3.0]), "b": np.array([1.0])}, {"b": np.array([5.0]), "a": np.array([1.0])})
    assert {name: array.tolist() for name, array in found.items()} == {"a": [2.0], "b": [-4.0]}


def test_stretches_of_one_group_join_and_cover_the_vector() -> None:
    rows = [("c.mean", 3, "buffer"), ("b", 2, "param"), ("a", 4, "param"), ("d", 1, "param")]
    table = tuple(shapes.Tensor(name, (size,), group) for name, size, group in rows)
    assert shapes.stretches(table) == [(0, 6, "param"), (6, 9, "buffer"), (9, 10, "param")]


MIXED = shapes.table_from_rows(
    [
        {"name": "a.weight", "shape": [2, 3], "group": "param"},
        {"name": "norm.mean", "shape": [], "group": "buffer"},
        {"name": "d.weight", "shape": [2], "group": "param"},
        {"name": "control.bias", "shape": [4], "group": "param"},
    ]
)


def test_rows_of_a_part_keep_shape_and_group() -> None:
    assert [row.name for row in shapes.part_table(MIXED, "m", "all")] == [f"m/{row.name}" for row in MIXED]
    learned = [row.name for row in MIXED if row.group == "param"]
    found = shapes.part_table(MIXED, "residual", "param")
    assert [(row.name, row.group) for row in found] == [(f"residual/{name}", "param") for name in learned]
    assert shapes.part_table(MIXED, "own", [MIXED[0].name])[0].shape == MIXED[0].shape
    with pytest.raises(FedmedError, match="the part own has a tensor") as caught:
        shapes.part_table(MIXED, "own", [MIXED[0].name, "of.another"])
    assert caught.value.code == "FM-TEN-01"


def test_control_variates_travel_beside_what_is_learned() -> None:
    assert shapes.travelling(MIXED, control=False) == MIXED
    whole = shapes.travelling(MIXED, control=True)
    learned = [row for row in MIXED if row.group == "param"]
    assert whole[: len(MIXED)] == MIXED
    assert [(row.name, row.shape, row.group) for row in whole[len(MIXED) :]] == [
        (f"control/{row.name}", row.shape, "control") for row in learned
    ]
    stretches = [stretch for stretch in shapes.stretches(whole) if stretch[2] == "control"]
    assert len(stretches) == 1, "they lie in one piece"
    weights = {row.name: np.full(row.shape, 1, np.float32) for row in MIXED}
    control = {row.name: np.full(row.shape, 2, np.float32) for row in learned}
    found = params.from_payload(params.to_payload(params.with_control(weights, control), whole), whole)
    for expected, got in zip((weights, control), params.without_control(found), strict=True):
        assert got.keys() == expected.keys()
        assert all((got[name] == expected[name]).all() for name in got)
    assert params.without_control(weights) == (weights, {})


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=8), st.integers(0, 99))
def test_adding_in_float32_is_adding_in_float64_and_rounding(numbers, seed):
    """The coordinator adds in float64: the next site of a lap begins with the very weights that it would make."""
    left = {"a": np.array(numbers, np.float32)}
    right = {"a": np.random.RandomState(seed).randn(len(numbers)).astype(np.float32) * left["a"][::-1]}
    with np.errstate(over="ignore"):
        wide = (left["a"].astype(np.float64) + right["a"]).astype(np.float32)
    np.testing.assert_array_equal(params.add(left, right)["a"], wide)
