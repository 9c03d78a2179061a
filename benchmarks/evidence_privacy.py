"""Sections on differential privacy."""

from __future__ import annotations

import logging
from dataclasses import asdict
from typing import Any

from evidence_section import Figures, NothingToTryError, Section, number

from fedmed.learning.accounting import Event
from tests.evidence import canaries, epsilons

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


def audit_slices(quick: bool) -> list[Any]:
    """Rate, noise, steps, trials of each kind."""
    audits = [[1.0, 0.8, 1, 2000], [1.0, 2.0, 4, 2000], [0.5, 0.8, 2, 2000], [0.25, 0.7, 4, 2000]]
    return [[1.0, 0.8, 1, 200]] if quick else audits


def audit_work(part: list[Any]) -> dict[str, Any]:
    rate, noise, steps, trials = part
    return {"part": part, **asdict(canaries.audited(Event(rate, noise, steps), trials))}


def audit_figures(done: list[Any]) -> Figures:
    rows = [
        [*(number(value) for value in each["part"]), f"{each['proven']:.2f}", f"{each['reported']:.2f}"]
        for each in done
    ]
    holds = all(each["proven"] < each["reported"] for each in done)
    said = (
        f"At delta = {canaries.DELTA:g} and a confidence of {canaries.SURE:.0%}. What the trials prove is "
        f"{'nowhere' if holds else '**somewhere**'} above what is reported."
    )
    return Figures(["rate", "noise", "steps", "trials", "proven", "reported"], rows, [said], holds=holds)


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
    ),
    Section(
        "audit",
        "An audit by planted patients",
        "Rounds of DP-SGD with and without one planted patient, whose gradient nobody else has: a lower bound of "
        "epsilon by how surely the two kinds are told apart (Clopper-Pearson), beside the epsilon that is reported.",
        audit_slices,
        audit_work,
        audit_figures,
    ),
]
