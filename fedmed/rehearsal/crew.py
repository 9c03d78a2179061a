"""Worker processes, so that a rehearsal uses all cores. Every act of an actor runs in one of them, one at a time: an
actor's log belongs to its process.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import connection
from typing import TYPE_CHECKING, Any, ParamSpec, Self, TypeVar

from fedmed import files
from fedmed.errors import FedmedError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

P = ParamSpec("P")
T = TypeVar("T")

FORKS = sys.platform == "linux"
# what an act needs, imported once and then forked; of images, and of tables alone
IMAGES = (
    "fedmed.site.partition",
    "fedmed.cases.fingerprint",
    "fedmed.training.convolutional",
    "fedmed.training.overlap",
    "fedmed.training.patches",
    "fedmed.training.boxed",
)
TABLES = (
    "fedmed.rehearsal.models",
    "fedmed.training.fit",
    "fedmed.training.rows",
    "fedmed.training.scoring",
    "fedmed.training.tabular",
)


class Crew:
    """As many processes as can work at once; use as a context manager.

    On Linux they are forks of one process that has torch behind it and does nothing else, elsewhere each loads it anew.
    """

    def __init__(self, at_once: int, *, images: bool = True) -> None:
        """`at_once`: the most acts that can ever run side by side. Without `images` no act wants monai."""
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        workers = max(1, min(cores, at_once))
        warm(images=images)
        context = multiprocessing.get_context("forkserver" if FORKS else "spawn")
        self._pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_begin)

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


def warm(*, images: bool) -> None:
    """Start the process that the crew will be forked from: it imports while this one goes on. A fork of this process
    itself would copy half-open locks and threads. A second call changes nothing.
    """
    if FORKS:
        from multiprocessing import forkserver  # noqa: PLC0415 - not everywhere

        forkserver.set_forkserver_preload(["__main__", *TABLES, *(IMAGES if images else ())])
        forkserver.ensure_running()


def _begin() -> None:
    """In a new process. One thread each: sums depend on their number, and a simulation that is gone on with on other
    cores, or with more seeds, must end with the same numbers.
    """
    files.Process.is_durable = False
    os.environ["OMP_NUM_THREADS"] = "1"  # where torch is not loaded yet
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A parent that was killed tells nobody; a worker that went on would hold a workspace's lock."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)
