"""What the patients of this hospital are promised, for whoever reads a report on a model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedmed import promises
from fedmed.exchange import archived, bodies

if TYPE_CHECKING:
    from fedmed.exchange.record import Known
    from fedmed.site.desk import Approved, Site


def in_report(site: Site, consent: Approved, model: Known) -> list[str]:
    """By the newest update of this hospital, and by what the model says of noise at the coordinator.

    Raises FedmedError FM-TRU-11, FM-AGE-02, FM-KEY-*.
    """
    newest = site.workspace.record.newest("update", sender=site.workspace.name)
    said = archived.read_archived(site.workspace, newest.id).predicate.body if newest else None
    scored = archived.read_archived(site.workspace, model.id).predicate.body
    return promises.in_report(
        consent.recipe,
        said.privacy if isinstance(said, bodies.Update) else None,
        scored.central if isinstance(scored, bodies.Model) else None,
    )
