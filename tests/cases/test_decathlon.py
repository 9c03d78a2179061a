"""dataset.json: whose images count, and whether it means the same classes and channels as the recipe."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmed.cases import decathlon
from fedmed.cases.find import Found, find
from fedmed.cases.layout import detect_layout
from fedmed.settings import DataFolder

from . import phantoms

if TYPE_CHECKING:
    from pathlib import Path


def dataset(root: Path, count: int = 4, **changed: Any) -> Path:
    """Task99 with `count` cases, one image for the test, one that nobody lists; and its dataset.json."""
    for number in range(count + 1):
        name = f"spleen_{number:03d}.nii.gz" if number < count else "unlisted.nii.gz"
        array = np.random.RandomState(number).randint(1, 999, (12, 12, 12)).astype(np.int16)
        phantoms.write_nifti(root / "imagesTr" / name, array, np.eye(4))
        phantoms.write_nifti(root / "labelsTr" / name, np.ones((12, 12, 12), np.uint8), np.eye(4))
    phantoms.write_nifti(root / "imagesTs/spleen_100.nii.gz", array + 1, np.eye(4))
    training = [
        {"image": f"./imagesTr/spleen_{number:03d}.nii.gz", "label": f"./labelsTr/spleen_{number:03d}.nii.gz"}
        for number in range(count)
    ]
    said = {
        "name": "Spleen",
        "modality": {"0": "CT"},
        "labels": {"0": "background", "1": "spleen"},
        "training": training,
        "test": ["./imagesTs/spleen_100.nii.gz"],
        **changed,
    }
    (root / "dataset.json").write_text(json.dumps(said))
    return root


def look(root: Path, label_map: dict[int, int] | None = None, **data: Any) -> Found:
    recipe = phantoms.recipe(**{"modality": "CT", "channels": ("CT",), "labels": {1: "spleen"}, **data})
    folder = DataFolder(root=str(root), layout=detect_layout(root, recipe.data.channels))
    return find(folder, recipe, pseudonym_key=b"k" * 32, label_map=label_map or {})


def noted(found: Found) -> list[str]:
    return [note for note in found.notes if "who the patient is" not in note]


def test_the_training_list_says_what_counts(tmp_path: Path) -> None:
    found = look(dataset(tmp_path))
    assert sorted(case.image["CT"][0] for case in found.cases) == [
        f"imagesTr/spleen_{number:03d}.nii.gz" for number in range(4)
    ]
    assert noted(found) == ["1 images are not in the training list of dataset.json"]
    (tmp_path / "imagesTr/spleen_002.nii.gz").unlink()
    found = look(tmp_path)
    assert "1 images of the training list of dataset.json are not there (FM-DAT-80)" in found.notes
    assert "FM-DAT-80 imagesTr/spleen_002.nii.gz" in found.local
    assert not [note for note in found.notes if "spleen" in note]


def test_a_list_of_other_images(tmp_path: Path) -> None:
    dataset(tmp_path, training=[{"image": "/home/Nansen/imagesTr/spleen_000.nii.gz", "label": "x"}])
    with phantoms.refuses("FM-DAT-80", "none of its 1 training images is there"):
        look(tmp_path)
    dataset(tmp_path, training=[])
    with phantoms.refuses("FM-DAT-08", "0 cases found"):
        look(tmp_path)


def test_other_names_are_told_and_label_map_answers(tmp_path: Path) -> None:
    dataset(tmp_path, labels={"0": "background", "1": "Liver", "2": "spleen"}, modality={"0": "MRI"})
    found = look(tmp_path)
    assert "3 names of dataset.json are others than the recipe's (FM-DAT-79)" in found.notes
    assert [line for line in found.local if "FM-DAT-79" in line] == [
        "FM-DAT-79 label 1 is 'Liver' there, 'spleen' in the recipe",
        "FM-DAT-79 label 2 is 'spleen' there, 'background' in the recipe",
        "FM-DAT-79 channel 0 is 'MR' there, 'CT' in fedmed.yaml",
    ]
    mapped = look(tmp_path, {1: 0, 2: 1})
    assert "1 names of dataset.json are others than the recipe's (FM-DAT-79)" in mapped.notes, "the channel alone"


def test_names_are_compared_without_case_and_hyphens(tmp_path: Path) -> None:
    dataset(tmp_path, labels={"0": "Background", "1": "Non enhancing_Tumour"})
    assert len(noted(look(tmp_path, labels={1: "non-enhancing-tumour"}))) == 1, "only of the image that nobody lists"


def test_nnunet_numbers_channels_and_writes_labels_the_other_way_round(tmp_path: Path) -> None:
    for number in (0, 1):
        for index in (0, 1):
            array = np.random.RandomState(2 * number + index).randint(1, 999, (12, 12, 12)).astype(np.int16)
            phantoms.write_nifti(tmp_path / f"imagesTr/case{number}_000{index}.nii.gz", array, np.eye(4))
        phantoms.write_nifti(tmp_path / f"labelsTr/case{number}.nii.gz", np.ones((12, 12, 12), np.uint8), np.eye(4))
    said = {"channel_names": {"0": "FLAIR", "1": "T1"}, "labels": {"background": 0, "tumour": 1, "whole": [1, 2]}}
    (tmp_path / "dataset.json").write_text(json.dumps({**said, "numTraining": 2, "file_ending": ".nii.gz"}))
    layout = detect_layout(tmp_path, ["T1", "FLAIR"])
    assert layout.image == {"FLAIR": "imagesTr/{case}_0000.nii.gz", "T1": "imagesTr/{case}_0001.nii.gz"}
    assert layout.dataset == "dataset.json"
    found = look(tmp_path, modality="MR", channels=("T1", "FLAIR"), labels={1: "tumour"})
    assert len(found.cases) == 2
    assert noted(found) == []
    (tmp_path / "dataset.json").write_text(json.dumps({**said, "channel_names": {"0": "T2", "1": "T1"}}))
    found = look(tmp_path, modality="MR", channels=("T1", "FLAIR"), labels={1: "tumour"})
    assert "2 names of dataset.json are others than the recipe's (FM-DAT-79)" in found.notes
    twice = {"0": "T1", "1": "T1", "2": "FLAIR"}
    (tmp_path / "dataset.json").write_text(json.dumps({**said, "channel_names": twice}))
    assert detect_layout(tmp_path, ["T1", "FLAIR"]).image["T1"] == "imagesTr/{case}_0000.nii.gz"


def test_a_list_of_the_decathlon_for_files_that_nnunet_renamed(tmp_path: Path) -> None:
    dataset(tmp_path, 2)
    for path in (tmp_path / "imagesTr").iterdir():
        path.rename(path.with_name(path.name.replace(".nii", "_0000.nii")))
    assert len(look(tmp_path).cases) == 2


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"labels": 3}', '{"training": [3]}', '{"channel_names": {"x": "T1"}}']
)
def test_a_file_that_is_something_else(tmp_path: Path, text: str) -> None:
    dataset(tmp_path)
    (tmp_path / "dataset.json").write_text(text)
    with phantoms.refuses("FM-DAT-78"):
        decathlon.read(tmp_path, "dataset.json")
    assert detect_layout(tmp_path, ["CT"]).dataset is None
    assert len(look(tmp_path).cases) == 5


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-3, 3) | st.text(max_size=3),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["labels", "modality", "training", "image", "0", "x"]), inner, max_size=4)
        ),
        max_leaves=12,
    )
)
def test_any_json_is_a_dataset_or_a_code(tmp_path: Path, data: Any) -> None:
    (tmp_path / "dataset.json").write_text(json.dumps(data))
    found, code = phantoms.attempt(lambda: decathlon.read(tmp_path, "dataset.json"))
    assert code in ("", "FM-DAT-78")
    assert found is not None or code
