"""Worker processes, so that a rehearsal uses all cores. Every act of an actor runs in one of them, one at a time: an
actor's log belongs to its process.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import connection
from typing import TYPE_CHECKING, Any, ParamSpec, Self, TypeVar

from fedmed.errors import FedmedError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

P = ParamSpec("P")
T = TypeVar("T")


class Crew:
    """As many processes as can work at once; use as a context manager."""

    def __init__(self, at_once: int) -> None:
        """`at_once`: the most acts that can ever run side by side."""
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        workers = max(1, min(cores, at_once))
        self._pool = ProcessPoolExecutor(
            workers,
            mp_context=multiprocessing.get_context("spawn"),  # a fork would copy half-open locks and threads
            initializer=_begin,
        )

    def run(self, act: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """One act; raises what it raises."""
        return _result(self._pool.submit(act, *args, **kwargs))

    def each(self, act: Callable[..., T], rows: Sequence[tuple[Any, ...]], done: Callable[[], None]) -> list[T]:
        """One act a row, side by side; `done` is called behind each, results come in the order of the rows."""
        futures = [self._pool.submit(act, *row) for row in rows]
        for future in futures:
            future.add_done_callback(lambda _: done())
        return [_result(future) for future in futures]

    def stop(self) -> None:
        """No further act begins, whoever asks for it; those that are running come to their end."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)


def _result(future: Future[T]) -> T:
    """What the act gave. Raises what it raised, FedmedError FM-RES-04 when its process was ended from outside."""
    try:
        return future.result()
    except BrokenProcessPool as error:
        raise FedmedError("FM-RES-04", "a worker process ended early, probably for want of memory") from error


def _begin() -> None:
    """In a new process, before torch is loaded. One thread each: sums depend on their number, and a simulation that is
    gone on with on other cores, or with more seeds, must end with the same numbers.
    """
    os.environ["OMP_NUM_THREADS"] = "1"
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A parent that was killed tells nobody; a worker that went on would hold a workspace's lock."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)
