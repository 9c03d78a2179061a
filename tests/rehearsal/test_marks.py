"""Rehearsals of localisation: from a table of boxes to the pooled table, and once on the sample hospitals."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import yaml

from fedmed.rehearsal import acts, models, simulate
from fedmed.rehearsal.simulate import Plan
from tests import boxed
from tests.rehearsal.test_simulate import Inline

TOP = Path(__file__).parents[2]
ROUNDS = 12
RATES = [f"sensitivity_at_{rate}fp" for rate in ("0.25", "0.5", "1", "2", "4")]


@pytest.mark.slow
def test_from_a_table_of_boxes_to_the_pooled_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulate, "Crew", Inline)
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(boxed.fields(training={"local_steps": 1})))
    for seed, name in enumerate(("north", "south")):
        boxed.write_hospital(tmp_path / "data" / name, seed=seed)
    plan = Plan(tmp_path / "recipe.yaml", tmp_path / "data", how="folders", rounds=1, seeds=1, baselines=False)
    found = simulate.run(plan, tmp_path / "out", lambda _: None, lambda _w, _d, _t: None)
    assert found.metrics == ["froc", *RATES, "auroc"]
    assert found.models == ["global"]
    assert all(cell.mean is None or 0 <= cell.mean <= 1 for cell in found.cells)

    setting = acts.Setting(tmp_path / "out" / "seed-7", plan.recipe, {"north": plan.data, "south": plan.data}, 1, "x")
    table = acts.pool_reports(setting)
    names = [row.metric for row in table.pooled["global"]]
    assert names == [*sorted(["froc", *RATES, "auroc"]), "auroc_binned", "froc_binned"]
    assert all(report.body.frocs for report in table.reports), "min_count is 1 here"
    (kept,) = (setting.site("north") / "reports").glob("cases-*.csv")
    with kept.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert {row["what"] for row in rows} <= {"hit", "again", "false positive", "missed"}
    assert {row["model"] for row in rows} == {"global"}
    assert kept.stat().st_mode & 0o077 == 0


@pytest.mark.slow
def test_the_sample_hospitals_learn_to_point_at_fractures(tmp_path: Path) -> None:
    """Settings were chosen on validation cases; the floor is the untrained network, on the same test cases."""
    recipe, data = TOP / "recipes/fracture-localisation-xray.small.yaml", TOP / "sample_data/xray-fracture"
    plan = Plan(recipe, data, how="folders", rounds=ROUNDS, seeds=1, baselines=False)
    found = simulate.run(plan, tmp_path / "out", print, lambda _w, _d, _t: None)
    trained = {row: found.cell("global", "all", row) for row in found.metrics}

    hospitals = {path.name: path for path in data.iterdir() if path.is_dir()}
    before = acts.Setting(tmp_path / "out" / "seed-20", recipe, hospitals, 0, "as founded")
    untrained = {row.metric: row.value for row in models.score(before, models.GLOBAL) if row.site == models.EVERYWHERE}
    for metric, cell in trained.items():
        assert cell is not None
        print(f"{metric}: {untrained[metric]:.3f} untrained, {cell.mean:.3f} after {ROUNDS} rounds, n {cell.n:.0f}")
    froc, auroc = trained["froc"], trained["auroc"]
    assert froc is not None
    assert auroc is not None
    assert (untrained["froc"] or 0) < 0.35
    assert (froc.mean or 0) > 0.75
    assert (auroc.mean or 0) > 0.75
