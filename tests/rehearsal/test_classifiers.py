"""Rehearsals of a classifier whose batch norm stays at the sites: every model on every hospital's test cases."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import pytest
import yaml

from fedmed.rehearsal import acts, models, simulate
from fedmed.rehearsal.simulate import Plan
from fedmed.site import desk, own
from tests import radiographs
from tests.rehearsal.test_simulate import Inline

if TYPE_CHECKING:
    from pathlib import Path

    from fedmed.rehearsal.summary import Summary

METRICS = ["auroc", "auprc", "balanced_accuracy", "sensitivity_at_spec90", "specificity_at_spec90"]


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plan:
    monkeypatch.setattr(simulate, "Crew", Inline)
    fields = radiographs.fields(network=radiographs.BATCH_NORM["local"], training={"local_steps": 1})
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(fields))
    for seed, name in enumerate(("north", "south")):
        radiographs.write_hospital(tmp_path / "data" / name, seed=seed)
    return Plan(tmp_path / "recipe.yaml", tmp_path / "data", how="folders", rounds=1, seeds=1)


def run(plan: Plan, out: Path) -> Summary:
    return simulate.run(plan, out, lambda _: None, lambda _w, _d, _t: None)


@pytest.mark.slow
def test_every_model_is_scored_everywhere(plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    used: dict[tuple[str, str], dict[str, np.ndarray]] = {}
    weights = models._weights

    def noted(setting, consent, site, model):
        used[model, site.workspace.name] = weights(setting, consent, site, model)
        return used[model, site.workspace.name]

    monkeypatch.setattr(models, "_weights", noted)
    found = run(plan, tmp_path / "out")
    assert found.metrics == METRICS
    assert found.models == ["global", "pooled", "local-only, mean", "north alone", "south alone"]
    assert all(cell.mean is None or 0 <= cell.mean <= 1 for cell in found.cells)
    everywhere = found.cell("global", "all", "auroc")
    assert everywhere is not None
    assert everywhere.n == sum(cell.n for site in found.sites if (cell := found.cell("global", site, "auroc")))

    setting = acts.Setting(tmp_path / "out" / "seed-7", plan.recipe, {"north": plan.data, "south": plan.data}, 1, "x")
    names = own.staying(desk.require_approved(desk.peek(setting.site("north"))))
    for model, differ in (("global", True), ("pooled", False), ("north alone", False)):
        one, two = used[model, "north"], used[model, "south"]
        assert all(np.array_equal(one[name], two[name]) for name in one.keys() - names), model
        assert any(not np.array_equal(one[name], two[name]) for name in names) == differ, model
    table = acts.pool_reports(setting)
    assert [row.metric for row in table.pooled["global"]] == [*sorted(METRICS), "auroc_binned"]


@pytest.mark.slow
def test_a_column_of_the_table_makes_hospitals(plan: Plan, tmp_path: Path) -> None:
    data = radiographs.write_hospital(tmp_path / "one", [f"p{number:02d}" for number in range(24)])
    lines = (data / "labels.csv").read_text().splitlines()
    rows = [f"{line},{'AB'[number // 12]}" for number, line in enumerate(lines[1:])]
    (data / "labels.csv").write_text("\n".join([f"{lines[0]},scanner", *rows]) + "\n")
    by_scanner = dataclasses.replace(plan, data=data, how="column", by="scanner", baselines=False)
    found = run(by_scanner, tmp_path / "out")
    assert (found.sites, found.models) == (["site-1", "site-2"], ["global"])
