"""Folds that hold, and one folder that plays several hospitals."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from fedmed.cases import datalist
from fedmed.errors import FedmedError
from fedmed.site import partition, train
from tests import small

if TYPE_CHECKING:
    from pathlib import Path


def folds(path: Path) -> dict[str, str]:
    """Patient -> fold."""
    found = datalist.load(path)
    return {
        entry.patient: fold
        for fold in ("training", "validation", "testing")
        for entry in datalist.entries_of(found, fold)  # type: ignore[arg-type]
    }


def test_again_keeps_every_fold_and_says_what_changed(moved: tuple[Path, Path], tmp_path: Path) -> None:
    site, data = moved
    before = folds(site / "cases.json")
    assert len(before) == 5
    extra = small.write_hospital(tmp_path / "extra", [f"q{number:02d}" for number in range(8)], seed=9)
    for kind in ("images", "labels"):
        for path in (extra / kind).iterdir():
            shutil.copy(path, data / kind)
    found = partition.partition(site, small.now())
    after = folds(site / "cases.json")
    assert found.changes == "+8 -0"
    assert len(after) == 13
    assert before.items() <= after.items()
    assert sorted(after.values()).count("testing") == 3  # a fifth of 13, not of 8

    for kind in ("images", "labels"):
        (data / kind / "p01.nii.gz").rename(tmp_path / f"{kind}.nii.gz")
    found = partition.partition(site, small.now())
    assert found.changes == "+0 -1"
    gone = folds(site / "cases.json")
    assert gone.items() <= after.items()
    for kind in ("images", "labels"):
        (tmp_path / f"{kind}.nii.gz").rename(data / kind / "p01.nii.gz")
    assert partition.partition(site, small.now()).changes == "+1 -0"
    assert folds(site / "cases.json") == after, "who comes back comes back into the same fold"


def test_another_pseudonym_key_moves_nobody_in_silence(world: small.Federation) -> None:
    """Under new names patients of the test fold could be drawn into training."""
    site = world.site("aa")
    before = (site / "cases.json").read_bytes()
    (site / "keys" / "pseudonym.key").write_bytes(b"j" * 32)
    with pytest.raises(FedmedError) as caught:
        partition.partition(site, small.now())
    assert caught.value.code == "FM-DAT-47"
    assert (site / "cases.json").read_bytes() == before
    (site / "cases.json").unlink()
    partition.partition(site, small.now())


def test_cases_json_is_for_its_owner_alone(world: small.Federation) -> None:
    path = world.site("aa") / "cases.json"
    assert path.stat().st_mode & 0o777 == 0o600
    text = path.read_text()
    assert json.loads(text)["training"]
    header = datalist.load(path).header
    assert header.counts == {"training": 3, "validation": 1, "testing": 1}


def test_another_recipe_asks_for_another_partition(world: small.Federation) -> None:
    path = world.site("aa") / "cases.json"
    data: dict[str, Any] = json.loads(path.read_text())
    data["fedmed"]["recipe"] = "0" * 64
    path.write_text(json.dumps(data))
    with pytest.raises(FedmedError) as caught:
        train.train(world.site("aa"), small.now(), train.Options(), lambda *_: None)
    assert caught.value.code == "FM-DAT-44"
    partition.partition(world.site("aa"), small.now())
    assert datalist.load(path).header.recipe != "0" * 64


@pytest.mark.parametrize(
    ("how", "sizes", "expected"), [("iid", None, [4, 4, 4]), ("sizes", [8, 3, 1], [8, 3, 1]), ("dirichlet", None, None)]
)
def test_virtual_sites(
    how: partition.How, sizes: list[float] | None, expected: list[int] | None, tmp_path: Path
) -> None:
    data = small.write_hospital(tmp_path / "data", [f"p{number:02d}" for number in range(12)])
    recipe = small.write_recipe(tmp_path / "recipe.yaml")

    def divide(out: Path, seed: int | None = None) -> list[dict[str, str]]:
        found = partition.virtual_sites(
            data, recipe, out, how=how, sites=3, sizes=sizes, alpha=0.5 if how == "dirichlet" else None, seed=seed
        )
        assert found.seed == (small.RECIPE["seed"] if seed is None else seed)
        assert [share.site for share in found.shares] == ["site-1", "site-2", "site-3"]
        return [folds(out / share.site / "cases.json") for share in found.shares]

    sites = divide(tmp_path / "first")
    patients = [patient for site in sites for patient in site]
    assert len(patients) == len(set(patients)) == 12
    assert all(sites)
    if expected:
        assert [len(site) for site in sites] == expected
    assert divide(tmp_path / "second") == sites
    assert divide(tmp_path / "third", seed=8) != sites
    assert (tmp_path / "first" / "site-1").stat().st_mode & 0o777 == 0o700


def test_more_virtual_sites_than_patients(tmp_path: Path) -> None:
    data = small.write_hospital(tmp_path / "data", ["p1", "p2"])
    recipe = small.write_recipe(tmp_path / "recipe.yaml")
    with pytest.raises(FedmedError) as caught:
        partition.virtual_sites(data, recipe, tmp_path / "out", how="iid", sites=3, sizes=None, alpha=None, seed=None)
    assert caught.value.code == "FM-DAT-42"
