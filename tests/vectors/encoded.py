"""Federations whose updates are encoded, one for each encoding, and an update of each with its numbers written out."""

from __future__ import annotations

import copy
import json
import struct
from typing import TYPE_CHECKING, Any

import numpy as np

from fedmed.exchange import canonical
from tests.vectors import samples
from tests.vectors.samples import key, of_kind, resigned, sha256, signed

if TYPE_CHECKING:
    from collections.abc import Iterator

Entry = tuple[str, str, list[int], bytes]  # name, dtype, shape, data
SETTINGS: dict[str, dict[str, Any]] = {
    "fp16": {"encoding": "fp16", "fraction": None, "compress": "none"},
    "bf16": {"encoding": "bf16", "fraction": None, "compress": "none"},
    "int8": {"encoding": "int8", "fraction": None, "compress": "none"},
    "topk": {"encoding": "topk", "fraction": 0.05, "compress": "none"},
    "zstd": {"encoding": "int8", "fraction": None, "compress": "zstd"},
}
TENSORS = canonical.encode(
    [
        {"group": "param", "name": "conv.weight", "shape": [2, 40]},
        {"group": "param", "name": "conv.bias", "shape": [2]},
        {"group": "buffer", "name": "norm.mean", "shape": []},
    ]
)
LEFT: list[Entry] = [
    ("conv.bias", "F32", [2], struct.pack("<2f", -0.5, 0.25)),
    ("norm.mean", "F32", [], struct.pack("<f", 7)),
]
EIGHTHS = np.arange(-40, 40) / 8
ENTRIES: dict[str, list[Entry]] = {
    "fp16": [*LEFT, ("conv.weight", "F16", [2, 40], EIGHTHS.astype("<f2").tobytes())],
    "bf16": [
        *LEFT,
        ("conv.weight", "BF16", [2, 40], (EIGHTHS.astype("<f4").view("<u4") >> 16).astype("<u2").tobytes()),
    ],
    "int8": [
        *LEFT,
        ("conv.weight:s", "F16", [2], struct.pack("<2e", 32, 0.5)),
        ("conv.weight:q", "I8", [80], bytes(range(1, 81))),
    ],
    "topk": [
        *LEFT,
        ("conv.weight:i", "U32", [4], struct.pack("<4I", 0, 7, 41, 79)),
        ("conv.weight:v", "F16", [4], struct.pack("<4e", 1, -2, 0.5, 4)),
    ],
}
ENTRIES["zstd"] = ENTRIES["int8"]


def payload(entries: list[Entry]) -> bytes:
    """A safetensors file of these entries, in this order."""
    header, offset = {}, 0
    for name, dtype, shape, data in entries:
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [offset, offset + len(data)]}
        offset += len(data)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + b"".join(data for *_, data in entries)


def shuffled(data: bytes) -> bytes:
    """The payload of `zstd` as it is compressed: of three numbers of 4 bytes and of two scales all first bytes come
    first.
    """
    start = 8 + int.from_bytes(data[:8], "little")
    floats, scales, rest = data[start : start + 12], data[start + 12 : start + 16], data[start + 16 :]
    return data[:start] + b"".join(floats[i::4] for i in range(4)) + scales[::2] + scales[1::2] + rest


def frame(data: bytes, size: int | None = None, flags: int = 0b11100000) -> bytes:
    """A zstd frame (RFC 8878) of one block that is stored as it is: no library has a say in these bytes."""
    header = b"\x28\xb5\x2f\xfd" + bytes([flags]) + struct.pack("<Q", len(data) if size is None else size)
    return header + struct.pack("<I", len(data) << 3 | 1)[:3] + data


def federation(form: str) -> bytes:
    """The sample federation with another recipe and other tensors."""
    said, payloads = of_kind("federation")
    recipe = {**json.loads(samples.RECIPE), "update": SETTINGS[form]}
    parts = [json.dumps(recipe, sort_keys=True, separators=(",", ":")).encode(), TENSORS]
    payloads = [(name, data) for (name, _), data in zip(payloads, parts, strict=True)]
    for (_, data), subject, row in zip(payloads, said["subject"], said["predicate"]["payload"], strict=True):
        subject["digest"]["sha256"], row["bytes"] = sha256(data), len(data)
    return signed(said, payloads, by=key("coordinator"))


def update(form: str, data: bytes | None = None) -> bytes:
    """An update under that federation; `data` in place of the good payload."""
    good = payload(ENTRIES[form])
    length = 8 + int.from_bytes(good[:8], "little")
    said = copy.deepcopy(of_kind("update")[0])
    statement = samples.statement_in(federation(form))
    said["predicate"]["federation"]["digest"] = sha256(canonical.encode(statement))
    said["predicate"]["tensor_table"] = sha256(good[:length])
    said["predicate"]["payload"][0]["coding"] = SETTINGS[form]["compress"]
    whole = signed(said, [("update.safetensors", b"")], by=key("st-olav"))
    if data is None:
        data = frame(shuffled(good)) if form == "zstd" else good
    return resigned(whole, key("st-olav"), payload=data)


def _with(form: str, name: str, data: bytes) -> bytes:
    return update(form, payload([(each, *rest, data if each == name else old) for each, *rest, old in ENTRIES[form]]))


def vectors() -> Iterator[tuple[str, str, bytes]]:
    """Name, expected outcome, file; an update is held against the federation of its encoding."""
    for form in SETTINGS:
        yield f"federation-{form}", "ok", federation(form)
        yield f"update-{form}-ok", "ok", update(form)
    yield from _encoded()
    yield from _compressed()


def _encoded() -> Iterator[tuple[str, str, bytes]]:
    for form in ("fp16", "bf16", "int8", "topk"):
        good = payload(ENTRIES[form])
        yield f"update-{form}-one-byte-less", "FM-TEN-01", update(form, good[:-1])
    good = ENTRIES["int8"]
    nan = (*good[0][:3], struct.pack("<2f", float("nan"), 0))
    yield "update-int8-nan-in-what-is-not-encoded", "FM-TEN-02", update("int8", payload([nan, *good[1:]]))
    plain = payload([LEFT[0], ("conv.weight", "F32", [2, 40], bytes(320)), LEFT[1]])
    yield "update-int8-in-float32", "FM-TEN-01", update("int8", plain)
    yield "update-int8-narrow-entries-first", "FM-TEN-01", update("int8", payload([*good[2:], *LEFT]))
    eightieth = EIGHTHS[:-1].astype("<f2").tobytes()
    yield "update-fp16-infinity", "FM-TEN-02", _with("fp16", "conv.weight", eightieth + b"\x00\x7c")
    yield "update-bf16-nan", "FM-TEN-02", _with("bf16", "conv.weight", bytes(158) + b"\xc0\xff")
    yield "update-bf16-above-1e30", "FM-TEN-02", _with("bf16", "conv.weight", b"\x4a\x71" + bytes(158))
    yield "update-bf16-largest", "ok", _with("bf16", "conv.weight", b"\x49\x71" + bytes(158))
    yield "update-int8-minus-128", "FM-ENC-02", _with("int8", "conv.weight:q", b"\x80" + bytes(79))
    for name, scale in (("zero", 0.0), ("subnormal", 2**-15), ("negative", -1.0), ("nan", float("nan"))):
        data = struct.pack("<2e", 1, scale)
        yield f"update-int8-scale-{name}", "FM-ENC-02", _with("int8", "conv.weight:s", data)
    for name, index in {
        "index-twice": (0, 7, 7, 79),
        "indices-fall": (0, 41, 7, 79),
        "index-beyond-the-end": (0, 7, 41, 80),
        "largest-index": (0, 7, 41, 2**32 - 1),
    }.items():
        yield f"update-topk-{name}", "FM-ENC-02", _with("topk", "conv.weight:i", struct.pack("<4I", *index))
    yield "update-topk-nan", "FM-TEN-02", _with("topk", "conv.weight:v", struct.pack("<4e", 1, 2, 3, float("nan")))


def _compressed() -> Iterator[tuple[str, str, bytes]]:
    plain = payload(ENTRIES["zstd"])
    good = shuffled(plain)
    blocks = struct.pack("<I", (1 << 17) << 3 | 0b10)[:3] + b"\0"  # a byte that stands for 128 KiB
    head = frame(good)[:13]
    for name, code, data in [
        ("not-compressed", "FM-ENC-03", plain),
        ("byte-behind-the-frame", "FM-ENC-03", frame(good) + b"\0"),
        ("second-frame", "FM-ENC-03", frame(good) + frame(b"")),
        ("skippable-frame", "FM-ENC-03", frame(good) + b"\x50\x2a\x4d\x18" + bytes(4)),
        ("cut-short", "FM-ENC-03", frame(good)[:-1]),
        ("another-size", "FM-ENC-03", frame(good + b"\0")),
        ("other-than-it-says", "FM-ENC-03", frame(good, len(good) + 1)),
        ("with-a-checksum", "FM-ENC-03", frame(good, flags=0b11100100) + bytes(4)),
        ("without-its-size", "FM-ENC-03", frame(good)[:4] + b"\0\0" + frame(good)[13:]),
        ("bomb", "FM-ENC-03", head + 40 * blocks),
        ("longer-than-any-frame", "FM-TEN-01", frame(good) + bytes(2000)),
        ("not-shuffled", "FM-ENC-02", frame(plain)),  # its scales are other numbers then, and one is too small
        ("of-another-table", "FM-TEN-01", frame(good.replace(b"conv.bias", b"conv.bios"))),
    ]:
        yield f"update-zstd-{name}", code, update("zstd", data)
