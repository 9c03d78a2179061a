"""The section of inputs that nobody would write."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from evidence_section import Figures, Section, number, summed

from tests.evidence import fuzz

if TYPE_CHECKING:
    from collections.abc import Sequence

EACH, PIECE = 180_000, 10_000


def slices(quick: bool) -> list[Any]:
    """Target, first number, end."""
    each, piece = (2000, 1000) if quick else (EACH, PIECE)
    return [[target, first, first + piece] for first in range(0, each, piece) for target in fuzz.TARGETS]


def work(part: Sequence[Any]) -> dict[str, Any]:
    target, first, end = part
    found = fuzz.tried(target, first, end)
    ends, crashes, slowest = dict(found.ends), found.crashes, found.slowest
    return {"target": target, "ends": ends, "crashes": crashes, "slowest": slowest, "megabytes": peak_memory()}


def peak_memory() -> float:
    """MB that this process ever had in memory."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def figures(done: list[Any]) -> Figures:
    rows = []
    for target in fuzz.TARGETS:
        parts = [each for each in done if each["target"] == target]
        ends = summed(each["ends"] for each in parts)
        by_code = ", ".join(f"{code} {number(count)}" for code, count in ends.most_common() if code.startswith("FM-"))
        seconds, input_ = max(each["slowest"] for each in parts)
        slowest = f"{1000 * seconds:.1f} (number {number(input_)})"
        rows.append([target, number(ends.total()), number(ends["ok"]), by_code, number(ends["crash"]), slowest])
    total = summed(each["ends"] for each in done)
    crashes = [line for each in done for line in each["crashes"]]
    said = (
        f"{number(total.total())} inputs, {number(len(crashes))} of which ended in anything but a code, or were "
        f"accepted though nobody had signed them{': ' if crashes else ''}{'; '.join(crashes[:10])}. No process took "
        f"more than {max(each['megabytes'] for each in done):.0f} MB, the interpreter with its libraries included."
    )
    return Figures(
        ["target", "inputs", "good", "refused with", "crashes", "slowest, ms"], rows, [said], holds=not crashes
    )


SECTIONS = [
    Section(
        "fuzz",
        "A million inputs that nobody would write",
        "Made from samples and vectors by one to four changes each (bits, bytes, ranges, lengths, tokens, parts of "
        "another file, or values of a statement that is then signed again), from a seed for each number, so that any "
        "of them can be made again: `tests.evidence.fuzz.tried(target, number, number + 1)`. A changed file or "
        "signature that is accepted counts as a crash; a statement or tensors that were signed anew may be good.",
        slices,
        work,
        figures,
    )
]
