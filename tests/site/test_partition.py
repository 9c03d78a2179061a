"""Folds that hold, and one folder that plays several hospitals."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from fedmed.cases import datalist
from fedmed.cases.splits import FOLDS
from fedmed.errors import FedmedError
from fedmed.site import partition, train, virtual
from tests import small
from tests.cases import films
from tests.coded import code_of

if TYPE_CHECKING:
    from pathlib import Path

    from fedmed.cases.case import Case


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


def test_who_looks_like_somebody_joins_him_and_two_who_were_apart_stay_so(moved: tuple[Path, Path]) -> None:
    site, data = moved
    files_of = {case.patient: case for case in every_case(site)}
    before = folds(site / "cases.json")
    tested, trained = (next(each for each, fold in before.items() if fold == name) for name in ("testing", "training"))
    for kind, path in (("images", files_of[tested].image["MR"][0]), ("labels", str(files_of[tested].label))):
        shutil.copy(data / path, data / kind / "copy.nii.gz")
    found = partition.partition(site, small.now())
    assert "1 pair of cases looks nearly the same, said to be of 2 patients (FM-DAT-75)" in found.notes
    after = folds(site / "cases.json")
    assert [fold for patient, fold in after.items() if patient not in before] == ["testing"]
    assert not [note for note in found.notes if "FM-DAT-76" in note]
    shutil.copy(data / files_of[tested].image["MR"][0], data / files_of[trained].image["MR"][0])
    found = partition.partition(site, small.now())
    assert folds(site / "cases.json") == after
    assert found.notes[-1] == (
        "1 group of patients with nearly the same images lies in several folds: each stays where it was (FM-DAT-76)"
    )


def every_case(site: Path) -> list[Case]:
    found = datalist.load(site / "cases.json")
    return [case for fold in FOLDS for case in datalist.cases(found, fold)]


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


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "sizes", "expected"), [("iid", None, [4, 4, 4]), ("sizes", [8, 3, 1], [8, 3, 1]), ("dirichlet", None, None)]
)
def test_virtual_sites(how: virtual.How, sizes: list[float] | None, expected: list[int] | None, tmp_path: Path) -> None:
    data = small.write_hospital(tmp_path / "data", [f"p{number:02d}" for number in range(12)])
    recipe = small.write_recipe(tmp_path / "recipe.yaml")

    def divide(out: Path, seed: int | None = None) -> list[dict[str, str]]:
        alpha = 0.5 if how == "dirichlet" else None
        divided = virtual.virtual_sites(data, recipe, out, how=how, sites=3, sizes=sizes, alpha=alpha, seed=seed)
        found = divided.partitioned
        assert divided.values == {}
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
        virtual.virtual_sites(data, recipe, tmp_path / "out", how="iid", sites=3, sizes=None, alpha=None, seed=None)
    assert caught.value.code == "FM-DAT-42"


ANY: dict[str, Any] = {"sites": None, "sizes": None, "alpha": None, "seed": None}


@pytest.fixture(scope="module")
def radiographs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Data and recipe: 12 patients with two films each, of two vendors and three wards; one film is of the other."""
    root = tmp_path_factory.mktemp("radiographs")
    lines = ["path,label,patient,ward"]
    for index in range(24):
        patient = index // 2
        one = films.dataset(films.film() + index, patient=f"Nansen{patient}")
        if patient:
            one.Manufacturer = "Acme\x1b[2J" if patient % 3 == 0 or index == 9 else "Brems"
        if patient % 3:
            one.ImageLaterality = " RL"[patient % 3]
        films.save(root / f"data/images/{index}.dcm", one)
        lines.append(f"images/{index}.dcm,{index % 3 == 0:d},{patient},{('', 7, 12)[patient % 3]}")
    (root / "data/labels.csv").write_text("\n".join(lines))
    text = films.recipe().model_dump_json(by_alias=True)
    (root / "recipe.yaml").write_text(text)
    return root / "data", root / "recipe.yaml"


@pytest.mark.parametrize(
    ("how", "by", "values", "patients"),
    [
        ("column", "ward", ["7", "12", "unknown"], [4, 4, 4]),
        ("column", "laterality", ["L", "R", "unknown"], [4, 4, 4]),  # of the headers: the table says nothing of it
        ("header", "Manufacturer", ["Acme\x1b[2J", "Brems", "unknown"], [4, 7, 1]),
    ],
)
def test_virtual_sites_by_value(
    how: virtual.How, by: str, values: list[str], patients: list[int], radiographs: tuple[Path, Path], tmp_path: Path
) -> None:
    divided = virtual.virtual_sites(*radiographs, tmp_path, how=how, by=by, **{**ANY, "sites": 3})
    assert list(divided.values.values()) == values
    sites = [folds(tmp_path / share.site / "cases.json") for share in divided.partitioned.shares]
    assert [len(site) for site in sites] == patients
    assert len({patient for site in sites for patient in site}) == 12
    notes = ["1 patients have several values: each is at the most frequent"] if how == "header" else []
    assert divided.partitioned.notes == notes
    assert divided.partitioned.grouped_by == "class"
    assert {group for share in divided.partitioned.shares for group in share.groups} == {"0", "fracture"}


def test_what_nothing_can_be_divided_by(radiographs: tuple[Path, Path], tmp_path: Path) -> None:
    def divide(how: virtual.How, by: str) -> str:
        return code_of(lambda: virtual.virtual_sites(*radiographs, tmp_path, how=how, by=by, **ANY))

    for how, by in (
        ("column", "wrad"),
        ("column", "patient"),
        ("header", "Manufakturer"),
        ("header", "PixelData"),
        ("header", "VOILUTSequence"),
        ("header", "Laterality"),
    ):
        assert divide(how, by) == "FM-USE-01", by  # type: ignore[arg-type]
    assert divide("header", "Modality") == "FM-DAT-42", "one value is one site"


def test_what_was_meant_is_said(radiographs: tuple[Path, Path], tmp_path: Path) -> None:
    for how, by, meant in (("column", "wrad", "ward"), ("header", "manufakturer", "Manufacturer")):
        with pytest.raises(FedmedError, match=f"did you mean {meant}"):
            virtual.virtual_sites(*radiographs, tmp_path, how=how, by=by, **ANY)  # type: ignore[arg-type]


def test_another_division_is_not_mixed_with_one_that_is_there(tmp_path: Path) -> None:
    """Four sites and then two in one folder: the old third and fourth would hold patients of the new two."""
    data, recipe = small.write_hospital(tmp_path / "data"), small.write_recipe(tmp_path / "recipe.yaml")
    options = {"how": "iid", "sizes": None, "alpha": None, "seed": None}
    virtual.virtual_sites(data, recipe, tmp_path / "out", sites=4, **options)
    with pytest.raises(FedmedError) as caught:
        virtual.virtual_sites(data, recipe, tmp_path / "out", sites=2, **options)
    assert caught.value.code == "FM-SET-04"


def test_a_folder_of_hospitals_is_no_hospital(tmp_path: Path) -> None:
    small.write_hospital(tmp_path / "data" / "aa")
    recipe = small.write_recipe(tmp_path / "recipe.yaml")
    with pytest.raises(FedmedError) as caught:
        virtual.virtual_sites(
            tmp_path / "data", recipe, tmp_path / "out", how="iid", sites=2, sizes=None, alpha=None, seed=None
        )
    assert caught.value.code == "FM-DAT-05"
    assert "--how folders" in caught.value.next
