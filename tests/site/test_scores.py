"""What of single cases leaves a hospital: means, and breakdowns only from `min_count` cases on."""

from __future__ import annotations

import pytest

from fedmed.recipe import Segmentation
from fedmed.site import results, scores
from fedmed.training.metrics import CaseScores, Score
from tests import small

RECIPE = Segmentation.model_validate(
    {
        **small.RECIPE,
        "data": {**small.RECIPE["data"], "labels": {1: "core", 2: "oedema"}},
        "evaluation": {"metrics": ["dice", "sensitivity"]},
    }
)


def case(name: str, core: float, oedema: float | None, *, missed: bool = False) -> CaseScores:
    """Dice of two labels; sensitivity of the second is undefined where its Dice is None."""
    return CaseScores(
        name,
        (
            Score("dice", 1, core, False, False, False),
            Score("dice", 2, 0.0 if oedema is None else oedema, missed, False, oedema is None),
            Score("sensitivity", 1, core, False, False, False),
            Score("sensitivity", 2, oedema, missed, False, oedema is None),
        ),
    )


CASES = [case("a", 0.8, 0.6), case("b", 0.4, 0.0, missed=True), case("c", 0.9, None)]


def test_the_overall_row_is_the_mean_over_cases_of_the_mean_over_labels() -> None:
    rows = {row.metric: row for row in scores.rows("global", CASES, RECIPE, 10)}
    assert list(rows) == ["dice", "sensitivity"]
    dice, sensitivity = rows["dice"], rows["sensitivity"]
    assert (dice.label, dice.n, dice.missed, dice.empty) == ("all", 3, 1, 0)
    assert float(dice.mean or "nan") == pytest.approx((0.7 + 0.2 + 0.45) / 3)
    assert float(dice.sd or "nan") == pytest.approx(0.25)
    assert float(sensitivity.mean or "nan") == pytest.approx((0.7 + 0.2 + 0.9) / 3), "undefined values are left out"


@pytest.mark.parametrize(("min_count", "shown"), [(3, True), (4, False), (10, False)])
def test_breakdowns_need_min_count_cases(min_count: int, shown: bool) -> None:
    rows = scores.rows("alone", CASES, RECIPE, min_count)
    assert {row.model for row in rows} == {"alone"}
    assert {row.label for row in rows} == ({"all", "core", "oedema"} if shown else {"all"})
    overall = next(row for row in rows if (row.metric, row.label) == ("dice", "all"))
    assert (overall.histogram is not None) == shown
    if shown:
        assert sum(overall.histogram or []) == 3
        undefined = next(row for row in rows if (row.metric, row.label) == ("sensitivity", "oedema"))
        assert (undefined.n, undefined.histogram) == (2, None), "a histogram of two values would show both"


def test_with_one_label_there_is_nothing_to_break_down() -> None:
    one = Segmentation.model_validate(small.RECIPE)
    rows = scores.rows("global", [CaseScores("a", (Score("dice", 1, 0.5, False, False, False),))], one, 1)
    assert {row.label for row in rows} == {"all"}


def test_an_update_carries_overall_rows_alone() -> None:
    rows = results.overall(CASES, RECIPE)
    assert [(row.metric, row.label, row.n) for row in rows] == [("dice", "all", 3), ("sensitivity", "all", 3)]
    assert not any(hasattr(row, "histogram") for row in rows)


def test_nothing_defined_gives_no_number() -> None:
    lone = CaseScores("a", (Score("sensitivity", 2, None, False, False, True),))
    row = next(row for row in scores.rows("global", [lone], RECIPE, 1) if row.metric == "sensitivity")
    assert (row.n, row.mean, row.sd) == (0, None, None)
