"""This site's turn in a lap: whose update it goes on from, and who goes on from its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedmed.errors import FedmedError
from fedmed.exchange import laps

if TYPE_CHECKING:
    from fedmed.exchange.record import Known
    from fedmed.site.desk import Site


@dataclass(frozen=True)
class Turn:
    """`before` is the update to go on from, None for the first of a lap and outside of laps."""

    before: Known | None = None

    @property
    def chain(self) -> str | None:
        """What this site's update names."""
        return self.before.id if self.before else None


def turn(site: Site, model: Known) -> Turn:
    """Raises FedmedError FM-CYC-01 while the update of the site before is not here."""
    if not model.order:
        return Turn()
    first, _ = laps.neighbours(model.order, site.workspace.name)
    if waiting := waits_for(site, model):
        file = f"update-r{model.round_number:04d}-{first}.fedmed"
        next_ = f"put {file}, from the coordinator or from {first}, into inbox/ and run the command again"
        raise FedmedError("FM-CYC-01", f"round {model.round}: waits for {waiting}", next=next_)
    before = site.workspace.record.newest("update", sender=first, round=model.round) if first else None
    return Turn(before)


def waits_for(site: Site, model: Known) -> str:
    """What must come before this site can train in this round; empty when nothing must."""
    record = site.workspace.record
    first = laps.neighbours(model.order, site.workspace.name)[0] if model.order else ""
    before = record.newest("update", sender=first, round=model.round) if first else None
    place = f"which comes before this site, {' - '.join(model.order)}"
    if first and before is None:
        return f"the update of {first}, {place}"
    conflicts = [each for each in record.conflicts if each.sender == first]
    if before and any(each.round == model.round or each.seq == before.seq for each in conflicts):
        return f"the coordinator: {first}, {place}, signed two updates with one number"
    return ""


def behind(site: Site, round_: int) -> str:
    """The site that goes on from this one's update of the round; empty for the last of a lap and outside of laps."""
    model = site.workspace.record.model(round_)
    return laps.neighbours(model.order, site.workspace.name)[1] if model and model.order else ""
