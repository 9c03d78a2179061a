"""A folder again, in half the time that `shutil.copytree` takes: tests copy whole federations of small files."""

from __future__ import annotations

import os  # a Path for each of ten thousand files would cost more than the copy
from typing import TYPE_CHECKING

from fedmed import files

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def tree(source: Path, target: Path, leave_out: Callable[[str], bool] = lambda _: False) -> Path:
    """`source` as a new folder `target`: bytes, modes and times of files; names that are `leave_out` stay away."""
    target.parent.mkdir(parents=True, exist_ok=True)
    _copy(os.fspath(source), os.fspath(target), leave_out)
    return target


def _copy(source: str, target: str, leave_out: Callable[[str], bool]) -> None:
    os.mkdir(target)  # noqa: PTH102
    with os.scandir(source) as entries:
        for entry in entries:
            if leave_out(entry.name):
                continue
            if entry.is_dir():
                _copy(entry.path, f"{target}/{entry.name}", leave_out)
            else:
                _copy_file(entry.path, f"{target}/{entry.name}")
    os.chmod(target, os.stat(source).st_mode)  # noqa: PTH101, PTH116


def _copy_file(source: str, target: str) -> None:
    with open(source, "rb", buffering=0) as old:
        found = os.fstat(old.fileno())
        fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, found.st_mode)
        try:
            files.write_all(fd, old.readall())
            os.utime(fd, ns=(found.st_atime_ns, found.st_mtime_ns))
        finally:
            os.close(fd)
