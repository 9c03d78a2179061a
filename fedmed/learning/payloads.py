"""The numbers of an update in the payload that travels: written, read back, and looked at without trusting them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fedmed.errors import FedmedError
from fedmed.learning import compression, encoding, params, shapes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from fedmed.learning.layout import Entry, Layout
    from fedmed.learning.params import Params

_DTYPES = {"U64": "<u8", "F32": "<f4", "U32": "<u4", "BF16": "<u2", "F16": "<f2", "I8": "|i1"}


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


def decode(payload: bytes, layout: Layout) -> Params:
    """The change that a payload says, as whoever receives it reads it.

    Raises FedmedError FM-TEN-01, FM-TEN-02, FM-ENC-02, FM-ENC-03.
    """
    payload = b"".join(layout.unpacked([payload]))
    inspector = Inspector(layout)
    inspector.feed(payload)
    inspector.close()
    flat = np.concatenate(list(decoded(layout, lambda offset, size: payload[offset : offset + size])))
    found, first = {}, 0
    for tensor in shapes.in_wire_order(layout.table):
        found[tensor.name] = flat[first : first + tensor.size].reshape(tensor.shape)
        first += tensor.size
    return found


def decoded(layout: Layout, read: Callable[[int, int], bytes]) -> Iterator[np.ndarray]:
    """The flat vector of the update, as `shapes` orders it, float32, in pieces of bounded size.

    `read(offset, size)` gives bytes of the payload, which was inspected and is not compressed any more.
    """
    places = {(each.tensor.name, each.part): each for each in layout.entries}
    for tensor in shapes.in_wire_order(layout.table):

        def part(end: str, first: int, count: int, name: str = tensor.name) -> np.ndarray:
            entry = places[name, end]
            data = read(len(layout.header) + entry.offset + first * entry.width, count * entry.width)
            return np.frombuffer(data, _DTYPES[entry.kind])

        yield from encoding.decoded(layout.encoding.of(tensor), tensor.size, layout.encoding.kept(tensor.size), part)


def inspector(layout: Layout) -> Inspector | Unpacked:
    """Who looks at the payload as it travels."""
    return Inspector(layout) if layout.coding == "none" else Unpacked(layout)


class Inspector:
    """Is this the payload that the layout describes? Given every byte once, front to back, in pieces of any length."""

    def __init__(self, layout: Layout) -> None:
        self._header, self._encoding, self._ring = layout.header, layout.encoding, layout.ring
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
        count = min(len(view), entry.end - behind) // entry.width
        if count and not self._ring:  # any whole number may be a masked one
            numbers, form = np.frombuffer(view, _DTYPES[entry.kind], count), self._encoding.of(entry.tensor)
            found = encoding.fault(form, entry.part, numbers, self._index, entry.tensor.size)
            if found is not None:
                self._fault = FedmedError(found[0], f"{entry.name}: {found[1]}")
            self._index = int(numbers[-1]) if entry.part == ":i" else -1
        return count * entry.width


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
