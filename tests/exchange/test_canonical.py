"""One encoding for each statement, and nothing that two readers could read in two ways."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmed.errors import FedmedError
from fedmed.exchange import canonical
from fedmed.strict import is_plain_text
from tests.coded import code_of

PLAIN = st.text(max_size=20).filter(is_plain_text)
KEYS = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=8)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | PLAIN,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(KEYS, VALUES, max_size=5))
def test_what_is_encoded_is_decoded(value: dict[str, object]) -> None:
    assert canonical.decode(canonical.encode(value)) == value


@given(st.binary(max_size=80) | st.dictionaries(KEYS, VALUES, max_size=3).map(lambda v: json.dumps(v).encode()))
def test_any_bytes_are_the_one_encoding_or_refused(data: bytes) -> None:
    found = code_of(lambda: canonical.decode(data))
    assert found == "FM-FRM-02" or (found == "ok" and canonical.encode(canonical.decode(data)) == data)


def test_the_encoding_is_rfc_8785s() -> None:
    value = {"b": [1, True, None, '\u00e9\u20ac\U0001d11e/\\"'], "a": {"z": -5, "Z": 0}}
    assert canonical.encode(value) == '{"a":{"Z":0,"z":-5},"b":[1,true,null,"é€𝄞/\\\\\\""]}'.encode()


def test_brackets_in_texts_are_no_depth() -> None:
    for text in ("[" * 20, '"' + "[" * 20, "\\" + "{" * 20, "}]" * 9):
        assert canonical.decode(canonical.encode({"a": [text]})) == {"a": [text]}


REFUSED = {
    "float": b'{"a":1.0}',
    "exponent": b'{"a":1e3}',
    "nan": b'{"a":NaN}',
    "infinity": b'{"a":-Infinity}',
    "minus zero": b'{"a":-0}',
    "leading zero": b'{"a":01}',
    "plus": b'{"a":+1}',
    "2^53+1": b'{"a":9007199254740993}',
    "-2^53-1": b'{"a":-9007199254740993}',
    "5000 digits": b'{"a":' + b"9" * 5000 + b"}",
    "key twice": b'{"a":1,"a":1}',
    "key twice, once escaped": b'{"a":1,"\\u0061":1}',
    "key twice, deep": b'{"x":[{"a":1,"a":2}]}',
    "keys unsorted": b'{"b":1,"a":1}',
    "depth 17": b'{"a":' + b"[" * 16 + b"]" * 16 + b"}",
    "depth 17 behind escapes": b'{"a":["\\\\","\\"[",' + b"[" * 15 + b"]" * 16 + b"}",
    "depth 17 between texts": b'{"a":["]]]",' + b"[" * 15 + b'"]"' + b"]" * 16 + b"}",
    "depth 100000": b'{"a":' + b"[" * 100_000,
    "blank": b'{"a": 1}',
    "newline after": b'{"a":1}\n',
    "blank before": b' {"a":1}',
    "byte order mark": b'\xef\xbb\xbf{"a":1}',
    "trailing bytes": b'{"a":1}{"a":1}',
    "comment": b'{"a":1}//x',
    "not UTF-8": b'{"a":"\xff"}',
    "overlong": b'{"a":"\xc0\xaf"}',
    "surrogate in UTF-8": b'{"a":"\xed\xa0\x80"}',
    "lone surrogate": b'{"a":"\\ud800"}',
    "paired surrogates, escaped": b'{"a":"\\ud834\\udd1e"}',
    "escaped slash": b'{"a":"\\/"}',
    "escaped letter": b'{"a":"\\u0041"}',
    "raw newline in text": b'{"a":"x\ny"}',
    "escape, 1b": b'{"a":"\\u001b[2J"}',
    "escape, newline": b'{"a":"x\\ny"}',
    "delete": b'{"a":"\x7f"}',
    "nul": b'{"a":"\\u0000"}',
    "c1 control": '{"a":"\u009b"}'.encode(),
    "bidi override": '{"a":"\u202e"}'.encode(),
    "bidi isolate": '{"a":"\u2066"}'.encode(),
    "zero width joiner": '{"a":"\u200d"}'.encode(),
    "byte order mark in text": '{"a":"\ufeff"}'.encode(),
    "tag character": '{"a":"\U000e0041"}'.encode(),
    "line separator": '{"a":"\u2028"}'.encode(),
    "paragraph separator": '{"a":"\u2029"}'.encode(),
    "private use": '{"a":"\ue000"}'.encode(),
    "unassigned": '{"a":"\U0003ffff"}'.encode(),
    "not NFC": '{"a":"e\u0301"}'.encode(),
    "control character in a key": b'{"a\\n":1}',
    "key not ASCII": '{"é":1}'.encode(),
    "an array": b"[1]",
    "a number": b"1",
    "nothing": b"",
    "cut": b'{"a":1',
    "single quotes": b"{'a':1}",
    "trailing comma": b'{"a":1,}',
    "python literal": b'{"a":None}',
}


@pytest.mark.parametrize("data", REFUSED.values(), ids=REFUSED)
def test_refused(data: bytes) -> None:
    with pytest.raises(FedmedError) as caught:
        canonical.decode(data)
    assert caught.value.code == "FM-FRM-02"
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    "data",
    [
        b"{}",
        b'{"a":9007199254740992,"b":-9007199254740992}',
        b'{"a":' + b"[" * 15 + b"]" * 15 + b"}",
        '{"a":"Bø \u00e9 \u6771\u4eac \U0001f3e5"}'.encode(),
        b'{"a":"[[[[[[[[[[[[[[[[[[[[{{{{\\"[["}',
        b'{"":""}',
    ],
)
def test_accepted(data: bytes) -> None:
    assert canonical.encode(canonical.decode(data)) == data


def test_brackets_inside_of_strings_do_not_nest():
    deep = "[" * 40
    for text in (deep, f'\\"{deep}', f"\\\\{deep}", f'{deep}\\\\\\"{deep}'):
        assert canonical.decode(b'{"a":"%b"}' % text.encode())
    assert code_of(lambda: canonical.decode(b'{"a":"\\\\":%b' % deep.encode())) == "FM-FRM-02"
    with pytest.raises(FedmedError, match="nested deeper than 16"):
        canonical.decode(b'{"a\\\\":%b' % deep.encode())
