"""From a folder of radiographs and a table of labels to cases: who is who, what is left out, and why."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from fedmed.cases import content, datalist
from fedmed.cases.find import Found, find
from fedmed.cases.layout import detect_layout
from fedmed.settings import DataFolder, Layout

from . import films, phantoms

if TYPE_CHECKING:
    from pathlib import Path

DICOM = Layout(image={"XR": "images/{case}.dcm"}, labels="labels.csv")
HEADER = "path,label,patient"
PNG = Layout(image={"XR": "images/{case}.png"}, labels="labels.csv")


def look(root: Path, layout: Layout = DICOM, label_map: dict[int, int] | None = None, **data: Any) -> Found:
    recipe = films.recipe(**{"max_excluded": 1, **data})
    folder = DataFolder(root=str(root), layout=layout)
    return find(folder, recipe, pseudonym_key=b"k" * 32, label_map=label_map or {})


def write_table(root: Path, *lines: str, header: str = "path,label,patient,age,view") -> Path:
    (root / "labels.csv").write_text("\n".join([header, *lines]) + "\n")
    return root


def hospital(root: Path, count: int = 5) -> Path:
    """images/Nansen0.dcm, ...; every second with a fracture; two images a patient."""
    for index in range(count):
        films.save(root / f"images/Nansen{index}.dcm", films.dataset(films.film() + index, patient=f"P{index}"))
    return write_table(root, *(row(index) for index in range(count)))


def row(index: int, label: object = None) -> str:
    label = index % 2 if label is None else label
    return f"images/Nansen{index}.dcm,{label},Nansen{index // 2},{40 + index},ap"


def codes(found: Found) -> list[str]:
    return sorted(one.code for one in found.excluded)


def test_cases_have_class_group_geometry_covariates_and_pseudonyms(tmp_path: Path) -> None:
    found = look(hospital(tmp_path))
    assert [case.case for case in found.cases] == sorted(case.case for case in found.cases)
    by_path = {case.image["XR"][0]: case for case in found.cases}
    case = by_path["images/Nansen3.dcm"]
    assert (case.label, case.group, dict(case.covariates)) == (1, "fracture", {"age": 43, "view": "ap"})
    assert by_path["images/Nansen2.dcm"].group == "0"
    assert (case.geometry.shape, case.geometry.spacing, case.geometry.axcodes) == ((16, 24, 1), (0, 0, 0), "")
    assert case.patient == by_path["images/Nansen2.dcm"].patient, "the table's patient wins over PatientID"
    assert len({one.patient for one in found.cases}) == 3
    assert (found.notes, found.excluded) == ([], [])
    assert "Nansen" not in json.dumps([{**asdict(one), "image": ""} for one in found.cases])


def test_what_does_not_match_is_counted_under_two_codes(tmp_path: Path) -> None:
    hospital(tmp_path, 8)
    films.save(tmp_path / "images/Nansen8.dcm", films.dataset())
    rows = [row(0), row(0), row(1), row(1, 0), row(2, ""), row(3, "yes"), row(4, 2), row(5), row(6), row(7), row(99)]
    write_table(tmp_path, *rows, "../outside.dcm,1,,,", "/etc/passwd,1,,,")
    damaged = tmp_path / "images/Nansen7.dcm"
    damaged.write_bytes(damaged.read_bytes()[:-50])
    found = look(tmp_path)
    assert codes(found) == ["FM-DAT-12", "FM-DAT-28", "FM-DAT-28", "FM-DAT-33", "FM-DAT-50", "FM-DAT-52"]
    assert found.notes == [
        "3 rows of the table of labels have no image (FM-DAT-51)",
        "1 rows of the table of labels only repeat another",
    ]
    assert found.local[-1] == "FM-DAT-51 images/Nansen99.dcm"
    assert len(found.cases) == 3
    for one in found.excluded:
        assert one.message.startswith(one.alias)
        assert "Nansen" not in one.message
        assert "Nansen" in one.local
    assert next(one for one in found.excluded if one.code == "FM-DAT-28").message.count("yes") == 0


def test_without_the_column_the_pattern_then_dicom_then_nobody_says_who_it_is(tmp_path: Path) -> None:
    for index, patient in enumerate(("Nansen", "Nansen", "")):
        films.save(tmp_path / f"{'ab'[index % 2]}/{index}.dcm", films.dataset(patient=patient))
    lines = [f"{'ab'[index % 2]}/{index}.dcm,1" for index in range(3)]
    write_table(tmp_path, *lines, header="path,label")
    layout = Layout(image={"XR": "*/{case}.dcm"}, labels="labels.csv")
    found = look(tmp_path, layout)
    assert len({case.patient for case in found.cases}) == 2
    assert found.notes == ["1 cases do not say who the patient is: each counts as a patient of its own"]
    found = look(tmp_path, Layout(image={"XR": "{patient}/{case}.dcm"}, labels="labels.csv"))
    by_path = {case.image["XR"][0]: case.patient for case in found.cases}
    assert by_path["a/0.dcm"] == by_path["a/2.dcm"] != by_path["b/1.dcm"]
    assert found.notes == []


def test_label_map_and_groups(tmp_path: Path) -> None:
    write_table(hospital(tmp_path, 3), row(0, 10), row(1, 20), row(2, 0))
    found = look(tmp_path, label_map={10: 1, 20: 2}, labels={1: "fracture", 2: "implant"})
    assert sorted((case.label, case.group) for case in found.cases) == [(0, "0"), (10, "fracture"), (20, "implant")]
    assert codes(look(tmp_path, label_map={10: 1})) == ["FM-DAT-28"]


def test_png_without_a_table_and_folders_of_one_image(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    Image.fromarray((films.film() // 16).astype(np.uint8)).save(tmp_path / "images/Nansen.png")
    found = look(tmp_path, Layout(image={"XR": "images/{case}.png"}))
    assert [(case.label, case.group) for case in found.cases] == [(None, "")]
    films.save(tmp_path / "dicom/a/deep/1", films.dataset())
    films.save(tmp_path / "dicom/a/scout", films.dataset(modality="OT"))
    (tmp_path / "dicom/a/readme.txt").write_text("not an image")
    layout = Layout(image={"XR": "dicom/{case}/"}, labels="labels.csv")
    write_table(tmp_path, "dicom\\a,1", header="path,label")
    found = look(tmp_path, layout)
    assert [(case.label, case.image["XR"]) for case in found.cases] == [(1, ("dicom/a/deep/1",))]
    assert found.notes == ["1 files in DICOM folders are no DICOM image and were left alone"]
    films.save(tmp_path / "dicom/a/2", films.dataset())
    with phantoms.refuses("FM-DAT-08", "1 x FM-DAT-31"):
        look(tmp_path, layout)


def test_volumes_with_classes(tmp_path: Path) -> None:
    for index in range(4):
        phantoms.write_nifti(tmp_path / f"images/Nansen{index}.nii.gz", phantoms.ramp() + index)
    phantoms.save(tmp_path / "dicom/a", phantoms.slices(oblique=False))
    write_table(tmp_path, *(f"images/Nansen{n}.nii.gz,{n % 2}" for n in range(4)), "dicom/a/,1", header="path,label")
    volumes: dict[str, Any] = {"modality": "MR", "channels": ("T1",), "slices": {}}
    layout = detect_layout(tmp_path, ["T1"])
    assert layout == Layout(image={"T1": "images/{case}.nii.gz"}, labels="labels.csv")
    found = look(tmp_path, layout, **volumes)
    assert len(found.cases) == 4
    grid = found.cases[0].geometry
    assert (grid.shape, grid.axcodes) == (phantoms.SHAPE, "LPS")
    np.testing.assert_allclose(grid.spacing, phantoms.SPACING, atol=1e-6)
    found = look(tmp_path, Layout(image={"T1": "dicom/{case}/"}, labels="labels.csv"), **volumes)
    assert [len(case.image["T1"]) for case in found.cases] == [10]


@pytest.mark.parametrize("pattern", ["{case}.nii", "{case}.nii.gz"])
def test_settings_that_do_not_fit_the_recipe(tmp_path: Path, pattern: str) -> None:
    with phantoms.refuses("FM-DAT-53", "classification needs labels, got label"):
        look(tmp_path, Layout(image={"XR": "{case}.png"}, label="{case}.nii"))
    folder = DataFolder(root=str(tmp_path), layout=Layout(image={"T1": "{case}.nii"}, labels="labels.csv"))
    with phantoms.refuses("FM-DAT-53", "segmentation needs label, got labels"):
        find(folder, phantoms.recipe(), pseudonym_key=b"k", label_map={})
    with phantoms.refuses("FM-SET-03", "data.layout.image.XR: expected a pattern that ends in .dcm"):
        look(tmp_path, Layout(image={"XR": pattern}))
    with phantoms.refuses("FM-SET-03", "expected a pattern that ends in .nii"):
        look(tmp_path, Layout(image={"XR": "{case}.dcm"}), modality="CT", slices={})


def test_cases_json_and_content(tmp_path: Path) -> None:
    root = hospital(tmp_path / "data", 10)
    recipe, found = films.recipe(), look(root)
    path = tmp_path / "cases.json"
    datalist.save(path, datalist.build(found, recipe))
    read = datalist.load(path)
    cases = [case for fold in ("training", "validation", "testing") for case in datalist.cases(read, fold)]
    assert sorted(cases, key=lambda case: case.case) == found.cases
    assert {type(entry["label"]) for entry in json.loads(path.read_text())["training"]} == {int}
    content.check(cases, root, lambda *_: None)
    other = replace(cases[0], label=1 - int(str(cases[0].label)))
    with phantoms.refuses("FM-DAT-46"):
        content.check([other], root, lambda *_: None)
    write_table(root, *(row(index, 1) for index in range(10)))
    assert datalist.digest(datalist.build(look(root), recipe)) != datalist.digest(read)
    data = json.loads(path.read_text())
    data["training"][0]["label"] = 10**12
    path.write_text(json.dumps(data))
    with phantoms.refuses("FM-DAT-03", "training.0.label"):
        datalist.load(path)


def test_slices_that_were_saved_as_pictures_are_pooled_by_their_patient(tmp_path: Path) -> None:
    """The commonest public form of MR slices: one PNG each, with class and patient in a table."""
    (tmp_path / "images").mkdir()
    for index in range(4):
        levels = np.arange(24 * 16, dtype=np.uint8).reshape(24, 16) + index
        Image.fromarray(levels).save(tmp_path / f"images/s{index}.png")
    write_table(tmp_path, *(f"images/s{index}.png,{index // 2},P{index // 2}" for index in range(4)), header=HEADER)
    layout = Layout(image={"MR": "images/{case}.png"}, labels="labels.csv")
    found = look(tmp_path, layout, modality="MR", channels=("MR",), slices={}, labels={1: "tumour"})
    assert (
        sorted((case.label, case.geometry.shape) for case in found.cases)
        == [(0, (16, 24, 1))] * 2 + [(1, (16, 24, 1))] * 2
    )
    assert len({case.patient for case in found.cases}) == 2
