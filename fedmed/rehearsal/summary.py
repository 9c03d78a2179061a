"""What a simulation showed: means and spread over seeds, as tables, as numbers for programs, and as a picture."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedmed import files
from fedmed.cases.splits import HELD_OUT
from fedmed.promises import NO_GUARANTEE
from fedmed.rehearsal.models import COMMON, EVERYWHERE, GLOBAL, Row, alone_of
from fedmed.reporting import plots, statistics

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from fedmed.recipe import Recipe

LOCAL = "local-only, mean"


@dataclass(frozen=True)
class Cell:
    """A metric of a model on a site's test cases (or on `all`): mean and standard deviation over seeds, and all values.

    `n` is the mean number of cases it was computed from.
    """

    model: str
    site: str
    metric: str
    n: float
    mean: float | None
    sd: float | None
    values: list[float | None]


@dataclass(frozen=True)
class Summary:
    """`cells` of every model, site and metric; `worst` is the site on whose cases the global model is worst."""

    recipe: str
    rounds: int
    seeds: list[int]
    metrics: list[str]
    sites: list[str]
    models: list[str]
    cells: list[Cell]
    worst: str

    def cell(self, model: str, site: str, metric: str) -> Cell | None:
        wanted = (model, site, metric)
        return next((each for each in self.cells if (each.model, each.site, each.metric) == wanted), None)


def of(recipe: Recipe, rows: Mapping[int, Sequence[Row]], *, rounds: int, out: Path) -> Summary:
    """Pool the rows of each seed, and write OUT/results.json, OUT/table.md and OUT/plot.png."""
    everything = [row for found in rows.values() for row in found]
    models, sites, metrics = ([*dict.fromkeys(getattr(row, name) for row in everything)] for name in _AXES)
    cells = [_cell(model, site, metric, rows) for model in _with_local(models) for site in sites for metric in metrics]
    hospitals = [site for site in sites if site != EVERYWHERE]
    found = Summary(recipe.name, rounds, list(rows), metrics, hospitals, _with_local(models), cells, "")
    found = Summary(**{**vars(found), "worst": _worst(found)})
    data = {**vars(found), "cells": [vars(cell) for cell in cells]}
    files.write_atomic(out / "results.json", json.dumps(data, indent=1).encode() + b"\n")
    files.write_atomic(out / "table.md", ("\n".join(markdown(found)) + "\n").encode())
    files.write_atomic(out / "plot.png", picture(found))
    return found


_AXES = ("model", "site", "metric")


def _with_local(models: Sequence[str]) -> list[str]:
    """The mean over the hospitals' own models stands before the single ones."""
    common = [model for model in COMMON if model in models]
    own = [model for model in models if model not in common]
    return [*common, *([LOCAL] if own else []), *own]


def _cell(model: str, site: str, metric: str, rows: Mapping[int, Sequence[Row]]) -> Cell:
    """Over seeds; `local-only, mean` is, seed by seed, the mean over the hospitals' models: on a hospital's own cases
    that of its own model alone, which a hospital that took no part does not have.
    """
    values: list[float | None] = []
    counts = []
    for of_seed in rows.values():
        mine = [row for row in of_seed if (row.site, row.metric) == (site, metric) and _counts(row.model, model, site)]
        defined = [row.value for row in mine if row.value is not None]
        values.append(sum(defined) / len(defined) if defined else None)
        counts += [row.n for row in mine]
    found = statistics.summarise([value for value in values if value is not None])
    return Cell(model, site, metric, sum(counts) / len(counts) if counts else 0.0, found.mean, found.sd, values)


def _counts(model: str, wanted: str, site: str) -> bool:
    if wanted != LOCAL:
        return model == wanted
    return model not in COMMON if site in (EVERYWHERE, HELD_OUT) else model == alone_of(site)


def _worst(found: Summary) -> str:
    metric = found.metrics[0]
    scored = {site: cell.mean for site in found.sites if (cell := found.cell(GLOBAL, site, metric))}
    known = {site: mean for site, mean in scored.items() if mean is not None}
    choose = max if metric in statistics.LOWER_IS_BETTER else min
    return choose(known, key=lambda site: known[site]) if known else ""


def shown(cell: Cell | None, places: int = 4) -> str:
    """Mean +- standard deviation over seeds."""
    if cell is None or cell.mean is None:
        return "-"
    defined = sum(value is not None for value in cell.values)
    some = "" if defined == len(cell.values) else f" ({defined} of {len(cell.values)} seeds)"
    return f"{cell.mean:.{places}f}" + (f" +- {cell.sd:.{places}f}" if cell.sd is not None else "") + some


def markdown(found: Summary) -> list[str]:
    """Two tables: every model on the test cases of all hospitals, and the first metric hospital by hospital."""
    lines = [
        f"Recipe {found.recipe}, {found.rounds} rounds, {_seeds(found)}, mean +- standard deviation over them.",
        f"{NO_GUARANTEE.capitalize()}: each seed and each model beside the federation's learns from the same patients.",
        "",
        f"| model, on the test cases of all | {' | '.join(found.metrics)} |",
        f"|---|{'---:|' * len(found.metrics)}",
    ]
    for model in found.models:
        cells = (shown(found.cell(model, EVERYWHERE, metric)) for metric in found.metrics)
        lines.append(f"| {model} | {' | '.join(cells)} |")
    common = [model for model in (*COMMON, LOCAL) if model in found.models]
    heads = ["its own model" if model == LOCAL else model for model in common]
    lines += [
        "",
        f"| {found.metrics[0]} on the hospital's own test cases | n | {' | '.join(heads)} |",
        f"|---|---:|{'---:|' * len(common)}",
    ]
    for site in found.sites:
        cells_ = [found.cell(model, site, found.metrics[0]) for model in common]
        mark = " (worst)" if site == found.worst else ""
        n = f"{cells_[0].n:.1f}".removesuffix(".0") if cells_[0] else "-"
        lines.append(f"| {site}{mark} | {n} | {' | '.join(map(shown, cells_))} |")
    return lines


def _seeds(found: Summary) -> str:
    return f"{len(found.seeds)} seed{'s' if len(found.seeds) > 1 else ''}"


def picture(found: Summary) -> bytes:
    """PNG: one group a hospital and one for all, a dot a seed and a bar for the mean of each model."""
    common = [model for model in (*COMMON, LOCAL) if model in found.models]
    metric = found.metrics[0]
    groups = [*found.sites, EVERYWHERE]
    cells = {model: [found.cell(model, group, metric) for group in groups] for model in common}
    values = {
        model: [[value for value in cell.values if value is not None] if cell else [] for cell in row]
        for model, row in cells.items()
    }
    labels = {LOCAL: "local-only"}
    return plots.groups(
        title=f"{found.recipe}: {metric} on test cases, {_seeds(found)}",
        groups=[f"{group} (worst)" if group == found.worst else group for group in groups],
        values={labels.get(model, model): found_ for model, found_ in values.items()},
        axis=metric,
    )
