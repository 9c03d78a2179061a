"""Updates that stand out are held until a person has looked: what was found and decided is in the ledger.

All updates that are here are compared at once, when the round could close with them, and nothing is compared again
because one of them was held: who is held never moves the median for the others. A different set of updates, as after a
corrected one, is compared anew.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from fedmed.coordinator import closing, laps, masked, rounds
from fedmed.errors import FedmedError
from fedmed.learning import screen
from fedmed.learning.screen import Figures

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    import numpy as np

    from fedmed.coordinator.desk import Started
    from fedmed.coordinator.rounds import Standing
    from fedmed.exchange.workspace import Workspace

SCREENED, INCLUDED = "screened", "include"
ENOUGH = 3  # updates of a lap: of two the longer one stands out, whoever is right


def standings(found: Workspace, running: Started) -> list[Standing]:
    """Every site of the roster, by name or in the order of a lap, with what the newest comparison of this round says.

    Reads no tensors. Masked updates cannot be compared.
    """
    if running.masks:
        return masked.standings(found, running)
    known = {row["update"]: _figures(row) for row in _newest(found)}
    limits = running.agreement.federation.body.limits
    everyone = []
    for each in _arrived(found, running):
        figures = known.get(each.update.id) if each.update else None
        why = screen.beyond(figures, float(limits.max_norm_ratio), float(limits.min_cosine)) if figures else ""
        everyone.append(_held(found, each, why) if why else each)
    return laps.behind_the_held(everyone) if rounds.order(found) else everyone


def _arrived(found: Workspace, running: Started) -> list[Standing]:
    return laps.arrived(found, running) if rounds.order(found) else rounds.arrived(found, running)


def _held(found: Workspace, standing: Standing, why: str) -> Standing:
    """Held, or used in spite of it. The words of the person stay in the ledger: every site reads a receipt."""
    if _is_included(found, standing):
        return replace(standing, reason="; ".join(filter(None, (f"{why}; included by a person", standing.reason))))
    return replace(standing, status="held", reason="; ".join(filter(None, (why, standing.reason))))


def compare(
    found: Workspace,
    running: Started,
    now: datetime,
    *,
    close: bool,
    products: Callable[[list[Standing]], np.ndarray],
) -> list[Standing]:
    """`standings`, after a comparison when the round could close now and these updates were not compared yet.

    In a lap they are compared whenever one more is in, from the third on: the next site should not go on from one that
    stands out. `products` gives the inner products of the updates of these standings, [sites, sites]. Raises
    FedmedError FM-TRU-11 when a file of the archive rotted.
    """
    if running.masks:
        return masked.standings(found, running)
    everyone = _arrived(found, running)
    usable = [each for each in everyone if each.status == "used"]
    ids = {each.update.id for each in usable if each.update}
    is_lap = bool(rounds.order(found))
    is_time = not closing.why_open(found, running, everyone, now, close=close) or (is_lap and len(ids) >= ENOUGH)
    if is_time and ids != {row["update"] for row in _newest(found)}:
        judged = screen.figures_in_a_lap if is_lap else screen.figures
        rows = _rows(judged([each.site for each in usable], products(usable)), usable)
        found.write_entry("aggregate", "note", now, what=SCREENED, round=rounds.open_round(found), updates=rows)
    return standings(found, running)


def include(found: Workspace, everyone: list[Standing], names: Sequence[str], reason: str, now: datetime) -> None:
    """A person answers for the held updates of these sites; it counts for these very files and no later ones.

    Raises FedmedError FM-SCR-03 when a name has no held update, FM-USE-01 for a reason that cannot be kept.
    """
    chosen = []
    for name in names:
        standing = next((each for each in everyone if each.site == name), None)
        if standing is None or not (standing.status == "held" or _is_included(found, standing)):
            status = standing.status if standing else "no site of this federation"
            raise FedmedError("FM-SCR-03", f"--include {name}: expected an update that is held, got {status}")
        chosen.append(standing)
    for standing in chosen:
        if standing.update is not None and standing.status == "held":
            facts = {"round": standing.update.round_number, "site": standing.site, "update": standing.update.id}
            found.write_entry("aggregate", "note", now, what=INCLUDED, reason=reason, **facts)


def _is_included(found: Workspace, standing: Standing) -> bool:
    notes = (facts for _, facts in found.record.notes if facts.get("what") == INCLUDED)
    return standing.update is not None and any(facts["update"] == standing.update.id for facts in notes)


def _newest(found: Workspace) -> list[dict[str, Any]]:
    """What the last comparison of the open round found, a row an update."""
    round_ = rounds.open_round(found)
    notes = (facts for _, facts in reversed(found.record.notes) if facts.get("what") == SCREENED)
    rows: list[dict[str, Any]] = next((facts["updates"] for facts in notes if facts["round"] == round_), [])
    return rows


def _rows(figures: list[Figures], usable: list[Standing]) -> list[dict[str, Any]]:
    """Figures as the ledger keeps them: what is decided later is decided from these strings."""
    ids = [each.update.id for each in usable if each.update]
    return [
        {
            "site": each.site,
            "update": statement_id,
            "norm": f"{each.norm:.9g}",
            "ratio": f"{each.ratio:.9g}",
            "cosine": None if each.cosine is None else f"{each.cosine:.9g}",
        }
        for each, statement_id in zip(figures, ids, strict=True)
    ]


def _figures(row: dict[str, Any]) -> Figures:
    cosine = None if row["cosine"] is None else float(row["cosine"])
    return Figures(row["site"], float(row["norm"]), float(row["ratio"]), cosine)
