"""Which sites came from a backup, by what they said since, and have no part in the open masked round.

A restored site has lost its mask keys, and may have answered with them: `fedmed.site.masks.sits_out` has the rule.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedmed.exchange import archived, attempts, bodies
from fedmed.exchange.bodies_roster import Receipt

if TYPE_CHECKING:
    from fedmed.exchange.record import Known
    from fedmed.exchange.workspace import Workspace


def sits_out(found: Workspace, site: str) -> bool:
    """Whether it was restored too late for the open round: the first attempt lists mask keys that it has lost, or it
    was not asked in the first one and cannot begin with another.
    """
    record, model = found.record, found.record.newest("model")
    if model is None or not times(found, site):
        return False
    receipts = [archived.read_archived(found, each.id).predicate.body for each in record.of("receipt", sender=site)]
    renewed = max((each.mask.index for each in receipts if isinstance(each, Receipt) and each.mask), default=0)
    first = record.model(model.round_number, 1)
    listed = max((index for name, index in _listed(found, first) if name == site), default=0)
    is_asked = site in attempts.included(record, model.round, 1)
    return renewed > listed or (model.attempt > 1 and not is_asked)


def times(found: Workspace, site: str) -> int:
    """How often a site was restored, by its own statements."""
    return max((each.resumes for each in found.record.received if each.sender == site), default=0)


def _listed(found: Workspace, model: Known | None) -> list[tuple[str, int]]:
    """The indices of the mask keys that a model lists, by site."""
    body = archived.read_archived(found, model.id).predicate.body if model else None
    return [(each.site, each.index) for each in body.masks] if isinstance(body, bodies.Model) else []
