"""Hospitals of an experiment: folders, one that is left out, images that differ, and what each site got."""

from __future__ import annotations

import csv
import shutil
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from fedmed.cases import content, datalist
from fedmed.cases.splits import FOLDS
from fedmed.errors import FedmedError
from fedmed.site import virtual
from tests import radiographs, small
from tests.coded import code_of

if TYPE_CHECKING:
    from pathlib import Path

    from fedmed.cases.case import Case


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """DATA with the hospitals north, south and west, whose patients have the same names; and a recipe."""
    root = tmp_path_factory.mktemp("folders")
    for seed, name in enumerate(("north", "south", "west")):
        small.write_hospital(root / "data" / name, seed=seed)
    return root / "data", small.write_recipe(root / "recipe.yaml")


@pytest.fixture(scope="module")
def wards(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """DATA with 12 radiographs of 12 patients on three wards, and a recipe."""
    root = tmp_path_factory.mktemp("wards")
    lines = ["path,label,patient,ward,record"]
    for index in range(12):
        levels = radiographs.np.random.RandomState(index).randint(0, 256, (16, 16))
        radiographs.write(root / f"data/images/{index}.png", levels)
        lines.append(f"images/{index}.png,{index % 2},p{index},{'ABC'[index % 3]},Nansen{max(index, 1)}")
    (root / "data/labels.csv").write_text("\n".join(lines))
    (root / "recipe.yaml").write_text(radiographs.recipe().model_dump_json(by_alias=True))
    return root / "data", root / "recipe.yaml"


def cases(out: Path, site: str) -> list[Case]:
    found = datalist.load(out / site / "cases.json")
    return [case for fold in FOLDS for case in datalist.cases(found, fold)]


def test_folders_are_hospitals_with_patients_of_their_own(folders: tuple[Path, Path], tmp_path: Path) -> None:
    divided = virtual.virtual_sites(*folders, tmp_path, how="folders")
    assert divided.values == {"site-1": "north", "site-2": "south", "site-3": "west"}
    patients = [case.patient for site in divided.values for case in cases(tmp_path, site)]
    assert len(patients) == len(set(patients)) == 15
    for site, name in divided.values.items():
        for case in cases(tmp_path, site):
            assert content.digest(case, folders[0] / name) == case.content
    assert len(divided.partitioned.notes) == 3
    assert divided.partitioned.notes[0].startswith("site-1: 5 cases do not say")


def test_copies_at_two_hospitals_are_told(folders: tuple[Path, Path], tmp_path: Path) -> None:
    data = shutil.copytree(folders[0], tmp_path / "data")
    for kind in ("images", "labels"):
        shutil.copy(data / "north" / kind / "p01.nii.gz", data / "south" / kind / "copy.nii.gz")
    divided = virtual.virtual_sites(data, folders[1], tmp_path / "out", how="folders")
    told = "1 group of patients with nearly the same images lies in several folders (FM-DAT-76)"
    assert divided.partitioned.notes[-1] == told


def test_a_value_that_only_one_patient_has_is_not_shown(wards: tuple[Path, Path], tmp_path: Path) -> None:
    """As the numbers of their records would be."""
    divided = virtual.virtual_sites(*wards, tmp_path, how="column", by="record")
    assert len(divided.partitioned.shares) == 11
    assert [*divided.values.values()] == ["Nansen1"]


def test_one_hospital_is_left_out(folders: tuple[Path, Path], wards: tuple[Path, Path], tmp_path: Path) -> None:
    for number, (data, how, by, value) in enumerate(
        ((folders, "folders", "", "south"), (wards, "column", "ward", "B"))
    ):
        out = tmp_path / str(number)
        divided = virtual.virtual_sites(*data, out, how=how, by=by, leave_out=value)  # type: ignore[arg-type]
        assert [share.site for share in divided.partitioned.shares] == ["site-1", "site-2", "held-out"]
        assert divided.values["held-out"] == value
        held = datalist.load(out / "held-out" / "cases.json")
        assert (held.training, held.validation) == ((), ())
        assert len(held.testing) == (5 if how == "folders" else 4)
        others = {case.case for site in ("site-1", "site-2") for case in cases(out, site)}
        assert not others & {case.case for case in cases(out, "held-out")}
        assert len(others) == (10 if how == "folders" else 8)


def test_who_cannot_be_left_out(folders: tuple[Path, Path], wards: tuple[Path, Path], tmp_path: Path) -> None:
    def divide(data: tuple[Path, Path], **options: Any) -> str:
        return code_of(lambda: virtual.virtual_sites(*data, tmp_path / "out", **options))

    assert divide(folders, how="folders", leave_out="east") == "FM-USE-01"
    assert divide(wards, how="column", by="ward", leave_out="D") == "FM-USE-01"
    with pytest.raises(FedmedError) as caught:
        virtual.check_left_out(["Nansen", "b"], "Nansen")
    assert (caught.value.code, "Nansen" in caught.value.message) == ("FM-DAT-42", False)
    assert divide((folders[0] / "north", folders[1]), how="folders") == "FM-DAT-05", "images and labels are folders"
    assert divide((folders[0] / "north/images", folders[1]), how="folders") == "FM-USE-01"
    for wrong in (folders[0] / "nowhere", folders[1]):
        assert divide((wrong, folders[1]), how="folders") == "FM-DAT-04", "no folder"
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_shifted_sites_are_other_data(wards: tuple[Path, Path], tmp_path: Path) -> None:
    def divide(name: str, **options: Any) -> list[list[Case]]:
        virtual.virtual_sites(*wards, tmp_path / name, how="iid", sites=3, **options)
        return [cases(tmp_path / name, f"site-{number}") for number in (1, 2, 3)]

    plain = divide("plain")
    shifted = divide("shifted", shift="noise", strength=0.9)
    assert shifted == divide("again", shift="noise", strength=0.9)
    for number, (before, after) in enumerate(zip(plain, shifted, strict=True), start=1):
        assert [case.case for case in before] == [case.case for case in after]
        assert {case.shift.amount for case in after if case.shift} == {round(0.3 * number, 6)}
        assert all(case.shift is None for case in before)
        assert not {case.content for case in before} & {case.content for case in after}
        content.check(after, wards[0], lambda *_: None)
    digests = {datalist.digest(datalist.load(tmp_path / name / "site-1/cases.json")) for name in ("plain", "shifted")}
    assert len(digests) == 2


def test_the_table_and_the_picture_say_what_each_site_got(wards: tuple[Path, Path], tmp_path: Path) -> None:
    divided = virtual.virtual_sites(*wards, tmp_path, how="column", by="ward", leave_out="B")
    text = (tmp_path / "partition.csv").read_text()
    rows = list(csv.DictReader(text.splitlines()))
    assert list(rows[0]) == ["site", "fold", "group", "cases"]
    total: Counter[str] = Counter()
    for row in rows:
        total[row["site"]] += int(row["cases"])
    assert total == {"site-1": 4, "site-2": 4, "held-out": 4}
    for share in divided.partitioned.shares:
        for fold, count in share.counts.items():
            assert sum(int(row["cases"]) for row in rows if (row["site"], row["fold"]) == (share.site, fold)) == count
    assert {row["group"] for row in rows} == {"0", "fracture"}
    assert (tmp_path / "partition.png").read_bytes().startswith(b"\x89PNG")
