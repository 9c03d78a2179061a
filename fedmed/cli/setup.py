"""Founding a federation: init, admit, start, approve."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedmed.cli import screen
from fedmed.cli.screen import Json, Screen, Workspace
from fedmed.errors import CODES, FedmedError

if TYPE_CHECKING:
    from fedmed.recipe import Recipe
    from fedmed.site.approve import Proposal

init_app = typer.Typer(help="Make a workspace: for the coordinator or for a site.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    app.add_typer(init_app, name="init")
    app.command()(admit)
    app.command()(start)
    app.command()(approve)


@init_app.command("coordinator")
def init_coordinator(
    folder: Annotated[Path, typer.Argument(help="The new workspace.")],
    recipe: Annotated[Path, typer.Option("--recipe", help="What is to be trained: a file of recipes/.")],
    title: Annotated[str, typer.Option(help="The federation's title; the recipe's name if left out.")] = "",
    rounds: Annotated[int, typer.Option(help="How many rounds; can be changed in federation.yaml before start.")] = 10,
    as_json: Json = False,
) -> None:
    """Make the coordinator's workspace.

    Example: fedmed init coordinator coord --recipe recipes/tumour-segmentation-mr.yaml
    """
    from fedmed.coordinator import found  # noqa: PLC0415

    out = Screen(as_json=as_json)
    founded = found.init(folder, recipe, screen.now(), title=title, rounds=rounds)
    out.say(f"workspace {folder} made for the recipe {founded.recipe}")
    out.say(f"key {founded.key}")
    out.say("edit federation.yaml there if you like, and put the sites' join files into inbox/")
    out.say(f"next: {screen.hint('status', folder)}")
    out.result(founded)


@init_app.command("site")
def init_site(
    folder: Annotated[Path, typer.Argument(help="The new workspace, on a local disk.")],
    name: Annotated[str, typer.Option("--name", help="The site's name: 2-32 of a-z, 0-9 and hyphens.")],
    data: Annotated[
        Path, typer.Option("--data", help="The folder with the images or the table; it is only ever read.")
    ],
    contact: Annotated[str, typer.Option(help="Whom the coordinator can call; it is in the join file.")] = "",
    channel: Annotated[
        list[str], typer.Option(help="The recipe's channel names; XR for radiographs, else MR, if left out.")
    ] = [],  # noqa: B006
    layout: Annotated[
        str,
        typer.Option(
            metavar="NAME|FILE",
            help="How the data lie, where it is not recognised: a YAML file (fedmed/docs/DATA.md), or a public set: "
            "brats, brats-2020, fracatlas, grazpedwri-dx, kits or rsna-cervical-spine.",
        ),
    ] = "",
    as_json: Json = False,
) -> None:
    """Make a site's workspace and its join file.

    Example: fedmed init site st-olav --name st-olav --data /data/tumours

    Example: fedmed init site st-olav --name st-olav --data /data/BraTS --layout brats

    Example: fedmed init site st-olav --name st-olav --data /data/tumours --layout own-layout.yaml
    """
    from fedmed.site import join  # noqa: PLC0415

    out = Screen(as_json=as_json)
    joined = join.init(folder, name, data, screen.now(), contact=contact, channels=channel, shipped_layout=layout)
    if joined.layout.table:
        out.say(f"workspace {folder} made; cases are the rows of {joined.layout.table.file}")
        out.say("see data: layout: table: in fedmed.yaml there: which columns say whose row it is, what means a gap")
    else:
        images = ", ".join(f"{key}: {pattern}" for key, pattern in joined.layout.image.items())
        where = " and ".join(filter(None, [joined.layout.label, *sorted(joined.layout.tables)]))
        out.say(f"workspace {folder} made; images {images}, labels {where}")
        out.say(f"channels are called {', '.join(joined.layout.image)}: the recipe must call them so too (--channel)")
    out.say(f"key {joined.key}")
    out.say(f"fingerprint to read to the coordinator: {joined.fingerprint}")
    out.say(f"next: bring {joined.join} to the coordinator")
    out.result(joined)


def admit(
    joins: Annotated[list[Path], typer.Argument(help="Join files, as they arrived.", metavar="JOIN...")],
    workspace: Workspace = Path(),
    fingerprint: Annotated[
        str | None,
        typer.Option(
            metavar="HEX",
            help="The join's fingerprint, had from the site; a wrong one admits nobody, "
            "a right one may replace an earlier join of that name.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Add sites to the roster (coordinator).

    Example: fedmed admit inbox/join-st-olav.fedmed
    """
    from fedmed.coordinator import admit as action  # noqa: PLC0415

    out = Screen(as_json=as_json)
    admitted = action.admit(workspace, joins, screen.now(), fingerprint=fingerprint)
    for each in admitted:
        contact = f" ({each.contact})" if each.contact else ""
        out.say(f"{each.name}{contact}: {'admitted' if each.is_new else 'was admitted before'}")
        out.say(f"  compare over the phone: {each.fingerprint}")
    out.say(f"next: when all are in: {screen.hint('start', workspace)}")
    out.result({"admitted": admitted})


def start(
    workspace: Workspace = Path(),
    weights: Annotated[
        Path | None, typer.Option(help="Initial weights: a safetensors file with the tensors of the recipe's network.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Freeze roster, recipe and limits; seal the federation and model r0 (coordinator).

    Example: fedmed start -w coord

    Example: fedmed start -w coord --weights pretrained.safetensors
    """
    from fedmed.coordinator import start as action  # noqa: PLC0415

    out = Screen(as_json=as_json)

    def initial(recipe: Recipe) -> action.Initial:
        from fedmed.training import networks, pretrained  # noqa: PLC0415 - where the coordinator's side needs torch

        if weights is None:
            return networks.initial_params(recipe)
        given = pretrained.read(recipe, weights)
        fresh = f"; new, because the file has none that fit: {', '.join(given.fresh)}" if given.fresh else ""
        out.say(f"{len(given.params) - len(given.fresh)} of {len(given.params)} tensors are from {weights.name}{fresh}")
        return given.params, given.rows

    started = action.start(workspace, initial, screen.now(), from_file=weights is not None)
    out.say(f"{started.title} has started with {', '.join(started.sites)}")
    out.say(f"fingerprint to read to every site: {started.fingerprint}")
    out.say("next: bring these to every site: " + ", ".join(str(path) for path in started.posted))
    if started.masks:
        out.say(f"model r0 follows when all sites have approved: {screen.hint('aggregate', workspace)}")
    elif started.pools:
        out.say(f"model r0 follows when the sites' fingerprints are in: {screen.hint('aggregate', workspace)}")
    out.result(started)


def approve(
    workspace: Workspace = Path(),
    by: Annotated[str, typer.Option("--by", help="The person who consents; asked for if left out.")] = "",
    fingerprint: Annotated[
        str | None,
        typer.Option(metavar="HEX", help="The federation's fingerprint, had from the coordinator by another channel."),
    ] = None,
    as_json: Json = False,
) -> None:
    """See the federation and what will leave the hospital, and consent (site).

    Example: fedmed approve --by "Dr. Kari Nordmann"
    """
    from fedmed.site import approve as action  # noqa: PLC0415

    out = Screen(as_json=as_json)

    def ask(proposals: list[Proposal]) -> str:
        for proposal in proposals:
            _show(out, proposal)
        if fingerprint is not None:
            return fingerprint
        if not sys.stdin.isatty():
            raise FedmedError("FM-USE-01", "approve without a terminal needs --fingerprint")
        return str(typer.prompt("type the fingerprint that the coordinator reads to you", err=True))

    if not by and sys.stdin.isatty():
        by = str(typer.prompt("your name", err=True))
    consent = action.approve(workspace, screen.now(), by=by, ask=ask, typed=fingerprint)
    out.say(f"{consent.title}: {'approved' if consent.is_new else 'was approved before'} by {consent.by}")
    first = f"{CODES['FM-PRV-01'].remedy}; then run" if consent.needs_budget else "run"
    out.say(f"next: bring {consent.posted} to the coordinator, and {first} {screen.hint('partition', workspace)}")
    out.result(consent)


def size(num_bytes: int) -> str:
    """For people: a network of a few weights is not 0.0 MB."""
    return f"{num_bytes / 1e6:.1f} MB" if num_bytes >= 1e5 else f"{num_bytes / 1e3:.1f} kB"


def _show(out: Screen, proposal: Proposal) -> None:
    """The fingerprint is not shown: who must type it has to have it from the coordinator."""
    body, recipe = proposal.federation.body, proposal.recipe
    limits = body.limits
    out.say(f"federation: {proposal.federation.founding.title}")
    out.say(f"  recipe {recipe.name}: {recipe.description or recipe.task}")
    out.say(f"  sites: {', '.join(proposal.federation.site_names)}")
    out.say(f"  {proposal.rounds}")
    hidden = "all files about rounds are encrypted"
    out.say(f"  {hidden if body.encryption == 'age' else 'models, updates and reports are signed, not encrypted'}")
    out.say(
        f"  expires {proposal.federation.expires}; numbers on fewer than {limits.min_count} cases are not broken down"
    )
    most = "at most" if recipe.update.compress != "none" else "about"
    sizes = f"{most} {size(proposal.file_bytes)}, of which tensors {size(proposal.update_bytes)}"
    out.say(f"  what leaves this hospital (the file of an update is {sizes}):")
    for line in proposal.leaves:
        out.say(f"    - {line}")
    if proposal.budget:
        out.say(f"  {proposal.budget}")
    out.say(f"  {proposal.screen}")
    for line in proposal.promises:
        out.say(f"  {line}")
