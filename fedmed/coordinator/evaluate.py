"""`evaluate` at the coordinator: one table from the sites' reports, global beside local-only, and the pool."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedmed import promises
from fedmed.coordinator import central, desk, pooled
from fedmed.errors import FedmedError
from fedmed.exchange import archived, bodies, bodies_reports, intake
from fedmed.reporting import hurt

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from pathlib import Path

    from fedmed.exchange.bodies_privacy import PrivacyBlock
    from fedmed.exchange.intake import Arrival
    from fedmed.exchange.workspace import Workspace
    from fedmed.reporting.hurt import Hurt


@dataclass(frozen=True)
class SiteReport:
    """One site's newest report on a model and split."""

    site: str
    body: bodies_reports.Report


@dataclass(frozen=True)
class PooledTable:
    """Reports of all sites that sent one, with the pool over them, per model (`global`, `personal`, `alone`).

    `worst` names the site on whose cases the global model is worst; `hurt` those whose own model is better there.
    `promises`: how private the training was, and what masking does not give.
    """

    round: int
    split: str
    reports: list[SiteReport]
    missing: list[str]
    pooled: dict[str, list[bodies.Metric]]
    worst: str
    hurt: list[Hurt]
    arrivals: list[Arrival]
    promises: list[str]


def evaluate(root: Path, now: datetime, split: str) -> PooledTable:
    """Raises FedmedError FM-WAI-02 when no report of this split has arrived."""
    with desk.opened(root, now) as found:
        running = desk.require_started(found)
        arrivals = intake.receive_all(found, desk.terms(running), now, "evaluate")
        round_, reports = _newest_reports(found, split)
        names = running.agreement.federation.site_names
        if not reports:
            raise FedmedError("FM-WAI-02", f"no report on the {split} cases has arrived from {', '.join(names)}")
        scores = [score for report in reports for score in report.body.told.scores]
        metric = hurt.watched(running.recipe.evaluation.metrics)
        return PooledTable(
            round=round_,
            split=split,
            reports=reports,
            missing=[name for name in names if name not in {report.site for report in reports}],
            pooled={
                kind: pooled.pool([score for score in scores if score.model == kind])
                + pooled.binned([report.body for report in reports], kind)
                + pooled.binned_froc([report.body for report in reports], kind)
                for kind in ("global", "personal", "alone")
            },
            worst=hurt.worst({each.site: each.body.overall("global", metric)[1] for each in reports}) if metric else "",
            hurt=[one for each in reports for one in _worse_than_alone(each, metric)] if metric else [],
            arrivals=arrivals,
            promises=promises.in_report(running.recipe, _most_spent(found, names), central.said(found)),
        )


def _most_spent(found: Workspace, names: Sequence[str]) -> PrivacyBlock | None:
    """What the patients of the hospital have spent that has spent most, each by its newest update."""
    newest = [known for name in names if (known := found.record.newest("update", sender=name))]
    said = [archived.read_archived(found, known.id).predicate.body for known in newest]
    spent = [body.privacy for body in said if isinstance(body, bodies.Update) and body.privacy]
    return max(spent, key=lambda block: float(block.epsilon), default=None)


def _worse_than_alone(report: SiteReport, metric: str) -> list[Hurt]:
    n, common = report.body.overall("global", metric)
    _, alone = report.body.overall("alone", metric)
    return hurt.fell(report.site, metric, n, common, alone, "its own local-only model")


def _newest_reports(found: Workspace, split: str) -> tuple[int, list[SiteReport]]:
    """The reports on the newest model that any site reported on, each site's latest."""
    latest: dict[tuple[int, str], tuple[int, bodies_reports.Report]] = {}
    for known in found.record.of("report"):
        body = archived.read_archived(found, known.id).predicate.body
        if isinstance(body, bodies_reports.Report) and body.split == split and known.round is not None:
            key = (known.round, known.sender)
            if key not in latest or latest[key][0] < known.seq:
                latest[key] = (known.seq, body)
    newest = max((round_ for round_, _ in latest), default=-1)
    return newest, [SiteReport(site, body) for (round_, site), (_, body) in sorted(latest.items()) if round_ == newest]
