"""What an earlier check knows is not read again; whatever changed is."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from fedmed.cases import find, remembered, search
from fedmed.settings import DataFolder, Layout

from . import films, phantoms

if TYPE_CHECKING:
    from pathlib import Path

KEY = b"k" * 32
MR = Layout(image={"T1": "dicom/{case}/"}, label="masks/{case}.nii")
XR = Layout(image={"XR": "images/{case}.dcm"}, labels="labels.csv")


def again(folder: Path, layout: Layout = MR, recipe: Any = None, **options: Any) -> tuple[int, find.Survey]:
    """How many studies were read, and what a check says."""
    recipe = recipe or phantoms.recipe(max_excluded=1)
    label_map = options.pop("label_map", {})
    memory = remembered.conditions(recipe, layout, label_map, options.pop("key", KEY))
    with remembered.opened(folder / "check.jsonl", memory, **options) as known:
        data = DataFolder(root=str(folder / "data"), layout=layout)
        seen = find.survey(data, recipe, pseudonym_key=KEY, label_map=label_map, examine=known.examine)
        return known.read, seen


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in "abc":
        phantoms.save(tmp_path / "data/dicom" / name, phantoms.slices(patient=name, oblique=False))
        phantoms.write_nifti(tmp_path / f"data/masks/{name}.nii", phantoms.mask())
    (tmp_path / "data/masks/c.nii").unlink()
    return tmp_path


def test_nothing_is_read_twice_and_nothing_is_lost(folder: Path) -> None:
    first, seen = again(folder)
    second, same = again(folder)
    assert (first, second) == (3, 0)
    assert same == seen
    assert [each.status for each in seen.studies].count("excluded") == 1
    assert (folder / "check.jsonl").stat().st_mode & 0o777 == 0o600
    assert len((folder / "check.jsonl").read_bytes().splitlines()) == 3


def test_a_line_with_a_code_that_does_not_exist_is_read_anew(folder: Path) -> None:
    _, seen = again(folder)
    memory = folder / "check.jsonl"
    memory.write_bytes(memory.read_bytes().replace(b"FM-DAT-12", b"FM-XYZ-12"))
    assert again(folder) == (1, seen)


def test_what_changed_is_read_and_what_went_is_forgotten(folder: Path) -> None:
    again(folder)
    one = folder / "data/dicom/a/003.dcm"
    os.utime(one, ns=(0, 1))
    assert again(folder)[0] == 1
    phantoms.write_nifti(folder / "data/masks/c.nii", phantoms.mask())
    assert again(folder)[0] == 1
    (folder / "data/dicom/a/notes.txt").write_text("new")
    assert again(folder)[0] == 1
    for path in (folder / "data/dicom/b").iterdir():
        path.unlink()
    (folder / "data/dicom/b").rmdir()
    read, seen = again(folder)
    assert (read, len(seen.studies)) == (0, 2)
    assert len((folder / "check.jsonl").read_bytes().splitlines()) == 2


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {"again": True},
        {"recipe": phantoms.recipe()},
        {"label_map": {1: 1}},
        {"key": b"j" * 32},
        {"layout": Layout(image={"T1": "dicom/*{case}/"}, label="masks/{case}.nii")},
    ],
    ids=["again", "recipe", "label_map", "key", "layout"],
)
def test_under_other_conditions_all_is_read(folder: Path, options: dict[str, Any]) -> None:
    again(folder)
    assert again(folder, **options)[0] == 3


@pytest.mark.parametrize("damage", [b"\n", b"case-1 x {}", b"\xff\xfe\0\0" * 9, b"not json"])
def test_damage_costs_a_reading_and_no_more(folder: Path, damage: bytes) -> None:
    path = folder / "check.jsonl"
    _, seen = again(folder)
    whole = path.read_bytes().splitlines(keepends=True)
    name, key, record = whole[1].split(b" ", 2)
    path.write_bytes(whole[0] + damage + b"\n" + b" ".join((name, key, record[:-9])))
    read, same = again(folder)
    assert (read, same) == (2, seen)
    assert again(folder)[0] == 0


def test_a_killed_check_goes_on_where_it_was(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    look = search.Search.examine

    def killed(self: search.Search, study: Any) -> Any:
        if study.case == "c":
            raise KeyboardInterrupt
        return look(self, study)

    monkeypatch.setattr(search.Search, "examine", killed)
    with pytest.raises(KeyboardInterrupt):
        again(folder)
    monkeypatch.undo()
    assert again(folder)[0] == 1


def test_a_row_of_a_table_counts_for_its_own_case(tmp_path: Path) -> None:
    for index in range(3):
        films.save(tmp_path / f"data/images/{index}.dcm", films.dataset(films.film() + index))
    rows = ["path,label", *(f"images/{index}.dcm,0" for index in range(3))]
    (tmp_path / "data/labels.csv").write_text("\n".join(rows))
    recipe = films.recipe(max_excluded=1)
    assert again(tmp_path, XR, recipe)[0] == 3
    (tmp_path / "data/labels.csv").write_text("\n".join([*rows[:-1], "images/2.dcm,1"]))
    read, seen = again(tmp_path, XR, recipe)
    assert read == 1
    assert sorted(each.case.group for each in seen.studies if each.case) == ["0", "0", "fracture"]
