"""A hospital that takes no part is scored by every model, and trained by none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fedmed import recipe as recipes
from fedmed.cases import datalist
from fedmed.rehearsal import models, simulate, summary
from fedmed.rehearsal.simulate import Plan
from tests import radiographs, small
from tests.coded import code_of

from .test_simulate import acts, run  # noqa: F401 - a fixture

TOP = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("three")
    for seed, name in enumerate(("north", "south", "west")):
        small.write_hospital(root / name, seed=seed)
    return root


def plan(data: Path, tmp_path: Path, **changed: object) -> Plan:
    training = {**small.RECIPE["training"], "local_steps": 1}
    recipe = small.write_recipe(tmp_path / "recipe.yaml", training=training)
    return Plan(recipe, data, how="folders", leave_out="south", rounds=1, seeds=1, **changed)  # type: ignore[arg-type]


@pytest.mark.slow
def test_every_model_is_scored_on_the_hospital_that_was_left_out(data: Path, tmp_path: Path, acts: list[str]) -> None:  # noqa: F811
    out = tmp_path / "out"
    found, told = run(plan(data, tmp_path, baselines=True), out)
    assert found.sites == ["north", "west", "held-out"]
    assert told[-1][0] == told[-1][1]
    assert (acts.count("train_local"), acts.count("train_alone")) == (2, 2)
    held = datalist.load(out / "seed-7/parts/held-out/cases.json")
    assert (len(held.testing), held.training) == (5, ())
    for model in (models.GLOBAL, models.POOLED, "north alone", summary.LOCAL):
        cell = found.cell(model, "held-out", "dice")
        assert cell is not None
        assert cell.n == 5
        assert cell.mean is not None
    own = [found.cell(f"{name} alone", "held-out", "dice").mean for name in ("north", "west")]
    assert found.cell(summary.LOCAL, "held-out", "dice").mean == pytest.approx(sum(own) / 2)
    again, _ = run(plan(data, tmp_path, baselines=True), out)
    assert again == found


def test_who_cannot_be_left_out(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    wrong = plan(data, tmp_path)
    assert code_of(lambda: run(Plan(**{**vars(wrong), "leave_out": "east"}), out)) == "FM-USE-01"
    recipe = tmp_path / "local.yaml"
    chosen = radiographs.recipe(network=radiographs.BATCH_NORM["local"])
    recipe.write_text(chosen.model_dump_json(by_alias=True, exclude_none=True))
    assert code_of(lambda: run(Plan(**{**vars(wrong), "recipe": recipe}), out)) == "FM-USE-01"
    assert simulate.recipe.load(recipe).network.batch_norm == "local"
    assert not out.exists()


def test_what_a_hospital_that_takes_no_part_cannot_have() -> None:
    def own(chosen: Any) -> str:
        return simulate._of_each_hospital(recipes.parse(chosen, "recipe"))

    assert own(radiographs.fields()) == ""
    assert own(radiographs.fields(network=radiographs.BATCH_NORM["local"])) == "batch norm"
    assert "normalise" in own(radiographs.fields(data={"normalisation": "site"}))
    table = json.loads(recipes.to_bytes(recipes.load(TOP / "recipes" / "heart-disease-table.yaml")))
    assert own(table) == "", "they come with the federation"
    table["data"]["normalisation"] = "site"
    assert "normalise" in own(table)
    table["data"]["normalisation"] = "none"
    assert "fill gaps" in own(table)
    table["data"] |= {"normalisation": "none", "imputation": "drop"}
    assert own(table) == ""
