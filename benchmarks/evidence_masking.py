"""Sections on secure aggregation: whoever drops out, and whoever colludes."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from evidence_section import Figures, Section, number

from tests.evidence import dropouts

if TYPE_CHECKING:
    from collections.abc import Sequence


def dropout_slices(quick: bool) -> list[Any]:
    """Sites, colluders, ring."""
    largest = 4 if quick else 8
    found = [[sites, colluders, 32] for sites in range(3, largest + 1) for colluders in range(1, sites - 1)]
    return found + [[sites, 1, 64] for sites in range(3, largest + 1)]


def dropout_work(part: Sequence[Any]) -> dict[str, Any]:
    sites, colluders, ring = part
    try:
        return {"part": part, **asdict(dropouts.dropped(sites, colluders, ring))}
    except AssertionError as error:
        return {"part": part, "failed": str(error)[:300] or "another mean"}


def dropout_figures(done: list[Any]) -> Figures:
    good = [each for each in done if "failed" not in each]
    rows = [
        [
            *map(str, each["part"]),
            str(each["threshold"]),
            number(each["sets"]),
            number(each["openings"]),
            f"{each['error']:.3f}",
        ]
        for each in good
    ]
    failed = [f"{each['part']}: {each['failed']}" for each in done if "failed" in each]
    said = (
        f"{number(sum(each['sets'] for each in good))} sets of included sites, opened in "
        f"{number(sum(each['openings'] for each in good))} ways: the result is the plain weighted mean of the "
        "included, and nowhere further from it than the rounding to the ring may bring it"
        f"{'' if not failed else ', **except** ' + '; '.join(failed)}."
    )
    columns = ["sites", "colluders", "ring", "threshold", "sets included", "ways to open", "largest error / bound"]
    return Figures(columns, rows, [said], holds=not failed)


def collusion_slices(quick: bool) -> list[Any]:
    """Sites, colluders."""
    return [[sites, colluders] for sites in range(3, 5 if quick else 9) for colluders in range(1, sites - 1)]


def collusion_work(part: Sequence[int]) -> dict[str, Any]:
    return {"part": part, "found": dropouts.colluded(*part)}


def collusion_figures(done: list[Any]) -> Figures:
    words = {True: "as expected", False: "**not as expected**"}
    rows = [[*map(str, each["part"]), *(words[found] for found in each["found"])] for each in done]
    said = (
        "c colluders and the coordinator have their own keys, every share that they can open, every reply and every "
        "masked update. They find the sum of the honest sites and no single update: what is left on each is a mask "
        "that none of that gives. t sites together open a peer's update to the last bit, as is said; t - 1 do not."
    )
    columns = ["sites", "colluders", "c learn the honest sum alone", "t learn everything, t - 1 nothing"]
    return Figures(columns, rows, [said], holds=all(all(each["found"]) for each in done))


SECTIONS = [
    Section(
        "dropouts",
        "Secure aggregation: whoever drops out, whoever answers",
        "All sets of sites that can be included, for 3 to 8 sites and every number of colluders, each opened by every "
        "set of its members that is enough.",
        dropout_slices,
        dropout_work,
        dropout_figures,
    ),
    Section(
        "collusion",
        "Secure aggregation: collusion below and at the threshold",
        "For 3 to 8 sites and every number of colluders.",
        collusion_slices,
        collusion_work,
        collusion_figures,
    ),
]
