"""The table of labels: read as hospitals write it, refused without saying what stands in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmed.cases import labels, spreadsheet
from fedmed.errors import FedmedError

from . import phantoms

if TYPE_CHECKING:
    from pathlib import Path


def table(root: Path, text: str | bytes) -> labels.Table:
    data = text if isinstance(text, bytes) else text.encode()
    (root / "labels.csv").write_bytes(data)
    return labels.read(root, "labels.csv")


def entry(root: Path, text: str | bytes, *paths: str) -> tuple[int | None, str, dict[str, labels.Value]]:
    return labels.entry(table(root, text), paths or ("a.png",), "case-1")


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_as_spreadsheets_save_it(tmp_path: Path, delimiter: str, start: bytes, end: str) -> None:
    lines = ["Path,LABEL,patient,age,sex", "a.png,1,Nansen,63,F", "", ",,,,", '"b,c;d.png",0,Ola,7.5']
    text = end.join(line.replace(",", delimiter) for line in lines[:4])
    text += end + lines[4].replace(",", delimiter).replace(f"b{delimiter}c", "b,c")
    found = table(tmp_path, start + text.encode())
    assert labels.entry(found, ["a.png"], "") == (1, "Nansen", {"age": 63, "sex": "F"})
    assert labels.entry(found, ["b,c;d.png"], "") == (0, "Ola", {"age": 7.5})
    assert (len(found.rows), found.repeated, found.left_out) == (2, 0, 0)


@pytest.mark.parametrize("path", ["images/åse.png", "images\\åse.png", "./images/åse.png", " images/a\u030ase.png "])
def test_a_path_in_any_spelling(tmp_path: Path, path: str) -> None:
    assert entry(tmp_path, f"path,label\n{path},1\n", "images/åse.png")[0] == 1
    assert entry(tmp_path, f"path,label\n{path.strip()}/,1\n", "images/åse.png/")[0] == 1


@pytest.mark.parametrize(
    ("text", "value"), [("3", 3), ("-1", -1), ("+2", 2), ("1.0", 1), (" 1 ", 1), ("", None), ("  ", None)]
)
def test_whole_numbers_and_no_label(tmp_path: Path, text: str, value: int | None) -> None:
    assert entry(tmp_path, f"path,label\na.png,{text}\n")[0] == value


@pytest.mark.parametrize("text", ["fracture", "1.5", "1e3", "nan", "0x1", "12345678901"])
def test_what_is_no_whole_number_is_not_repeated(tmp_path: Path, text: str) -> None:
    with phantoms.refuses("FM-DAT-28", "expected a whole number"):
        entry(tmp_path, f"path,label\na.png,{text}\n")
    with pytest.raises(FedmedError) as caught:
        entry(tmp_path, f"path,label\na.png,{text}\n")
    assert text not in caught.value.message


def test_numbers_that_are_names_stay_text(tmp_path: Path) -> None:
    text = "path,label,a,b,c,d,e,\na.png,1,007,-3,1.50,1e5,12345678901234567890,unnamed\n"
    assert entry(tmp_path, text)[2] == {"a": "007", "b": -3, "c": 1.5, "d": "1e5", "e": "12345678901234567890"}


def test_an_image_that_stands_twice(tmp_path: Path) -> None:
    boxes = "path,label,x,view\na.png,1,10,ap\na.png,1,90,ap\nb.png,0,,ap\n"
    found = table(tmp_path, boxes)
    assert found.repeated == 1
    assert labels.entry(found, ["a.png"], "") == (1, "", {"view": "ap"})
    for other in ("a.png,0,,", "a.png,,,"):
        with phantoms.refuses("FM-DAT-52", "case-1: 3 rows say 2 different things"):
            entry(tmp_path, boxes + other + "\n")
    assert table(tmp_path, boxes + "a.png,0,,\n").repeated == 0
    with phantoms.refuses("FM-DAT-52"):
        entry(tmp_path, "path,label,patient\na.png,1,Nansen\na.png,1,Amundsen\n")
    with phantoms.refuses("FM-DAT-52"):
        entry(tmp_path, "path,label\na.png,1\nb.png,0\n", "a.png", "b.png")


def test_an_image_without_a_row(tmp_path: Path) -> None:
    with phantoms.refuses("FM-DAT-50", "case-1: no row"):
        entry(tmp_path, "path,label\nb.png,1\n")


def test_long_text_is_left_out(tmp_path: Path) -> None:
    found = table(tmp_path, f"path,label,report\na.png,1,{'x' * 201}\nb.png,1,{'x' * 200}\n")
    assert found.left_out == 1
    assert labels.entry(found, ["a.png"], "")[2] == {}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "the first line"),
        ("file,label\n", "the first line"),
        ("path|label\n", "the first line"),
        ("path,label,age,age\na.png,1,2,3\n", "two columns"),
        ("path,Label,label\na.png,1,2\n", "two columns"),
        ("path,label," + ",".join(f"c{n}" for n in range(31)), "33 columns, expected at most 32"),
        (f"path,label,{'n' * 201}\n", "short names"),
        ("path,label\na.png,1\n\nNansen,b.png,1\n", "line 4: 3 cells, expected 2"),
        ('path,label\n"a.png,1\n', "not CSV"),
        (f"path,label\n{'x' * 200_000},1\n", "not CSV"),
        ("path,label\nNansén.png,1\n".encode("latin-1"), "not UTF-8"),
        ("path,label\na.png,1\n".encode("utf-16"), "not UTF-8"),
    ],
)
def test_unreadable(tmp_path: Path, text: str | bytes, words: str) -> None:
    with phantoms.refuses("FM-DAT-49", words):
        table(tmp_path, text)


def test_not_there_too_large_or_outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with phantoms.refuses("FM-DAT-49", "not found"):
        labels.read(tmp_path, "absent.csv")
    root = tmp_path / "root"
    root.mkdir()
    table(tmp_path, "path,label\n")
    (root / "labels.csv").symlink_to(tmp_path / "labels.csv")
    with phantoms.refuses("FM-DAT-15"):
        labels.read(root, "labels.csv")
    monkeypatch.setattr(spreadsheet, "MAX_BYTES", 5)
    with phantoms.refuses("FM-DAT-49"):
        labels.read(tmp_path, "labels.csv")


@given(st.one_of(st.binary(max_size=80), st.text('path,label;\n"\r\t\0a1', max_size=60).map(lambda t: t.encode())))
def test_any_bytes_are_a_table_or_a_code(tmp_path: Path, data: bytes) -> None:
    for start in (b"", b"path,label,x\n"):
        found, code = phantoms.attempt(lambda text=start + data: table(tmp_path, text))
        assert code in ("", "FM-DAT-49")
        assert found is not None or code
