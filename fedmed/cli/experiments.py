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
    rows = [[row.site, str(row.n), f"{row.alone:.3f}", f"{row.federated:.3f}"] for row in shown.rows]
    out.table("Dice on each hospital's test cases", ["site", "n ", "local-only ", "global "], rows)
    out.say("go on by hand in " + ", ".join(str(path) for path in shown.workspaces))
    out.result(shown)
