"""How good the models were on the sites' validation cases, as updates said: site by site, and against earlier ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedmed.coordinator import pooled
from fedmed.exchange import archived, bodies, bodies_reports, lineage
from fedmed.exchange.lineage import Best
from fedmed.reporting import hurt, statistics

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


def is_enough(found: Workspace, running: Started, round_: int, now: Sequence[bodies.Metric]) -> bool:
    """Whether the recipe's `stopping` ends the federation with the model behind `round_`, which has `now`.

    Early stopping (Prechelt 1998) on what all sites' validation cases say of the global model. A round in which they
    say nothing, because nobody who answered has such cases, is no round without an improvement.
    """
    stopping = running.recipe.stopping
    if stopping is None:
        return False
    metric = running.recipe.evaluation.metrics[0]
    values = lineage.history(found, metric)
    _, value = bodies.overall(now, metric)
    values |= {} if value is None else {round_: value}
    is_lower = metric in statistics.LOWER_IS_BETTER
    best = lineage.improved(values, lower_is_better=is_lower, by=stopping.min_delta)
    return best is not None and sum(scored > best for scored in values) >= stopping.patience


def why_stopped(running: Started, round_: int) -> str:
    """Why the last model came before the last round of the limits, in words; empty where it did not."""
    stopping, rounds = running.recipe.stopping, running.agreement.federation.body.limits.rounds
    if stopping is None or round_ >= rounds:
        return ""
    metric = running.recipe.evaluation.metrics[0]
    than = f"by more than {stopping.min_delta:g} " if stopping.min_delta else ""
    models = "model" if stopping.patience == 1 else f"{stopping.patience} models"
    words = f"{metric} did not improve {than}in the last {models} that validation cases speak of"
    return f"stopped early, at {round_} of {rounds} rounds: {words} (stopping in the recipe)"


def best(found: Workspace, running: Started) -> Best | None:
    """The model that was best on the validation cases of all sites, of those that were scored there: by updates, and
    the newest by the reports of all sites.
    """
    metric, newest = running.recipe.evaluation.metrics[0], found.record.newest("model")
    values = lineage.history(found, metric)
    reports = {} if newest is None else _reports(found, newest)
    if newest is not None and reports.keys() == set(running.agreement.federation.site_names):
        rows = [row for body in reports.values() for row in body.told.scores if row.model == "global"]
        _, value = bodies.overall(pooled.pool(rows), metric)
        values |= {} if value is None else {newest.round_number: value}
    round_ = lineage.improved(values, lower_is_better=metric in statistics.LOWER_IS_BETTER)
    known = None if round_ is None else found.record.model(round_)
    return None if known is None or round_ is None else Best(round_, metric, values[round_], found.archived(known.id))


def _reports(found: Workspace, model: Known) -> dict[str, bodies_reports.Report]:
    """Each site's latest on the validation cases."""
    latest: dict[str, bodies_reports.Report] = {}
    for known in sorted(found.record.of("report", round=model.round_number), key=lambda each: each.seq):
        body = archived.read_archived(found, known.id).predicate.body
        if isinstance(body, bodies_reports.Report) and body.split == "validation":
            latest[known.sender] = body
    return latest


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
    body = archived.read_archived(found, update.id).predicate.body
    return body.overall(metric) if isinstance(body, bodies.Update) else (0, None)
