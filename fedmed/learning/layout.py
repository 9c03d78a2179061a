"""The payload of an update in its encoding: which entries it has, and reading it front to back without trusting it.

Like every payload of tensors it is a safetensors file whose header follows from the table, byte for byte what the stock
writer emits: entries by dtype, the widest first, then by name. Source: the safetensors format; FORMAT.md section 4.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import TYPE_CHECKING, Literal

import numpy as np

from fedmed.errors import FedmedError
from fedmed.learning import compression, encoding, params
from fedmed.learning.encoding import Encoding

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from fedmed.learning.encoding import Form
    from fedmed.learning.params import Params, Table, Tensor

Coding = Literal["none", "zstd"]
PLAIN = Encoding()
MAX_HEADER = 16 << 20  # bytes of a payload's own word about its tensors that are looked at: more than any table has
_ORDER = ("F32", "U32", "BF16", "F16", "I8")
_DTYPES = {"F32": "<f4", "U32": "<u4", "BF16": "<u2", "F16": "<f2", "I8": "|i1"}


@dataclass(frozen=True)
class Entry:
    """One entry of the payload: part `part` of `tensor`, at `offset` behind the header."""

    tensor: Tensor
    part: str
    dtype: np.dtype[np.generic]
    kind: str
    shape: tuple[int, ...]
    offset: int

    @property
    def name(self) -> str:
        return self.tensor.name + self.part

    @property
    def end(self) -> int:
        return self.offset + self.dtype.itemsize * math.prod(self.shape)


@dataclass(frozen=True)
class Layout:
    """A table in an encoding, compressed or not. Without both it is that of `params`: the names, in float32."""

    table: Table
    encoding: Encoding = PLAIN
    coding: Coding = "none"

    @property
    def is_plain(self) -> bool:
        """Whether the flat vector lies in the payload as it stands."""
        return self.encoding == PLAIN and self.coding == "none"

    @cached_property
    def entries(self) -> list[Entry]:
        """In the order of the file."""
        found = [(tensor, *part) for tensor in self.table for part in self.encoding.parts(tensor)]
        found.sort(key=lambda each: (_ORDER.index(each[2]), each[0].name + each[1]))
        entries: list[Entry] = []
        for tensor, part, kind, shape in found:
            offset = entries[-1].end if entries else 0
            entries.append(Entry(tensor, part, np.dtype(_DTYPES[kind]), kind, shape, offset))
        return entries

    @cached_property
    def header(self) -> bytes:
        return params.header((each.name, each.kind, each.shape, each.end - each.offset) for each in self.entries)

    @property
    def digest(self) -> str:
        """SHA-256 of the header: `tensor_table` in a statement."""
        return hashlib.sha256(self.header).hexdigest()

    @property
    def size(self) -> int:
        """Bytes of the payload, unpacked."""
        return len(self.header) + self.entries[-1].end

    @property
    def largest(self) -> int:
        """Bytes of the payload as it travels: exactly, or, where it is compressed, at most."""
        return self.size if self.coding == "none" else compression.most(self.size)

    @cached_property
    def regions(self) -> list[tuple[int, int]]:
        """Bytes of one number and of all of them: the header, and entries of one width, from front to back."""
        widths = groupby(self.entries, key=lambda each: each.dtype.itemsize)
        return [(1, len(self.header)), *((width, sum(each.end - each.offset for each in run)) for width, run in widths)]

    @property
    def with_feedback(self) -> list[str]:
        """The tensors of which a part is left out in each round and comes later, by name."""
        return sorted(tensor.name for tensor in self.table if self.encoding.of(tensor) == "topk")

    def inspector(self) -> Inspector | Unpacked:
        """Who looks at the payload as it travels."""
        return Inspector(self) if self.coding == "none" else Unpacked(self)

    def unpacked(self, payload: Iterable[bytes]) -> Iterator[bytes]:
        """The payload without compression, in bounded memory. Raises FedmedError FM-ENC-03."""
        if self.coding == "none":
            yield from payload
            return
        plain: list[bytes] = []
        unpacker = compression.Unpacker(self.regions, plain.append)
        for chunk in payload:
            unpacker.feed(chunk)
            yield from plain
            plain.clear()
        unpacker.close()

    def decoded(self, read: Callable[[int, int], bytes]) -> Iterator[np.ndarray]:
        """The flat vector of the update, as `params` orders it, float32, in pieces of bounded size.

        `read(offset, size)` gives bytes of the payload, which was inspected and is not compressed any more.
        """
        places = {(each.tensor.name, each.part): each for each in self.entries}
        for tensor in params.in_wire_order(self.table):

            def part(end: str, first: int, count: int, name: str = tensor.name) -> np.ndarray:
                entry = places[name, end]
                width = entry.dtype.itemsize
                data = read(len(self.header) + entry.offset + first * width, count * width)
                return np.frombuffer(data, entry.dtype)

            yield from encoding.decoded(self.encoding.of(tensor), tensor.size, self.encoding.kept(tensor.size), part)


def agreed(table: Table, *, control: bool, encoding: Form, fraction: float | None, compress: Coding) -> Layout:
    """How updates are written where hospitals agreed to this table, and to a recipe that says so much of updates."""
    return Layout(params.travelling(table, control=control), Encoding(encoding, fraction), compress)


@dataclass(frozen=True)
class Encoded:
    """A payload, and what `topk` left out of it, by the names of `Layout.with_feedback`."""

    chunks: list[bytes | memoryview]
    residual: Params

    @property
    def size(self) -> int:
        return sum(map(len, self.chunks))

    @property
    def payload(self) -> bytes:
        return b"".join(self.chunks)


def encode(
    change: Mapping[str, np.ndarray], layout: Layout, residual: Mapping[str, np.ndarray] | None = None
) -> Encoded:
    """A change of the weights, and the residual of earlier rounds, as a payload.

    Raises FedmedError FM-TEN-01 (other names or shapes), FM-TEN-02 (NaN or beyond MAX_MAGNITUDE), FM-ENC-01.
    """
    params.check(change, layout.table)
    parts: dict[str, memoryview] = {}
    left: Params = {}
    for tensor in layout.table:
        form, kept = layout.encoding.of(tensor), layout.encoding.kept(tensor.size)
        flat = np.ascontiguousarray(change[tensor.name], np.float32).reshape(-1)
        params.require_finite(tensor.name, flat)
        if form == "topk":
            before = residual[tensor.name].reshape(-1) if residual else None
            found, rest = encoding.with_feedback(flat, before, form, kept)
            left[tensor.name] = rest.reshape(tensor.shape)
        else:
            found = encoding.encode(flat, form, kept)
        parts.update({tensor.name + end: array.reshape(-1).view(np.uint8).data for end, array in found.items()})
    chunks: list[bytes | memoryview] = [layout.header, *(parts[entry.name] for entry in layout.entries)]
    return Encoded(chunks if layout.coding == "none" else [compression.pack(b"".join(chunks), layout.regions)], left)


def stated_header(read: Callable[[int, int], bytes], coding: Coding) -> bytes:
    """The JSON text of a payload that nobody has verified, as far as it is there. `read(offset, size)`."""
    if coding == "zstd":
        frame = read(0, MAX_HEADER)
        return stated_header(lambda offset, size: compression.beginning(frame, offset + size)[offset:], "none")
    return read(8, min(int.from_bytes(read(0, 8), "little"), MAX_HEADER))


def told(header: bytes) -> str:
    """The encoding that a header speaks of, by the dtypes that stand in it; for people, nothing is checked."""
    told_by = {"int8": b"I8", "topk": b"U32", "bf16": b"BF16", "fp16": b"F16", "fp32": b"F32"}
    return next((form for form, dtype in told_by.items() if b'"dtype":"' + dtype + b'"' in header), "unknown")


def decode(payload: bytes, layout: Layout) -> Params:
    """The change that a payload says, as whoever receives it reads it.

    Raises FedmedError FM-TEN-01, FM-TEN-02, FM-ENC-02, FM-ENC-03.
    """
    payload = b"".join(layout.unpacked([payload]))
    inspector = Inspector(layout)
    inspector.feed(payload)
    inspector.close()
    flat = np.concatenate(list(layout.decoded(lambda offset, size: payload[offset : offset + size])))
    found, first = {}, 0
    for tensor in params.in_wire_order(layout.table):
        found[tensor.name] = flat[first : first + tensor.size].reshape(tensor.shape)
        first += tensor.size
    return found


class Inspector:
    """Is this the payload that the layout describes? Given every byte once, front to back, in pieces of any length."""

    def __init__(self, layout: Layout) -> None:
        self._header, self._encoding = layout.header, layout.encoding
        self._entries = iter(layout.entries)
        self._entry: Entry | None = None
        self._at, self._size = 0, layout.size
        self._rest = b""  # of a number that a piece cut in two
        self._index = -1
        self._fault: FedmedError | None = None

    def feed(self, data: bytes) -> None:
        """Look at the next bytes. Remembers the first fault, and then looks at nothing more."""
        view = memoryview(self._rest + data if self._rest else data)
        while view and self._fault is None:
            used = self._head(view) if self._at < len(self._header) else self._numbers(view)
            if not used:
                break
            self._at += used
            view = view[used:]
        self._rest = bytes(view) if self._fault is None else b""

    def close(self) -> None:
        """The end of the bytes. Raises FedmedError FM-TEN-01, FM-TEN-02, FM-ENC-02: the first fault."""
        if self._fault is None and (self._at != self._size or self._rest):
            self._fault = FedmedError("FM-TEN-01", f"expected {self._size} bytes of tensors, got fewer or more")
        if self._fault is not None:
            raise self._fault

    def _head(self, view: memoryview) -> int:
        part = self._header[self._at : self._at + len(view)]
        if view[: len(part)] != part:
            self._fault = FedmedError("FM-TEN-01", "the table of tensors is not the federation's")
        return len(part)

    def _numbers(self, view: memoryview) -> int:
        """Check what lies here of one entry; returns how many bytes that was."""
        behind = self._at - len(self._header)
        if self._entry is None or behind == self._entry.end:
            self._entry, self._index = next(self._entries, None), -1
        entry = self._entry
        if entry is None:
            self._fault = FedmedError("FM-TEN-01", f"expected {self._size} bytes of tensors, got more")
            return len(view)
        count = min(len(view), entry.end - behind) // entry.dtype.itemsize
        if count:
            numbers, form = np.frombuffer(view, entry.dtype, count), self._encoding.of(entry.tensor)
            found = encoding.fault(form, entry.part, numbers, self._index, entry.tensor.size)
            if found is not None:
                self._fault = FedmedError(found[0], f"{entry.name}: {found[1]}")
            self._index = int(numbers[-1]) if entry.part == ":i" else -1
        return count * entry.dtype.itemsize


class Unpacked:
    """An inspector of a compressed payload: looks at the frame and at what lies in it."""

    def __init__(self, layout: Layout) -> None:
        self._inner = Inspector(layout)
        self._unpacker = compression.Unpacker(layout.regions, self._inner.feed)

    def feed(self, data: bytes) -> None:
        self._unpacker.feed(data)

    def close(self) -> None:
        """Raises FedmedError FM-ENC-03, and as `Inspector`."""
        self._unpacker.close()
        self._inner.close()
