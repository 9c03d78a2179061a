"""`privacy`: what this hospital's patients have spent of their budget."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from fedmed.cli.screen import Json, Screen, Workspace
from fedmed.promises import NO_GUARANTEE

if TYPE_CHECKING:
    from fedmed.site.spent import Spent

privacy_app = typer.Typer(help="What the privacy of this hospital's patients has cost so far, and what is left.")
BAR = 40


def register(app: typer.Typer) -> None:
    app.add_typer(privacy_app, name="privacy")


@privacy_app.callback()
def privacy() -> None:
    """What the privacy of this hospital's patients has cost so far, and what is left."""


@privacy_app.command()
def status(workspace: Workspace = Path(), as_json: Json = False) -> None:
    """Epsilon spent and left, over all federations of this hospital, and how many rounds that is. Changes nothing.

    Example: fedmed privacy status -w st-olav
    """
    from fedmed.site import spent as action  # noqa: PLC0415

    out = Screen(as_json=as_json)
    found = action.status(workspace)
    _show(out, found)
    out.result(found)


def _show(out: Screen, found: Spent) -> None:
    if not found.is_private:
        out.say(f"{NO_GUARANTEE} of a patient: the recipe of this federation has no dp")
        return
    full = round(BAR * min(1.0, found.epsilon / found.most))
    out.say(f"epsilon {found.epsilon:.2f} of {found.most:g} is spent at delta {found.delta:g}, by whoever spent most")
    out.say(f"[{'#' * full}{'.' * (BAR - full)}] {found.left:.2f} left")
    out.say(f"{found.patients} training patients; this federation takes at most {found.target:g} over all its rounds")
    if found.rounds:
        share = f"{found.rounds_left} of the {found.rounds} rounds to come"
        noise = f"with a noise multiplier of {found.noise_multiplier:.2f} " if found.noise_multiplier else ""
        out.say(f"{noise}the budget has {share}")
    rows = [
        [each.workspace, each.federation[:8], str(each.trainings), str(each.steps), f"{each.epsilon:.2f}"]
        for each in found.federations
    ]
    out.table("what has looked at them", ["workspace", "federation", "trainings ", "steps ", "epsilon alone "], rows)
    out.say("outside of epsilon leave: numbers of cases, metrics and their histograms")
