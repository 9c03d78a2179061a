"""A classifier's figures over sites: those of whole folds are averaged, and only curves give an AUROC of all cases."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

import numpy as np
import pytest

from fedmed.coordinator import pooled
from fedmed.exchange import bodies
from fedmed.exchange.bodies_reports import Curve, Froc, Report, ReportFacts
from fedmed.reporting import discrimination

if TYPE_CHECKING:
    from collections.abc import Sequence

Model = Literal["global", "alone"]


def metric(name: str, n: int, mean: float | None, sd: float | None = None, label: str = "all") -> bodies.Metric:
    values = (None if value is None else bodies.decimal(value) for value in (mean, sd))
    return bodies.Metric(metric=name, label=label, n=n, **dict(zip(("mean", "sd"), values, strict=True)))


def curve(positives: Sequence[float], negatives: Sequence[float], label: str, model: Model) -> Curve:
    counts = [discrimination.histogram(np.array(scores, np.float64)) for scores in (positives, negatives)]
    return Curve(model=model, label=label, positives=counts[0], negatives=counts[1])


def report(*curves: Curve) -> Report:
    return Report(
        split="testing",
        opening=1,
        facts=ReportFacts(num_cases=9, scores=[], curves=list(curves), frocs=[], exclusions=[]),
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


def froc(hits: Sequence[float], wrong: Sequence[float], boxes: int, images: int, label: str = "mark") -> Froc:
    counts = [discrimination.histogram(np.array(scores, np.float64)) for scores in (hits, wrong)]
    return Froc(model="global", label=label, hits=counts[0], false_positives=counts[1], boxes=boxes, images=images)


def with_frocs(*frocs: Froc) -> Report:
    return Report(
        split="testing",
        opening=1,
        facts=ReportFacts(num_cases=9, scores=[], curves=[], frocs=list(frocs), exclusions=[]),
    )


def test_froc_of_all_images_together_is_not_the_mean_of_the_sites() -> None:
    # the second site's scores are lower throughout: a common threshold finds its boxes behind the first one's errors
    sites = [with_frocs(froc([0.905], [0.805, 0.815], 1, 2)), with_frocs(froc([0.405], [], 1, 2))]
    (row,) = pooled.binned_froc(sites, "global")
    assert (row.metric, row.label, row.n, row.sd) == ("froc_binned", "mark", 2, None)
    # four images: at a quarter one of the two false positives may be kept, one box of two; from a half on both
    assert number(row) == pytest.approx((0.5 + 4 * 1) / 5)
    assert pooled.binned_froc(sites, "alone") == []


def test_it_needs_the_counts_of_every_site_and_keeps_labels_apart() -> None:
    one, two = froc([0.9], [], 1, 1, "one"), froc([], [0.9], 1, 1, "two")
    rows = pooled.binned_froc([with_frocs(one, two), with_frocs(one, two)], "global")
    assert [(row.label, row.n, number(row)) for row in rows] == [("one", 2, 1.0), ("two", 2, 0.0)]
    assert [row.label for row in pooled.binned_froc([with_frocs(one, two), with_frocs(two)], "global")] == ["two"]
    assert pooled.binned_froc([], "global") == []


def test_a_report_cannot_claim_more_hits_than_boxes() -> None:
    with pytest.raises(ValueError, match="more hits than boxes"):
        froc([0.9, 0.8], [], 1, 1)


def test_figures_of_a_detector_are_of_a_fold() -> None:
    rows = pooled.pool([metric("froc", 10, 0.9), metric("froc", 30, 0.5), metric("sensitivity_at_0.25fp", 4, 0.25)])
    assert [(row.metric, row.n, row.sd) for row in rows] == [("froc", 40, None), ("sensitivity_at_0.25fp", 4, None)]
    assert number(rows[0]) == pytest.approx((10 * 0.9 + 30 * 0.5) / 40)
