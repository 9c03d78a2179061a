"""A classifier's figures over sites: those of whole folds are averaged, and only curves give an AUROC of all cases."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

import numpy as np
import pytest

from fedmed.coordinator import pooled
from fedmed.exchange import bodies
from fedmed.reporting import discrimination

if TYPE_CHECKING:
    from collections.abc import Sequence

Model = Literal["global", "alone"]


def metric(name: str, n: int, mean: float | None, sd: float | None = None, label: str = "all") -> bodies.Metric:
    values = (None if value is None else bodies.decimal(value) for value in (mean, sd))
    return bodies.Metric(metric=name, label=label, n=n, **dict(zip(("mean", "sd"), values, strict=True)))


def curve(positives: Sequence[float], negatives: Sequence[float], label: str, model: Model) -> bodies.Curve:
    counts = [discrimination.histogram(np.array(scores, np.float64)) for scores in (positives, negatives)]
    return bodies.Curve(model=model, label=label, positives=counts[0], negatives=counts[1])


def report(*curves: bodies.Curve) -> bodies.Report:
    return bodies.Report(
        split="testing", opening=1, num_cases=9, scores=[], curves=list(curves), frocs=[], exclusions=[]
    )


def number(row: bodies.Metric) -> float:
    assert row.mean is not None
    return float(row.mean)


def test_figures_of_folds_are_averaged_by_n_and_have_no_spread() -> None:
    rows = pooled.pool([metric("auroc", 10, 0.9), metric("auroc", 30, 0.5), metric("auroc", 0, None)])
    assert [(row.metric, row.label, row.n, row.sd) for row in rows] == [("auroc", "all", 40, None)]
    assert number(rows[0]) == pytest.approx((10 * 0.9 + 30 * 0.5) / 40)


def test_values_of_single_cases_are_pooled_exactly_beside_them() -> None:
    rows = pooled.pool([metric("dice", 2, 0.5, 0.1), metric("dice", 2, 0.9, 0.1), metric("auprc", 4, 0.25)])
    assert [row.metric for row in rows] == ["auprc", "dice"]
    assert (rows[1].n, number(rows[1])) == (4, pytest.approx(0.7))
    # squares within: 2 * .01, between the means: 4 * .04
    assert float(rows[1].sd or "nan") == pytest.approx(math.sqrt((0.02 + 0.16) / 3))


@pytest.mark.parametrize(
    "name", ["auroc", "auprc", "balanced_accuracy", "sensitivity_at_spec90", "specificity_at_spec90"]
)
def test_every_figure_of_a_classifier_describes_a_fold(name: str) -> None:
    (row,) = pooled.pool([metric(name, 1, 0.0), metric(name, 1, 1.0)])
    assert (row.n, row.mean, row.sd) == (2, "0.5", None), "a spread of two folds is none of cases"


def test_labels_stay_apart_and_what_nobody_could_say_is_undefined() -> None:
    rows = pooled.pool([metric("auroc", 5, 0.8, label="one"), metric("auroc", 0, None, label="two")])
    assert [(row.label, row.n, row.mean) for row in rows] == [("one", 5, "0.8"), ("two", 0, None)]


def test_auroc_of_all_cases_together_is_not_the_mean_of_the_sites() -> None:
    # each site tells its own cases apart, at thresholds of its own: .8 over .6, and .4 over .2
    sites = [
        report(curve([0.805, 0.825], [0.605, 0.625], "fracture", "global")),
        report(curve([0.405, 0.425], [0.205, 0.225], "fracture", "global")),
    ]
    (row,) = pooled.binned(sites, "global")
    assert (row.metric, row.label, row.n, row.sd) == ("auroc_binned", "fracture", 8, None)
    assert number(row) == 0.75  # the second site's positives lie below the first one's negatives: 12 of 16 pairs
    assert pooled.binned(sites, "alone") == []


def test_it_needs_the_curves_of_every_site_that_reported() -> None:
    one = curve([0.9], [0.1], "one", "global")
    two = curve([0.9], [0.1], "two", "global")
    assert [row.label for row in pooled.binned([report(one, two), report(one, two)], "global")] == ["one", "two"]
    assert [row.label for row in pooled.binned([report(one, two), report(two)], "global")] == ["two"]
    assert pooled.binned([report(one), report()], "global") == []
    assert pooled.binned([], "global") == []


def test_curves_of_two_models_are_not_mixed() -> None:
    alone = curve([0.1], [0.9], "one", "alone")
    reports = [report(curve([0.9], [0.1], "one", "global"), alone), report(curve([0.9], [0.1], "one", "global"))]
    assert [number(row) for row in pooled.binned(reports, "global")] == [1.0]
    assert pooled.binned(reports, "alone") == []
