"""The parameter table: name, shape and group of every tensor, and the header that follows from it. No arrays here.

A payload of tensors is a safetensors file whose header is derived from the federation's parameter table, byte for byte
what the stock writer emits. Source: the safetensors format; FORMAT.md section 4.
"""

from __future__ import annotations

import functools
import hashlib
import json
import math
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from fedmed.errors import FedmedError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

MAX_TENSORS, MAX_ELEMENTS = 20_000, 2**31 - 4096
CONTROL = "control"
_NAME = re.compile(r"[A-Za-z0-9_]+(?:\.[A-Za-z0-9_]+)*")
_RESERVED = "__metadata__"  # safetensors' own key


@dataclass(frozen=True)
class Tensor:
    """One row of the parameter table. `group` is `param` (learned) or `buffer` (floating-point state), and of what
    travels beside them `control` (the control variates of what is learned).
    """

    name: str
    shape: tuple[int, ...]
    group: str

    @property
    def size(self) -> int:
        return math.prod(self.shape)


Table = tuple[Tensor, ...]


def table_from_rows(rows: Iterable[Mapping[str, Any]]) -> Table:
    """A checked table. Raises FedmedError FM-TEN-01 for what no network of fedmed has."""
    try:
        table = tuple(Tensor(str(row["name"]), tuple(row["shape"]), str(row["group"])) for row in rows if len(row) == 3)
    except (KeyError, TypeError) as error:
        raise FedmedError("FM-TEN-01", "the parameter table is not a list of name, shape, group") from error
    for tensor in table:
        whole = all(type(n) is int and 0 < n < 2**31 for n in tensor.shape) and len(tensor.shape) <= 8
        named = _NAME.fullmatch(tensor.name) is not None and tensor.name != _RESERVED
        if not (whole and named and tensor.group in ("param", "buffer")):
            raise FedmedError("FM-TEN-01", f"the parameter table has a row that no network has: {tensor.name[:80]!r}")
    names = {tensor.name for tensor in table}
    if not 0 < len(names) == len(table) <= MAX_TENSORS or elements(table) > MAX_ELEMENTS:
        raise FedmedError("FM-TEN-01", "the parameter table is empty, repeats a name or is too large")
    return table


def table_to_bytes(table: Table) -> bytes:
    """tensors.json."""
    rows = [{"group": tensor.group, "name": tensor.name, "shape": list(tensor.shape)} for tensor in table]
    return json.dumps(rows, separators=(",", ":"), sort_keys=True).encode()


@functools.lru_cache(maxsize=8)  # as a recipe
def table_from_bytes(data: bytes) -> Table:
    """Raises FedmedError FM-TEN-01, also when the bytes are not the one encoding of the table."""
    try:
        rows = json.loads(data)
        table = table_from_rows(rows if isinstance(rows, list) else [])
    except (ValueError, RecursionError) as error:
        raise FedmedError("FM-TEN-01", "tensors.json is not JSON") from error
    if table_to_bytes(table) != data:
        raise FedmedError("FM-TEN-01", "tensors.json is not in canonical form")
    return table


def part_table(table: Table, part: str, names: Collection[str] | Literal["all", "param"]) -> Table:
    """Rows of `table` under the names PART/NAME: all of them, those that are learned, or the ones that are named.

    Raises FedmedError FM-TEN-01 for a name that the table lacks.
    """
    if isinstance(names, str):
        chosen = [tensor for tensor in table if names in ("all", tensor.group)]
    else:
        chosen = [tensor for tensor in table if tensor.name in names]
        if len(chosen) != len(names):
            raise FedmedError("FM-TEN-01", f"the part {part} has a tensor that the federation's table lacks")
    return tuple(replace(tensor, name=f"{part}/{tensor.name}") for tensor in chosen)


def travelling(table: Table, *, control: bool) -> Table:
    """The table of a model and of an update: with `control`, every row that is learned has one for its control variate
    beside it, `control/NAME` of group `control`.
    """
    variates = part_table(table, CONTROL, "param") if control else ()
    return (*table, *(replace(tensor, group=CONTROL) for tensor in variates))


def elements(table: Table) -> int:
    """How many float32 numbers a payload of this table holds."""
    return sum(tensor.size for tensor in table)


def wire_table(table: Table) -> bytes:
    """The safetensors header of a payload whose tensors are all F32: by name, as the stock writer orders them."""
    return header((tensor.name, "F32", tensor.shape, 4 * tensor.size) for tensor in in_wire_order(table))


def header(entries: Iterable[tuple[str, str, tuple[int, ...], int]]) -> bytes:
    """The safetensors header of entries with name, dtype, shape and bytes: its length as u64, then compact JSON padded
    with blanks to 8 bytes.
    """
    found, offset = {}, 0
    for name, dtype, shape, size in entries:
        found[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(found, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def digest(table: Table) -> str:
    """SHA-256 of the wire table: `tensor_table` in a statement."""
    return hashlib.sha256(wire_table(table)).hexdigest()


def payload_size(table: Table) -> int:
    return len(wire_table(table)) + 4 * elements(table)


def in_wire_order(table: Table) -> list[Tensor]:
    return sorted(table, key=lambda tensor: tensor.name)


def stretches(table: Table) -> list[tuple[int, int, str]]:
    """Start, stop and group of each stretch of the flat vector whose tensors are of one group."""
    found: list[tuple[int, int, str]] = []
    offset = 0
    for tensor in in_wire_order(table):
        stop = offset + tensor.size
        if found and found[-1][2] == tensor.group:
            found[-1] = (found[-1][0], stop, tensor.group)
        else:
            found.append((offset, stop, tensor.group))
        offset = stop
    return found
