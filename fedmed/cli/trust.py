"""Trust in the roster: pinned peers."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from fedmed.cli import screen
from fedmed.cli.audit import keys_app
from fedmed.cli.screen import Json, Screen, Workspace
from fedmed.errors import FedmedError


def register() -> None:
    keys_app.command("pin")(pin)


def pin(
    site: Annotated[str, typer.Argument(help="Another site of the federation.", metavar="SITE")],
    workspace: Workspace = Path(),
    fingerprint: Annotated[
        str, typer.Option(metavar="HEX", help="The fingerprint of its join, had from that hospital itself.")
    ] = "",
    as_json: Json = False,
) -> None:
    """Confirm another site by the fingerprint that is read to you there (site). At that site: fedmed keys fingerprint.

    Example: fedmed keys pin riks -w st-olav
    """
    from fedmed.site import pin as action  # noqa: PLC0415

    out = Screen(as_json=as_json)

    def ask() -> str:
        if fingerprint:
            return fingerprint
        if not sys.stdin.isatty():
            raise FedmedError("FM-USE-01", "keys pin without a terminal needs --fingerprint")
        return str(typer.prompt(f"type the fingerprint of its join that {site} reads to you", err=True))

    pinned = action.pin(workspace, site, screen.now(), ask)
    out.say(f"{site}: {'pinned' if pinned.is_new else 'was pinned before'}")
    out.say(f"not pinned yet: {', '.join(pinned.unpinned) or 'nobody'}")
    out.result(pinned)
