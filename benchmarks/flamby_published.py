"""The published cells of FLamby's two tables, and whether those that were reproduced are the same."""

from __future__ import annotations

import csv
from functools import cache
from pathlib import Path
from statistics import fmean, pstdev
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    Place = tuple[str, str, int, int]
    Cells = Mapping[int, Sequence[float]]  # by seed: the test rows of each site, then of all

SAME = 0.0005
NEAR = 0.02
ADAPTIVE = ("fedadam", "fedyogi", "fedadagrad")
# The pooled model on the pooled test at seed 42 differs in one row of 254; FLamby reads its files in any order.
KNOWN = {("heart", "pooled", 42, 4)}


@cache
def published() -> dict[str, dict[str, dict[int, list[float]]]]:
    """By table, method and seed, to four decimals.

    Source: https://github.com/owkin/FLamby (MIT), flamby/results/results_benchmark_fed_heart_disease/heart_seed42.csv
    ... and .../results_benchmark_fed_tcga_brca/tcga_seed42.csv ... of August and September 2022.
    """
    found: dict[str, dict[str, dict[int, list[float]]]] = {}
    with Path(__file__).with_suffix(".csv").open(newline="") as file:
        for table, method, seed, *cells in list(csv.reader(file))[1:]:
            values = [float(cell) for cell in cells if cell]
            found.setdefault(table, {}).setdefault(method, {})[int(seed)] = values
    return found


def differing(table: str, method: str, found: Cells, known: Collection[Place] = KNOWN) -> list[tuple[int, int]]:
    """Seed and place of each cell that is farther than SAME from what is published, `known` ones left out."""
    return [
        (seed, place)
        for seed, cells in published()[table][method].items()
        for place, cell in enumerate(cells)
        if abs(cell - found[seed][place]) > SAME and (table, method, seed, place) not in known
    ]


def faults(reproduced: Mapping[str, Mapping[str, Cells]], own_loss: Mapping[str, Cells]) -> list[str]:
    """What is wanted and not so, a line each: every federated cell and those of pooled training the same; at Heart
    those of local training too; at TCGA with fedmed's own loss the pooled row the same and the adaptive ones near.
    """
    lines = []
    for table, rows in reproduced.items():
        for method, found in rows.items():
            odd = differing(table, method, found)
            if odd and not (table == "breast" and method.startswith("local")):
                lines.append(f"{table}, {method}: {len(odd)} cells differ, the first at seed, place {odd[0]}")
    for method, limit in {"pooled": SAME, **dict.fromkeys(ADAPTIVE, NEAR)}.items():
        ours, theirs = (fmean(cells[-1] for cells in row[method].values()) for row in (own_loss, published()["breast"]))
        if abs(ours - theirs) > limit:
            lines.append(f"breast, {method}, fedmed's own loss: {ours:.4f}, published {theirs:.4f}")
    return lines


def over_sites(found: Cells) -> str:
    """Mean over the sites' own test rows, and over seeds."""
    return f"{fmean(cell for cells in found.values() for cell in cells[:-1]):.4f}"


def spread(found: Cells, place: int = -1) -> str:
    """Mean and population standard deviation over seeds."""
    column = [cells[place] for cells in found.values()]
    return f"{fmean(column):.4f} +- {pstdev(column):.4f}"
