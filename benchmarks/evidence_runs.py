"""Sections on whole runs: files brought again, wrong clocks, and commands that are killed or find a broken disk."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evidence_section import Figures, Section, number, summed

from tests.evidence import clocks, replay

if TYPE_CHECKING:
    from collections.abc import Sequence


RELATIONS = (replay.AGAIN, replay.MASKED, replay.OTHER_KEYS, replay.OTHER_ID)


def replay_slices(quick: bool) -> list[Any]:
    """Whose files, sites, rounds."""
    size = (3, 1) if quick else (5, 5)
    return [[relation, *size] for relation in RELATIONS]


def replay_work(part: Sequence[Any]) -> dict[str, Any]:
    relation, sites, rounds = part
    with tempfile.TemporaryDirectory() as folder:
        found, quiet = replay.matrix(Path(folder), relation, sites, rounds)
    ends = [[*key, count] for key, count in sorted(found.ends.items())]
    return {"ends": ends, "changed": found.changed, "same": found.models == quiet, "size": [sites, rounds, found.steps]}


def replay_figures(done: list[Any]) -> Figures:
    ends = summed({(relation, kind, end): count} for each in done for relation, kind, end, count in each["ends"])
    columns = sorted({end for _, _, end in ends})
    rows = [
        [relation, kind, *(number(ends[relation, kind, end]) for end in columns)]
        for relation, kind in dict.fromkeys((relation, kind) for relation, kind, _ in ends)
    ]
    changed = [line for each in done for line in each["changed"]]
    sites, rounds, _ = done[0]["size"]
    steps = sum(each["size"][2] for each in done)
    is_same = all(each["same"] for each in done)
    said = (
        f"{sites} sites, {rounds} rounds in each run, {steps} steps in all, {number(ends.total())} deliveries: "
        f"{len(changed)} of them changed a ledger, an archive or an outbox, and the models of all rounds are "
        f"{'' if is_same else '**not** '}the same to the byte as without them."
    )
    return Figures(["brought", "kind", *columns], rows, [said], holds=is_same and not changed)


def clock_slices(quick: bool) -> list[Any]:
    """Numbers of cases."""
    return [[number_] for number_ in range(len(clocks.CASES))][:: 4 if quick else 1]


def clock_work(part: Sequence[int]) -> dict[str, Any]:
    case = clocks.CASES[part[0]]
    with tempfile.TemporaryDirectory() as folder:
        base = clocks.begun(Path(folder))[case.begun]
        found = [clocks.decide(case, clock, base, Path(folder) / f"copy-{clock}") for clock in clocks.CLOCKS]
    told = {each.clock: f"{each.end} ({each.afterwards})" if each.afterwards else each.end for each in found}
    return {
        "row": [case.party, case.what, *told.values()],
        "over": sum(each.takes_what_is_over for each in found),
        "stuck": [f"{case.what}, clock {each.clock}" for each in found if each.is_stuck],
    }


def clock_figures(done: list[Any]) -> Figures:
    over, stuck = sum(each["over"] for each in done), [line for each in done for line in each["stuck"]]
    said = (
        f"What is over was taken {over} times. In brackets: how the same thing ends a minute later, with the right "
        f"clock, where it did not go through at first; {len(stuck)} of these are not made good by the right clock alone"
        f"{': ' if stuck else ''}{'; '.join(stuck)}."
    )
    columns = ["whose clock", "does what", *clocks.CLOCKS]
    return Figures(columns, [each["row"] for each in done], [said], holds=over == 0)


SECTIONS = [
    Section(
        "replay",
        "Every file again, at every later step, to everybody",
        "A run in which after each step every file that anybody ever sealed is put into every inbox again; and the "
        "same with all files of another federation of the same hospitals, with other keys, and of another federation "
        "of the same keys. Beside it the same run without.",
        replay_slices,
        replay_work,
        replay_figures,
    ),
    Section(
        "clocks",
        "Wrong clocks",
        "Each party's clock slow or fast by a day or by ten years. A model is valid for 180 days and a federation for "
        "730; those that are over are so by more than a day.",
        clock_slices,
        clock_work,
        clock_figures,
    ),
]
