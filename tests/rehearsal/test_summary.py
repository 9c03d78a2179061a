"""What a simulation shows, with the numbers written out."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

import pytest

from fedmed.recipe import Segmentation
from fedmed.rehearsal import summary
from fedmed.rehearsal.models import EVERYWHERE, GLOBAL, POOLED, Row, alone_of
from fedmed.rehearsal.summary import LOCAL
from tests import small

if TYPE_CHECKING:
    from pathlib import Path

RECIPE = Segmentation.model_validate(small.RECIPE)


def rows(model: str, aa: float | None, bb: float | None, both: float | None, metric: str = "dice") -> list[Row]:
    values = (("aa", 2, aa), ("bb", 4, bb), (EVERYWHERE, 6, both))
    return [Row(model, site, metric, 0 if value is None else n, value, None) for site, n, value in values]


SEEDS = {
    7: [
        *rows(GLOBAL, 0.8, 0.6, 0.7),
        *rows(POOLED, 0.9, 0.7, 0.8),
        *rows(alone_of("aa"), 0.7, 0.1, 0.4),
        *rows(alone_of("bb"), 0.3, 0.5, 0.2),
    ],
    8: [
        *rows(GLOBAL, 0.6, 0.6, 0.6),
        *rows(POOLED, 0.9, None, 0.8),
        *rows(alone_of("aa"), 0.5, 0.3, 0.5),
        *rows(alone_of("bb"), 0.1, 0.9, 0.5),
    ],
}


@pytest.fixture
def found(tmp_path: Path) -> summary.Summary:
    return summary.of(RECIPE, SEEDS, rounds=3, out=tmp_path)


def cell(found: summary.Summary, model: str, site: str, metric: str = "dice") -> summary.Cell:
    one = found.cell(model, site, metric)
    assert one is not None
    return one


def test_mean_and_spread_are_over_seeds(found: summary.Summary) -> None:
    one = cell(found, GLOBAL, "aa")
    assert one.values == [0.8, 0.6]
    assert one.mean == pytest.approx(0.7)
    assert one.sd == pytest.approx(math.sqrt(0.02))
    assert one.n == 2
    assert found.models == [GLOBAL, POOLED, LOCAL, "aa alone", "bb alone"]
    assert (found.sites, found.seeds, found.metrics, found.rounds) == (["aa", "bb"], [7, 8], ["dice"], 3)


def test_a_seed_without_a_figure_is_left_out(found: summary.Summary) -> None:
    one = cell(found, POOLED, "bb")
    assert (one.values, one.mean, one.sd, one.n) == ([0.7, None], 0.7, None, 2.0)


def test_local_only_is_every_hospitals_own_model_on_its_own_cases_and_the_mean_of_all_models_everywhere(
    found: summary.Summary,
) -> None:
    assert cell(found, LOCAL, "aa").values == [0.7, 0.5]
    assert cell(found, LOCAL, "bb").values == [0.5, 0.9]
    assert cell(found, LOCAL, EVERYWHERE).values == pytest.approx([0.3, 0.5])


@pytest.mark.parametrize(
    ("metric", "values", "worst"),
    [
        ("dice", (0.8, 0.6), "bb"),
        ("dice", (0.2, 0.6), "aa"),
        ("hd95", (8.0, 6.0), "aa"),
        ("hd95", (1.0, 6.0), "bb"),
        ("dice", (None, 0.9), "bb"),
        ("dice", (None, None), ""),
    ],
)
def test_the_worst_site_is_where_the_global_model_is_worst(
    tmp_path: Path, metric: str, values: tuple[float | None, float | None], worst: str
) -> None:
    # the pooled model's figures say the opposite, and do not matter
    opposite = rows(POOLED, *[None if value is None else 10 - value for value in values], 0.5, metric)
    only = {7: [*rows(GLOBAL, *values, 0.5, metric), *opposite]}
    assert summary.of(RECIPE, only, rounds=1, out=tmp_path).worst == worst


def test_markdown(found: summary.Summary, tmp_path: Path) -> None:
    expected = [
        "Recipe phantom, 3 rounds, 2 seeds, mean +- standard deviation over them.",
        "No formal privacy guarantee: each seed and each model beside the federation's learns from the same patients.",
        "",
        "| model, on the test cases of all | dice |",
        "|---|---:|",
        "| global | 0.6500 +- 0.0707 |",
        "| pooled | 0.8000 +- 0.0000 |",
        "| local-only, mean | 0.4000 +- 0.1414 |",
        "| aa alone | 0.4500 +- 0.0707 |",
        "| bb alone | 0.3500 +- 0.2121 |",
        "",
        "| dice on the hospital's own test cases | n | global | pooled | its own model |",
        "|---|---:|---:|---:|---:|",
        "| aa | 2 | 0.7000 +- 0.1414 | 0.9000 +- 0.0000 | 0.6000 +- 0.1414 |",
        "| bb (worst) | 4 | 0.6000 +- 0.0000 | 0.7000 (1 of 2 seeds) | 0.7000 +- 0.2828 |",
    ]
    assert summary.markdown(found) == expected
    assert (tmp_path / "table.md").read_text() == "\n".join(expected) + "\n"


def test_without_baselines_there_is_the_global_model_alone(tmp_path: Path) -> None:
    found = summary.of(RECIPE, {7: rows(GLOBAL, 0.5, None, 0.5)}, rounds=1, out=tmp_path)
    assert found.models == [GLOBAL]
    assert summary.markdown(found)[0].startswith("Recipe phantom, 1 rounds, 1 seed,")
    assert summary.markdown(found)[-1] == "| bb | 0 | - |"
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")


def test_what_programs_read_says_everything(found: summary.Summary, tmp_path: Path) -> None:
    read = json.loads((tmp_path / "results.json").read_text())
    assert summary.Summary(**{**read, "cells": [summary.Cell(**each) for each in read["cells"]]}) == found
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    summary.of(RECIPE, SEEDS, rounds=3, out=tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before, "the same rows give the same bytes"
