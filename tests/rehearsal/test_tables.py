"""Rehearsals whose cases are rows of tables: the two shipped recipes on the sample hospitals, and on real tables."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import yaml

from fedmed import pooling, preprocessing
from fedmed.cases import datalist
from fedmed.cases import fingerprint as measuring
from fedmed.errors import FedmedError
from fedmed.rehearsal import acts, simulate
from fedmed.rehearsal.simulate import Plan
from fedmed.site import budget, desk
from fedmed.site import preprocessing as preprocessings
from tests import tables
from tests.cases.test_rows import HEART, REAL, breast_cancer
from tests.rehearsal.test_simulate import Inline

if TYPE_CHECKING:
    from fedmed.rehearsal.summary import Summary

TOP = Path(__file__).parents[2]
BREAST, HEART_RECIPE = TOP / "recipes" / "breast-survival-table.yaml", TOP / "recipes" / "heart-disease-table.yaml"


def run(plan: Plan, out: Path, monkeypatch: pytest.MonkeyPatch) -> Summary:
    monkeypatch.setattr(simulate, "Crew", Inline)
    return simulate.run(plan, out, lambda _: None, lambda _w, _d, _t: None)


def value(found: Summary, model: str, site: str = "all", metric: str = "") -> float:
    cell = found.cell(model, site, metric or found.metrics[0])
    assert cell
    assert cell.mean is not None
    return cell.mean


def folds(out: Path, seed: int, name: str) -> dict[str, int]:
    return datalist.load(out / f"seed-{seed}" / name / "cases.json").header.counts  # type: ignore[return-value]


def test_too_few_hospitals_for_the_strategy_are_told_how_a_rehearsal_gets_more(tmp_path: Path) -> None:
    krum = tmp_path / "krum.yaml"
    text = yaml.safe_load(HEART_RECIPE.read_text()) | {"strategy": {"name": "krum", "f": 1}}
    krum.write_text(yaml.safe_dump(text))
    hospitals = {name: TOP / "sample_data" / "table-heart" / name for name in ("lakeside", "north-bay", "st-olav")}
    with pytest.raises(FedmedError, match="expected at least 5 admitted sites, got 3") as caught:
        acts.begin(acts.Setting(tmp_path / "out", krum, hospitals, 1, "x"))
    assert caught.value.code == "FM-STR-02"
    assert caught.value.next.startswith("rehearse with more hospitals (--sites")


def test_the_pooled_model_goes_by_the_numbers_of_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    used: dict[str, list[float]] = {}
    fit = simulate.models.encoding.fitted

    def noted(cases, table):
        found = fit(cases, table)
        used.setdefault("ages", []).append(found.columns["age"].mean)
        used.setdefault("rows", []).append(len(cases))
        return found

    monkeypatch.setattr(simulate.models.encoding, "fitted", noted)
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(tables.TABULAR))
    for seed, name in enumerate(("north", "south")):
        tables.write_hospital(tmp_path / "data" / name, seed=seed)
    plan = Plan(tmp_path / "recipe.yaml", tmp_path / "data", how="folders", rounds=1, seeds=1)
    found = run(plan, tmp_path / "out", monkeypatch)
    assert found.models == ["global", "pooled", "local-only, mean", "north alone", "south alone"]
    one, two = used["ages"][:2]
    assert used["rows"][:2] == [18, 18]
    assert {(rows, round(age, 9)) for rows, age in zip(used["rows"][2:], used["ages"][2:], strict=True)} == {
        (36, round((one + two) / 2, 9))
    }
    kept = (tmp_path / "out" / "seed-7" / "north" / "state" / "preprocessing.json").read_bytes()
    assert preprocessing.from_bytes(kept, "x").columns["age"].mean == one  # type: ignore[index]


def test_tuned_models_are_scored_where_they_belong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    training = {**tables.TABULAR["training"], "fine_tune_steps": 30, "fine_tune_lr": 10.0}
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump({**tables.TABULAR, "training": training}))
    for seed, name in enumerate(("north", "south")):
        tables.write_hospital(tmp_path / "data" / name, seed=seed)
    plan = Plan(tmp_path / "recipe.yaml", tmp_path / "data", how="folders", rounds=1, seeds=1, baselines=False)
    monkeypatch.setattr("fedmed.site.tune.compared", lambda *_: (True, "a test says so"))
    seen: list[tuple[int, int]] = []
    monkeypatch.setattr(simulate, "Crew", Inline)
    found = simulate.run(plan, tmp_path / "out", lambda _: None, lambda _w, done, total: seen.append((done, total)))
    assert found.models == ["global", "personal"]
    assert value(found, "personal") != value(found, "global")
    assert max(seen) == (2 * 3 + 2, 2 * 3 + 2), "a round, a tuning and a report each, and two models to score"


@pytest.mark.slow
def test_the_heart_recipe_on_the_sample_hospitals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = Plan(HEART_RECIPE, TOP / "sample_data" / "table-heart", how="folders", rounds=5, seeds=1)
    found = run(plan, tmp_path, monkeypatch)
    assert found.metrics == ["accuracy", "auroc"]
    assert [sum(folds(tmp_path, 20, name).values()) for name in found.sites] == [59, 69, 89]
    assert value(found, "global") > max(0.75, value(found, "local-only, mean"))
    assert value(found, "global", metric="auroc") > 0.85


@pytest.mark.slow
def test_the_survival_recipe_on_the_sample_hospitals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = Plan(BREAST, TOP / "sample_data" / "table-survival", how="folders", rounds=5, seeds=1)
    found = run(plan, tmp_path, monkeypatch)
    assert found.metrics == ["c_index"]
    assert [sum(folds(tmp_path, 20, name).values()) for name in found.sites] == [59, 69, 89]
    assert value(found, "global") > max(0.6, value(found, "local-only, mean"))


@pytest.mark.slow
@pytest.mark.skipif(not (REAL / "fed_heart_disease").exists(), reason="the heart disease tables are not here")
def test_the_real_heart_hospitals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("cleveland", "hungarian", "switzerland", "va"):
        folder = tmp_path / "data" / name
        folder.mkdir(parents=True)
        rows = (REAL / "fed_heart_disease" / f"processed.{name}.data").read_text()
        (folder / "patients.csv").write_text(",".join(HEART) + "\n" + rows)
    found = run(Plan(HEART_RECIPE, tmp_path / "data", how="folders", rounds=5, seeds=2), tmp_path / "out", monkeypatch)
    names = ["cleveland", "hungarian", "switzerland", "va"]
    assert found.sites == names
    for seed in found.seeds:
        assert [sum(folds(tmp_path / "out", seed, name).values()) for name in names] == [303, 294, 123, 200]
    assert value(found, "global", metric="auroc") > max(0.7, value(found, "local-only, mean", metric="auroc"))
    cells = [found.cell("global", name, "accuracy") for name in names]
    assert all(cell and np.isfinite(cell.values).all() for cell in cells)


@pytest.mark.slow
@pytest.mark.skipif(not (REAL / "fed_tcga_brca").exists(), reason="the breast cancer table is not here")
def test_six_regions_out_of_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data").mkdir()
    breast_cancer(tmp_path / "data")
    plan = Plan(BREAST, tmp_path / "data", how="column", by="center", rounds=2, seeds=1, baselines=False)
    found = run(plan, tmp_path / "out", monkeypatch)
    assert found.sites == [f"site-{number}" for number in range(1, 7)]
    counts = [sum(folds(tmp_path / "out", 20, name).values()) for name in found.sites]
    assert counts == [311, 196, 206, 162, 162, 51]
    assert value(found, "global") > 0.5


@pytest.mark.slow
@pytest.mark.skipif(not (REAL / "fed_tcga_brca").exists(), reason="the breast cancer table is not here")
def test_six_regions_normalise_alike_as_if_in_one_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data").mkdir()
    breast_cancer(tmp_path / "data")
    fields = yaml.safe_load(BREAST.read_text("utf-8"))
    fields["data"]["normalisation"] = "federated"
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(fields))
    plan = Plan(tmp_path / "recipe.yaml", tmp_path / "data", how="column", by="center", rounds=2, seeds=1)
    found = run(plan, tmp_path / "out", monkeypatch)
    sites = [desk.peek(tmp_path / "out" / "seed-20" / name) for name in found.sites]
    used = [preprocessings.current(site) for site in sites]
    assert len({each.digest() for each in used if each}) == 1
    consent = desk.require_approved(sites[0])
    rows = [case for site in sites for case in datalist.cases(datalist.load(site.cases_file), "training")]
    whole = pooling.fitted(measuring.measure(rows, consent.recipe, tmp_path, {}), consent.recipe)
    assert len(rows) > 600
    assert whole.columns
    assert used[0]
    assert used[0].columns
    assert len(whole.columns) == 39
    for name, numbers in whole.columns.items():
        ours = used[0].columns[name]
        assert (ours.mean, ours.sd, ours.fill) == pytest.approx((numbers.mean, numbers.sd, numbers.fill), rel=1e-4)
    assert value(found, "global") > 0.5


@pytest.mark.slow
def test_a_federation_with_differential_privacy_is_rehearsed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each hospital with a budget of its own; what never leaves a hospital is trained without noise."""
    text = yaml.safe_load((TOP / "recipes" / "heart-disease-table-dp.yaml").read_text())
    text["training"]["local_steps"], text["dp"]["patients_per_step"] = 4, 8
    (tmp_path / "dp.yaml").write_text(yaml.safe_dump(text))
    data = TOP / "sample_data" / "table-heart" / "st-olav"
    plan = Plan(recipe=tmp_path / "dp.yaml", data=data, how="iid", sites=2, rounds=2, seeds=1)
    found = run(plan, tmp_path / "out", monkeypatch)
    assert found.models == ["global", "pooled", "local-only, mean", "site-1 alone", "site-2 alone"]
    folder = tmp_path / "out" / f"seed-{text['seed']}"
    for name in ("site-1", "site-2"):
        reserved = list(budget.peek(desk.peek(folder / name)).reserved.values())
        assert [each.round for each in reserved] == [0, 1]
        assert all(each.sealed for each in reserved)
    assert "No formal privacy guarantee: each seed" in (tmp_path / "out" / "table.md").read_text()
