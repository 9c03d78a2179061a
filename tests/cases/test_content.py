"""What is trained on is what was partitioned: every byte of a case counts, and a missing disk is named as such."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from fedmed.cases import content
from fedmed.cases.find import find
from fedmed.settings import DataFolder, Layout

from . import phantoms

if TYPE_CHECKING:
    from pathlib import Path

    from fedmed.cases.case import Case

LAYOUT = Layout(image={"T1": "images/{case}.nii"}, label="labels/{case}.nii")


@pytest.fixture
def cases(tmp_path: Path) -> list[Case]:
    for index in range(3):
        phantoms.write_nifti(tmp_path / f"data/images/Nansen{index}.nii", phantoms.ramp() + index)
        phantoms.write_nifti(tmp_path / f"data/labels/Nansen{index}.nii", phantoms.mask())
    folder = DataFolder(root=str(tmp_path / "data"), layout=LAYOUT)
    return find(folder, phantoms.recipe(), pseudonym_key=b"k", label_map={}).cases


def quiet(_done: int, _total: int) -> None:
    """Nobody watches."""


def test_unchanged_files_pass_wherever_they_lie(cases: list[Case], tmp_path: Path) -> None:
    (tmp_path / "data").rename(tmp_path / "moved")
    told: list[tuple[int, int]] = []
    content.check(cases, tmp_path / "moved", lambda done, total: told.append((done, total)))
    assert told == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize("kind", ["images", "labels"])
def test_a_file_rewritten_in_place(kind: str, cases: list[Case], tmp_path: Path) -> None:
    path = tmp_path / "data" / kind / "Nansen1.nii"
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with phantoms.refuses("FM-DAT-46", "expected the content that partition read"):
        content.check(cases, tmp_path / "data", quiet)


def test_a_file_that_is_gone(cases: list[Case], tmp_path: Path) -> None:
    (tmp_path / "data/images/Nansen1.nii").unlink()
    with phantoms.refuses("FM-DAT-16"):
        content.check(cases, tmp_path / "data", quiet)


def test_a_data_folder_that_is_gone_or_not_mounted(cases: list[Case], tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for name in ("empty", "absent"):
        with phantoms.refuses("FM-DAT-04"):
            content.check(cases, tmp_path / name, quiet)
