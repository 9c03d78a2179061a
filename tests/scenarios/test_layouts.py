"""A public data set in its own folder, from init to a table of what virtual sites got, without a layout by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests import radiographs

if TYPE_CHECKING:
    from pathlib import Path

    from tests.command import Fedmed


@pytest.fixture(scope="module")
def atlas(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """DATA like FracAtlas, with 12 radiographs, and recipe.yaml."""
    root = tmp_path_factory.mktemp("atlas")
    lines = ["image_id,hand,leg,fractured"]
    for number in range(12):
        folder = "Fractured" if number % 2 else "Non_fractured"
        levels = np.random.RandomState(number).randint(0, 256, (16, 16))
        radiographs.write(root / f"data/images/{folder}/IMG{number}.jpg", levels)
        lines.append(f"IMG{number}.jpg,{number % 3 // 2},0,{number % 2}")
    (root / "data/dataset.csv").write_text("\n".join(lines))
    (root / "recipe.yaml").write_text(radiographs.recipe().model_dump_json(by_alias=True))
    return root


def test_init_writes_the_layout_by_name(atlas: Path, fedmed: Fedmed, tmp_path: Path) -> None:
    words = ("init", "site", tmp_path / "aa", "--name", "aa", "--data", atlas / "data")
    ran = fedmed.run(*words, "--layout", "atlas")
    assert ran.code == 2
    assert "brats, brats-2020, fracatlas, grazpedwri-dx, kits, rsna-cervical-spine" in ran.err
    ran = fedmed.ok(*words, "--layout", "fracatlas")
    assert "images XR: images/*/{case}.jpg, labels dataset.csv" in ran.out
    assert "label: fractured" in (tmp_path / "aa/fedmed.yaml").read_text()


def test_partition_recognises_it(atlas: Path, fedmed: Fedmed, tmp_path: Path) -> None:
    words = ("partition", atlas / "data", "--recipe", atlas / "recipe.yaml")
    ran = fedmed.ok(*words, "--how", "column", "--by", "hand", "--out", tmp_path / "sites")
    assert "site-1 = 0" in ran.out
    assert "site-2 = 1" in ran.out
    assert f"written: {tmp_path / 'sites' / 'partition.csv'}" in ran.out.replace("\n", "")
    table = (tmp_path / "sites/partition.csv").read_text().splitlines()
    assert sum(int(line.rsplit(",", 1)[1]) for line in table[1:]) == 12
