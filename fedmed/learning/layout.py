"""How an update is written: which entries its payload has, of which dtype and where. No arrays here.

Like every payload of tensors it is a safetensors file whose header follows from the table, byte for byte what the stock
writer emits: entries by dtype, the widest first, then by name. Source: the safetensors format; FORMAT.md section 4.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from itertools import groupby
from typing import TYPE_CHECKING, Literal

from fedmed.learning import compression, shapes
from fedmed.learning.shapes import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from fedmed.learning.payloads import Inspector, Unpacked
    from fedmed.learning.shapes import Table

Form = Literal["fp32", "fp16", "bf16", "int8", "topk"]
Coding = Literal["none", "zstd"]
Ring = Literal[0, 32, 64]
MASKED = "masked"  # the one entry of a masked update, and its group
BLOCK = 64  # numbers that share a scale
SMALL = 64  # a tensor of fewer numbers stays as it is: the header would grow by more than is saved
MAX_HEADER = 16 << 20  # bytes of a payload's own word about its tensors that are looked at: more than any table has
_WIDTHS = {"U64": 8, "F32": 4, "U32": 4, "BF16": 2, "F16": 2, "I8": 1}  # bytes of one number, in the order of the file


@dataclass(frozen=True)
class Encoding:
    """What the recipe says of updates. `fraction` is for `topk`: the share of a tensor's numbers that is sent."""

    form: Form = "fp32"
    fraction: float | None = None

    def of(self, tensor: Tensor) -> Form:
        """The form of one tensor.

        Running statistics stay as they are: a variance whose change was rounded can fall below zero, and its root is
        no number then. SCAFFOLD's variates are no changes that could come a round later, so `topk` is not for them.
        """
        if tensor.group == "buffer" or tensor.size < SMALL:
            return "fp32"
        return "bf16" if tensor.group == "control" and self.form == "topk" else self.form

    def parts(self, tensor: Tensor) -> list[tuple[str, str, tuple[int, ...]]]:
        """The entries of one tensor: the end of the name, dtype as safetensors calls it, shape."""
        form, size = self.of(tensor), tensor.size
        if form == "int8":
            return [(":q", "I8", (size,)), (":s", "F16", (-(-size // BLOCK),))]
        if form == "topk":
            kept = self.kept(size)
            return [(":i", "U32", (kept,)), (":v", "F16", (kept,))]
        return [("", {"fp32": "F32", "fp16": "F16", "bf16": "BF16"}[form], tensor.shape)]

    def kept(self, size: int) -> int:
        """How many of `size` numbers are sent by `topk`: the fraction as the recipe writes it, rounded up."""
        return math.ceil(Decimal(repr(self.fraction)) * size) if self.fraction else 0


PLAIN = Encoding()


@dataclass(frozen=True)
class Entry:
    """One entry of the payload: part `part` of `tensor`, at `offset` behind the header."""

    tensor: Tensor
    part: str
    kind: str
    shape: tuple[int, ...]
    offset: int

    @property
    def name(self) -> str:
        return self.tensor.name + self.part

    @property
    def width(self) -> int:
        """Bytes of one number."""
        return _WIDTHS[self.kind]

    @property
    def end(self) -> int:
        return self.offset + self.width * math.prod(self.shape)


@dataclass(frozen=True)
class Layout:
    """A table in an encoding, compressed or not. Without both it is that of `params`: the names, in float32.

    With a `ring` it is one vector of whole numbers modulo 2^ring: all elements of the table, and what they count.
    """

    table: Table
    encoding: Encoding = PLAIN
    coding: Coding = "none"
    ring: Ring = 0

    @property
    def is_plain(self) -> bool:
        """Whether the flat vector lies in the payload as it stands."""
        return self.encoding == PLAIN and self.coding == "none" and not self.ring

    @cached_property
    def entries(self) -> list[Entry]:
        """In the order of the file."""
        if self.ring:
            vector = Tensor(MASKED, (shapes.elements(self.table) + 1,), MASKED)
            return [Entry(vector, "", f"U{self.ring}", vector.shape, 0)]
        found = [(tensor, *part) for tensor in self.table for part in self.encoding.parts(tensor)]
        order = list(_WIDTHS)
        found.sort(key=lambda each: (order.index(each[2]), each[0].name + each[1]))
        entries: list[Entry] = []
        for tensor, part, kind, shape in found:
            offset = entries[-1].end if entries else 0
            entries.append(Entry(tensor, part, kind, shape, offset))
        return entries

    @cached_property
    def header(self) -> bytes:
        return shapes.header((each.name, each.kind, each.shape, each.end - each.offset) for each in self.entries)

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
        widths = groupby(self.entries, key=lambda each: each.width)
        return [(1, len(self.header)), *((width, sum(each.end - each.offset for each in run)) for width, run in widths)]

    @property
    def with_feedback(self) -> list[str]:
        """The tensors of which a part is left out in each round and comes later, by name."""
        return sorted(tensor.name for tensor in self.table if self.encoding.of(tensor) == "topk")

    def inspector(self) -> Inspector | Unpacked:
        """Who looks at the payload as it travels."""
        from fedmed.learning import payloads  # noqa: PLC0415 - numpy, for who reads numbers alone

        return payloads.inspector(self)

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


def agreed(
    table: Table, *, control: bool, encoding: Form, fraction: float | None, compress: Coding, ring: Ring = 0
) -> Layout:
    """How updates are written where hospitals agreed to this table, and to a recipe that says so much of updates."""
    return Layout(shapes.travelling(table, control=control), Encoding(encoding, fraction), compress, ring)


def stated_header(read: Callable[[int, int], bytes], coding: Coding) -> bytes:
    """The JSON text of a payload that nobody has verified, as far as it is there. `read(offset, size)`."""
    if coding == "zstd":
        frame = read(0, MAX_HEADER)
        return stated_header(lambda offset, size: compression.beginning(frame, offset + size)[offset:], "none")
    return read(8, min(int.from_bytes(read(0, 8), "little"), MAX_HEADER))


def told(header: bytes) -> str:
    """The encoding that a header speaks of, by the dtypes that stand in it; for people, nothing is checked."""
    if header.startswith(b'{"' + MASKED.encode() + b'":{"dtype":"U'):
        return MASKED
    told_by = {"int8": b"I8", "topk": b"U32", "bf16": b"BF16", "fp16": b"F16", "fp32": b"F32"}
    return next((form for form, dtype in told_by.items() if b'"dtype":"' + dtype + b'"' in header), "unknown")
