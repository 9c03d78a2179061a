"""Which file belongs to which case: by what the pattern's places stand for, never by order."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING

import pytest

from fedmed.cases import paths
from fedmed.cases.layout import detect_layout, studies
from fedmed.settings import Layout

from . import phantoms

if TYPE_CHECKING:
    from pathlib import Path


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def matches(root: Path, label: str | None = None, **image: str) -> dict[tuple[str, str], dict[str, list[str]]]:
    found, _ = studies(paths.walk(root), Layout(image=image, label=label))
    return {(study.patient, study.case): study.matches for study in found}


def test_patterns_join_by_case_and_patient(tmp_path: Path) -> None:
    touch(tmp_path, "ola/one/t1_3.nii", "ola/one/seg.nii", "kari/one/t1_7.nii", "kari/one/seg.nii", "kari/seg.nii")
    found = matches(tmp_path, T1="{patient}/{case}/t1_*.nii", label="{patient}/{case}/seg.nii")
    assert found == {
        ("ola", "one"): {"T1": ["ola/one/t1_3.nii"], "label": ["ola/one/seg.nii"]},
        ("kari", "one"): {"T1": ["kari/one/t1_7.nii"], "label": ["kari/one/seg.nii"]},
    }


def test_two_patients_with_one_case_name_and_masks_without_patient_are_two_files_for_one_case(tmp_path: Path) -> None:
    touch(tmp_path, "ola/one.nii", "kari/one.nii", "labels/one.nii")
    found = matches(tmp_path, T1="{patient}/{case}.nii", label="labels/{case}.nii")
    assert [len(study["T1"]) for study in found.values()] == [2]


def test_a_repeated_place_must_be_the_same_and_a_star_stays_in_its_folder(tmp_path: Path) -> None:
    touch(tmp_path, "a/a_t1.nii", "a/b_t1.nii", "a/deep/a_t1.nii")
    assert matches(tmp_path, T1="{case}/{case}_*.nii") == {("", "a"): {"T1": ["a/a_t1.nii"]}}


def test_the_pattern_that_spells_out_more_takes_the_file(tmp_path: Path) -> None:
    touch(tmp_path, "a.nii", "a_seg.nii")
    assert matches(tmp_path, T1="{case}.nii", label="{case}_seg.nii") == {
        ("", "a"): {"T1": ["a.nii"], "label": ["a_seg.nii"]}
    }


def test_folders_hidden_files_and_masks_without_image(tmp_path: Path) -> None:
    touch(tmp_path, "dicom/a/1", "dicom/a/._1", "dicom/.b/1", "masks/a.nii", "masks/._a.nii", "masks/c.nii")
    tree = paths.walk(tmp_path)
    found, unmatched = studies(tree, Layout(image={"T1": "dicom/{case}/"}, label="masks/{case}.nii"))
    assert [(study.case, study.matches) for study in found] == [("a", {"T1": ["dicom/a/"], "label": ["masks/a.nii"]})]
    assert unmatched == 1


def test_names_in_either_unicode_form_are_one_case(tmp_path: Path) -> None:
    touch(tmp_path, unicodedata.normalize("NFD", "images/åse.nii"), unicodedata.normalize("NFC", "labels/åse.nii"))
    assert len(next(iter(matches(tmp_path, T1="images/{case}.nii", label="labels/{case}.nii").values()))) == 2


def test_links_are_followed_inside_and_never_out(tmp_path: Path) -> None:
    root = touch(tmp_path / "root", "images/a.nii", "store/b.nii")
    touch(tmp_path, "outside/c.nii")
    (root / "images/b.nii").symlink_to(root / "store/b.nii")
    (root / "images/c.nii").symlink_to(tmp_path / "outside/c.nii")
    (root / "more").symlink_to(tmp_path / "outside")
    (root / "store/up").symlink_to(root)
    tree = paths.walk(root)
    assert "images/b.nii" in tree.files
    assert not [name for name in tree.files if "c.nii" in name]
    assert tree.outside == 2
    with phantoms.refuses("FM-DAT-04"):
        paths.walk(tmp_path / "absent")


@pytest.mark.parametrize(
    ("names", "channels", "image", "label"),
    [
        (("imagesTr/x.nii.gz", "labelsTr/x.nii.gz"), ["T1"], "imagesTr/{case}.nii.gz", "labelsTr/{case}.nii.gz"),
        (
            ("imagesTr/x_0000.nii.gz", "labelsTr/x.nii.gz"),
            ["T1"],
            "imagesTr/{case}_0000.nii.gz",
            "labelsTr/{case}.nii.gz",
        ),
        (("images/x.nii", "labels/x.nii"), ["T1"], "images/{case}.nii", "labels/{case}.nii"),
        (("dicom/x/a/1.dcm", "masks/x.nii.gz"), ["T1"], "dicom/{case}/", "masks/{case}.nii.gz"),
        (("dicom/x/1.dcm", "labels/x.nii.gz"), ["T1"], "dicom/{case}/", "labels/{case}.nii.gz"),
        (("x_image.nii.gz", "x_label.nii.gz"), ["T1"], "{case}_image.nii.gz", "{case}_label.nii.gz"),
        (("dicom/x/T2/1", "dicom/x/T1/1", "masks/x.nii"), ["T1", "T2"], "dicom/{case}/T1/", "masks/{case}.nii"),
        (
            ("images/x_0000.nii", "images/x_0001.nii", "labels/x.nii"),
            ["T1", "T2"],
            "images/{case}_0000.nii",
            "labels/{case}.nii",
        ),
    ],
)
def test_known_layouts(tmp_path: Path, names: tuple[str, ...], channels: list[str], image: str, label: str) -> None:
    found = detect_layout(touch(tmp_path, "dataset.json", *names), channels)
    assert (found.image["T1"], found.label) == (image, label)


def test_an_unknown_layout_is_told_what_to_write(tmp_path: Path) -> None:
    touch(tmp_path, "scans/Nansen/t1.nii", "images/x.nii", "labels/y.nii")
    with phantoms.refuses("FM-DAT-05", "known is, for example", "T1: 'images/{case}_T1.nii.gz'"):
        detect_layout(tmp_path, ["T1"])


@pytest.mark.parametrize(
    ("name", "image"),
    [
        ("images/x.dcm", "images/{case}.dcm"),
        ("images/x.jpeg", "images/{case}.jpeg"),
        ("images/x.nii.gz", "images/{case}.nii.gz"),
        ("dicom/x/1.dcm", "dicom/{case}/"),
        ("x.png", "{case}.png"),
        ("x.jpg", "{case}.jpg"),
    ],
)
def test_known_layouts_with_a_table(tmp_path: Path, name: str, image: str) -> None:
    """The most images with a row, not the most images."""
    path = "dicom/x" if name.startswith("dicom") else name
    touch(tmp_path, name, "images/y.dcm.png", "thumbs/x.png", "images/a.jpg", "images/b.jpg")
    (tmp_path / "labels.csv").write_text(f"path,label\n{path},1\n")
    found = detect_layout(tmp_path, ["XR"])
    assert found == Layout(image={"XR": image}, labels="labels.csv")


def test_the_table_is_no_image(tmp_path: Path) -> None:
    tree = paths.walk(touch(tmp_path, "IM0001", "labels.csv"))
    found, _ = studies(tree, Layout(image={"XR": "{case}"}, labels="labels.csv"))
    assert [study.case for study in found] == ["IM0001"]


def test_two_channels_with_a_table(tmp_path: Path) -> None:
    touch(tmp_path, "images/x_AP.png", "images/x_LAT.png")
    (tmp_path / "labels.csv").write_text("path,label\nimages/x_AP.png,1\n")
    found = detect_layout(tmp_path, ["AP", "LAT"])
    assert found.image == {"AP": "images/{case}_AP.png", "LAT": "images/{case}_LAT.png"}


def test_masks_and_a_table_side_by_side(tmp_path: Path) -> None:
    touch(tmp_path, "images/x.nii.gz", "labels/x.nii.gz")
    (tmp_path / "labels.csv").write_text("path,label\nimages/x.nii.gz,1\n")
    assert detect_layout(tmp_path, ["T1"]).label
    assert detect_layout(tmp_path, ["T1"], task="segmentation").label
    assert detect_layout(tmp_path, ["T1"], task="classification").labels == "labels.csv"
    (tmp_path / "labels.csv").write_text("who,what\nNansen,1\n")
    assert detect_layout(tmp_path, ["T1"]).label, "a table of something else is no obstacle"
    with phantoms.refuses("FM-DAT-49"):
        detect_layout(tmp_path, ["T1"], task="classification")
