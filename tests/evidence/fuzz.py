"""Inputs that nobody would write, made from good and bad files: the same ones for the same numbers, on any machine.

Every input has a number; target and number seed its own generator. It starts from a sample or a vector and goes through
one to four changes: of bits, bytes, ranges, lengths, tokens, parts of another file, or of the tree of a statement,
which is signed again, so that what lies behind the signature is reached too.
"""

from __future__ import annotations

import base64
import binascii
import copy
import io
import random
import struct
import time
from collections import Counter
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

from fedmed.auditor import inspection
from fedmed.errors import FedmedError
from fedmed.exchange import canonical, container, sshsig, statement
from fedmed.learning import shapes
from tests.vectors import samples
from tests.vectors.make_vectors import DATA
from tests.vectors.test_vectors import INDEX, federation_of

from . import fuzz_shares

if TYPE_CHECKING:
    from collections.abc import Callable

NUMBERS = (0, 1, -1, 7, 8, 63, 64, 127, 128, 255, 256, 511, 512, 4095, 2**16, 2**31 - 1, 2**31, 2**32 - 1, 2**53, 2**63)
TOKENS = (
    *(b'"', b"{", b"}", b"[", b"]", b",", b":", b"null", b"true", b"-0", b"1e9", b"9007199254740993", b"\\u0000"),
    *(b"\\ud800", b"\xff", b"\xef\xbb\xbf", "\u202e".encode(), b"\0" * 512, b"ustar\x0000", b"statement.json", b"../"),
    *(b"SSHSIG", b"ssh-ed25519", b"sha512", b"-----END SSH SIGNATURE-----\n", b"F32", b"__metadata__", b"[" * 40),
    *(b"\x28\xb5\x2f\xfd", b"\x00\x00\xc0\x7f", b"\xff\xff\xff\xff", b"00000000000\0", b"77777777777\0"),
)
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2**53, "", "a", "\u202e", "e\u0301", "../x", "NaN", "1e9", "-0", "0" * 64),
    *([], {}, [[]], {"a": 1}, [None] * 3, "2031-02-30T00:00:00Z", "urn:fedmed:v1:model", "x" * 300, "st-olav"),
)


class Forged(Exception):
    """An input that was accepted and must not be."""


def bits(source: random.Random, data: bytearray) -> None:
    for _ in range(source.randint(1, 4)):
        place = source.randrange(8 * len(data))
        data[place // 8] ^= 1 << place % 8


def bytes_(source: random.Random, data: bytearray) -> None:
    for _ in range(source.randint(1, 6)):
        data[source.randrange(len(data))] = source.choice((0, 1, 0x20, 0x22, 0x30, 0x5C, 0x7F, 0x80, 0xFF))


def tokens(source: random.Random, data: bytearray) -> None:
    place = source.randrange(len(data))
    token = source.choice(TOKENS)
    data[place : place + source.choice((0, 1, len(token)))] = token


def removal(source: random.Random, data: bytearray) -> None:
    place = source.randrange(len(data))
    del data[place : place + source.choice((1, 2, 8, 64, 512))]


def repetition(source: random.Random, data: bytearray) -> None:
    place, size = source.randrange(len(data)), source.choice((1, 4, 64, 512))
    data[place:place] = data[place : place + size] * source.choice((1, 2, 20))


def cutting(source: random.Random, data: bytearray) -> None:
    del data[source.randrange(len(data)) :]


def splice(source: random.Random, data: bytearray) -> None:
    other = source.choice(files())
    size = source.choice((8, 64, 512, 2048))
    first = source.randrange(max(1, len(other) - size))
    place = source.randrange(len(data))
    data[place : place + source.choice((0, size))] = other[first : first + size]


def lengths(source: random.Random, data: bytearray) -> None:
    """Where a length could stand: four bytes big-endian, eight little-endian, or the octal field of a header."""
    number, how = source.choice(NUMBERS) % 2**63, source.randrange(3)
    if how == 0:
        place, coded = source.randrange(len(data)), struct.pack(">I", number % 2**32)
    elif how == 1:
        place, coded = source.choice((0, source.randrange(len(data)))), struct.pack("<Q", number)
    else:
        block = 512 * source.randrange(1 + len(data) // 512)
        place, coded = block + 124, b"%011o\0" % (number % 8**11)
    data[place : place + len(coded)] = coded
    if how == 2 and len(data) >= block + 512:
        head = data[block : block + 512]
        data[block + 148 : block + 156] = b"%06o\0 " % (sum(head[:148]) + sum(head[156:]) + 8 * 32)


CHANGES: tuple[Callable[[random.Random, bytearray], None], ...] = (
    *(bits, bytes_, tokens, removal, repetition, cutting, splice, lengths),
)


def changed(source: random.Random, data: bytes, most: int = 4) -> bytes:
    found = bytearray(data)
    for _ in range(source.randint(1, most)):
        if not found:
            break
        source.choice(CHANGES)(source, found)
    return bytes(found)


def change_tree(source: random.Random, tree: Any) -> None:
    """One value somewhere in a statement becomes another, goes, comes twice, or gets a neighbour."""
    inner = tree
    while True:
        place = source.choice(list(inner) if isinstance(inner, dict) else range(len(inner)))
        if not (isinstance(inner[place], (dict, list)) and inner[place]) or source.random() < 0.2:
            break
        inner = inner[place]
    how = source.randrange(8)
    if how == 0:
        del inner[place]
    elif how == 1 and isinstance(inner, list):
        inner.append(copy.deepcopy(inner[place]))
    elif how == 1:
        inner[source.choice(("colour", "seq", "round", "name"))] = inner[place]
    elif how == 2 and isinstance(inner[place], str):
        text = inner[place]
        cut = source.randrange(1 + len(text))
        inner[place] = text[:cut] + source.choice(("", "0", "A", "é", " ", "-", "\n")) + text[cut + 1 :]
    elif how == 3 and isinstance(inner[place], int):
        inner[place] += source.choice((-1, 1, 2**53))
    else:
        inner[place] = copy.deepcopy(source.choice(VALUES))


@cache
def files() -> tuple[bytes, ...]:
    """Samples and vectors that a change can start from: those that are not empty."""
    found = [(DATA / name).read_bytes() for name, _ in INDEX]
    return tuple(data for data in found if data)


@cache
def _good() -> tuple[tuple[str, bytes], ...]:
    return tuple((name, (DATA / name).read_bytes()) for name, expected in INDEX if expected == "ok")


@cache
def _known(name: str) -> inspection.Reference:
    return inspection.read_federation(DATA / federation_of(name))


@cache
def _names() -> tuple[str, ...]:
    return tuple(name for name, expected in INDEX if (DATA / name).stat().st_size)


def whole_file(source: random.Random) -> Callable[[], object]:
    """Through the container, and as far as it holds."""
    name = source.choice(_names())
    data = changed(source, (DATA / name).read_bytes())
    check = _checked(data, name)
    return lambda: _only_known(check, data in files())


def signed_statement(source: random.Random) -> Callable[[], object]:
    """A changed statement, in its canonical form and with a good signature of whoever it was from."""
    name, data = source.choice(_good())
    said, payloads = copy.deepcopy(samples.statement_in(data)), samples.members(data)[2:]
    sender, kind = said["predicate"]["sender"]["name"], said["predicate"]["kind"]
    for _ in range(source.randint(1, 2)):
        if said:
            change_tree(source, said)
    raw = canonical.encode(said)
    again = samples.signed(raw, payloads, by=samples.key(sender), namespace=statement.namespace(kind))
    return _checked(again, name)


def raw_statement(source: random.Random) -> Callable[[], object]:
    """Bytes that came through with a good signature, straight into the decoder."""
    data = changed(source, samples.members(source.choice(_good())[1])[0][1])
    return lambda: statement.decode(data)


def signature(source: random.Random) -> Callable[[], object]:
    """An armour, changed as text or in the blob within, and what it says of the message."""
    members = samples.members(source.choice(_good())[1])
    armour = members[1][1]
    if source.random() < 0.6:
        blob = changed(source, base64.b64decode(b"".join(armour.splitlines()[1:-1])), most=2)
        text = binascii.b2a_base64(blob, newline=False)
        lines = b"".join(text[first : first + 70] + b"\n" for first in range(0, len(text), 70))
        armour = b"-----BEGIN SSH SIGNATURE-----\n" + lines + b"-----END SSH SIGNATURE-----\n"
    else:
        armour = changed(source, armour)
    return lambda: _only_known(lambda: sshsig.verify(sshsig.decode(armour), members[0][1]), armour == members[1][1])


def tensors(source: random.Random) -> Callable[[], object]:
    """A changed payload under a statement that names its digest, or a changed table of a federation."""
    name, data = source.choice([each for each in _good() if b".safetensors" in each[1] or "federation" in each[0]])
    member, payload = samples.members(data)[-1 if "federation" in name else 2]
    if member.endswith(".json"):
        table = changed(source, payload)
        return lambda: shapes.table_from_bytes(table)
    sender = samples.statement_in(data)["predicate"]["sender"]["name"]
    again = samples.resigned(data, samples.key(sender), payload=changed(source, payload, most=2))
    return _checked(again, name)


def _only_known(call: Callable[[], object], is_known: bool) -> None:
    """What nobody signed must not be accepted."""
    call()
    if not is_known:
        raise Forged


def shares(source: random.Random) -> Callable[[], object]:
    """What a site opens of its peers under masking. Of a bundle only the very one that was dealt may open."""
    if source.random() < 0.5:
        call, is_known = fuzz_shares.table_of_commitments(source, changed)
    else:
        call, is_known = fuzz_shares.bundle(source, changed)
    return lambda: _only_known(call, is_known)


def _checked(data: bytes, name: str) -> Callable[[], object]:
    known = _known(name)
    return lambda: inspection.check(container.Reader(io.BytesIO(data).read), known)


TARGETS: dict[str, Callable[[random.Random], Callable[[], object]]] = {
    "whole file": whole_file,
    "signed statement": signed_statement,
    "statement": raw_statement,
    "signature": signature,
    "tensors and table": tensors,
    "shares and bundles": shares,
}


@dataclass
class Found:
    """How inputs of one target ended, by code; those that ended otherwise, or were forged; the slowest, in seconds."""

    ends: Counter[str] = field(default_factory=Counter)
    crashes: list[str] = field(default_factory=list)
    slowest: tuple[float, int] = (0.0, 0)


def tried(target: str, first: int, end: int) -> Found:
    """The inputs from number `first` to before `end`."""
    found = Found()
    for number in range(first, end):
        call = TARGETS[target](random.Random(f"{target} {number}"))
        started = time.perf_counter()
        try:
            call()
            code = "ok"
        except FedmedError as error:
            code = error.code
        except Exception as error:  # noqa: BLE001 - this is what is looked for
            code = "crash"
            found.crashes.append(f"{target} {number}: {type(error).__name__}")
        found.slowest = max(found.slowest, (time.perf_counter() - started, number))
        found.ends[code] += 1
    return found
