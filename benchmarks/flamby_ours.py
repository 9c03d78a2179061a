"""What a sound recipe reaches on FLamby's two tables: whole federations through signed files, on the same test rows."""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING

import flamby_tables as tables
import yaml

from fedmed import files
from fedmed import recipe as recipes
from fedmed.cases import datalist, find
from fedmed.cases.find import Found
from fedmed.rehearsal import acts, models, simulate
from fedmed.site import virtual

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from fedmed.cases.datalist import Datalist
    from fedmed.recipe import Recipe
    from fedmed.rehearsal.crew import Crew

    Scores = dict[str, list[float | None]]

FOLD = "fold"  # a column of FLamby's, which to fedmed is one more thing known of a patient


def hospitals(table: str, data: Path, out: Path) -> dict[str, Path]:
    """A folder with a table for each site, with the rows of FLamby's folds alone, and which fold each is in."""
    write = {"heart": _heart, "breast": _breast}[table]
    return {name: _table(out / name, lines) for name, lines in write(data).items()}


def _heart(data: Path) -> dict[str, list[list[str]]]:
    found = {}
    for name in tables.HOSPITALS:
        path = data / "fed_heart_disease" / f"processed.{name}.data"
        _, labels = tables.hospital(path)
        testing = set(tables.halves(labels)[1].tolist())
        rows = tables.without_gaps(path)
        lines = [[*row, "test" if place in testing else "train"] for place, row in enumerate(rows)]
        head = [*(column for place, column in enumerate(tables.HEART_COLUMNS) if place not in tables.DROPPED), FOLD]
        found[name] = [head, *lines]
    return found


def _breast(data: Path) -> dict[str, list[list[str]]]:
    head, *lines = tables.brca(data)
    return {
        f"region-{site}": [
            [*head[1:], FOLD],
            *([*cells, fold.partition("_")[0]] for fold, *cells in lines if fold.endswith(f"_{site}")),
        ]
        for site in range(6)
    }


def _table(folder: Path, lines: Sequence[Sequence[str]]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "patients.csv").open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(lines)
    return folder


def listed(folder: Path, recipe: Recipe) -> Datalist:
    """A site's cases: FLamby's test rows are the test fold, and the recipe's split draws the validation fold among the
    others, as `partition` does when patients come to a list that is there.
    """
    found = find.find(virtual.described(folder, recipe), recipe, pseudonym_key=folder.name.encode(), label_map={})
    testing = [case for case in found.cases if case.covariates[FOLD] == "test"]
    return datalist.build(found, recipe, datalist.held_out(Found(testing, [], []), recipe))


def run(recipe: Recipe, rounds: int, hospitals: Mapping[str, Path], folder: Path, crew: Crew) -> Scores:
    """A whole federation through signed files: the first metric of the global model, and of the personal ones where the
    recipe tunes, on the test rows of each site and of all.
    """
    setting = _setting(recipe, rounds, hospitals, folder)
    crew.run(acts.begin, setting)
    crew.each(acts.partition, [(setting, name) for name in setting.names], lambda: None)
    simulate.play(setting, crew, lambda: None, lambda _: None)
    crew.each(acts.report, [(setting, name) for name in setting.names], lambda: None)
    crew.run(acts.pool_reports, setting)
    shown = [models.GLOBAL, *([models.PERSONAL] if recipe.training.fine_tune_steps else [])]
    found = crew.each(models.score, [(setting, model) for model in shown], lambda: None)
    metric = recipe.evaluation.metrics[0]
    return {
        model: [row.value for row in rows if row.metric == metric] for model, rows in zip(shown, found, strict=True)
    }


def _setting(recipe: Recipe, rounds: int, hospitals: Mapping[str, Path], folder: Path) -> acts.Setting:
    files.make_private(folder)
    own_recipe = folder / "recipe.yaml"
    own_recipe.write_text(yaml.safe_dump(json.loads(recipes.to_bytes(recipe)), sort_keys=False))
    cases = {}
    for name, root in hospitals.items():
        cases[name] = folder / "parts" / name / "cases.json"
        files.make_private(cases[name].parent)
        datalist.save(cases[name], listed(root, recipe))
    return acts.Setting(folder, own_recipe, hospitals, rounds, "FLamby", cases)
