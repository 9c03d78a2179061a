"""Params (name -> array), and their one encoding on the wire.

Behind the header of `shapes` a payload is one flat vector of little-endian float32. Source: FORMAT.md section 4.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fedmed.errors import FedmedError
from fedmed.learning.shapes import CONTROL, in_wire_order, payload_size, wire_table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fedmed.learning.shapes import Table

Params = dict[str, np.ndarray]
# No weight is anywhere near it, and a mean of such numbers cannot overflow: one absurd update must not stop a round.
MAX_MAGNITUDE = np.float32(1e30)


def with_control(params: Mapping[str, np.ndarray], control: Mapping[str, np.ndarray]) -> Params:
    """Both in one, as they travel."""
    return {**params, **{f"{CONTROL}/{name}": array for name, array in control.items()}}


def without_control(found: Mapping[str, np.ndarray]) -> tuple[Params, Params]:
    """The params and the control variates of what travelled; these are none where the table has none."""
    names = {name: name.removeprefix(f"{CONTROL}/") for name in found}
    params = {name: found[name] for name, plain in names.items() if name == plain}
    return params, {plain: found[name] for name, plain in names.items() if name != plain}


def are_finite(array: np.ndarray) -> bool:
    """No NaN, no infinity and nothing beyond MAX_MAGNITUDE.

    Nothing as long as the array is made for it; a NaN is the smallest and the largest.
    """
    return not array.size or bool(array.min() >= -MAX_MAGNITUDE and array.max() <= MAX_MAGNITUDE)


def to_payload(params: Mapping[str, np.ndarray], table: Table) -> bytes:
    """The payload of `params`.

    Raises FedmedError FM-TEN-01 (other names or shapes), FM-TEN-02 (NaN or beyond MAX_MAGNITUDE).
    """
    check(params, table)
    parts = [wire_table(table)]
    for tensor in in_wire_order(table):
        array = np.ascontiguousarray(params[tensor.name], "<f4")
        require_finite(tensor.name, array)
        parts.append(array.tobytes())
    return b"".join(parts)


def require_finite(name: str, array: np.ndarray) -> None:
    """Raises FedmedError FM-TEN-02: NaN or beyond MAX_MAGNITUDE."""
    if not are_finite(array):
        expected = f"expected numbers up to {MAX_MAGNITUDE:.0e}"
        raise FedmedError("FM-TEN-02", f"{name}: {expected}, got NaN, infinity or beyond")


def from_payload(data: bytes, table: Table) -> Params:
    """The params of a verified payload, as arrays of their own. Raises FedmedError FM-TEN-01."""
    header = wire_table(table)
    if data[: len(header)] != header or len(data) != payload_size(table):
        raise FedmedError("FM-TEN-01", "the payload's tensors are not exactly those of the federation")
    params, offset = {}, len(header)
    for tensor in in_wire_order(table):
        flat = np.frombuffer(data, "<f4", count=tensor.size, offset=offset)
        params[tensor.name] = flat.reshape(tensor.shape).astype(np.float32)
        offset += 4 * tensor.size
    return params


def subtract(left: Mapping[str, np.ndarray], right: Mapping[str, np.ndarray]) -> Params:
    """left - right, name by name."""
    return {name: left[name] - right[name] for name in left}


def add(left: Mapping[str, np.ndarray], right: Mapping[str, np.ndarray]) -> Params:
    """left + right, name by name: of float32 the same bits as a sum in float64 that is rounded to float32."""
    with np.errstate(over="ignore"):  # who goes on from it refuses what is not finite
        return {name: left[name] + right[name] for name in left}


def check(params: Mapping[str, np.ndarray], table: Table) -> None:
    """Exactly the names and shapes of the table. Raises FedmedError FM-TEN-01."""
    expected = {tensor.name: tensor.shape for tensor in table}
    found = {name: tuple(array.shape) for name, array in params.items()}
    if found != expected:
        wrong = next(name for name in sorted({*expected, *found}) if expected.get(name) != found.get(name))
        raise FedmedError("FM-TEN-01", f"{wrong}: expected shape {expected.get(wrong)}, got {found.get(wrong)}")
