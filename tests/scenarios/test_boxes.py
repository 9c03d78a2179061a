"""A hospital with a table of boxes at the command line: recognised, checked, divided by what the images show."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import yaml

from tests import boxed

if TYPE_CHECKING:
    from pathlib import Path

    from tests.command import Fedmed


@pytest.fixture
def hospital(tmp_path: Path) -> Path:
    """16 images; of one the box lies outside, of one a cell is no number."""
    boxed.write_hospital(tmp_path / "data")
    table = tmp_path / "data/boxes.csv"
    lines = table.read_text().splitlines()
    broken = {"images/p01.png": "30,2,7,7,1", "images/p04.png": "Nansen,2,7,7,1"}
    for name, cells in broken.items():
        number = next(number for number, line in enumerate(lines) if line.startswith(name))
        lines[number] = f"{name},{cells},{name[7:10]}"
    table.write_text("\n".join(lines) + "\n")
    recipe = boxed.fields(data={"max_excluded": 0.2})
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    return tmp_path


def test_init_site_finds_the_table(hospital: Path, fedmed: Fedmed) -> None:
    ran = fedmed.ok("init", "site", "aa", "--name", "aa", "--data", "data", cwd=hospital)
    assert "images XR: images/{case}.png, labels boxes.csv" in ran.out + ran.err
    assert yaml.safe_load((hospital / "aa/fedmed.yaml").read_text())["data"]["layout"]["boxes"] == "boxes.csv"
    names = "".join(f"images/p{number:02d}.png,{int(number % 3 > 0)}\n" for number in range(16))
    (hospital / "data/labels.csv").write_text("path,label\n" + names)
    ran = fedmed.ok("init", "site", "bb", "--name", "bb", "--data", "data", cwd=hospital)
    assert "labels boxes.csv and labels.csv" in ran.out + ran.err


def test_virtual_sites_are_divided_by_what_images_show(hospital: Path, fedmed: Fedmed) -> None:
    words = ("partition", "data", "--recipe", "recipe.yaml", "--sites", "2", "--out", "sites")
    ran = fedmed.ok(*words, cwd=hospital)
    shown = ran.out + ran.err
    assert "excluded: 1 by FM-BOX-04" in shown
    assert "excluded: 1 by FM-BOX-06" in shown
    lists = [json.loads((hospital / f"sites/site-{number}/cases.json").read_text()) for number in (1, 2)]
    entries = [entry for each in lists for fold in ("training", "validation", "testing") for entry in each[fold]]
    assert {(entry["group"], bool(entry["label"])) for entry in entries} == {("0", False), ("mark", True)}
    assert len(entries) == 14


@pytest.mark.slow
def test_check_names_what_is_wrong_with_boxes_and_not_what_stands_there(hospital: Path, fedmed: Fedmed) -> None:
    ran = fedmed.run("check", "data", "--recipe", "recipe.yaml", "--preview", "4", cwd=hospital)
    assert ran.code == 0
    (table,) = hospital.rglob("check*.csv")
    for text in (ran.out + ran.err, table.read_text("utf-8")):
        assert "FM-BOX-04" in text
        assert "FM-BOX-06" in text
        assert "Nansen" not in text
    assert any(hospital.rglob("*.png")), "a contact sheet"
