"""Rehearsals of localisation: from a table of boxes to the pooled table, and once on the sample hospitals."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest
import yaml

from fedmed.rehearsal import acts, simulate
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
    assert all(report.body.told.frocs for report in table.reports), "min_count is 1 here"
    (kept,) = (setting.site("north") / "reports").glob("cases-*.csv")
    with kept.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert {row["what"] for row in rows} <= {"hit", "again", "false positive", "missed"}
    assert {row["model"] for row in rows} == {"global"}
    assert kept.stat().st_mode & 0o077 == 0


@pytest.mark.slow
def test_the_sample_hospitals_learn_to_point_at_fractures(tmp_path: Path) -> None:
    """Settings were chosen on validation cases; the floor is the untrained network, on those."""
    recipe, data = TOP / "recipes/fracture-localisation-xray.small.yaml", TOP / "sample_data/xray-fracture"
    plan = Plan(recipe, data, how="folders", rounds=ROUNDS, seeds=1, baselines=False)
    said: list[str] = []
    found = simulate.run(plan, tmp_path / "out", said.append, lambda _w, _d, _t: None)
    froc, auroc = (found.cell("global", "all", metric) for metric in ("froc", "auroc"))
    assert froc is not None
    assert auroc is not None
    print(f"{said[0]}; after {ROUNDS} rounds on the test cases: froc {froc.mean:.3f}, auroc {auroc.mean:.3f}")
    untrained = re.search(r"model r0000 had froc (0\.[0-9]+) on the validation cases", said[0])
    assert untrained is not None
    assert float(untrained[1]) < 0.35
    assert (froc.mean or 0) > 0.75
    assert (auroc.mean or 0) > 0.75
