"""The updates of a round as bounded blocks: read side by side, hashed again on the way and worked on by several cores.

Each thread takes the next chunk of all files through reading, hashing and work; the one behind it reads a file as soon
as the one before is done with it, and no thread waits for all others. Where blocks begin and end depends on the table
alone, and results are handed on in order: the numbers are the same for any number of threads.
"""

from __future__ import annotations

import os
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from queue import SimpleQueue
from threading import Event
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from threadpoolctl import threadpool_limits

from fedmed.learning import shapes
from fedmed.learning.strategy import Block

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
    from concurrent.futures import Future

    from fedmed.coordinator.sources import Source, Vector
    from fedmed.learning.shapes import Table
    from fedmed.learning.strategy import Meta

T = TypeVar("T")
Span = tuple[int, int, str]
CHUNK = 1 << 16  # elements of a block at most, and of every file in a thread's buffer: 0.25 MB a site
MAX_THREADS = 4


@dataclass(frozen=True)
class FileUpdates:
    """`learning.strategy.Updates` over files: memory of a chunk a file and thread, whatever the model's size.

    `memory` are the vectors that the strategy remembers; None is one of zeros. `threads` 0: one for each core, at
    most MAX_THREADS.
    """

    table: Table
    base: Vector
    updates: Sequence[Vector]
    meta: Sequence[Meta]
    memory: Mapping[str, Vector | None] = field(default_factory=dict)
    threads: int = 0

    def map(self, work: Callable[[Block], T]) -> Generator[T]:
        """`work(block)` of every block, in order. Raises FedmedError FM-TRU-11 when a file rotted.

        No thread outlives the iterator, however it ends.
        """
        threads = self.threads or min(MAX_THREADS, _cores())
        with ExitStack() as stack:
            stack.enter_context(threadpool_limits(1, "blas"))  # its threads and these would wait for each other
            sources = self._open(stack)
            buffers: SimpleQueue[np.ndarray] = SimpleQueue()
            for _ in range(threads):
                buffers.put(np.zeros((len(sources), CHUNK), "<f4"))
            pool = stack.enter_context(_pool(threads))

            def step(spans: list[Span], turns: list[Event], following: list[Event]) -> list[T]:
                rows = buffers.get()
                try:
                    _fill(sources, rows[:, : spans[-1][1] - spans[0][0]], turns, following)
                    return _work(work, self._blocks(rows, spans))
                finally:
                    buffers.put(rows)

            turns = [Event() for _ in sources]
            _give(turns)
            running: deque[Future[list[T]]] = deque()
            for spans in _chunks(self.table):
                following = [Event() for _ in sources]
                running.append(pool.submit(step, spans, turns, following))
                turns = following
                if len(running) > 2 * threads:
                    yield from running.popleft().result()
            for each in running:
                yield from each.result()
            for source in sources:
                source.end()

    def _open(self, stack: ExitStack) -> list[Source]:
        header = len(shapes.wire_table(self.table))
        vectors = (self.base, *self.updates, *filter(None, self.memory.values()))
        return [vector.open(stack, header) for vector in vectors]

    def _blocks(self, rows: np.ndarray, spans: list[Span]) -> list[Block]:
        """Views of a buffer that holds the chunk of these spans."""
        sites, found = len(self.updates), []
        for start, stop, group in spans:
            part = rows[:, start - spans[0][0] : stop - spans[0][0]]
            remembered = iter(part[sites + 1 :])
            memory = {
                name: next(remembered) if vector else _zeros(stop - start) for name, vector in self.memory.items()
            }
            found.append(Block(start, group, part[0], part[1 : sites + 1], memory))
        return found


def _chunks(table: Table) -> Iterator[list[Span]]:
    """Start, stop and group of every block, by the chunk in which it lies."""
    spans: list[Span] = []
    for first, stop, group in shapes.stretches(table):
        start = first
        while start < stop:
            end = min(stop, (start // CHUNK + 1) * CHUNK)
            spans.append((start, end, group))
            if end % CHUNK == 0:
                yield spans
                spans = []
            start = end
    if spans:
        yield spans


def _zeros(size: int) -> np.ndarray:
    """Of no memory of their own."""
    return np.broadcast_to(np.zeros(1, "<f4"), size)


def _fill(sources: Sequence[Source], rows: np.ndarray, turns: Sequence[Event], following: Sequence[Event]) -> None:
    """Each file in its turn, then it is the next chunk's; after a failure at once, so that nobody waits for ever."""
    try:
        for source, row, turn, next_ in zip(sources, rows, turns, following, strict=True):
            turn.wait()
            source.fill(row)
            next_.set()
    finally:
        _give(following)


def _give(turns: Sequence[Event]) -> None:
    for turn in turns:
        turn.set()


def _work(work: Callable[[Block], T], blocks: Sequence[Block]) -> list[T]:
    with np.errstate(all="ignore"):  # of a rotten file, which is told when its end is reached
        return [work(block) for block in blocks]


@contextmanager
def _pool(threads: int) -> Iterator[ThreadPoolExecutor]:
    pool = ThreadPoolExecutor(threads)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
