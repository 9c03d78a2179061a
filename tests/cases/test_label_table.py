"""Tables of labels with columns of other names, of cases instead of files, and of words instead of numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError

from fedmed.cases import labels
from fedmed.settings import LabelTable, Layout, WorkspaceSettings
from fedmed.yaml_text import read_yaml

from . import phantoms

if TYPE_CHECKING:
    from pathlib import Path


def read(root: Path, text: str, **columns: Any) -> labels.Table:
    (root / "t.csv").write_text(text)
    return labels.read(root, LabelTable(file="t.csv", **columns))


def test_columns_by_name(tmp_path: Path) -> None:
    text = "Bild;Befund;Pat;alter\nimages/a.png;1;Nansen;40\n"
    table = read(tmp_path, text, path="Bild", label="Befund", patient="Pat")
    assert labels.entry(table, ["images/a.png"], "") == (1, "Nansen", {"alter": 40})
    with phantoms.refuses("FM-DAT-49", "expected the columns that data.layout.labels names"):
        read(tmp_path, text, path="Bild", label="Diagnose")


def test_rows_about_cases_and_how_the_column_is_written(tmp_path: Path) -> None:
    table = read(tmp_path, "id,label\nIMG1.jpg,1\nIMG2.png,0\n.jpg,1\n", case="id", pattern="{case}.jpg")
    assert table.by == "case"
    assert labels.entry(table, ["IMG1"], "") == (1, "", {})
    for other in ("IMG1.jpg", "IMG2", "IMG2.png", ""):
        with phantoms.refuses("FM-DAT-50"):
            labels.entry(table, [other], "")
    table = read(tmp_path, "id,label\nMURA/train/a.png,1\ntrain/b.png,1\n", path="id", pattern="MURA/{path}")
    assert labels.entry(table, ["train/a.png"], "")[0] == 1
    with phantoms.refuses("FM-DAT-50"):
        labels.entry(table, ["train/b.png"], "")


def test_words_are_numbers(tmp_path: Path) -> None:
    values = {"ja": 1, "nein": 0, "": 0, "2": 5}
    text = "path,label\na,ja\nb,nein\nc,\nd,2.0\ne,vielleicht\nf,1\ng,Ja\n"
    table = read(tmp_path, text, path="path", values=values)
    assert [labels.entry(table, [name], "")[0] for name in "abcd"] == [1, 0, 0, 5]
    for name in "efg":
        with phantoms.refuses("FM-DAT-28", "none of data.layout.labels.values"):
            labels.entry(table, [name], "case-1")
    assert read(tmp_path, text, path="path", values={2: 7}).values == {"2": 7}


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({}, "give path or case"),
        ({"path": "a", "case": "b"}, "give path or case"),
        ({"case": "a", "pattern": "x"}, "{case} once"),
        ({"case": "a", "pattern": "{path}.jpg"}, "{case} once"),
        ({"case": "a", "pattern": "{case}{case}"}, "{case} once"),
        ({"path": "a", "pattern": "{case}"}, "{path} once"),
        ({"path": "a", "label": "a"}, "two things"),
        ({"case": "patient"}, "two things"),
        ({"path": "a", "values": {"x": "one"}}, "integer"),
        ({"path": "a", "labl": "b"}, "Extra"),
    ],
)
def test_what_a_description_must_not_say(columns: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words.replace("{", r"\{").replace("}", r"\}")):
        LabelTable(file="t.csv", **columns)


def test_the_file_lies_below_the_root_and_the_plain_form_still_does() -> None:
    image = {"XR": "{case}.png"}
    for file in ("../t.csv", "/t.csv", "t.xlsx"):
        for table in (file, {"file": file, "path": "p"}):
            with pytest.raises(ValidationError):
                Layout.model_validate({"image": image, "labels": table})
    assert Layout(image=image, labels="t.csv").tables == {"t.csv"}
    assert Layout.model_validate({"image": image, "labels": {"file": "t.csv", "case": "id"}}).tables == {"t.csv"}


def test_in_fedmed_yaml() -> None:
    text = """
role: site
name: st-olav
data:
  root: /data
  layout:
    image: {XR: "images*/{case}.png"}
    labels: {file: dataset.csv, case: filestem, label: fracture_visible, patient: patient_id, values: {1: 1, "": 0}}
"""
    found = read_yaml(text, WorkspaceSettings, name="fedmed.yaml", area="SET")
    assert found.data is not None
    assert isinstance(found.data.layout.labels, LabelTable)
    assert found.data.layout.labels.values == {"1": 1, "": 0}
    with phantoms.refuses("FM-SET-02", "did you mean label"):
        read_yaml(text.replace("label:", "labl:"), WorkspaceSettings, name="fedmed.yaml", area="SET")
