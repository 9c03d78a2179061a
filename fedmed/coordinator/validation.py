"""How good the models were on the sites' validation cases, as updates said: site by site, and against earlier ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedmed.exchange import bodies, sealing
from fedmed.reporting import hurt

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fedmed.coordinator.desk import Started
    from fedmed.exchange.record import Known
    from fedmed.exchange.workspace import Workspace
    from fedmed.reporting.hurt import Hurt


@dataclass(frozen=True)
class OnSite:
    """The watched metric of a round's model on a site's validation cases, and the best of an earlier model there."""

    site: str
    n: int
    value: float | None
    best: float | None
    best_round: int | None


@dataclass(frozen=True)
class Watched:
    """`metric` is the recipe's first from 0 to 1; `worst` names the site where the round's model has least of it."""

    metric: str
    round: int
    sites: list[OnSite]
    worst: str
    hurt: list[Hurt]


def watch(found: Workspace, running: Started, round_: int, updates: Sequence[Known]) -> Watched | None:
    """The model of `round_` on the sites that answered it; None where the recipe has no metric from 0 to 1."""
    metric = hurt.watched(running.recipe.evaluation.metrics)
    if metric is None:
        return None
    sites = [_on_site(found, metric, round_, update) for update in updates]
    fallen = [
        each
        for row in sites
        for each in hurt.fell(row.site, metric, row.n, row.value, row.best, f"model r{row.best_round or 0:04d}")
    ]
    return Watched(metric, round_, sites, hurt.worst({row.site: row.value for row in sites}), fallen)


def _on_site(found: Workspace, metric: str, round_: int, update: Known) -> OnSite:
    n, value = _said(found, metric, update)
    earlier: dict[int, float] = {}
    for known in found.record.of("update", sender=update.sender):
        _, before = _said(found, metric, known) if known.round_number < round_ else (0, None)
        earlier |= {} if before is None else {known.round_number: before}
    best = max(earlier, key=lambda each: earlier[each], default=None)
    return OnSite(update.sender, n, value, None if best is None else earlier[best], best)


def _said(found: Workspace, metric: str, update: Known) -> tuple[int, float | None]:
    """What an update says of the model it started from."""
    body = sealing.read_archived(found, update.id).predicate.body
    return body.overall(metric) if isinstance(body, bodies.Update) else (0, None)
