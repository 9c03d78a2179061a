"""From a folder to cases: one bad case is excluded and counted, the recipe's limit stops, no name comes out."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from fedmed.cases import content, search
from fedmed.cases.find import Found, find
from fedmed.settings import DataFolder, Layout

from . import phantoms

if TYPE_CHECKING:
    from pathlib import Path

KEY = b"k" * 32
NIFTI = Layout(image={"T1": "images/{case}.nii"}, label="labels/{case}.nii")
DICOM = Layout(image={"T1": "dicom/{case}/"}, label="masks/{case}.nii")


def look(
    root: Path, layout: Layout = NIFTI, key: bytes = KEY, label_map: dict[int, int] | None = None, **data: Any
) -> Found:
    data = {"max_excluded": 1, **data}
    folder = DataFolder(root=str(root), layout=layout)
    return find(folder, phantoms.recipe(**data), pseudonym_key=key, label_map=label_map or {})


def niftis(root: Path, count: int = 5) -> Path:
    for index in range(count):
        phantoms.write_nifti(root / f"images/Nansen{index}.nii", phantoms.ramp() + index)
        phantoms.write_nifti(root / f"labels/Nansen{index}.nii", phantoms.mask(size=index + 1))
    return root


def study(root: Path, name: str, patient: str, issuer: str = "") -> None:
    datasets = phantoms.slices(patient=patient, oblique=False)
    for one in datasets:
        one.IssuerOfPatientID = issuer
    phantoms.save(root / "dicom" / name, datasets)
    phantoms.write_nifti(root / "masks" / f"{name}.nii", phantoms.mask())


def codes(found: Found) -> list[str]:
    return sorted(one.code for one in found.excluded)


def test_cases_have_pseudonyms_geometry_and_groups(tmp_path: Path) -> None:
    found = look(niftis(tmp_path))
    assert [case.case for case in found.cases] == sorted(case.case for case in found.cases)
    by_size = sorted(found.cases, key=lambda case: case.covariates["foreground_mm3"])
    assert [case.group for case in by_size] == ["q1", "q1", "q2", "q3", "q4"]
    first = by_size[0]
    assert first.covariates["foreground_mm3"] == pytest.approx(6 * 0.8 * 1.2 * 2.5, rel=1e-5)
    assert (first.image, first.label) == ({"T1": ("images/Nansen0.nii",)}, "labels/Nansen0.nii")
    assert (first.geometry.shape, first.geometry.axcodes) == (phantoms.SHAPE, "LPS")
    np.testing.assert_allclose(first.geometry.spacing, phantoms.SPACING, atol=1e-6)
    assert first.case.startswith("case-")
    assert len(first.case) == 21
    assert len({case.patient for case in found.cases}) == 5
    assert found.notes == ["5 cases do not say who the patient is: each counts as a patient of its own"]
    assert all(case.content == content.digest(case, tmp_path) for case in found.cases)


def test_patients_who_look_nearly_the_same_are_told(tmp_path: Path) -> None:
    random = np.random.RandomState(0)
    for index in range(6):
        image = random.randn(12, 12, 12)
        phantoms.write_nifti(tmp_path / f"images/Nansen{index}.nii", image, np.eye(4))
        phantoms.write_nifti(tmp_path / f"labels/Nansen{index}.nii", np.ones((12, 12, 12)), np.eye(4))
    assert not [note for note in look(tmp_path).notes if "FM-DAT-75" in note]
    for name in ("images", "labels"):
        brighter = (image * 3 + 100) if name == "images" else np.ones((12, 12, 12))
        phantoms.write_nifti(tmp_path / name / "Amundsen.nii", brighter, np.eye(4))
    found = look(tmp_path)
    assert "1 pair of cases looks nearly the same, said to be of 2 patients (FM-DAT-75)" in found.notes
    hashes = [case.likeness for case in found.cases]
    assert {len(each) for each in hashes} == {250}
    assert len(set(hashes)) in (6, 7), "scaled numbers may round a coefficient of nothing to the other side"


def test_few_cases_have_no_groups(tmp_path: Path) -> None:
    assert {case.group for case in look(niftis(tmp_path, 3)).cases} == {""}


def test_pseudonyms_hang_on_the_key_alone(tmp_path: Path) -> None:
    niftis(tmp_path)
    first, again, other = look(tmp_path), look(tmp_path), look(tmp_path, key=b"j" * 32)
    assert first == again
    assert not {case.case for case in first.cases} & {case.case for case in other.cases}
    assert not {case.patient for case in first.cases} & {case.patient for case in other.cases}
    assert sorted(case.content for case in first.cases) == sorted(case.content for case in other.cases)


def test_dicom_patients_by_id_and_issuer(tmp_path: Path) -> None:
    for name, patient, issuer in (("a", "Nansen", ""), ("b", "Nansen ", ""), ("c", "Nansen", "Oslo"), ("d", "", "")):
        study(tmp_path, name, patient, issuer)
    (tmp_path / "dicom/a/readme.txt").write_text("not an image")
    phantoms.write_nifti(tmp_path / "masks/z.nii", phantoms.mask())
    (tmp_path / "elsewhere").symlink_to(tmp_path.parent)
    found = look(tmp_path, DICOM)
    patient = {next(iter(case.image.values()))[0].split("/")[1]: case.patient for case in found.cases}
    assert patient["a"] == patient["b"]
    assert len(set(patient.values())) == 3
    assert found.notes == [
        "1 masks belong to no image",
        "1 files in DICOM folders are no DICOM image and were left alone",
        "1 links lead out of the data folder or nowhere and were not followed",
        "1 cases do not say who the patient is: each counts as a patient of its own",
    ]
    assert "Nansen" not in json.dumps([asdict(case) for case in found.cases])


def test_the_layouts_patient_joins_studies(tmp_path: Path) -> None:
    for name in ("one", "two"):
        phantoms.write_nifti(tmp_path / f"Nansen/{name}.nii", phantoms.ramp())
        phantoms.write_nifti(tmp_path / f"Nansen/{name}_seg.nii", phantoms.mask())
    layout = Layout(image={"T1": "{patient}/{case}.nii"}, label="{patient}/{case}_seg.nii")
    found = look(tmp_path, layout)
    assert len({case.case for case in found.cases}) == 2
    assert len({case.patient for case in found.cases}) == 1
    assert found.notes == []


def test_what_is_unusable_is_excluded_with_its_code(tmp_path: Path) -> None:
    niftis(tmp_path, 8)
    (tmp_path / "labels/Nansen1.nii").unlink()
    (tmp_path / "images/Nansen2.nii").write_bytes(b"damaged")
    phantoms.write_nifti(tmp_path / "labels/Nansen3.nii", phantoms.mask() * 9)
    phantoms.write_nifti(tmp_path / "images/Nansen4.nii", np.zeros(phantoms.SHAPE, np.int16))
    found = look(tmp_path)
    assert codes(found) == ["FM-DAT-12", "FM-DAT-17", "FM-DAT-26", "FM-DAT-28"]
    assert len(found.cases) == 4
    for one in found.excluded:
        assert one.message.startswith(one.alias)
        assert "Nansen" not in one.message
        assert "Nansen" in one.local


@pytest.mark.parametrize("name", [b"Na\\nsen.nii", b"N\xe5nsen.nii"])
def test_a_name_that_cases_json_cannot_hold_costs_its_case_alone(tmp_path: Path, name: bytes) -> None:
    """A Latin-1 name of an old disk, and a backslash."""
    niftis(tmp_path, 4)
    for folder in ("images", "labels"):
        (tmp_path / folder / "Nansen1.nii").rename(tmp_path / folder / os.fsdecode(name))
    found = look(tmp_path)
    (one,) = found.excluded
    assert (one.code, one.message) == (
        "FM-DAT-16",
        f"{one.alias} T1: the name of a file or folder is not UTF-8, or has a backslash in it",
    )
    assert len(found.cases) == 3


def test_a_slice_with_such_a_name_is_not_left_out_in_silence(tmp_path: Path) -> None:
    for name in ("a", "b"):
        study(tmp_path, name, name)
    first = min((tmp_path / "dicom/a").iterdir())
    first.rename(first.with_name(os.fsdecode(b"\xe5.dcm")))
    found = look(tmp_path, DICOM)
    assert (codes(found), len(found.cases)) == (["FM-DAT-16"], 1)


def test_links_in_a_ring_do_not_hide_the_folder(tmp_path: Path) -> None:
    niftis(tmp_path, 4)
    (tmp_path / "images/one.nii").symlink_to("two.nii")
    (tmp_path / "images/two.nii").symlink_to("one.nii")
    found = look(tmp_path)
    assert len(found.cases) == 4
    assert found.notes[0] == "2 links lead out of the data folder or nowhere and were not followed"


def test_missing_channels_and_two_files_for_one_case(tmp_path: Path) -> None:
    niftis(tmp_path)
    phantoms.write_nifti(tmp_path / "t2/Nansen0.nii", phantoms.ramp())
    layout = Layout(image={"T1": "images/{case}.nii", "T2": "t2/{case}.nii"}, label="labels/{case}.nii")
    found = look(tmp_path, layout, channels=("T1", "T2"))
    assert codes(found) == ["FM-DAT-11"] * 4
    phantoms.write_nifti(tmp_path / "more/Nansen0.nii", phantoms.ramp())
    found = look(tmp_path, Layout(image={"T1": "*/{case}.nii"}, label="labels/{case}.nii"))
    assert codes(found) == ["FM-DAT-13"]


def test_images_of_two_patients_in_one_case(tmp_path: Path) -> None:
    for channel in ("T1", "T2"):
        for name in "ab":
            study(tmp_path / channel, name, f"Nansen{channel}" if name == "a" else "Nansen")
    layout = Layout(image={"T1": "T1/dicom/{case}/", "T2": "T2/dicom/{case}/"}, label="T1/masks/{case}.nii")
    found = look(tmp_path, layout, channels=("T1", "T2"))
    assert codes(found) == ["FM-DAT-14"]
    assert len(found.cases) == 1


def test_without_a_label_pattern_cases_have_no_label(tmp_path: Path) -> None:
    found = look(niftis(tmp_path), Layout(image={"T1": "images/{case}.nii"}))
    assert {case.label for case in found.cases} == {None}
    assert {case.group for case in found.cases} == {""}


def test_the_limit_and_the_funnel(tmp_path: Path) -> None:
    niftis(tmp_path, 10)
    (tmp_path / "labels/Nansen1.nii").unlink()
    assert len(look(tmp_path, max_excluded=0.1).cases) == 9
    with phantoms.refuses("FM-DAT-09", "10 cases found, 9 usable: 10.0% excluded", "5.0%: 1 x FM-DAT-12"):
        look(tmp_path, max_excluded=0.05)
    for label in (tmp_path / "labels").iterdir():
        label.unlink()
    with phantoms.refuses("FM-DAT-08", "10 cases found, 0 usable: 10 x FM-DAT-12"):
        look(tmp_path)
    with phantoms.refuses("FM-DAT-08", "0 cases found, 0 usable"):
        look(tmp_path / "labels")
    with phantoms.refuses("FM-DAT-04"):
        look(tmp_path / "absent")


def test_settings_that_do_not_fit_the_recipe(tmp_path: Path) -> None:
    with phantoms.refuses("FM-DAT-06", "expected FLAIR, T1, got T1"):
        look(tmp_path, channels=("T1", "FLAIR"))
    with phantoms.refuses("FM-DAT-07", "label_map: 4: expected 0 to 1, got 3"):
        look(tmp_path, label_map={4: 3})
    image = {"T1": "Nansen/{case}/"}
    for field, layout in (
        ("image.T1", Layout(image={"T1": "Nansen/{case}.png"})),
        ("label", Layout(image=image, label="Nansen/b/{case}.png")),
    ):
        with phantoms.refuses("FM-SET-03", f"data.layout.{field}: expected a pattern that ends in .nii"):
            look(tmp_path, layout)


def test_two_cases_with_one_pseudonym(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    niftis(tmp_path)
    monkeypatch.setattr(search, "HEX", 0)
    with phantoms.refuses("FM-DAT-10"):
        look(tmp_path)


def test_progress_and_content(tmp_path: Path) -> None:
    niftis(tmp_path)
    told: list[tuple[int, int]] = []
    folder = DataFolder(root=str(tmp_path), layout=NIFTI)
    found = find(
        folder,
        phantoms.recipe(),
        pseudonym_key=KEY,
        label_map={},
        progress=lambda done, total: told.append((done, total)),
    )
    assert told == [(done, 5) for done in range(1, 6)]
    phantoms.write_nifti(tmp_path / "labels/Nansen2.nii", phantoms.mask(size=1))
    changed = look(tmp_path)
    assert sum(new.content != old.content for new, old in zip(changed.cases, found.cases, strict=True)) == 1
