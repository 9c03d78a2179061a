"""Each shipped layout reads an imitation of its data set: names and columns as published, images of a few voxels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from fedmed.cases import shipped
from fedmed.cases.find import Found, find
from fedmed.cases.layout import detect_layout
from fedmed.settings import DataFolder

from . import films, phantoms

if TYPE_CHECKING:
    from pathlib import Path

    from fedmed.recipe import Recipe

SHAPE = (12, 12, 12)


def look(root: Path, name: str, recipe: Recipe, label_map: dict[int, int] | None = None) -> Found:
    folder = DataFolder(root=str(root), layout=shipped.load(name).layout)
    return find(folder, recipe, pseudonym_key=b"k" * 32, label_map=label_map or {})  # type: ignore[arg-type]


def volume(path: Path, seed: int, values: tuple[int, ...] = ()) -> None:
    """Noise, or a mask with a voxel block of each value."""
    random = np.random.RandomState(seed)
    if not values:
        phantoms.write_nifti(path, random.randint(1, 1000, SHAPE).astype(np.int16), np.eye(4))
        return
    mask = np.zeros(SHAPE, np.uint8)
    for index, value in enumerate(values):
        mask[2 * index + 2 : 2 * index + 4, 4:8, 4:8] = value
    phantoms.write_nifti(path, mask, np.eye(4))


def picture(path: Path, seed: int, *, bits: int = 8) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    levels = np.random.RandomState(seed).randint(0, 2**bits, (40, 32)).astype(np.uint16 if bits == 16 else np.uint8)
    Image.fromarray(levels).save(path)


def segmentation(channels: tuple[str, ...], classes: dict[int, str], modality: str = "MR") -> Recipe:
    return phantoms.recipe(channels=channels, labels=classes, modality=modality, max_excluded=0)


TUMOUR = {1: "necrosis", 2: "oedema", 3: "enhancing"}


def test_brats_of_2023(tmp_path: Path) -> None:
    for number, name in enumerate(("BraTS-GLI-00000-000", "BraTS-GLI-00002-000", "BraTS-GLI-00002-001")):
        for index, kind in enumerate(("t1n", "t1c", "t2w", "t2f")):
            volume(tmp_path / name / f"{name}-{kind}.nii.gz", 10 * number + index)
        volume(tmp_path / name / f"{name}-seg.nii.gz", 0, (1, 2, 3))
    assert detect_layout(tmp_path, ("T1N", "T1C", "T2W", "T2F"), task="segmentation") == shipped.load("brats").layout
    found = look(tmp_path, "brats", segmentation(("T1N", "T1C", "T2W", "T2F"), TUMOUR))
    assert len(found.cases) == 3
    assert len({case.patient for case in found.cases}) == 2, "00002 was seen twice"
    assert found.notes == []
    case = next(case for case in found.cases if "00002-001" in case.image["T2F"][0])
    assert case.image["T1C"] == ("BraTS-GLI-00002-001/BraTS-GLI-00002-001-t1c.nii.gz",)
    assert case.label == "BraTS-GLI-00002-001/BraTS-GLI-00002-001-seg.nii.gz"


def test_brats_of_2020_needs_label_map(tmp_path: Path) -> None:
    for number in (1, 2):
        name = f"BraTS20_Training_{number:03d}"
        for index, kind in enumerate(("t1", "t1ce", "t2", "flair")):
            volume(tmp_path / name / f"{name}_{kind}.nii.gz", 10 * number + index)
        volume(tmp_path / name / f"{name}_seg.nii.gz", 0, (1, 2, 4))
    (tmp_path / "name_mapping.csv").write_text("BraTS_2020_subject_ID\nBraTS20_Training_001\n")
    recipe = segmentation(("T1", "T1CE", "T2", "FLAIR"), TUMOUR)
    assert (
        detect_layout(tmp_path, ("T1", "T1CE", "T2", "FLAIR"), task="segmentation") == shipped.load("brats-2020").layout
    )
    found = look(tmp_path, "brats-2020", recipe, {1: 1, 2: 2, 4: 3})
    assert [case.image["FLAIR"][0][-12:] for case in found.cases] == ["flair.nii.gz"[-12:]] * 2
    with phantoms.refuses("FM-DAT-08", "2 x FM-DAT-28"):
        look(tmp_path, "brats-2020", recipe)


def test_kits(tmp_path: Path) -> None:
    for number in range(3):
        volume(tmp_path / f"case_0000{number}/imaging.nii.gz", number)
        volume(tmp_path / f"case_0000{number}/segmentation.nii.gz", 0, (1, 2))
        volume(tmp_path / f"case_0000{number}/instances/kidney_instance-1_annotation-1.nii.gz", 0, (1,))
    (tmp_path / "kits.json").write_text("[]")
    assert detect_layout(tmp_path, ("CT",), task="segmentation") == shipped.load("kits").layout
    found = look(tmp_path, "kits", segmentation(("CT",), {1: "kidney", 2: "tumour"}, "CT"))
    assert [case.label for case in sorted(found.cases, key=lambda case: str(case.label))] == [
        f"case_0000{number}/segmentation.nii.gz" for number in range(3)
    ]


def test_fracatlas(tmp_path: Path) -> None:
    columns = "image_id,hand,leg,hip,shoulder,mixed,hardware,multiscan,fractured,fracture_count,frontal,lateral,oblique"
    lines = [columns]
    for number in range(6):
        folder = "Fractured" if number % 2 else "Non_fractured"
        picture(tmp_path / "images" / folder / f"IMG000000{number}.jpg", number)
        lines.append(f"IMG000000{number}.jpg,1,0,0,0,0,0,0,{number % 2},{number % 2},1,0,0")
    lines.append("IMG0000099.jpg,1,0,0,0,0,0,0,1,1,1,0,0")
    (tmp_path / "dataset.csv").write_text("\n".join(lines))
    assert detect_layout(tmp_path, ("XR",), task="classification") == shipped.load("fracatlas").layout
    found = look(tmp_path, "fracatlas", films.recipe(max_excluded=0))
    assert {case.image["XR"][0]: case.label for case in found.cases} == {
        f"images/{'Fractured' if number % 2 else 'Non_fractured'}/IMG000000{number}.jpg": number % 2
        for number in range(6)
    }
    assert found.cases[0].covariates["frontal"] == 1
    assert found.notes == [
        "1 rows of the table of labels have no image (FM-DAT-51)",
        "6 cases do not say who the patient is: each counts as a patient of its own",
    ]


def test_grazpedwri_dx(tmp_path: Path) -> None:
    """The file has a number as its first column, and no cell where no fracture is seen."""
    lines = ["filestem,patient_id,timestamp,laterality,projection,gender,age,ao_classification,cast,fracture_visible"]
    for number in range(6):
        stem = f"{number // 2:04d}_1119833447_0{number % 2 + 1}_WRI-L1_M015"
        picture(tmp_path / f"images_part{number % 2 + 1}/{stem}.png", number, bits=16)
        said = ("1", "", "1.0", "", "0", "1")[number]
        lines.append(f"{stem},{number // 2},{number},L,{number % 2 + 1},M,10.5,,,{said}")
    (tmp_path / "dataset.csv").write_text("\n".join(lines))
    assert detect_layout(tmp_path, ("XR",), task="classification") == shipped.load("grazpedwri-dx").layout
    found = look(tmp_path, "grazpedwri-dx", films.recipe(max_excluded=0))
    assert [case.label for case in sorted(found.cases, key=lambda case: case.image["XR"][0].split("/")[1])] == [
        *(1, 0, 1, 0, 0, 1)
    ]
    assert len({case.patient for case in found.cases}) == 3
    assert {case.covariates["laterality"] for case in found.cases} == {"L"}
    assert found.notes == []


def test_rsna_cervical_spine(tmp_path: Path) -> None:
    lines = ["StudyInstanceUID,patient_overall,C1,C2,C3,C4,C5,C6,C7"]
    for number in range(4):
        uid = f"1.2.826.0.1.3680043.{number}"
        array = np.random.RandomState(number).randint(0, 2000, (12, 12, 12)).astype(np.int16)
        datasets = phantoms.slices(array, modality="CT", oblique=False, patient=uid)
        phantoms.save(tmp_path / "train_images" / uid, datasets, name="{}.dcm".format)
        lines.append(f"{uid},{number % 2},0,{number % 2},0,0,0,0,0")
    (tmp_path / "train.csv").write_text("\n".join(lines))
    recipe = films.recipe(modality="CT", channels=("CT",), slices={"axcodes": "LPS"}, max_excluded=0)
    assert detect_layout(tmp_path, ("CT",), task="classification") == shipped.load("rsna-cervical-spine").layout
    found = look(tmp_path, "rsna-cervical-spine", recipe)
    by_study = sorted(found.cases, key=lambda case: case.image["CT"][0])
    assert [case.label for case in by_study] == [0, 1, 0, 1]
    assert [case.covariates["C2"] for case in by_study] == [0, 1, 0, 1]
    assert len({case.patient for case in found.cases}) == 4
    assert len(by_study[0].image["CT"]) == 12


@pytest.mark.parametrize("name", shipped.names())
def test_every_shipped_layout_says_that_it_was_not_tried(name: str) -> None:
    assert "ot tried on the original" in shipped.load(name).about


def test_a_layout_that_is_not_shipped() -> None:
    for name in ("help", "../settings", "BRATS", ""):
        with phantoms.refuses("FM-USE-01", "expected brats, brats-2020, fracatlas, grazpedwri-dx, kits, rsna"):
            shipped.load(name)


def test_a_public_data_set_is_recognised_by_its_channels_task_and_table(tmp_path: Path) -> None:
    picture(tmp_path / "images/Fractured/IMG1.jpg", 1)
    (tmp_path / "dataset.csv").write_text("image_id,fractured\nIMG1.jpg,1\n")
    assert detect_layout(tmp_path, ["XR"]) == shipped.load("fracatlas").layout
    for channels, task in ((["MR"], ""), (["XR"], "segmentation"), (["XR"], "localisation")):
        with phantoms.refuses("FM-DAT-05"):
            detect_layout(tmp_path, channels, task=task)
    for text in ("image_id,fractured\nIMG2.jpg,1\n", "path,label\nIMG1.jpg,1\n"):
        (tmp_path / "dataset.csv").write_text(text)
        with phantoms.refuses("FM-DAT-05"):
            detect_layout(tmp_path, ["XR"])
