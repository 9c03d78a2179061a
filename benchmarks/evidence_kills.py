"""The section of commands that end at any moment: the tests of tests/kills, at every single call."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evidence_section import Figures, Section, number, summed

if TYPE_CHECKING:
    from collections.abc import Sequence

TOP = Path(__file__).resolve().parents[1]
PYTEST = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider"]
MODES = {"clean": "killed", "torn": "killed in a write", "full": "disk full from there on", "broken": "disk broken"}
LONG = ("behind_masks", "second_visit")  # killed at every call; a disk that fails is tried as often as in the tests
SPARSE = ("while_it_remembers", "in_its_turn")  # longer ways through the same calls: as far apart as in the tests


def slices(quick: bool) -> list[Any]:
    """Names of tests; of one that comes at several paces the finest of each mode."""
    found: dict[tuple[str, str], tuple[int, str]] = {}
    for node in nodes("tests/kills"):
        parts = re.fullmatch(r".*::(\w+)(?:\[(\w+)-(\d+)\])?", node)
        name, mode, pace = parts.groups() if parts else (node, "", "")
        key, finest = (name, mode or node), (int(pace or 1), node)
        found[key] = min(found.get(key, finest), finest)
    chosen = [node for _, node in found.values()]
    return [node for node in chosen if "approve" in node] if quick else chosen


def nodes(path: str) -> list[str]:
    """The tests that pytest finds there, slow ones too."""
    done = subprocess.run([*PYTEST, "--collect-only", path], cwd=TOP, capture_output=True, text=True, check=True)
    return [line for line in done.stdout.splitlines() if "::" in line]


def work(node: str) -> dict[str, Any]:
    names = (*SPARSE, *LONG) if "[full-" in node or "[broken-" in node else SPARSE
    every = {} if any(name in node for name in names) else {"FEDMED_EVERY_CALL": "1"}
    passed, printed = run(node, **every)
    kills = re.findall(r"([\w-]+): (\d+) kills, (\w+)", printed)
    return {
        "node": node,
        "passed": passed,
        "kills": [[call, int(count), mode] for call, count, mode in kills],
        "told": "" if passed else printed[-1500:],
    }


def run(node: str, **env: str) -> tuple[bool, str]:
    """Whether a test passed, and what it printed."""
    command = [*PYTEST, "-s", node]
    done = subprocess.run(command, cwd=TOP, env={**os.environ, **env}, capture_output=True, text=True, check=False)
    return done.returncode == 0, done.stdout


def figures(done: Sequence[Any]) -> Figures:
    counts = summed({(title(each["node"]), call, mode): count} for each in done for call, count, mode in each["kills"])
    rows = [
        [name, call, *(number(counts[name, call, mode]) if counts[name, call, mode] else "" for mode in MODES)]
        for name, call in dict.fromkeys((name, call) for name, call, _ in counts)
    ]
    by_mode = summed({mode: count} for (_, _, mode), count in counts.items())
    rows.append(["**all**", "", *(number(by_mode[mode]) for mode in MODES)])
    failed = [each["node"] for each in done if not each["passed"]]
    said = (
        f"{number(by_mode.total())} points at which a command was killed or the disk failed, in {len(done)} tests; "
        f"after each the same command ran again and the state was compared; {len(failed)} tests failed"
        f"{': ' if failed else ''}{', '.join(failed)}."
    )
    return Figures(["test", "command", *MODES.values()], rows, [said], holds=not failed)


def title(node: str) -> str:
    """`test_train_local_killed_over_a_fingerprint[clean-1]` in words."""
    return node.rpartition("::")[2].partition("[")[0].removeprefix("test_").replace("_", " ")


SECTIONS = [
    Section(
        "kills",
        "Killed at every call, and disks that fill or break",
        "Before every call that changes the disk (open for writing, write, fsync, rename, truncate, unlink) the "
        "process is killed (SIGKILL), or in the middle of a write, or from there on every write answers ENOSPC, or "
        "every call EIO. A broken or full disk must end in its code. Then the command runs again: the ledger's chain "
        "holds, what was there is there, nothing half-written stays, no number is used twice, and the payloads are "
        "those of an undisturbed run; masked ones, whose randomness is never repeated, are never sealed twice. The "
        "tests of train-local called `while it remembers` and `in its turn`, and failing disks behind masks, take "
        "every 7th to 61st call.",
        slices,
        work,
        figures,
    )
]
