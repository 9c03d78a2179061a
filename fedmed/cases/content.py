"""Whether the files of a case are still those that `partition` read: an image rewritten in place keeps its name."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from fedmed import files
from fedmed.cases import paths
from fedmed.cases.layout import LABEL
from fedmed.errors import FedmedError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from fedmed.cases.case import Case


def digest(case: Case, root: Path) -> str:
    """SHA-256 over a case's files (size and SHA-256 of each) and class or boxes: what was learned from, without a name
    or path.

    Raises FedmedError FM-DAT-15 or -16.
    """
    found = hashlib.sha256()
    for channel in sorted(case.image):
        for path in case.image[channel]:
            _hash_into(found, channel, root, path, case.case)
    if isinstance(case.label, int):
        found.update(f"{LABEL} is {case.label}\n".encode())
    elif isinstance(case.label, tuple):
        found.update("".join(f"box {' '.join(map(str, box))}\n" for box in case.label).encode())
        found.update(f"{len(case.label)} boxes\n".encode())
    elif case.label is not None:
        _hash_into(found, LABEL, root, case.label, case.case)
    return found.hexdigest()


def check(cases: Sequence[Case], root: Path, progress: Callable[[int, int], None]) -> None:
    """Read every file of the cases again; `progress` is told (cases done, cases in all).

    Raises FedmedError FM-DAT-04 (no data folder), -46 (another content than at `partition`), -15, -16.
    """
    paths.require_folder(root)  # or a disk that is not mounted would look like one broken case
    for done, case in enumerate(cases, start=1):
        if digest(case, root) != case.content:
            raise FedmedError("FM-DAT-46", f"{case.case}: expected the content that partition read, got another")
        progress(done, len(cases))


def _hash_into(found: hashlib._Hash, role: str, root: Path, relative: str, where: str) -> None:
    path = paths.locate(root, relative, where)
    try:
        found.update(f"{role} {path.stat().st_size} {files.sha256_file(path)}\n".encode())
    except OSError as error:
        raise FedmedError("FM-DAT-16", f"{where}: a file cannot be opened", local=f"{relative}: {error}") from error
