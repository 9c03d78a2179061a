"""A classifier's thresholds are chosen on validation cases; the test fold is only looked at through them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from fedmed.coordinator import aggregate
from fedmed.site import desk, evaluate, rounds
from fedmed.training.rated import Rated
from tests import radiographs, small

if TYPE_CHECKING:
    from pathlib import Path

    from fedmed.site.evaluate import Evaluated, Split

VALIDATION = [(0, score / 20) for score in range(1, 11)]  # at specificity .90 the threshold is .45
TESTING = [(1, 0.44), (1, 0.46), (1, 0.9), (0, 0.45), (0, 0.5)]


@pytest.fixture(scope="module")
def over(tmp_path_factory: pytest.TempPathFactory) -> small.Federation:
    """Everybody holds the last model, which nobody trained."""
    world = radiographs.founded(tmp_path_factory.mktemp("over"))
    for _ in range(2):
        for name in world.sites:
            small.seal_update(world.site(name), 0.01)
        world.carry()
        aggregate.aggregate(world.coordinator, small.now())
        world.carry()
    return world


@pytest.fixture
def site(over: small.Federation, tmp_path: Path) -> Path:
    return over.copy(tmp_path / "world").site("aa")


def say(monkeypatch: pytest.MonkeyPatch, folds: dict[str, list[tuple[int, float]]]) -> list[str]:
    """The model's scores are these; returns the folds that were asked for."""
    asked: list[str] = []

    def scored(_site, _consent, _cases, fold, _weights, **_named):
        asked.append(fold)
        return [Rated(f"c{place}", truth, (1 - score, score)) for place, (truth, score) in enumerate(folds[fold])]

    monkeypatch.setattr(rounds, "score", scored)
    return asked


def run(root: Path, split: Split) -> Evaluated:
    return evaluate.evaluate(root, small.now(), split, "cpu", lambda *_: None)


def noted(root: Path) -> list[dict[str, str]]:
    notes = desk.peek(root).workspace.record.notes
    return [facts for _, facts in notes if facts.get("what") == "threshold"]


def overall(found: Evaluated) -> dict[str, str | None]:
    return {row.metric: row.mean for row in found.body.told.scores if row.label == "all"}


def test_the_test_fold_is_judged_by_the_threshold_of_validation(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = say(monkeypatch, {"validation": VALIDATION, "testing": TESTING})
    found = run(site, "testing")
    assert asked == ["testing", "validation"]
    assert float(overall(found)["sensitivity_at_spec90"] or "nan") == pytest.approx(2 / 3)
    assert overall(found)["specificity_at_spec90"] == "0.5"
    (note,) = noted(site)
    assert (note["model"], note["label"], note["threshold"]) == ("global", 1, "0.45")
    last = desk.peek(site).workspace.record.newest("model")
    assert last
    assert note["weights"] == last.payload, "of these very weights"
    assert found.body.told.num_cases == 5, "the fold of the report is the test fold"
    table = found.case_table.read_text().splitlines()
    assert len(table) == 1 + len(TESTING), "and the table has no validation case"


def test_other_scores_of_the_test_fold_do_not_change_the_threshold(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    say(monkeypatch, {"validation": VALIDATION, "testing": [(truth, score / 10) for truth, score in TESTING]})
    found = run(site, "testing")
    assert [note["threshold"] for note in noted(site)] == ["0.45"]
    assert (overall(found)["sensitivity_at_spec90"], overall(found)["specificity_at_spec90"]) == ("0", "1")
    assert float(overall(found)["auroc"] or "nan") == 0.5, "while the order of cases is the same"


def test_validation_is_judged_by_its_own(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = say(monkeypatch, {"validation": [*VALIDATION, (1, 0.44), (1, 0.8)]})
    found = run(site, "validation")
    assert asked == ["validation"]
    assert (overall(found)["sensitivity_at_spec90"], overall(found)["specificity_at_spec90"]) == ("0.5", "0.9")


def test_without_a_threshold_nothing_is_claimed(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    say(monkeypatch, {"validation": [(1, 0.5)], "testing": TESTING})
    found = run(site, "testing")
    assert noted(site) == []
    assert overall(found)["sensitivity_at_spec90"] is None
    assert overall(found)["auroc"] is not None


def test_a_real_report_of_the_test_fold(site: Path) -> None:
    found = run(site, "testing")
    rows = {row.metric: row for row in found.body.told.scores}
    assert set(rows) >= {"auroc", "auprc", "balanced_accuracy", "sensitivity_at_spec90", "specificity_at_spec90"}
    assert len(found.case_table.read_text().splitlines()) == 1 + found.body.told.num_cases
    assert len(noted(site)) == 1
    again = run(site, "testing")
    assert not again.is_new
    assert len(noted(site)) == 1
