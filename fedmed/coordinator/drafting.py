"""One pass over the updates of a round: their inner products, and what a strategy makes of them, into the spool."""

from __future__ import annotations

import hashlib
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fedmed import files
from fedmed.coordinator import model
from fedmed.exchange import artifact, states
from fedmed.exchange.artifact import Content
from fedmed.learning import params, shapes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from fedmed.coordinator.updates import FileUpdates
    from fedmed.learning.shapes import Table
    from fedmed.learning.strategy import Block, Strategy, Weights


@dataclass(frozen=True)
class Draft:
    """The next model's payload and that of a strategy's memory, if it has one. Nobody has signed them."""

    model: Content
    memory: Content | None


@dataclass(frozen=True)
class _Part:
    """A block's part of everything: bytes of the model and of each remembered vector, and of the inner products."""

    stop: int
    vectors: list[memoryview]
    is_finite: bool
    products: np.ndarray | None


def draft(
    spool: Path,
    updates: FileUpdates,
    strategy: Strategy,
    weights: Weights,
    *,
    compare: Callable[[Block], np.ndarray] | None,
    done: Callable[[int], None],
) -> tuple[np.ndarray, Draft | None]:
    """Inner products of the updates and the draft, None when a number of it is not finite.

    `compare` makes a block's part of the products (`screen`); without it they are zeros.

    Raises FedmedError FM-TRU-11 when a file of the archive rotted, FM-RES-*; nothing is left in the spool then.
    """

    def work(block: Block) -> _Part:
        combined = strategy.combine(block, weights)
        found = (combined.base, *(combined.memory[name] for name in strategy.memory))
        vectors = [array.astype("<f4", copy=not array.flags.owndata) for array in found]  # a block is written over
        products = compare(block) if compare else None
        is_finite = all(map(params.are_finite, vectors))
        return _Part(block.start + len(block.base), [_bytes_of(each) for each in vectors], is_finite, products)

    total, is_finite = np.zeros((len(updates.meta), len(updates.meta))), True
    paths = [spool / f"{name}.draft" for name in ("", *strategy.memory)]
    header = shapes.wire_table(updates.table)
    digest = hashlib.sha256(header)
    with _dropped_on_error(paths), ExitStack() as stack:
        sinks = [stack.enter_context(files.Sink(path, durable=False)) for path in paths]
        sinks[0].write(header)
        for part in stack.enter_context(closing(updates.map(work))):
            total += 0 if part.products is None else part.products
            is_finite = is_finite and part.is_finite
            if is_finite:
                digest.update(part.vectors[0])
                for sink, data in zip(sinks, part.vectors, strict=True):
                    sink.write(data)
            done(part.stop)
    if not is_finite:
        return total, None
    content = artifact.file_content(model.PAYLOAD, paths[0], shapes.payload_size(updates.table), digest.hexdigest())
    return total, Draft(content, _memory(updates.table, strategy.memory, paths[1:]))


def _bytes_of(array: np.ndarray) -> memoryview:
    return np.ascontiguousarray(array).view(np.uint8).data


def memory_table(table: Table, names: Sequence[str]) -> Table:
    """Rows of what a strategy remembers: every vector has all rows of the model, one vector after the other by name."""
    return tuple(row for name in names for row in shapes.part_table(table, name, "all"))


def _memory(table: Table, names: Sequence[str], paths: Sequence[Path]) -> Content | None:
    """Hashed at the end: the vectors grew side by side and stand one behind the other."""
    if not names:
        return None
    rows = memory_table(table, names)

    def chunks() -> Iterator[bytes]:
        yield shapes.wire_table(rows)
        for _, path in sorted(zip(names, paths, strict=True)):
            yield from files.chunks_of(path)

    digest = hashlib.sha256()
    for chunk in chunks():
        digest.update(chunk)
    return Content(states.PAYLOAD, artifact.SAFETENSORS, shapes.payload_size(rows), digest.hexdigest(), chunks)


@contextmanager
def _dropped_on_error(paths: Sequence[Path]) -> Iterator[None]:
    try:
        yield
    except BaseException:
        for path in paths:
            path.unlink(missing_ok=True)
        raise
