"""`partition`: the cases of a hospital and their folds, or virtual sites; as a table and as bars."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedmed.cli import division, screen
from fedmed.cli.division import HowName
from fedmed.cli.screen import Json, Screen
from fedmed.errors import CODES, FedmedError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fedmed.site.partition import Partitioned, Share

WIDTH = 80
SHADES = "#+o.=x*%@-abcdefghijklmnpqrstuvwyz"  # one a group; a recipe has at most 33 classes
LONGEST_VALUE = 60


def register(app: typer.Typer) -> None:
    app.command()(partition)


def partition(
    data: Annotated[
        Path | None, typer.Argument(help="For virtual sites: a folder with the data of one hospital.")
    ] = None,
    workspace: Annotated[
        Path | None, typer.Option("-w", "--workspace", help="The workspace; here if left out.", show_default=False)
    ] = None,
    recipe: Annotated[Path | None, typer.Option(help="For virtual sites: the recipe.")] = None,
    sites: Annotated[
        int | None,
        typer.Option(
            min=2, max=100, help="For virtual sites: how many; 2 if left out. With --how column or header a check."
        ),
    ] = None,
    how: Annotated[HowName | None, typer.Option(help="For virtual sites: iid if left out.")] = None,
    sizes: division.Sizes = "",
    alpha: division.Alpha = None,
    by: division.By = "",
    leave_out: division.LeaveOut = "",
    shift: division.Shift = None,
    strength: division.Strength = None,
    seed: Annotated[int | None, typer.Option(min=0, help="For virtual sites: another seed than the recipe's.")] = None,
    out: Annotated[Path | None, typer.Option(help="For virtual sites: the folder to write.")] = None,
    as_json: Json = False,
) -> None:
    """Find the cases, check each, and split them by patient; or divide one folder into virtual sites.

    Example: fedmed partition -w st-olav

    Example: fedmed partition DATA --recipe R --sites 4 --how dirichlet --alpha 0.5 --out sites

    Example: fedmed partition DATA --recipe R --how header --by Manufacturer --leave-out Acme --out sites

    Example: fedmed partition DATA --recipe R --sites 4 --shift noise --strength 1 --out sites
    """
    from fedmed.site import partition as action  # noqa: PLC0415
    from fedmed.site import virtual  # noqa: PLC0415

    shown = Screen(as_json=as_json)
    options = (
        *(("--recipe", recipe), ("--sites", sites), ("--how", how), ("--sizes", sizes or None)),
        *(("--alpha", alpha), ("--by", by or None), ("--leave-out", leave_out or None), ("--shift", shift)),
        *(("--strength", strength), ("--seed", seed), ("--out", out)),
    )
    _require_together(data, workspace, [option for option, value in options if value is not None])
    way = how or HowName.iid
    chosen = division.chosen(
        way, sites=sites, sizes=sizes, alpha=alpha, by=by, leave_out=leave_out, shift=shift, strength=strength
    )
    values: Mapping[str, str] = {}
    with shown.progress() as step:

        def reading(done: int, total: int) -> None:
            step("reading cases", done, total)

        if data is None or recipe is None or out is None:
            found = action.partition(workspace or Path(), screen.now(), reading)
        else:
            divided = virtual.virtual_sites(data, recipe, out, **chosen, seed=seed, progress=reading)
            found, values = divided.partitioned, divided.values
    _show(shown, found, values)
    if out is not None:
        shown.say(f"written: {out / 'partition.csv'}, {out / 'partition.png'}, and a cases.json for each site")
    elif found.too_few:
        shown.say(f"nothing can be trained here: FM-PRV-06 {found.too_few}")
        shown.say(f"next: {CODES['FM-PRV-06'].remedy}")
    else:
        shown.say(f"next: {screen.hint('train-local', workspace or Path())}")
    shown.result(found)


def _require_together(data: Path | None, workspace: Path | None, given: list[str]) -> None:
    """An option that would be ignored is refused: a seed that changed nothing would be believed in."""
    if data is None and given:
        raise FedmedError("FM-USE-01", f"{', '.join(given)}: only for virtual sites, with DATA")
    if data is not None and workspace is not None:
        raise FedmedError("FM-USE-01", "--workspace: not with DATA, virtual sites belong to no workspace")
    if data is not None and not {"--recipe", "--out"} <= set(given):
        raise FedmedError("FM-USE-01", "virtual sites need --recipe and --out")


def _show(out: Screen, found: Partitioned, values: Mapping[str, str]) -> None:
    groups = sorted({group for share in found.shares for group in share.groups if group})
    columns = ["site", "train ", "validation ", "test ", *(f"{group} " for group in groups)]
    rows = [
        [share.site, *(str(share.counts[fold]) for fold in ("training", "validation", "testing"))]
        + [str(share.groups.get(group, 0)) for group in groups]
        for share in found.shares
    ]
    out.table("cases by fold" + (f", and by {found.grouped_by}" if groups else ""), columns, rows)
    for line in bars(found.shares):
        out.say(line)
    for site, value in values.items():
        out.say(f"{site} = {value if len(value) <= LONGEST_VALUE else value[:LONGEST_VALUE] + '...'}")
    for code, count in sorted(found.excluded.items()):
        out.say(f"excluded: {count} by {code} (fedmed explain {code})")
    for note in found.notes:
        out.say(f"note: {note}")
    out.say(f"seed {found.seed}" + (f", cases {found.changes}" if found.changes else ""))


def bars(shares: Sequence[Share]) -> list[str]:
    """A legend and a bar for each site, as long as it has cases, a character for each group; 80 columns of ASCII."""
    groups = sorted({group for share in shares for group in share.groups})
    shade = dict(zip(groups, SHADES, strict=False))
    totals = [sum(share.groups.values()) for share in shares]
    name = max((len(share.site) for share in shares), default=0)
    number = max((len(str(total)) for total in totals), default=0)
    room = WIDTH - name - number - 4
    legend = "   ".join(f"{shade[group]} {group or 'other'}" for group in groups) if any(groups) else ""
    lines = textwrap.wrap(legend, WIDTH, break_on_hyphens=False)
    for share, total in zip(shares, totals, strict=True):
        lengths = _lengths([share.groups.get(group, 0) for group in groups], round(room * total / max(*totals, 1)))
        bar = "".join(shade[group] * length for group, length in zip(groups, lengths, strict=True))
        lines.append(f"{share.site:<{name}}  {bar}  {total}")
    return lines


def _lengths(counts: Sequence[int], length: int) -> list[int]:
    """`length` characters in the proportions of the counts, at least one for whoever is there at all."""
    total = sum(counts)
    parts = [max(1, round(length * count / total)) if count else 0 for count in counts]
    excess = sum(parts) - max(length, sum(count > 0 for count in counts))
    while excess:
        step = 1 if excess > 0 else -1
        parts[parts.index(max(parts))] -= step
        excess -= step
    return parts
