"""Files below the data root: listed without ever following a link out of it, and opened only when regular."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from fedmed import files
from fedmed.errors import FedmedError

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Tree:
    """POSIX paths below a root, sorted; `outside` counts the links that lead out of it, or in a ring, and were not
    followed. Bytes of a name that are no UTF-8 stand as `\\udcff`: such a path is listed, and refused by `locate`.
    """

    files: tuple[str, ...]
    folders: tuple[str, ...]
    outside: int


def walk(root: Path) -> Tree:
    """Everything below `root` but hidden names (`._scan.nii.gz` is a leftover of macOS, not a scan).

    Raises FedmedError FM-DAT-04.
    """
    try:
        real_root = root.resolve(strict=True)
        found: list[str] = []
        folders: list[str] = []
        outside = 0
        todo = [(real_root, "")]
        seen = {real_root}
        while todo:
            folder, prefix = todo.pop()
            with os.scandir(folder) as entries:
                for entry in entries:
                    if entry.name.startswith("."):
                        continue
                    real = _target(folder / entry.name) if entry.is_symlink() else folder / entry.name
                    name = prefix + entry.name.encode("utf-8", "backslashreplace").decode()
                    if real is None or not real.is_relative_to(real_root):
                        outside += 1
                    elif entry.is_file():
                        found.append(name)
                    elif entry.is_dir() and real not in seen:  # a link back up would never end
                        seen.add(real)
                        folders.append(name)
                        todo.append((real, f"{name}/"))
    except (OSError, RuntimeError) as error:
        raise FedmedError("FM-DAT-04", "the data folder cannot be listed", local=f"{root}: {error}") from error
    return Tree(tuple(sorted(found)), tuple(sorted(folders)), outside)


def _target(link: Path) -> Path | None:
    """Where a link leads; None for links that lead to each other."""
    try:
        return link.resolve()
    except (OSError, RuntimeError):
        return None


def require_folder(root: Path) -> None:
    """Raises FedmedError FM-DAT-04 where nothing is below `root`: also what an unmounted disk leaves is empty."""
    try:
        with os.scandir(root) as entries:
            if any(True for _ in entries):
                return
    except OSError as error:
        raise FedmedError("FM-DAT-04", "the data folder cannot be listed", local=f"{root}: {error}") from error
    raise FedmedError("FM-DAT-04", "the data folder: expected images, got an empty folder", local=str(root))


def locate(root: Path, relative: str, where: str) -> Path:
    """The real place of a path below the root. Raises FedmedError FM-DAT-15 where it leads outside, -16 for a name that
    cases.json could not hold.
    """
    if "\\" in relative:
        message = f"{where}: the name of a file or folder is not UTF-8, or has a backslash in it"
        raise FedmedError("FM-DAT-16", message, next="rename it in a copy of the folder", local=relative)
    try:
        path, real_root = (root / relative).resolve(), root.resolve()
    except (OSError, RuntimeError, ValueError) as error:
        raise FedmedError("FM-DAT-16", f"{where}: a file cannot be opened", local=f"{relative}: {error}") from error
    if not path.is_relative_to(real_root):
        raise FedmedError("FM-DAT-15", f"{where}: a path leads out of the data folder", local=relative)
    return path


def open_file(path: Path, where: str) -> BinaryIO:
    """A regular file for reading. Raises FedmedError FM-DAT-16."""
    try:
        return os.fdopen(files.open_regular(path), "rb")
    except OSError as error:
        raise FedmedError("FM-DAT-16", f"{where}: a file cannot be opened", local=f"{path}: {error}") from error
