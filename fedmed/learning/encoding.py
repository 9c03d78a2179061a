"""How the numbers of an update are written, and exactly which numbers their receiver reads.

`encode` and `decoded` work on one tensor, flat and in float32. Sender and receiver use the same `decoded`: what a site
believes it has said is what the coordinator adds up. Decoding what was encoded and encoding it again gives the same
numbers in every form, so that nothing is lost twice. Source: FORMAT.md section 4.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fedmed.errors import FedmedError
from fedmed.learning.layout import BLOCK
from fedmed.learning.params import MAX_MAGNITUDE, are_finite

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from fedmed.learning.layout import Form

    Read = Callable[[str, int, int], np.ndarray]  # of which part, from which number on, how many

Parts = dict[str, np.ndarray]  # a tensor as it is written, by the end of the entry's name

CHUNK = 1 << 18  # numbers decoded at a time
STEP_UNIT = np.float32(2**-12)  # a scale of 1: fp16 then reaches from steps of 1.5e-8 to 16
MIN_SCALE, MAX_SCALE = np.float16(2**-14), np.float16(65504)  # the normal numbers of fp16
_MAX_BF16 = np.float32(MAX_MAGNITUDE).view(np.uint32) >> np.uint32(16)  # the bits of the largest that may be said
_REACH = {"fp16": 65504.0, "topk": 65504.0, "int8": 127 * 65504.0 / 4096, "bf16": float(MAX_MAGNITUDE)}


def encode(flat: np.ndarray, form: Form, kept: int) -> Parts:
    """One tensor, float32 [n], written in `form`. Raises FedmedError FM-ENC-01 for what the form cannot say."""
    reach = _REACH.get(form)
    if reach is not None and not (np.abs(flat) <= reach).all():
        raise FedmedError("FM-ENC-01", f"a weight changed by more than {form} can say: expected at most {reach:.3g}")
    if form == "fp16":
        return {"": flat.astype("<f2")}
    if form == "bf16":
        return {"": _to_bf16(flat)}
    if form == "int8":
        return _to_int8(flat)
    return _to_topk(flat, kept) if form == "topk" else {"": flat.astype("<f4", copy=False)}


def _to_bf16(flat: np.ndarray) -> np.ndarray:
    """The upper half of the float's bits, rounded to nearest, ties to even; what would pass the limit stays below."""
    bits = np.ascontiguousarray(flat, np.float32).view(np.uint32)
    odd = (bits >> np.uint32(16)) & np.uint32(1)
    rounded = (bits + np.uint32(0x7FFF) + odd) >> np.uint32(16)
    sign, size = rounded & np.uint32(0x8000), rounded & np.uint32(0x7FFF)
    written: np.ndarray = (sign | np.minimum(size, _MAX_BF16)).astype("<u2")
    return written


def _from_bf16(bits: np.ndarray) -> np.ndarray:
    return (bits.astype(np.uint32) << np.uint32(16)).view(np.float32)


def _to_int8(flat: np.ndarray) -> Parts:
    """Blocks of 64 numbers x = q * step with whole q from -127 to 127; step = scale * 2^-12, the scale in fp16.

    Symmetric absmax in blocks: Dettmers et al., 8-bit Optimizers via Block-wise Quantization, ICLR 2022. The scale is
    never below fp16's normal numbers, so a block of zeros needs no exception and tiny numbers lose no more than half
    of the smallest step.
    """
    blocks = np.pad(flat, (0, -len(flat) % BLOCK)).reshape(-1, BLOCK)
    step = np.abs(blocks).max(1) / np.float32(127)
    scale = np.clip((step / STEP_UNIT).astype(np.float16), MIN_SCALE, MAX_SCALE)
    whole = np.rint(blocks / (scale.astype(np.float32) * STEP_UNIT)[:, None])
    return {":q": np.clip(whole, -127, 127).astype(np.int8).reshape(-1)[: len(flat)], ":s": scale.astype("<f2")}


def _to_topk(flat: np.ndarray, kept: int) -> Parts:
    """The `kept` numbers of largest magnitude, of equal ones those that come first.

    Aji and Heafield, Sparse Communication for Distributed Gradient Descent, EMNLP 2017. Alone it loses most of an
    update: it needs `with_feedback`.
    """
    size = np.abs(flat)
    least = np.partition(size, len(size) - kept)[len(size) - kept]
    above = np.flatnonzero(size > least)
    equal = np.flatnonzero(size == least)[: kept - len(above)]
    index = np.sort(np.concatenate([above, equal]))
    return {":i": index.astype("<u4"), ":v": flat[index].astype("<f2")}


def decoded(form: Form, size: int, kept: int, read: Read) -> Iterator[np.ndarray]:
    """The tensor's numbers from first to last, float32, CHUNK at a time."""
    if form == "topk":
        yield from _from_topk(size, kept, read)
        return
    for first in range(0, size, CHUNK):
        count = min(CHUNK, size - first)
        if form == "int8":
            scale = read(":s", first // BLOCK, -(-count // BLOCK)).astype(np.float32)
            step = np.repeat(scale * STEP_UNIT, BLOCK)[:count]
            yield read(":q", first, count).astype(np.float32) * step
        else:
            part = read("", first, count)
            yield _from_bf16(part) if form == "bf16" else part.astype(np.float32)


def _from_topk(size: int, kept: int, read: Read) -> Iterator[np.ndarray]:
    done = 0
    for first in range(0, size, CHUNK):
        block = np.zeros(min(CHUNK, size - first), np.float32)
        index = read(":i", done, min(len(block), kept - done))
        count = int(np.searchsorted(index, first + len(block)))
        block[index[:count] - first] = read(":v", done, count)
        done += count
        yield block


def decode(parts: Mapping[str, np.ndarray], form: Form, size: int) -> np.ndarray:
    """The whole tensor out of its parts, float32 [n]."""
    kept = len(parts.get(":i", ()))
    return np.concatenate(
        list(decoded(form, size, kept, lambda part, first, count: parts[part][first : first + count]))
    )


def with_feedback(change: np.ndarray, residual: np.ndarray | None, form: Form, kept: int) -> tuple[Parts, np.ndarray]:
    """What is sent of a tensor's change and of what earlier rounds left out, and what is left out now, float32 [n].

    Error feedback: left = (change + residual) - decode(encode(change + residual)). Seide et al., 1-Bit Stochastic
    Gradient Descent, Interspeech 2014; Stich et al., Sparsified SGD with Memory, NeurIPS 2018. Raises FedmedError
    FM-ENC-01.
    """
    wanted = change if residual is None else change + residual
    parts = encode(wanted, form, kept)
    return parts, wanted - decode(parts, form, len(wanted))


def fault(form: Form, part: str, numbers: np.ndarray, before: int, size: int) -> tuple[str, str] | None:
    """What is wrong with a stretch of one part, as code and words; `before` is the index before it, -1 at first."""
    if part == ":q" and (numbers == -128).any():
        return "FM-ENC-02", "expected whole numbers from -127 to 127, got -128"
    if part == ":s" and not ((numbers >= MIN_SCALE) & (numbers <= MAX_SCALE)).all():
        return "FM-ENC-02", "expected scales from 2^-14 to 65504, got another"
    if part == ":i":
        rising = int(numbers[0]) > before and bool((numbers[1:] > numbers[:-1]).all())
        return None if rising and int(numbers[-1]) < size else ("FM-ENC-02", f"expected rising indices below {size}")
    # false also for NaN, whose bits lie above those of infinity
    inside = (numbers & np.uint16(0x7FFF)).max() <= _MAX_BF16 if form == "bf16" else are_finite(numbers)
    return None if inside else ("FM-TEN-02", "expected finite numbers, got NaN, infinity or beyond 1e30")
