"""From candidates and boxes to rows of a report: figures by hand, what needs enough images, and what stays here."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from fedmed.cases.case import Box
from fedmed.site import findings, results
from fedmed.training.localisation import Candidate, Located
from tests import boxed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fedmed.exchange import bodies_reports
    from fedmed.training.localisation import Outcome

ONE = boxed.recipe()
TWO = boxed.recipe(data={"labels": {1: "one", 2: "two"}})
NAMES = ["froc", *(f"sensitivity_at_{rate}fp" for rate in ("0.25", "0.5", "1", "2", "4")), "auroc"]


def image(name: str, boxes: Sequence[int], *candidates: tuple[int, float, Outcome, int | None]) -> Located:
    """Boxes by their labels; candidates as (label, score, outcome, box)."""
    reference = tuple(Box(10.0 * number, 5.0, 8.0, 6.0, label) for number, label in enumerate(boxes))
    points = tuple(Candidate(label, score, 1.25, 2.75, outcome, box) for label, score, outcome, box in candidates)
    return Located(name, reference, points)


# four images, three boxes, one of which is never found
IMAGES = [
    image("c0", [1, 1], (1, 0.905, "hit", 0), (1, 0.605, "again", None), (1, 0.505, "false positive", None)),
    image("c1", [1], (1, 0.405, "hit", 0)),
    image("c2", [], (1, 0.805, "false positive", None)),
    image("c3", []),
]


def values(rows: Sequence[bodies_reports.Score]) -> dict[tuple[str, str], float | None]:
    return {(row.metric, row.label): None if row.mean is None else float(row.mean) for row in rows}


def test_one_label_by_hand() -> None:
    rows = findings.rows("global", IMAGES, ONE, 1)
    assert [row.metric for row in rows] == NAMES
    # at a quarter an image one false positive may be kept: above .805 one hit; at a half both, and both hits
    expected = [(1 / 3 + 4 * 2 / 3) / 5, 1 / 3, 2 / 3, 2 / 3, 2 / 3, 2 / 3]
    # the highest of each image: .905 and .405 with a finding, .805 and 0 without: three of four pairs
    assert values(rows) == {
        (name, "all"): pytest.approx(value, abs=1e-8) for name, value in zip(NAMES, [*expected, 0.75], strict=True)
    }
    assert [(row.n, row.sd, row.histogram, row.missed) for row in rows] == [(3, None, None, 0)] * 6 + [
        (4, None, None, 0)
    ]


@pytest.mark.parametrize(("metrics", "names"), [(["auroc"], NAMES[6:]), (["froc"], NAMES[:6])])
def test_only_what_the_recipe_names(metrics: list[str], names: list[str]) -> None:
    recipe = boxed.recipe(evaluation={"metrics": metrics})
    assert [row.metric for row in findings.rows("alone", IMAGES, recipe, 1)] == names


def test_several_labels_are_averaged_and_broken_down_where_there_are_enough() -> None:
    images = [
        image("c0", [1, 2], (1, 0.9, "hit", 0), (2, 0.8, "false positive", None)),
        image("c1", [1], (1, 0.7, "hit", 0)),
        image("c2", []),
        image("c3", []),
    ]
    rows = values(findings.rows("global", images, TWO, 2))
    assert rows["froc", "all"] == 0.5, "all of one, none of two"
    assert {label for _, label in rows} == {"all"}, "a single image has two, and the mean and one would give it away"
    assert findings.frocs("global", images, TWO, 2) == findings.curves("global", images, TWO, 2) == []
    by_label = {(row.metric, row.label): row.n for row in findings.rows("global", images, TWO, 1)}
    assert (by_label["froc", "all"], by_label["froc", "one"], by_label["froc", "two"]) == (3, 2, 1)
    assert (by_label["auroc", "all"], by_label["auroc", "two"]) == (4, 4)


def test_images_from_where_a_label_is_absent_say_nothing_of_it() -> None:
    """Not that it is not there: such an image would count as one without the finding."""
    elsewhere = [replace(image("d0", [2], (2, 0.9, "hit", 0)), absent=frozenset({1}))] * 2
    here = [image("c0", [1], (1, 0.5, "hit", 0)), image("c1", [], (1, 0.9, "false positive", None))]
    rows = {(row.metric, row.label): row for row in findings.rows("global", [*here, *elsewhere], TWO, 1)}
    assert (rows["auroc", "one"].n, rows["auroc", "one"].mean) == (2, "0")
    assert rows["sensitivity_at_0.25fp", "one"].mean == "0", "a false positive in two images is more than a quarter"
    assert (rows["sensitivity_at_0.5fp", "one"].mean, rows["sensitivity_at_0.5fp", "one"].n) == ("1", 1)
    one, two = findings.frocs("global", [*here, *elsewhere], TWO, 1)
    assert (one.images, two.images) == (2, 4)


def test_without_a_box_nothing_is_said_of_sensitivity_and_without_images_nothing_at_all() -> None:
    rows = {row.metric: row for row in findings.rows("global", IMAGES[2:], ONE, 1)}
    assert all((row.n, row.mean) == (0, None) for row in rows.values())
    assert {row.mean for row in findings.rows("global", [], ONE, 1)} == {None}
    assert findings.frocs("global", [], ONE, 1) == findings.curves("global", [], ONE, 1) == []
    nothing = image("c4", [1])
    rows = {row.metric: row for row in findings.rows("global", [nothing], ONE, 1)}
    assert (rows["froc"].mean, rows["froc"].n, rows["auroc"].mean) == ("0", 1, None)


@pytest.mark.parametrize(("min_count", "shown"), [(1, True), (2, True), (3, False)])
def test_counts_by_score_need_enough_images(min_count: int, shown: bool) -> None:
    frocs, curves = (which("alone", IMAGES, ONE, min_count) for which in (findings.frocs, findings.curves))
    assert (len(frocs), len(curves)) == (shown, shown)
    if shown:
        (froc,), (curve,) = frocs, curves
        assert (froc.model, froc.label, froc.boxes, froc.images) == ("alone", "mark", 3, 4)
        assert {number: count for number, count in enumerate(froc.hits) if count} == {90: 1, 40: 1}
        assert {number: count for number, count in enumerate(froc.false_positives) if count} == {80: 1, 50: 1}
        assert {number: count for number, count in enumerate(curve.positives) if count} == {90: 1, 40: 1}
        assert {number: count for number, count in enumerate(curve.negatives) if count} == {80: 1, 0: 1}


def test_images_of_one_kind_are_told_when_there_are_none_of_the_other() -> None:
    with_findings = IMAGES[:2] * 2
    assert len(findings.frocs("global", with_findings, ONE, 4)) == 1
    assert findings.frocs("global", [*with_findings, IMAGES[2]], ONE, 4) == [], "one image without would be singled out"
    assert findings.curves("global", with_findings, ONE, 1) == []


def test_results_hand_on_and_an_update_carries_overall_rows_alone() -> None:
    assert results.thresholds(IMAGES, ONE) == {}
    assert [row.metric for row in results.overall(IMAGES, TWO)] == NAMES
    assert results.rows("global", IMAGES, ONE, 1, {}) == findings.rows("global", IMAGES, ONE, 1)
    assert results.frocs("global", IMAGES, ONE, 1) == findings.frocs("global", IMAGES, ONE, 1)
    assert results.curves("global", IMAGES, ONE, 1) == findings.curves("global", IMAGES, ONE, 1)
    assert results.frocs("global", [], boxed.radiographs.recipe(), 1) == []


def test_the_table_that_stays_has_every_candidate_and_every_missed_box() -> None:
    table = results.case_table({"global": IMAGES[:1], "alone": IMAGES[2:]}, ONE).decode().splitlines()
    assert table == [
        "model,case,label,what,score,x,y,width,height",
        "global,c0,mark,hit,0.905000,1.2,2.8,,",
        "global,c0,mark,again,0.605000,1.2,2.8,,",
        "global,c0,mark,false positive,0.505000,1.2,2.8,,",
        "global,c0,mark,missed,,10.0,5.0,8.0,6.0",
        "alone,c2,mark,false positive,0.805000,1.2,2.8,,",
    ]
