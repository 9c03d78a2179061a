"""From a classifier's probabilities to rows of a report: figures by hand, and what stays undefined says so."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from fedmed.site import ratings, results
from fedmed.training.rated import Rated
from tests import radiographs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fedmed.exchange import bodies_reports

ONE = radiographs.recipe()
TWO = radiographs.recipe(data={"labels": {1: "one", 2: "two"}})
METRICS = ["auroc", "auprc", "balanced_accuracy", "sensitivity_at_spec90", "specificity_at_spec90"]


def binary(*pairs: tuple[int, float]) -> list[Rated]:
    """(truth, probability of the finding) a case."""
    return [Rated(f"c{number}", truth, (1 - score, score)) for number, (truth, score) in enumerate(pairs)]


def several(*rows: tuple[int, tuple[float, float, float]]) -> list[Rated]:
    return [Rated(f"c{number}", truth, scores) for number, (truth, scores) in enumerate(rows)]


def values(rows: Sequence[bodies_reports.Score]) -> dict[tuple[str, str], float | None]:
    return {(row.metric, row.label): None if row.mean is None else float(row.mean) for row in rows}


CASES = binary((1, 0.9), (1, 0.6), (1, 0.3), (0, 0.7), (0, 0.2))


def test_one_label_by_hand() -> None:
    rows = ratings.rows("global", CASES, ONE, 1, {1: 0.5})
    assert [row.metric for row in rows] == METRICS
    assert {(row.label, row.n, row.sd, row.histogram, row.missed) for row in rows} == {
        ("all", 5, None, None, 0),
        ("all", 3, None, None, 0),  # sensitivity is about the three findings
        ("all", 2, None, None, 0),  # and specificity about the two others
    }
    expected = {
        "auroc": 4 / 6,  # .9 beats both, .6 and .3 beat .2 alone
        "auprc": (1 / 1 + 2 / 3 + 3 / 4) / 3,  # precision at each of the three findings, from the highest score down
        "balanced_accuracy": (2 / 3 + 1 / 2) / 2,
        "sensitivity_at_spec90": 2 / 3,
        "specificity_at_spec90": 1 / 2,
    }
    assert values(rows) == {(name, "all"): pytest.approx(value, abs=1e-8) for name, value in expected.items()}


def test_several_labels_are_averaged_and_broken_down_from_min_count_on() -> None:
    cases = several(
        (0, (0.8, 0.1, 0.1)),
        (0, (0.3, 0.6, 0.1)),
        (1, (0.2, 0.7, 0.1)),
        (1, (0.5, 0.2, 0.3)),
        (2, (0.1, 0.1, 0.8)),
        (2, (0.3, 0.5, 0.2)),
    )
    above = {1: 0.55, 2: 0.25}
    rows = values(ratings.rows("alone", cases, TWO, 2, above))
    # label 1 against the rest: .7 beats all four, .2 beats .1 and .1 and loses to .6 and .5: 6 of 8
    # label 2: .8 beats all four, .2 beats three and loses to .3: 7 of 8
    assert (rows["auroc", "one"], rows["auroc", "two"]) == (0.75, 0.875)
    assert rows["auroc", "all"] == pytest.approx((0.75 + 0.875) / 2)
    assert (rows["sensitivity_at_spec90", "one"], rows["sensitivity_at_spec90", "two"]) == (0.5, 0.5)
    assert (rows["specificity_at_spec90", "one"], rows["specificity_at_spec90", "two"]) == (0.75, 0.75)
    # argmax: 0, 1, 1, 0, 2, 1: one of two right in every class
    assert rows["balanced_accuracy", "all"] == 0.5
    assert ("balanced_accuracy", "one") not in rows, "it is of all classes at once"
    assert {label for _, label in values(ratings.rows("alone", cases, TWO, 3, above))} == {"all"}


def test_the_mean_over_labels_leaves_out_the_undefined() -> None:
    cases = several((0, (0.8, 0.1, 0.1)), (1, (0.1, 0.8, 0.1)), (0, (0.05, 0.9, 0.05)))
    rows = {(row.metric, row.label): row for row in ratings.rows("global", cases, TWO, 1, {1: 0.5})}
    assert ("auroc", "two") not in rows, "no case has it"
    assert rows["auroc", "all"].mean == rows["auroc", "one"].mean == "0.5"
    assert (rows["auroc", "all"].n, rows["auroc", "one"].n) == (3, 3)
    nothing = {row.metric: row for row in ratings.rows("global", cases[:1], TWO, 1, {1: 0.5})}["auroc"]
    assert (nothing.n, nothing.mean) == (0, None)


@pytest.mark.parametrize("truth", [0, 1])
def test_with_one_kind_of_cases_alone_most_is_undefined(truth: int) -> None:
    cases = binary((truth, 0.9), (truth, 0.2))
    rows = {row.metric: row for row in ratings.rows("global", cases, ONE, 1, {1: 0.5})}
    undefined = {name for name, row in rows.items() if row.mean is None}
    defined = {0: "specificity_at_spec90", 1: "sensitivity_at_spec90"}[truth]
    assert undefined == set(METRICS) - {defined}
    assert all(row.n == (0 if row.mean is None else 2) for row in rows.values())
    assert rows[defined].mean == "0.5"


def test_no_case_at_all() -> None:
    assert ratings.thresholds([], ONE) == {}
    rows = ratings.rows("global", [], ONE, 1, {})
    assert [(row.metric, row.n, row.mean) for row in rows] == [(metric, 0, None) for metric in METRICS]
    assert ratings.curves("global", [], ONE, 1) == []


def test_without_sensitivity_nothing_is_said_of_a_threshold() -> None:
    recipe = radiographs.recipe(evaluation={"metrics": ["auprc"]})
    assert [row.metric for row in ratings.rows("global", CASES, recipe, 1, {})] == ["auprc"]


def test_a_threshold_is_the_lowest_with_nine_tenths_below_it() -> None:
    negatives = [(0, score / 20) for score in range(1, 11)]
    assert ratings.thresholds(binary(*negatives, (1, 0.99)), ONE) == {1: pytest.approx(0.45)}
    assert ratings.thresholds(binary(*negatives[:9]), ONE) == {1: pytest.approx(0.45)}, "of nine none may lie above"
    assert ratings.thresholds(binary((1, 0.4)), ONE) == {}, "without a case that has no finding there is none"
    cases = several((1, (0.1, 0.8, 0.1)), (2, (0.1, 0.3, 0.6)))
    assert ratings.thresholds(cases, TWO) == {1: 0.3, 2: 0.1}, "of each label, against all other cases"


@pytest.mark.parametrize(("min_count", "shown"), [(2, True), (3, False), (4, False)])
def test_curves_need_min_count_of_both_kinds(min_count: int, shown: bool) -> None:
    cases = binary((1, 0.905), (1, 0.605), (1, 0.305), (0, 0.705), (0, 0.205))
    curves = ratings.curves("alone", cases, ONE, min_count)
    assert len(curves) == shown
    if shown:
        (curve,) = curves
        assert (curve.model, curve.label) == ("alone", "fracture")
        assert {number: count for number, count in enumerate(curve.positives) if count} == {90: 1, 60: 1, 30: 1}
        assert {number: count for number, count in enumerate(curve.negatives) if count} == {70: 1, 20: 1}


def test_curves_of_several_labels_are_judged_one_by_one() -> None:
    cases = several(*[(0, (1.0, 0.0, 0.0))] * 3, *[(1, (0.0, 1.0, 0.0))] * 2, (2, (0.0, 0.0, 1.0)))
    assert [curve.label for curve in ratings.curves("global", cases, TWO, 1)] == ["one", "two"]
    assert ratings.curves("global", cases, TWO, 2) == [], "the mean and one would give two away"
    assert [curve.label for curve in ratings.curves("global", cases, TWO, 1)] == ["one", "two"]
    last = ratings.curves("global", cases, TWO, 1)[1]
    assert (last.positives[99], last.negatives[0]) == (1, 5), "a score of 1 belongs to the last bin"


def test_an_update_carries_overall_rows_alone() -> None:
    cases = several((0, (0.8, 0.1, 0.1)), (1, (0.1, 0.8, 0.1)), (2, (0.1, 0.1, 0.8)))
    rows = results.overall(cases, TWO)
    assert [(row.metric, row.label) for row in rows] == [(metric, "all") for metric in METRICS]
    assert not any(hasattr(row, "histogram") for row in rows)


def test_the_table_that_stays_has_a_line_a_case() -> None:
    cases = several((0, (0.8, 0.1, 0.1)), (2, (0.1, 0.1, 0.8)))
    table = results.case_table({"global": cases, "alone": cases[:1]}, TWO).decode().splitlines()
    assert table == [
        "model,case,truth,none,one,two",
        "global,c0,none,0.800000,0.100000,0.100000",
        "global,c1,two,0.100000,0.100000,0.800000",
        "alone,c0,none,0.800000,0.100000,0.100000",
    ]
    by_patient = radiographs.recipe(evaluation={"unit": "patient"})
    assert results.case_table({}, by_patient).decode() == "model,patient,truth,none,fracture\n"
