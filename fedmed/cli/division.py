"""How an experimenter divides data among hospitals: options that `partition DATA` and `simulate` share."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, TypedDict

import typer

from fedmed.cli import screen
from fedmed.errors import FedmedError

if TYPE_CHECKING:
    from fedmed.cases.case import ShiftKind
    from fedmed.site.virtual import How


class HowName(StrEnum):
    """`--how`: how one data folder becomes several hospitals."""

    iid = "iid"
    sizes = "sizes"
    linear = "linear"
    exponential = "exponential"
    quantity = "quantity"
    dirichlet = "dirichlet"
    shards = "shards"
    column = "column"
    header = "header"
    folders = "folders"


class ShiftName(StrEnum):
    """`--shift`: what makes the images of the hospitals differ."""

    intensity = "intensity"
    noise = "noise"


BY_VALUE = (HowName.column, HowName.header)
BY_DATA = (*BY_VALUE, HowName.folders)
STRENGTH = 0.5

Alpha = Annotated[float | None, typer.Option(min=0.001, max=1000, help="With --how dirichlet or quantity.")]
Sizes = Annotated[str, typer.Option(help="With --how sizes: for example 70,45,25,15.")]
By = Annotated[
    str, typer.Option(help="With --how column: one of the table of labels. With --how header: a DICOM keyword.")
]
LeaveOut = Annotated[
    str,
    typer.Option(
        metavar="SITE",
        help="With --how column, header or folders: the value or folder whose cases are for testing alone.",
    ),
]
Shift = Annotated[
    ShiftName | None, typer.Option(help="Change the images of each site when they are read: contrast, or noise.")
]
Strength = Annotated[
    float | None, typer.Option(min=0.01, max=3, help=f"With --shift: how much; {STRENGTH} if left out.")
]


class Division(TypedDict):
    """What `site.virtual.virtual_sites` and a plan of `rehearsal.simulate` take of these options, by their names."""

    how: How
    sites: int | None
    sizes: list[float] | None
    alpha: float | None
    by: str
    leave_out: str
    shift: ShiftKind | None
    strength: float


def chosen(
    how: HowName,
    *,
    sites: int | None,
    sizes: str,
    alpha: float | None,
    by: str,
    leave_out: str,
    shift: ShiftName | None,
    strength: float | None,
) -> Division:
    """The options together; an option that would be ignored is refused. Raises FedmedError FM-USE-01."""
    belongs = (
        ("--sizes", bool(sizes), how is HowName.sizes),
        ("--alpha", alpha is not None, how in (HowName.dirichlet, HowName.quantity)),
        ("--by", bool(by), how in BY_VALUE),
    )
    for option, given, wanted in belongs:
        if given != wanted:
            raise FedmedError("FM-USE-01", f"--how {how.value}: {option} is {'missing' if wanted else 'not for it'}")
    refused = (
        ("--leave-out", bool(leave_out) and how not in BY_DATA, "it needs the name of a site"),
        ("--shift", shift is not None and how is HowName.folders, "folders differ by themselves"),
        ("--sites", sites is not None and how is HowName.folders, "the data say how many there are"),
    )
    for option, wrong, why in refused:
        if wrong:
            raise FedmedError("FM-USE-01", f"--how {how.value}: {option} is not for it, {why}")
    if strength is not None and shift is None:
        raise FedmedError("FM-USE-01", "--strength: only with --shift")
    parts = screen.sizes(sizes, sites) if sizes else None
    return {
        "how": how.value,
        "sites": len(parts) if parts else sites,
        "sizes": parts,
        "alpha": alpha,
        "by": by,
        "leave_out": leave_out,
        "shift": shift.value if shift else None,
        "strength": strength or STRENGTH,
    }
