"""Canonical JSON (RFC 8785) in the narrow form that statements use: no floats, no surprises, one encoding only."""

from __future__ import annotations

import json
import re
from typing import Any

from fedmed.errors import FedmedError
from fedmed.strict import is_plain_text

MAX_INTEGER = 2**53
MAX_DEPTH = 16
_NOT_BRACKETS = bytes(set(range(256)) - set(b'[]{}"\\'))
_BRACKETS = re.compile(rb"[][{}]")
_NESTING = re.compile(rb'"(?:[^"\\]|\\.)*+"?|[][{}]', re.DOTALL)  # strings, whole, and brackets outside of them


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a key stands twice")
    return value


def _integer(text: str) -> int:
    if len(text) > 17 or abs(int(text)) > MAX_INTEGER:
        raise ValueError("an integer above 2^53")
    return int(text)


def _no_float(_: str) -> None:
    raise ValueError("a number that is not an integer")


_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
_DECODER = json.JSONDecoder(
    object_pairs_hook=_unique, parse_int=_integer, parse_float=_no_float, parse_constant=_no_float
)


def encode(value: Any) -> bytes:
    """Keys are ASCII here, so sorting by code point is RFC 8785's order by UTF-16 unit."""
    return _ENCODER.encode(value).encode()


def decode(data: bytes) -> dict[str, Any]:
    """Parse and require that these bytes are the only encoding of what they say. Raises FedmedError FM-FRM-02."""
    try:
        _check_depth(data)
        text = data.decode("utf-8")
        value = _DECODER.decode(text)
        if not isinstance(value, dict):
            raise ValueError("expected an object")
        if not text.isascii() or "\\" in text or not text.isprintable():  # else no text in it can be anything but plain
            _check(value)
        if encode(value) != data:
            raise ValueError("not in canonical form")
    except (ValueError, RecursionError) as error:
        reason = str(error) if type(error) is ValueError else "not JSON in UTF-8"
        raise FedmedError("FM-FRM-02", f"statement.json: expected canonical JSON, got: {reason}") from error
    return value


def _check_depth(data: bytes) -> None:
    if data.count(b"[") + data.count(b"{") <= MAX_DEPTH:
        return
    depth = 0
    bare = data.translate(None, _NOT_BRACKETS)
    # without an escape every second piece between quotes is outside of strings: ten times faster where there are many
    tokens = _NESTING.findall(data) if b"\\" in bare else _BRACKETS.findall(b"".join(bare.split(b'"')[::2]))
    for token in tokens:
        if token in b"[{":
            depth += 1
            if depth > MAX_DEPTH:
                raise ValueError(f"nested deeper than {MAX_DEPTH}")
        elif token in b"]}":
            depth -= 1


def _check(value: Any) -> None:
    if isinstance(value, dict):
        for key, inner in value.items():
            if not (key.isascii() and is_plain_text(key)):
                raise ValueError("a key that is not plain ASCII")
            _check(inner)
    elif isinstance(value, list):
        for inner in value:
            _check(inner)
    elif isinstance(value, str) and not is_plain_text(value):
        raise ValueError("text with control, format or unnormalised characters")
