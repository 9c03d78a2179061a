"""Whole federations on one machine, through the same files: demo."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fedmed.cli.screen import Json, Screen


def register(app: typer.Typer) -> None:
    app.command()(demo)


def demo(
    out_folder: Annotated[Path, typer.Argument(metavar="OUT", help="A new folder for the workspaces.")] = Path("demo"),
    as_json: Json = False,
) -> None:
    """A coordinator and three hospitals in a folder, from init to evaluate, through the real files.

    Example: fedmed demo
    """
    from fedmed.rehearsal import demo as action  # noqa: PLC0415

    out = Screen(as_json=as_json)
    with out.progress() as step:
        shown = action.run(out_folder, out.say, step)
    rows = [
        [
            row.site,
            str(row.n),
            *(f"{value:.3f}" for value in (row.alone, row.federated, row.alone_everywhere, row.federated_everywhere)),
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
    out.table("Dice on the test cases: each hospital's own, and those of all hospitals", columns, rows)
    out.say("go on by hand in " + ", ".join(str(path) for path in shown.workspaces))
    out.result(shown)
