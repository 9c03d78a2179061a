"""Whole federations on one machine, through the same files: demo, simulate."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedmed.cli import division
from fedmed.cli.division import HowName
from fedmed.cli.screen import Json, Screen
from fedmed.errors import FedmedError

if TYPE_CHECKING:
    from fedmed.rehearsal.demo import Shown
    from fedmed.rehearsal.summary import Summary


def register(app: typer.Typer) -> None:
    app.command()(demo)
    app.command()(simulate)


def demo(
    out_folder: Annotated[Path, typer.Argument(metavar="OUT", help="A new folder for the workspaces.")] = Path("demo"),
    as_json: Json = False,
) -> None:
    """Two federations of three sample hospitals, from init to evaluate, through the real files.

    Example: fedmed demo
    """
    from fedmed.rehearsal import crew  # noqa: PLC0415

    crew.warm(images=True)  # it imports while this process does
    from fedmed.rehearsal import demo as action  # noqa: PLC0415

    out = Screen(as_json=as_json)
    with out.progress() as step:
        found = action.run(out_folder, out.say, step)
    for shown in found:
        _demo_table(out, shown)
    for shown in found:
        out.say("go on by hand in " + ", ".join(str(path) for path in shown.workspaces))
    out.result({"tasks": found})


def _demo_table(out: Screen, shown: Shown) -> None:
    rows = [
        [
            row.site,
            str(row.n),
            *map(_number, (row.alone, row.federated, row.alone_everywhere, row.federated_everywhere)),
        ]
        for row in shown.rows
    ]
    columns = [
        "site",
        "n ",
        "local-only, own cases ",
        "global, own cases ",
        "local-only, all cases ",
        "global, all cases ",
    ]
    title = f"{shown.task}: {shown.metric} on the test cases, each hospital's own and those of all hospitals"
    out.table(title, columns, rows)


def simulate(
    recipe: Annotated[Path, typer.Option("--recipe", help="What is trained.")],
    data: Annotated[Path, typer.Option("--data", help="The data folder; with --how folders, a folder of hospitals.")],
    out_folder: Annotated[Path, typer.Option("--out", help="The folder for workspaces and results.")] = Path(
        "simulation"
    ),
    how: Annotated[HowName, typer.Option(help="How the data become hospitals.")] = HowName.iid,
    sites: Annotated[int | None, typer.Option(min=2, max=100, help="How many hospitals; 4 if left out.")] = None,
    sizes: division.Sizes = "",
    alpha: division.Alpha = None,
    by: division.By = "",
    leave_out: division.LeaveOut = "",
    shift: division.Shift = None,
    strength: division.Strength = None,
    rounds: Annotated[int, typer.Option(min=1, max=10_000, help="Rounds of the federation.")] = 10,
    seeds: Annotated[int, typer.Option(min=1, max=100, help="How often, each time with another seed.")] = 1,
    baselines: Annotated[
        bool, typer.Option("--baselines", help="Also train every hospital alone, and one model on all data.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Try a recipe before a real federation: virtual hospitals, real files, a table at the end. Goes on when killed.

    Example: fedmed simulate --recipe R --data DIR --sites 4 --rounds 5 --seeds 3 --baselines
    """
    from fedmed import recipe as recipes  # noqa: PLC0415
    from fedmed.rehearsal import crew  # noqa: PLC0415

    crew.warm(images=isinstance(recipes.load(recipe), recipes.Imaging))  # it imports while this process does
    from fedmed.rehearsal import simulate as action  # noqa: PLC0415

    shown = Screen(as_json=as_json)
    chosen = division.chosen(
        how, sites=sites, sizes=sizes, alpha=alpha, by=by, leave_out=leave_out, shift=shift, strength=strength
    )
    if how not in division.BY_DATA:
        chosen["sites"] = chosen["sites"] or 4
    elif sites is not None:
        raise FedmedError("FM-USE-01", f"--how {how.value}: --sites is not for it, the data say how many there are")
    plan = action.Plan(recipe=recipe, data=data, **chosen, rounds=rounds, seeds=seeds, baselines=baselines)
    with shown.progress() as step:
        found = action.run(plan, out_folder, shown.say, step)
    _simulated(shown, found)
    shown.say(f"written: {out_folder / 'table.md'}, {out_folder / 'results.json'}, {out_folder / 'plot.png'}")
    shown.result(found)


def _simulated(out: Screen, found: Summary) -> None:
    """Every model on everybody's cases; then the first metric hospital by hospital."""
    from fedmed.rehearsal import models, summary  # noqa: PLC0415

    seeds = f"{found.rounds} rounds, {len(found.seeds)} seed{'s' if len(found.seeds) > 1 else ''}"
    rows = [
        [model, *(summary.shown(found.cell(model, models.EVERYWHERE, metric), 3) for metric in found.metrics)]
        for model in found.models
    ]
    title = f"{found.recipe}: {seeds}, mean +- standard deviation; test cases of all hospitals"
    out.table(title, ["model", *(f"{metric} " for metric in found.metrics)], rows)
    common = [model for model in (*models.COMMON, summary.LOCAL) if model in found.models]
    rows = []
    for site in found.sites:
        cells = [found.cell(model, site, found.metrics[0]) for model in common]
        mark = " (worst)" if site == found.worst else ""
        rows.append([f"{site}{mark}", *(summary.shown(cell, 3) for cell in cells)])
    heads = ["its own model" if model == summary.LOCAL else model for model in common]
    out.table(f"{found.metrics[0]} on each hospital's own test cases", ["site", *(f"{h} " for h in heads)], rows)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
