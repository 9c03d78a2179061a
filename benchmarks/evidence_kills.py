"""The section of commands that end at any moment: the table of tests/kills, at every single call."""

from __future__ import annotations

import functools
import tempfile
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evidence_section import Figures, Section, number, summed

from tests.kills import bench, rows
from tests.warm import Warm

if TYPE_CHECKING:
    from collections.abc import Sequence

MODES = {"clean": "killed", "torn": "killed in a write", "full": "disk full from there on", "broken": "disk broken"}
FEW = 2  # moments of a mode, for a look


def slices(quick: bool) -> list[Any]:
    """Commands by their title, what takes longest first, and at how many moments each: None for all."""
    heavy_first = sorted(rows.ROWS, key=lambda row: not row.is_heavy)
    return [[row.title, FEW if quick else None] for row in heavy_first]


def work(part: Sequence[Any]) -> dict[str, Any]:
    title, most = part
    row = rows.BY_TITLE[title]
    try:
        with tempfile.TemporaryDirectory() as folder:
            tried = bench.bench(row, warm(is_heavy=row.is_heavy), Path(folder)).tried(most=most)
            return {"title": title, "tried": tried, "failed": ""}
    except Exception as error:  # noqa: BLE001 - a row that does not hold is a finding
        return {"title": title, "tried": {}, "failed": "".join(traceback.format_exception_only(error))[:1500]}


@functools.cache
def warm(*, is_heavy: bool) -> Warm:
    """One for all slices of this process, with which it ends."""
    return Warm("tests.kills.killed", *(bench.HEAVY if is_heavy else bench.LIGHT))


def figures(done: Sequence[Any]) -> Figures:
    by_title = {each["title"]: each for each in done}
    in_order = [by_title[row.title] for row in rows.ROWS if row.title in by_title]
    table = [[each["title"], *_cells(each["tried"])] for each in in_order]
    total = summed(each["tried"] for each in done)
    table.append(["**all**", *_cells(total)])
    failed = [each for each in in_order if each["failed"]]
    said = (
        f"{number(total.total())} points at which a command was killed or the disk failed, in {len(done)} situations; "
        "after each the same command ran again and the workspace was compared."
    )
    wrong = [f"**{each['title']} does not hold**: {' '.join(each['failed'].split())[:300]}" for each in failed]
    return Figures(["command", *MODES.values()], table, [said, *wrong], holds=not failed)


def _cells(tried: dict[str, int]) -> list[str]:
    return [number(tried[mode]) if mode in tried else "" for mode in MODES]


SECTIONS = [
    Section(
        "kills",
        "Killed at every call, and disks that fill or break",
        "Every command that writes, in every situation that makes it write something else. Before every call that "
        "changes the disk (open for writing, write, fsync, rename, truncate, unlink, mkdir, chmod) the process is "
        "killed (SIGKILL); or in the middle of every write; or from every call on that needs space the disk answers "
        "ENOSPC; or from every call on EIO. A full or broken disk must end in its code. Then the same command runs "
        "again: the ledger's chain holds, what was there is there, no file is left that an undisturbed run does not "
        "leave, no number is used twice, and the payloads are those of an undisturbed run. Of what is encrypted that "
        "is the plaintext; what is masked or noised, whose randomness is never repeated, is never sealed twice, its "
        "masks come off the sum, and a patient's budget is charged for every step that was taken. Where a command "
        f"needs torch, the disk fails at every {bench.SPARSE}rd call.",
        slices,
        work,
        figures,
    )
]
