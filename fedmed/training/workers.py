"""How many loader processes prepare and alter samples beside the network. What is learned does not depend on it."""

from __future__ import annotations

import multiprocessing
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch

if TYPE_CHECKING:
    from fedmed.training.samples import Samples

MOST = 4
LIGHT = 64 << 10  # bytes of a sample that is made sooner than another process could hand it over
AHEAD = 2  # batches that torch lets a loader process prepare in advance
SHARED = Path("/dev/shm")  # noqa: S108 - the memory in which batches wait


def count(asked: int | Literal["auto"], drawn: Samples, device: torch.device) -> int:
    """As many as were asked for; with `auto` one for each core that the network leaves idle, at most MOST.

    On a CPU the network wants two cores: with two in all, loader processes gain little (benchmarks/cache.py). None
    where a process cannot be forked (Windows, macOS: torch would be loaded again every round), where this process is
    told to use one core, where samples are small, and where batches would not fit into a container's shared memory.
    """
    if asked != "auto":
        return asked
    if multiprocessing.get_start_method() != "fork" or torch.get_num_threads() == 1 or drawn.sample_bytes < LIGHT:
        return 0
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    free = max(0, min(MOST, cores - (2 if device.type == "cpu" else 1)))
    waiting = drawn.batch_size * drawn.sample_bytes * (AHEAD * free + 1)
    return free if not SHARED.is_dir() or waiting <= shutil.disk_usage(SHARED).free // 2 else 0
