"""Sections on differential privacy."""

from __future__ import annotations

import logging
from dataclasses import asdict
from typing import Any

from evidence_section import Figures, NothingToTryError, Section, number

from tests.evidence import epsilons

LARGEST = 0.01


def slices(quick: bool) -> list[Any]:
    """Places in the list of events."""
    if not epsilons.OPACUS:
        raise NothingToTryError("opacus is not installed")
    places = list(range(len(epsilons.events())))
    return places[-2:] if quick else places


def work(place: int) -> dict[str, Any]:
    logging.getLogger("absl").setLevel(logging.ERROR)  # orders that the cross-check leaves out
    event = epsilons.events()[place]
    found = epsilons.compared(event)
    return {"event": asdict(event), "largest": found.largest_difference, **asdict(found)}


def figures(done: list[Any]) -> Figures:
    rows = [
        [
            f"{each['event']['rate']:.4f}",
            str(each["event"]["noise_multiplier"]),
            number(each["event"]["steps"]),
            *(f"{each[name]:.4f}" for name in ("ours", "library", "opacus", "renyi")),
            f"{each['largest']:.3%}",
        ]
        for each in done
    ]
    largest = max(each["largest"] for each in done)
    is_bounded = all(each["library"] * (1 - 1e-5) <= each["ours"] <= each["renyi"] for each in done)
    said = (
        f"At delta = {epsilons.DELTA:g}. The largest difference is {largest:.3%} (claimed: {LARGEST:.0%}); ours is "
        f"{'' if is_bounded else '**not** '}nowhere below dp-accounting's own and nowhere above the bound by Renyi "
        "divergences."
    )
    columns = ["rate", "noise", "steps", "ours", "dp-accounting", "Opacus", "Renyi", "largest difference"]
    return Figures(columns, rows, [said], holds=largest <= LARGEST and is_bounded)


SECTIONS = [
    Section(
        "epsilon",
        "Epsilon by three accountants",
        "The epsilon that fedmed reports, beside dp-accounting called directly at its own resolution (privacy loss "
        "distributions), Opacus (privacy loss random variables) and Renyi divergences, of what hospitals of 100 to "
        "20,000 patients do.",
        slices,
        work,
        figures,
    )
]
