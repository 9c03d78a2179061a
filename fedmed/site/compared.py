"""Is the global model worse for this hospital than what it had?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedmed.exchange import archived, bodies, bodies_reports
from fedmed.reporting import hurt

if TYPE_CHECKING:
    from fedmed.exchange.record import Known
    from fedmed.reporting.hurt import Hurt
    from fedmed.site.desk import Approved, Site


def hurt_by(site: Site, consent: Approved, model: Known, body: bodies_reports.Report) -> list[Hurt]:
    """Worse than the local-only model in the report, or than the best earlier one on the validation cases."""
    metric, name = hurt.watched(consent.recipe.evaluation.metrics), site.workspace.name
    if metric is None:
        return []
    n, value = body.overall("global", metric)
    found = hurt.fell(name, metric, n, value, body.overall("alone", metric)[1], "its own local-only model")
    if body.split == "validation":
        earlier = _earlier(site, metric, model.round_number)
        best = max(earlier, key=lambda round_: earlier[round_], default=0)
        found += hurt.fell(name, metric, n, value, earlier.get(best), f"model r{best:04d}")
    return found


def _earlier(site: Site, metric: str, before: int) -> dict[int, float]:
    """By round, what this site's updates said of the models of earlier rounds."""
    found: dict[int, float] = {}
    for known in site.workspace.record.of("update", sender=site.workspace.name):
        body = archived.read_archived(site.workspace, known.id).predicate.body
        if isinstance(body, bodies.Update) and known.round_number < before:
            _, value = body.overall(metric)
            found |= {} if value is None else {known.round_number: value}
    return found
