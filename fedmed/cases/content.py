"""Whether the files of a case are still those that `partition` read: an image rewritten in place keeps its name."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING

from fedmed import files
from fedmed.cases import paths, tables
from fedmed.cases.layout import LABEL
from fedmed.errors import FedmedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from fedmed.cases.case import Case, Shift
    from fedmed.settings import TableLayout


def digest(case: Case, root: Path) -> str:
    """SHA-256 over a case's files (size and SHA-256 of each), class or boxes, and shift: what was learned from.

    No name and no path goes in.

    Raises FedmedError FM-DAT-15 or -16.
    """
    found = _digest(lines(case, root))
    return found if case.shift is None else shifted(found, case.shift)


def lines(case: Case, root: Path) -> list[str]:
    """What `digest` hashes: a line for each file, those of the images first. Raises FedmedError FM-DAT-15 or -16."""
    found = [_line(channel, root, path, case.case) for channel in sorted(case.image) for path in case.image[channel]]
    if isinstance(case.label, int):
        found.append(f"{LABEL} is {case.label}\n")
    elif isinstance(case.label, tuple):
        found += [*(f"box {' '.join(map(str, box))}\n" for box in case.label), f"{len(case.label)} boxes\n"]
    elif case.label is not None:
        found.append(_line(LABEL, root, case.label, case.case))
    return found


def with_digest(case: Case, found: Sequence[str]) -> Case:
    """The case with the digest of its lines."""
    return replace(case, content=_digest(found))


def of_images(found: Sequence[str]) -> str:
    """The digest of the images alone, to be compared between cases: a channel begins with a letter in upper case."""
    return _digest([line for line in found if line[0].isupper()])


def shifted(content: str, shift: Shift) -> str:
    """The digest of a case whose files have the digest `content` and which a virtual site alters when it reads them."""
    return _digest([f"{content} {shift.kind} {shift.amount!r} {shift.seed}\n"])


def check(
    cases: Sequence[Case], root: Path, progress: Callable[[int, int], None], table: TableLayout | None = None
) -> None:
    """Read every file of the cases again, or their `table`; `progress` is told (cases done, cases in all).

    Raises FedmedError FM-DAT-04 (no data folder), -46 (another content than at `partition`), -15, -16, FM-TAB-01, -02.
    """
    paths.require_folder(root)  # or a disk that is not mounted would look like one broken case
    if table is not None:
        tables.check(cases, root, table, progress)
        return
    for done, case in enumerate(cases, start=1):
        if digest(case, root) != case.content:
            raise FedmedError("FM-DAT-46", f"{case.case}: expected the content that partition read, got another")
        progress(done, len(cases))


def _digest(found: Iterable[str]) -> str:
    return hashlib.sha256("".join(found).encode()).hexdigest()


def _line(role: str, root: Path, relative: str, where: str) -> str:
    path = paths.locate(root, relative, where)
    try:
        return f"{role} {path.stat().st_size} {files.sha256_file(path)}\n"
    except OSError as error:
        raise FedmedError("FM-DAT-16", f"{where}: a file cannot be opened", local=f"{relative}: {error}") from error
