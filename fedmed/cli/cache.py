"""`cache`: prepared cases in a workspace."""

from __future__ import annotations

from pathlib import Path

import typer

from fedmed.cli.screen import Json, Screen, Workspace, now
from fedmed.errors import FedmedError

cache_app = typer.Typer(help="Prepared cases in cache/: how much room they take, and how to delete them.")
GIB = 1 << 30


def register(app: typer.Typer) -> None:
    app.add_typer(cache_app, name="cache")


@cache_app.callback(invoke_without_command=True)
def cache(context: typer.Context, workspace: Workspace = Path(), as_json: Json = False) -> None:
    """How much room the prepared cases of this workspace take. They are patient data.

    Example: fedmed cache -w st-olav
    """
    if context.invoked_subcommand:
        if workspace != Path() or as_json:  # else `cache -w there wipe` would delete what is here
            raise FedmedError("FM-USE-01", "options stand behind wipe", next="fedmed cache wipe --help")
        return
    from fedmed.site import cache as action  # noqa: PLC0415

    out = Screen(as_json=as_json)
    found = action.size(workspace)
    out.say(f"{found.cases} prepared cases, {found.bytes / GIB:.2f} of {found.limit / GIB:g} GiB (cache_gib)")
    out.result(found)


@cache_app.command()
def wipe(workspace: Workspace = Path(), as_json: Json = False) -> None:
    """Delete the prepared cases; the next round makes them again.

    Example: fedmed cache wipe -w st-olav
    """
    from fedmed.site import cache as action  # noqa: PLC0415

    out = Screen(as_json=as_json)
    found = action.wipe(workspace, now())
    out.say(f"deleted {found.cases} prepared cases, {found.bytes / GIB:.2f} GiB")
    out.result(found)
