"""Where to compute, and what a device says when it is missing or full."""

from __future__ import annotations

import re
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

import torch

from fedmed.errors import FedmedError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

_NAME = re.compile(r"auto|cpu|mps|cuda(:(0|[1-9][0-9]?))?")


def pick(name: str) -> torch.device:
    """`auto` (the first CUDA device, else the CPU), `cpu` (touches nothing else), `cuda`, `cuda:N` or `mps`.

    `auto` never takes `mps`, on which fedmed is not tested. Raises FedmedError FM-USE-01 for another
    name, FM-RES-03 when the device is not there.
    """
    if not _NAME.fullmatch(name):
        raise FedmedError("FM-USE-01", "device: expected auto, cpu, mps, cuda or cuda:N", local=name)
    if name == "cpu" or (name == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    if name == "mps":
        there = torch.backends.mps.is_available()
    else:
        number = int(name.partition(":")[2] or 0)
        there = torch.cuda.is_available() and number < torch.cuda.device_count()
    if not there:
        raise FedmedError("FM-RES-03", f"device {name}: not found, this computer has {', '.join(_present())}")
    return torch.device("cuda" if name == "auto" else name)


def _present() -> list[str]:
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    mps = ["mps"] if torch.backends.mps.is_available() else []
    return ["cpu", *(f"cuda:{number}" for number in range(count)), *mps]


def autocast(device: torch.device) -> AbstractContextManager[object]:
    """bfloat16 where a CUDA device computes it by itself; full precision anywhere else."""
    if device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False):
        return torch.autocast(device.type, dtype=torch.bfloat16)
    return nullcontext()


def seed(device: torch.device, number: int) -> None:
    """What `device` draws next. `torch.manual_seed` would also note for CUDA from where it was called, which takes as
    long as a step of a small network.
    """
    if device.type == "cpu":
        torch.default_generator.manual_seed(number)
    else:
        torch.manual_seed(number)


def is_full(error: BaseException) -> bool:
    """Whether a device had no memory left. Of the CPU's own case torch has only words."""
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "can't allocate memory" in str(error)


@contextmanager
def out_of_memory(device: torch.device) -> Iterator[None]:
    """Turn a full device, or a loader process that was ended for want of memory, into FedmedError FM-RES-04.

    Torch gives the CPU's own case and the loader's no type, only words.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if str(error).startswith("DataLoader worker"):
            what, next_ = (
                "a loader process ended early, probably for want of memory",
                "set num_workers: 0 in fedmed.yaml",
            )
            raise FedmedError("FM-RES-04", what, next=next_, local=str(error)) from error
        if not is_full(error):
            raise
        raise FedmedError("FM-RES-04", f"device {device}: out of memory", local=str(error)) from error
