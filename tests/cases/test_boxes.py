"""The table of boxes: read as hospitals write it, each fault with a code of its own and without what stands there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmed.cases import boxes
from fedmed.cases.case import Box
from fedmed.errors import FedmedError

from . import films, phantoms

if TYPE_CHECKING:
    from pathlib import Path

HEADER = "path,x,y,width,height,label,patient"
DATA = films.recipe(labels={1: "fracture", 2: "metal"}).data


def table(root: Path, *lines: str, header: str = HEADER) -> boxes.Table:
    (root / "boxes.csv").write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return boxes.read(root, "boxes.csv")


def said(root: Path, *lines: str, header: str = HEADER) -> boxes.Said | None:
    return boxes.entry(table(root, *lines, header=header), ["a.png"], "case-1")


def test_several_boxes_in_any_order_and_one_that_stands_twice(tmp_path: Path) -> None:
    rows = ["a.png,4,5.5,6,7,2,P1", "a.png,1,2,3,4,1,P1", "b.png,,,,,,P2", ".\\a.png,4,5.5,6,7,2,P1"]
    found = table(tmp_path, *rows)
    expected = (Box(1, 2, 3, 4, 1), Box(4, 5.5, 6, 7, 2))
    assert boxes.entry(found, ["a.png"], "") == boxes.Said(expected, "P1", {})
    assert boxes.entry(found, ["b.png"], "") == boxes.Said((), "P2", {})
    assert boxes.entry(found, ["c.png"], "") is None
    assert found.repeated == 1, "spelled in another way"
    assert table(tmp_path, *rows[:3]).repeated == 0


def test_other_columns_are_covariates_of_all_rows(tmp_path: Path) -> None:
    header = "Path;LABEL;height;width;y;x;scanner;view;report"
    found = table(tmp_path, "a.png;1;4;3;2;1;A;ap;" + "x" * 201, "a.png;1;8;7;6;5;A;lat;", header=header)
    entry = boxes.entry(found, ["a.png"], "")
    assert entry == boxes.Said((Box(1, 2, 3, 4, 1), Box(5, 6, 7, 8, 1)), "", {"scanner": "A"})
    assert found.left_out == 1


@pytest.mark.parametrize(
    ("row", "code", "words"),
    [
        ("a.png,1,2,0,4,1", "FM-BOX-05", "0 wide and 4 high"),
        ("a.png,1,2,3,-4,1", "FM-BOX-05", "3 wide and -4 high"),
        ("a.png,nan,2,3,4,1", "FM-BOX-06", "no number"),
        ("a.png,1,inf,3,4,1", "FM-BOX-06", "no number"),
        ("a.png,1,2,3,Nansen,1", "FM-BOX-06", "no number"),
        ("a.png,1_0,2,3,4,1", "FM-BOX-06", "no number"),
        ("a.png,1,2,3,,1", "FM-BOX-06", "empty"),
        ("a.png,1,2,3,4,", "FM-BOX-06", "empty"),
        ("a.png,,,,,1", "FM-BOX-06", "empty"),
        ("a.png,1,2,3,4,fracture", "FM-DAT-28", "whole number"),
    ],
)
def test_a_row_that_is_no_box(tmp_path: Path, row: str, code: str, words: str) -> None:
    with phantoms.refuses(code, "case-1", words):
        said(tmp_path, row)
    with pytest.raises(FedmedError) as caught:
        said(tmp_path, row)
    assert "Nansen" not in caught.value.message


@pytest.mark.parametrize("text", ["12", "+12", "12.", "12.0", "1.2e1", "12.000"])
def test_numbers_as_programs_write_them(tmp_path: Path, text: str) -> None:
    assert said(tmp_path, f"a.png,{text},2,3,4,1") == boxes.Said((Box(12, 2, 3, 4, 1),), "", {})


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (["a.png,1,2,3,4,1,", "a.png,,,,,,"], "2 rows of the table of boxes say boxes and no finding"),
        (["a.png,1,2,3,4,1,P1", "a.png,5,2,3,4,1,P2"], "say 2 patients"),
        (["a.png,1,2,3,4,1,P1", "a.png,1,2,3,4,1,"], "say 2 patients"),
    ],
)
def test_rows_that_contradict_each_other(tmp_path: Path, rows: list[str], words: str) -> None:
    with phantoms.refuses("FM-BOX-07", words):
        said(tmp_path, *rows)


def test_a_box_at_the_edge_is_cut_and_one_outside_refused() -> None:
    whole = (Box(0, 0, 16, 24, 1), Box(15, 23, 1, 1, 1))
    assert boxes.inside(whole, 16, 24, "") == whole
    over = (Box(-0.5, -1, 4, 4, 1), Box(12, 20, 5, 4.5, 1))
    assert boxes.inside(over, 16, 24, "") == (Box(0, 0, 3.5, 3, 1), Box(12, 20, 4, 4, 1))
    for box in (Box(-1.1, 0, 4, 4, 1), Box(0, 0, 17.1, 4, 1), Box(0, 22, 4, 3.1, 1), Box(30, 40, 2, 2, 1)):
        with phantoms.refuses("FM-BOX-04", "case-1: a box reaches", "image of 16 x 24 pixels"):
            boxes.inside((box,), 16, 24, "case-1")
    with phantoms.refuses("FM-BOX-04", "1.0 pixels"):  # wholly outside, if only by a pixel
        boxes.inside((Box(16, 0, 1, 4, 1),), 16, 24, "case-1")


@pytest.mark.parametrize(
    ("label_map", "given", "expected"),
    [({}, [1, 2], [1, 2]), ({10: 1, 20: 2, 30: 0}, [10, 20, 30], [1, 2]), ({0: 1}, [0], [1]), ({0: 0}, [0], [])],
)
def test_the_hospitals_numbers_become_classes(label_map: dict[int, int], given: list[int], expected: list[int]) -> None:
    found = boxes.to_classes([Box(1, 2, 3, 4, label) for label in given], DATA, label_map, "")
    assert [box.label for box in found] == expected
    assert {box[:4] for box in found} <= {(1, 2, 3, 4)}


@pytest.mark.parametrize(("label_map", "label"), [({}, 3), ({}, 0), ({1: 1}, 0), ({1: 1}, 2), ({}, -1)])
def test_a_label_outside_the_schema(label_map: dict[int, int], label: int) -> None:
    """0 too: tables that count from 0 would else say that there is no finding anywhere."""
    with phantoms.refuses("FM-DAT-28", "case-1: the label of a box"):
        boxes.to_classes([Box(1, 2, 3, 4, label)], DATA, label_map, "case-1")


def test_against_a_table_of_labels() -> None:
    one, two = Box(1, 2, 3, 4, 1), Box(1, 2, 3, 4, 2)
    for found, label in (((), 0), ((one,), 1), ((one, two), 1), ((one, two), 2)):
        boxes.check_against(found, label, "")
    with phantoms.refuses("FM-BOX-08", "2 boxes"):
        boxes.check_against((one, two), 0, "case-1")
    for found in ((), (one,)):
        with phantoms.refuses("FM-BOX-09", "case-1"):
            boxes.check_against(found, 2, "case-1")


def test_no_table_of_boxes(tmp_path: Path) -> None:
    with phantoms.refuses("FM-BOX-01", "not found"):
        boxes.read(tmp_path, "absent.csv")
    with phantoms.refuses("FM-BOX-01", "expected the columns path, x, y, width, height and label"):
        table(tmp_path, header="path,xmin,ymin,xmax,ymax,label")


CELL = st.one_of(st.integers(-3, 30).map(str), st.sampled_from(["", "nan", "1e9", "x", "-0", "1.5"]))


@given(st.lists(st.lists(CELL, min_size=5, max_size=5), min_size=1, max_size=4))
def test_any_row_is_boxes_inside_the_image_or_a_code(tmp_path: Path, rows: list[list[str]]) -> None:
    def look() -> Any:
        found = said(tmp_path, *(f"a.png,{','.join(row)}" for row in rows))
        return boxes.inside(found.boxes if found else (), 16, 24, "case-1")

    found, code = phantoms.attempt(look)
    assert code in ("", "FM-BOX-04", "FM-BOX-05", "FM-BOX-06", "FM-BOX-07", "FM-DAT-28")
    for box in found or ():
        left, top, right, bottom = boxes.edges(box)
        assert 0 <= left < right <= 16
        assert 0 <= top < bottom <= 24
