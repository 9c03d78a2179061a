"""Each encoding in numbers that were worked out by hand, and what holds for all numbers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fedmed.learning import encoding
from fedmed.learning.layout import Encoding
from fedmed.learning.shapes import Tensor
from tests.coded import code_of

FORMS = ("fp32", "fp16", "bf16", "int8", "topk")
KEPT = 7


def of(*numbers: float) -> np.ndarray:
    return np.array(numbers, np.float32)


def there_and_back(flat: np.ndarray, form: str, kept: int = 0) -> np.ndarray:
    return encoding.decode(encoding.encode(flat, form, kept), form, len(flat))


def test_fp16_by_hand() -> None:
    # 11 bits: between 2048 and 4096 every second whole number; 2049 lies between two and goes to the even one
    written = encoding.encode(of(1, -2.5, 2049, 2051, 2**-24, 2**-26), "fp16", 0)[""]
    assert written.dtype == "<f2"
    assert written.tolist() == [1, -2.5, 2048, 2052, 2**-24, 0]


def test_bf16_rounds_ties_to_even() -> None:
    # 8 bits: between 256 and 512 every second whole number
    flat = of(1, -2, 257, 259, 257.5, 256.5, 1 + 2**-8, 1 + 3 * 2**-8)
    written = encoding.encode(flat, "bf16", 0)[""]
    assert written.tolist()[:2] == [0x3F80, 0xC000]
    assert there_and_back(flat, "bf16").tolist() == [1, -2, 256, 260, 258, 256, 1, 1 + 2**-6]


def test_bf16_never_rounds_past_the_limit() -> None:
    # 1e30 lies above the middle of its two neighbours, and the upper one is more than may be said
    found = there_and_back(of(1e30, -1e30), "bf16")
    assert np.abs(found).max() < 1e30
    assert found.tolist() == pytest.approx([1e30, -1e30], rel=2**-7)
    assert encoding.fault("bf16", "", encoding.encode(of(1e30), "bf16", 0)[""], -1, 1) is None


def test_int8_by_hand() -> None:
    # the largest is 127/128, so a step is 2^-7 = scale 2^5; 0.5 steps round to even
    block = np.zeros(64, np.float32)
    block[:6] = of(127, -127, 1, 0.5, 1.5, -64.4) / 128
    second = of(3 * 127, 2) / 2**12  # three steps of 2^-12: a scale of 3
    written = encoding.encode(np.concatenate([block, second]), "int8", 0)
    assert written[":s"].tolist() == [32, 3]
    assert written[":q"].tolist() == [127, -127, 1, 0, 2, -64] + [0] * 58 + [127, 1]
    found = encoding.decode(written, "int8", 66)
    assert found[:6].tolist() == [127 / 128, -127 / 128, 1 / 128, 0, 2 / 128, -0.5]
    assert found[64:].tolist() == [381 / 4096, 3 / 4096]


def test_a_block_of_zeros_and_one_of_almost_nothing_keep_the_smallest_scale() -> None:
    step = 2.0**-14 * 2.0**-12
    written = encoding.encode(np.concatenate([np.zeros(64, np.float32), of(3 * step, step / 3)]), "int8", 0)
    assert written[":s"].tolist() == [2**-14, 2**-14]
    assert written[":q"].tolist() == [0] * 64 + [3, 0]


def test_int8_keeps_its_precision_where_fp16_itself_has_none() -> None:
    # changes of 1e-6 have steps of 8e-9, which fp16 alone could not write
    flat = np.linspace(-1e-5, 1e-5, 64).astype(np.float32)
    assert np.abs(there_and_back(flat, "int8") - flat).max() <= 1e-5 / 127 / 2 * 1.001


def test_topk_of_five_by_hand() -> None:
    written = encoding.encode(of(0.5, -4, 0.25, 2, -2), "topk", 2)
    assert written[":i"].tolist() == [1, 3]  # of 2 and -2 the one that comes first
    assert written[":v"].tolist() == [-4, 2]
    assert encoding.decode(written, "topk", 5).tolist() == [0, -4, 0, 2, 0]


def test_what_topk_leaves_out_comes_in_the_next_round() -> None:
    first, left = encoding.with_feedback(of(0.5, -4, 0.25, 2, -2), None, "topk", 2)
    assert encoding.decode(first, "topk", 5).tolist() == [0, -4, 0, 2, 0]
    assert left.tolist() == [0.5, 0, 0.25, 0, -2]
    second, left = encoding.with_feedback(of(0.5, 1, 0.25, 0, 0), left, "topk", 2)
    # change and rest together: 1, 1, 0.5, 0, -2
    assert encoding.decode(second, "topk", 5).tolist() == [1, 0, 0, 0, -2]
    assert left.tolist() == [0, 1, 0.5, 0, 0]


def test_rounding_to_fp16_stays_in_the_rest() -> None:
    _, left = encoding.with_feedback(of(2049, 0), None, "topk", 1)
    assert left.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("form", "number", "code"),
    [
        ("fp16", 65505, "FM-ENC-01"),
        ("fp16", 65504, ""),
        ("topk", -65505, "FM-ENC-01"),
        ("int8", 2032, "FM-ENC-01"),
        ("int8", 2031, ""),
        ("bf16", 1e30, ""),
        ("fp32", 1e30, ""),
    ],
)
def test_what_a_form_cannot_say_is_an_error_and_not_cut_off(form: str, number: float, code: str) -> None:
    assert code_of(lambda: encoding.encode(of(number), form, 1)) == (code or "ok")


NUMBERS = st.floats(-2000, 2000, width=32)
SMALL = st.floats(-(2**-10), 2**-10, width=32)
FLAT = st.integers(KEPT, 150).flatmap(
    lambda size: st.one_of(arrays(np.float32, size, elements=NUMBERS), arrays(np.float32, size, elements=SMALL))
)


@given(FLAT, st.sampled_from(FORMS))
@example(of(*[2**-24] * 8), "topk")
@example(of(*[2**-26] * 8), "topk")
@example(of(*[127 * 2.0**-27] * 64), "int8")
def test_nothing_is_lost_twice(flat: np.ndarray, form: str) -> None:
    once = there_and_back(flat, form, KEPT)
    assert once.dtype == np.float32
    assert len(once) == len(flat)
    assert np.array_equal(there_and_back(once, form, KEPT), once)


@given(FLAT)
def test_how_far_a_number_may_move(flat: np.ndarray) -> None:
    assert np.array_equal(there_and_back(flat, "fp32"), flat)
    for form, relative, absolute in (("fp16", 2**-11, 2**-25), ("bf16", 2**-8, 2**-133)):
        assert (np.abs(there_and_back(flat, form) - flat) <= np.maximum(relative * np.abs(flat), absolute)).all()
    largest = np.array([np.abs(flat[i : i + 64]).max() for i in range(0, len(flat), 64)]).repeat(64)[: len(flat)]
    step = np.maximum(largest / 127, 2.0**-26)
    assert (np.abs(there_and_back(flat, "int8") - flat) <= 0.5005 * step).all()


@given(FLAT)
def test_topk_sends_the_largest_and_keeps_the_rest(flat: np.ndarray) -> None:
    written, left = encoding.with_feedback(flat, None, "topk", KEPT)
    assert (np.diff(written[":i"].astype(int)) > 0).all()
    others = np.delete(np.abs(flat), written[":i"])
    assert others.max(initial=0) <= np.abs(flat[written[":i"]]).min()
    assert np.array_equal(encoding.decode(written, "topk", len(flat)) + left, flat)


@given(FLAT, st.sampled_from(FORMS))
def test_what_is_written_has_no_fault(flat: np.ndarray, form: str) -> None:
    for part, numbers in encoding.encode(flat, form, KEPT).items():
        assert encoding.fault(form, part, numbers, -1, len(flat)) is None


@pytest.mark.parametrize("form", ["fp16", "bf16", "int8", "topk"])
def test_pieces_are_decoded_as_the_whole(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    flat = np.random.RandomState(1).randn(1000).astype(np.float32)
    whole = there_and_back(flat, form, 100)
    monkeypatch.setattr(encoding, "CHUNK", 128)
    assert np.array_equal(there_and_back(flat, form, 100), whole)


@pytest.mark.parametrize(
    ("fraction", "size", "kept"), [(0.01, 100, 1), (0.01, 101, 2), (0.07, 100, 7), (0.5, 65, 33), (0.0001, 64, 1)]
)
def test_how_many_are_kept(fraction: float, size: int, kept: int) -> None:
    assert Encoding("topk", fraction).kept(size) == kept


@pytest.mark.parametrize(
    ("group", "size", "form"),
    [("param", 64, "int8"), ("param", 63, "fp32"), ("buffer", 1000, "fp32"), ("control", 64, "int8")],
)
def test_running_statistics_and_small_tensors_stay_as_they_are(group: str, size: int, form: str) -> None:
    assert Encoding("int8").of(Tensor("a", (size,), group)) == form


def test_why_running_statistics_stay_as_they_are() -> None:
    before, after = np.float32(1.0045), np.float32(1e-4)
    assert before + there_and_back(of(after - before), "bf16")[0] < 0


@pytest.mark.parametrize(
    ("form", "part", "numbers", "code"),
    [
        ("int8", ":q", np.array([0, -128], np.int8), "FM-ENC-02"),
        ("int8", ":s", np.array([1, 0], np.float16), "FM-ENC-02"),
        ("int8", ":s", np.array([2**-15], np.float16), "FM-ENC-02"),
        ("int8", ":s", np.array([-1], np.float16), "FM-ENC-02"),
        ("int8", ":s", np.array([np.inf], np.float16), "FM-ENC-02"),
        ("int8", ":s", np.array([np.nan], np.float16), "FM-ENC-02"),
        ("topk", ":i", np.array([4, 5, 5], np.uint32), "FM-ENC-02"),
        ("topk", ":i", np.array([4, 6, 5], np.uint32), "FM-ENC-02"),
        ("topk", ":i", np.array([3, 4], np.uint32), "FM-ENC-02"),  # 3 came just before
        ("topk", ":i", np.array([4, 64], np.uint32), "FM-ENC-02"),
        ("topk", ":i", np.array([4, 2**32 - 1], np.uint32), "FM-ENC-02"),
        ("topk", ":v", np.array([np.nan], np.float16), "FM-TEN-02"),
        ("fp16", "", np.array([np.inf], np.float16), "FM-TEN-02"),
        ("bf16", "", np.array([0x7F80], np.uint16), "FM-TEN-02"),  # infinity
        ("bf16", "", np.array([0xFFC0], np.uint16), "FM-TEN-02"),  # minus NaN
        ("bf16", "", np.array([0x714A], np.uint16), "FM-TEN-02"),  # the first above 1e30
        ("bf16", "", np.array([0xF149], np.uint16), ""),
        ("fp32", "", np.array([-2e30], np.float32), "FM-TEN-02"),
        ("topk", ":i", np.array([4, 63], np.uint32), ""),
    ],
)
def test_what_no_encoder_writes(form: str, part: str, numbers: np.ndarray, code: str) -> None:
    found = encoding.fault(form, part, numbers, 3, 64)
    assert (found[0] if found else "") == code
