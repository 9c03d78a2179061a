"""cases.json: private, strict, readable by MONAI, and its digest tells nothing but whether the data changed."""

from __future__ import annotations

import json
import re
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fedmed.cases import datalist
from fedmed.cases.find import Found, find
from fedmed.cases.splits import FOLDS
from fedmed.errors import CODES
from fedmed.settings import DataFolder, Layout

from . import phantoms

LAYOUT = Layout(image={"T1": "images/{case}.nii"}, label="labels/{case}.nii")


def cohort(root: Path, numbers: range, key: bytes = b"k" * 32, layout: Layout = LAYOUT) -> Found:
    for index in numbers:
        phantoms.write_nifti(root / f"images/Nansen{index}.nii", phantoms.ramp() + index)
        phantoms.write_nifti(root / f"labels/Nansen{index}.nii", phantoms.mask())
    return find(DataFolder(root=str(root), layout=layout), phantoms.recipe(), pseudonym_key=key, label_map={})


def edited(path: Path, change: Any) -> Path:
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))
    return path


@pytest.fixture
def written(tmp_path: Path) -> Path:
    found = cohort(tmp_path / "data", range(10))
    datalist.save(tmp_path / "cases.json", datalist.build(found, phantoms.recipe()))
    return tmp_path / "cases.json"


def test_round_trip_counts_and_mode(tmp_path: Path) -> None:
    found = cohort(tmp_path / "data", range(10))
    made = datalist.build(found, phantoms.recipe())
    path = tmp_path / "cases.json"
    datalist.save(path, made)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    read = datalist.load(path)
    assert read == made
    assert (
        sorted((case for fold in FOLDS for case in datalist.cases(read, fold)), key=lambda case: case.case)
        == found.cases
    )
    assert read.header.counts == {"training": 6, "validation": 2, "testing": 2}
    data = json.loads(path.read_text())
    assert set(data) == {"fedmed", "training", "validation", "testing"}
    entry = data["training"][0]
    assert set(entry) == {"case", "patient", "group", "image", "label", "covariates", "geometry", "content", "likeness"}
    assert re.fullmatch(r"images/Nansen\d.nii", entry["image"]["T1"])


def test_a_dicom_series_is_a_list_of_paths_in_reading_order(tmp_path: Path) -> None:
    names = phantoms.save(tmp_path / "dicom/x", phantoms.slices(oblique=False), name=lambda i: f"{(i * 7) % 10}")
    phantoms.write_nifti(tmp_path / "masks/x.nii", phantoms.mask())
    layout = Layout(image={"T1": "dicom/{case}/"}, label="masks/{case}.nii")
    found = find(DataFolder(root=str(tmp_path), layout=layout), phantoms.recipe(), pseudonym_key=b"k", label_map={})
    datalist.save(tmp_path / "cases.json", datalist.build(found, phantoms.recipe()))
    assert datalist.cases(datalist.load(tmp_path / "cases.json"), "training") == found.cases
    entry = json.loads((tmp_path / "cases.json").read_text())["training"][0]
    assert entry["image"]["T1"] == [f"dicom/x/{name}" for name in names]


def test_monai_reads_it(written: Path) -> None:
    monai = pytest.importorskip("monai.data")
    items = monai.load_decathlon_datalist(str(written), data_list_key="training", base_dir=written.parent / "data")
    assert len(items) == 6
    assert all(Path(item["label"]).is_file() for item in items)


def test_growing_shrinking_and_coming_back(tmp_path: Path) -> None:
    recipe = phantoms.recipe()
    first = datalist.build(cohort(tmp_path, range(10)), recipe)
    assert datalist.changes(None, first) == "+10 -0"
    (tmp_path / "images/Nansen3.nii").unlink()
    second = datalist.build(cohort(tmp_path, range(10, 16)), recipe, first)
    assert datalist.changes(first, second) == "+6 -1"
    assert len(second.header.former) == 1
    third = datalist.build(cohort(tmp_path, range(16)), recipe, second)
    assert third.header.former == {}
    before, after = datalist.assignments(first), datalist.assignments(third)
    assert all(after[patient] == fold for patient, fold in before.items())
    assert sum(third.header.patients.values()) == 16


def test_folds_are_not_drawn_anew_in_silence(tmp_path: Path) -> None:
    recipe = phantoms.recipe()
    first = datalist.build(cohort(tmp_path, range(10)), recipe)
    with phantoms.refuses("FM-DAT-47", "expected some of its 10 patients again, got none"):
        datalist.build(cohort(tmp_path, range(0), key=b"j" * 32), recipe, first)


def test_the_digest_follows_content_and_fold_and_no_name(tmp_path: Path) -> None:
    recipe = phantoms.recipe()
    found = cohort(tmp_path, range(10))
    digest = datalist.digest(datalist.build(found, recipe))
    assert re.fullmatch("[0-9a-f]{64}", digest)
    one_fold = phantoms.recipe(split={"validation": 0, "testing": 0})
    everything = datalist.digest(datalist.build(found, one_fold))
    assert everything != digest
    (tmp_path / "images/Nansen3.nii").rename(tmp_path / "images/Amundsen.nii")
    (tmp_path / "labels/Nansen3.nii").rename(tmp_path / "labels/Amundsen.nii")
    renamed = cohort(tmp_path, range(0), key=b"j" * 32)
    assert datalist.digest(datalist.build(renamed, one_fold)) == everything
    phantoms.write_nifti(tmp_path / "labels/Amundsen.nii", phantoms.mask(size=1))
    assert datalist.digest(datalist.build(cohort(tmp_path, range(0)), one_fold)) != everything


def test_cases_without_label_cannot_be_trained_on(tmp_path: Path) -> None:
    found = cohort(tmp_path, range(4), layout=Layout(image=LAYOUT.image))
    with phantoms.refuses("FM-DAT-12", "no label"):
        datalist.build(found, phantoms.recipe())


def test_excluded_cases_are_counted_by_code(tmp_path: Path) -> None:
    cohort(tmp_path, range(10))
    (tmp_path / "labels/Nansen3.nii").unlink()
    recipe = phantoms.recipe(max_excluded=0.1)
    found = find(DataFolder(root=str(tmp_path), layout=LAYOUT), recipe, pseudonym_key=b"k", label_map={})
    assert datalist.build(found, recipe).header.excluded == {"FM-DAT-12": 1}


def test_unreadable(tmp_path: Path, written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with phantoms.refuses("FM-DAT-01"):
        datalist.load(tmp_path / "absent.json")
    for text in ("{", "[" * 100_000, "\xff"):
        (tmp_path / "broken.json").write_text(text, encoding="latin-1")
        with phantoms.refuses("FM-DAT-01"):
            datalist.load(tmp_path / "broken.json")
    monkeypatch.setattr(datalist, "MAX_BYTES", 100)
    with phantoms.refuses("FM-DAT-01"):
        datalist.load(written)


def test_unknown_keys(written: Path) -> None:
    with phantoms.refuses("FM-DAT-02", "training.0.name"):
        datalist.load(edited(written, lambda data: data["training"][0].update(name="Nansen")))


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data["training"][0].update(label="/home/Nansen.nii"),
        lambda data: data["training"][0]["image"].update(T1=["a/../../Nansen.nii"]),
        lambda data: data["training"][0].update(patient="Nansen"),
        lambda data: data["training"][0].pop("geometry"),
        lambda data: data["training"][0].pop("content"),
        lambda data: data["training"][0].update(content=""),
        lambda data: data["training"].pop(),
        lambda data: data["training"].__setitem__(1, data["training"][0]),
        lambda data: data["testing"].__setitem__(0, data["training"][0]),
        lambda data: data["fedmed"].update(schema=2),
        lambda data: data["fedmed"].update(excluded="Nansen"),
        lambda data: data.pop("fedmed"),
    ],
)
def test_bad_values_are_named_without_showing_them(written: Path, change: Any) -> None:
    with phantoms.refuses("FM-DAT-03", "cases.json: "):
        datalist.load(edited(written, change))


def test_not_an_object(tmp_path: Path) -> None:
    (tmp_path / "cases.json").write_text("[]")
    with phantoms.refuses("FM-DAT-03"):
        datalist.load(tmp_path / "cases.json")


def test_a_site_of_a_simulation_is_built_from_a_part(tmp_path: Path) -> None:
    found = cohort(tmp_path, range(10))
    part = replace(found, cases=found.cases[:4], excluded=[])
    assert sum(datalist.build(part, phantoms.recipe()).header.counts.values()) == 4


def test_every_code_of_the_room_is_asserted_here() -> None:
    raised, asserted = (
        {code for file in folder.glob("*.py") for code in re.findall(r'"(FM-[A-Z]{3}-\d\d)"', file.read_text())}
        for folder in (Path(datalist.__file__).parent, Path(__file__).parent)
    )
    assert raised - asserted == set()
    assert raised <= set(CODES)
