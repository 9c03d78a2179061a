"""From scores of single cases, which stay here, to the rows of a report, which leave."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedmed.exchange import bodies, bodies_reports
from fedmed.reporting import statistics

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fedmed.exchange.bodies_reports import ModelName
    from fedmed.recipe import Imaging
    from fedmed.training.metrics import CaseScores, Score


def rows(model: ModelName, scored: Sequence[CaseScores], recipe: Imaging, min_count: int) -> list[bodies_reports.Score]:
    """One row a metric over all labels, and one a metric and label where there are at least `min_count` cases.

    Over all labels a case counts with the mean of its labels. A histogram, too, needs `min_count` values.
    """
    found = [
        _row(model, metric, bodies.ALL, _over_labels(scored, metric), min_count) for metric in recipe.evaluation.metrics
    ]
    if len(recipe.data.labels) > 1 and len(scored) >= min_count:
        for label, name in sorted(recipe.data.labels.items()):
            for metric in recipe.evaluation.metrics:
                single = [
                    [score for score in case.rows if (score.metric, score.label) == (metric, label)] for case in scored
                ]
                if any(single):  # else nobody labels it here
                    found.append(_row(model, metric, name, single, min_count))
    return found


def _over_labels(scored: Sequence[CaseScores], metric: str) -> list[list[Score]]:
    return [[score for score in case.rows if score.metric == metric] for case in scored]


def _row(model: ModelName, metric: str, label: str, cases: list[list[Score]], min_count: int) -> bodies_reports.Score:
    values = [_mean(case) for case in cases]
    defined = [value for value in values if value is not None]
    summary = statistics.summarise(defined)
    mean, sd = (None if value is None else bodies.decimal(value) for value in (summary.mean, summary.sd))
    return bodies_reports.Score(
        model=model,
        metric=metric,
        label=label,
        n=summary.n,
        mean=mean,
        sd=sd,
        missed=sum(any(score.missed for score in case) for case in cases),
        spurious=sum(any(score.spurious for score in case) for case in cases),
        empty=sum(all(score.empty for score in case) for case in cases),
        histogram=statistics.histogram(defined, metric) if len(defined) >= min_count else None,
    )


def _mean(case: list[Score]) -> float | None:
    values = [score.value for score in case if score.value is not None]
    return sum(values) / len(values) if values else None
