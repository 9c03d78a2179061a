"""The sites' metrics, pooled from what their files say. No image, no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedmed.exchange import archived, bodies, bodies_reports
from fedmed.reporting import detection, discrimination, statistics

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fedmed.exchange.record import Known
    from fedmed.exchange.workspace import Workspace


def of_updates(found: Workspace, updates: Sequence[Known]) -> list[bodies.Metric]:
    """How good the round's model was on the validation cases of the sites that answered it."""
    metrics: list[bodies.Metric] = []
    for update in updates:
        body = archived.read_archived(found, update.id).predicate.body
        if isinstance(body, bodies.Update):
            metrics += body.told.base_metrics
    return pool(metrics)


def pool(metrics: Sequence[bodies.Metric]) -> list[bodies.Metric]:
    """One row a metric and label, over all sites: of values of single cases the exact pool; of what describes a whole
    fold, as AUROC does, the mean over the sites by their n, without a standard deviation.
    """
    rows = []
    for metric, label in sorted({(each.metric, each.label) for each in metrics}):
        parts = [summary(each) for each in metrics if (each.metric, each.label) == (metric, label)]
        pooled = statistics.pool_folds(parts) if metric in statistics.OF_FOLDS else statistics.pool(parts)
        rows.append(to_metric(metric, label, pooled))
    return rows


def binned(reports: Sequence[bodies_reports.Report], model: str) -> list[bodies.Metric]:
    """AUROC of all cases together, by label, from the histograms; only where every site sent one.

    What no site alone could say: how one threshold tells cases apart across hospitals.
    """
    found = []
    for label in sorted({curve.label for report in reports for curve in report.told.curves if curve.model == model}):
        curves = [c for report in reports for c in report.told.curves if (c.model, c.label) == (model, label)]
        if len(curves) == len(reports):
            positives = [sum(counts) for counts in zip(*(curve.positives for curve in curves), strict=True)]
            negatives = [sum(counts) for counts in zip(*(curve.negatives for curve in curves), strict=True)]
            value = discrimination.binned_auroc(positives, negatives)
            n = sum(positives) + sum(negatives)
            found.append(to_metric("auroc_binned", label, statistics.Summary(n, value, None)))
    return found


def binned_froc(reports: Sequence[bodies_reports.Report], model: str) -> list[bodies.Metric]:
    """FROC of all images together, by label, from the counts: exact but for the width of a bin; as above."""
    found = []
    for label in sorted({froc.label for report in reports for froc in report.told.frocs if froc.model == model}):
        parts = [each for report in reports for each in report.told.frocs if (each.model, each.label) == (model, label)]
        if len(parts) == len(reports):
            hits, false_positives = (
                [sum(counts) for counts in zip(*lists, strict=True)]
                for lists in ([each.hits for each in parts], [each.false_positives for each in parts])
            )
            boxes = sum(each.boxes for each in parts)
            at_rates = detection.binned(hits, false_positives, boxes, sum(each.images for each in parts))
            value = None if at_rates is None else detection.mean(at_rates)
            found.append(to_metric("froc_binned", label, statistics.Summary(boxes, value, None)))
    return found


def summary(metric: bodies.Metric) -> statistics.Summary:
    """A row of a report as numbers."""
    mean, sd = (None if text is None else float(text) for text in (metric.mean, metric.sd))
    return statistics.Summary(metric.n, mean, sd)


def to_metric(metric: str, label: str, found: statistics.Summary) -> bodies.Metric:
    mean, sd = (None if value is None else bodies.decimal(value) for value in (found.mean, found.sd))
    return bodies.Metric(metric=metric, label=label, n=found.n, mean=mean, sd=sd)
