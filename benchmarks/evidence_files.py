"""Sections on single files: every bit changed, and members swapped between them."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from evidence_section import Figures, Section, number, summed

from tests.evidence import swaps
from tests.vectors import test_every_bit
from tests.vectors.samples import KINDS, sample

if TYPE_CHECKING:
    from collections.abc import Sequence

PIECE = 8192
CHANGES = {
    "flip": (test_every_bit.flipped, lambda data: 8 * len(data)),
    "cut": (test_every_bit.cut, len),
    "zero": (test_every_bit.with_a_zero, lambda data: len(data) + 1),
}


def flip_slices(quick: bool) -> list[Any]:
    """Kind, change, and the places from first to last."""
    found = []
    for kind in KINDS:
        for change, (_, places) in CHANGES.items():
            end = min(places(sample(kind)), 256) if quick else places(sample(kind))
            found += [[kind, change, first, min(first + PIECE, end)] for first in range(0, end, PIECE)]
    return found


def flip_work(part: Sequence[Any]) -> dict[str, Any]:
    kind, change, first, end = part
    tried, accepted = test_every_bit.tried_and_accepted(sample(kind), CHANGES[change][0], range(first, end))
    return {"kind": kind, "change": change, "tried": tried, "accepted": accepted}


def flip_figures(done: list[Any]) -> Figures:
    kinds = list(dict.fromkeys(each["kind"] for each in done))
    tried = summed({(each["kind"], each["change"]): each["tried"]} for each in done)
    accepted = summed({each["kind"]: len(each["accepted"])} for each in done)
    rows = [
        [kind, number(len(sample(kind))), *(number(tried[kind, change]) for change in CHANGES), number(accepted[kind])]
        for kind in kinds
    ]
    total = [number(sum(tried[kind, change] for kind in kinds)) for change in CHANGES]
    rows.append(["**all**", "", *total, number(accepted.total())])
    return Figures(
        ["kind", "bytes", "bits flipped", "cut short", "byte inserted", "accepted"],
        rows,
        [f"Of {number(sum(tried.values()))} changed files {number(accepted.total())} were accepted."],
        holds=accepted.total() == 0,
    )


def swap_slices(quick: bool) -> list[Any]:
    """The files that the others' parts are put into, in fours."""
    names = list(swaps.good_files())[:: 8 if quick else 1]
    return [names[first : first + 4] for first in range(0, len(names), 4)]


def swap_work(part: Sequence[str]) -> dict[str, Any]:
    tried, accepted = swaps.tried_and_accepted(part)
    return {"tried": tried, "accepted": accepted}


def swap_figures(done: list[Any]) -> Figures:
    tried = summed(each["tried"] for each in done)
    accepted = [name for each in done for name in each["accepted"]]
    bad = Counter(name.rpartition(": ")[2] for name in accepted)
    rows = [[what, number(count), number(bad[what])] for what, count in tried.items()]
    said = (
        f"Between {len(swaps.good_files())} good files of {len(KINDS)} kinds, two sites, two rounds and two "
        f"federations of the same keys, each held against both federations: {number(tried.total())} mixed files, "
        f"{len(accepted)} accepted."
    )
    return Figures(["taken from another file", "files tried", "accepted"], rows, [said], holds=not accepted)


SECTIONS = [
    Section(
        "flips",
        "Every bit, every length, every place for one byte more",
        "Of one good file of each kind: every single bit flipped, the file cut at every length, and a zero byte "
        "inserted at every place; each held against the federation by the functions of `fedmed verify`.",
        flip_slices,
        flip_work,
        flip_figures,
    ),
    Section(
        "swaps",
        "Members of one file in another",
        "Statement, signature, payloads, and every two of these, taken from one good file and put into another.",
        swap_slices,
        swap_work,
        swap_figures,
    ),
]
