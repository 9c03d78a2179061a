"""A CSV table as registries export it: delimiters, names, gaps, decimal commas; and what is refused, without a cell."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmed.cases import tables
from fedmed.errors import FedmedError
from fedmed.settings import Layout, TableLayout

WANTED = ("age", "grade")


def read(root, data, wanted=WANTED, **layout):
    (root / "t.csv").write_bytes(data.encode() if isinstance(data, str) else data)
    return tables.read(root, TableLayout(file="t.csv", **layout), wanted)


@pytest.mark.parametrize(
    "data",
    [
        "age,grade\n63,1\n,0\n",
        "\ufeffage;grade\r\n63;1\r\n;0\r\n",
        "age\tgrade\n 63 \t1\n?\t0\n",
        '"age","grade"\n"63","1"\nNA,"0"\n',
        "age,grade\n63,1\n\n,,\n".replace(",,", "?,0"),
        "age,grade\n63,1\n,0",
    ],
    ids=["comma", "semicolon, BOM and CRLF", "tab", "quotes", "an empty line", "no last line end"],
)
def test_one_table_in_many_spellings(tmp_path, data):
    sheet = read(tmp_path, data)
    assert sheet.columns == ("age", "grade")
    assert sheet.rows == (("63", "1"), ("", "0"))
    assert sheet.cells(2) == {"age": "", "grade": "0"}


def test_names_may_hold_the_delimiter_of_others(tmp_path):
    sheet = read(tmp_path, 'age,"kind; of, pain",grade\n63,a,1\n')
    assert sheet.columns == ("age", "kind; of, pain", "grade")


@pytest.mark.parametrize("head", ["age;kind, of, it;grade", "age;kind, of, it, all;grade"], ids=["as many", "more"])
def test_a_delimiter_that_could_be_another_is_asked_for(tmp_path, head):
    data = f"{head}\n63;a;1\n"
    with pytest.raises(FedmedError, match=r"write data\.layout\.table\.delimiter") as caught:
        read(tmp_path, data)
    assert caught.value.code == "FM-TAB-01"
    assert read(tmp_path, data, delimiter=";").rows == (("63", "a", "1"),)


def test_a_table_of_one_column_needs_no_delimiter(tmp_path):
    assert read(tmp_path, "age\n63\n", ("age",)).rows == (("63",),)


def test_a_table_without_a_line_of_names(tmp_path):
    sheet = read(tmp_path, "63.0,1.0\n67,?\n", columns=["age", "grade"])
    assert sheet.rows == (("63.0", "1.0"), ("67", ""))


def test_a_table_without_names_and_with_decimal_commas(tmp_path):
    sheet = read(tmp_path, "63,5;1,0\n67;?\n", columns=["age", "grade"], decimal=",")
    assert sheet.rows == (("63,5", "1,0"), ("67", ""))


def test_empty_cells_left_away_at_the_end_are_gaps(tmp_path):
    assert read(tmp_path, "age,grade,ward\n63,1\n").rows == (("63", "1", ""),)


def test_a_table_of_other_marks_for_a_gap(tmp_path):
    assert read(tmp_path, "age,grade\n-9,1\n?,1\n", missing=["-9"]).rows == (("", "1"), ("?", "1"))


@pytest.mark.parametrize(
    ("data", "layout"),
    [
        (b"age,grade\n\xff,1\n", {}),
        ('age,grade\n"63,1\n', {}),
        ("age,grade\n63,1,4\n", {}),
        ("age,grade,age\n63,1,4\n", {}),
        ("", {}),
        ("age," + ",".join(f"c{n}" for n in range(1001)) + "\n", {}),
        ("63,1,9\n", {"columns": ["age", "grade"]}),
    ],
    ids=["no UTF-8", "open quote", "too many cells", "a name twice", "empty", "1002 columns", "too wide"],
)
def test_what_cannot_be_read(tmp_path, data, layout):
    with pytest.raises(FedmedError) as caught:
        read(tmp_path, data, (), **layout)
    assert caught.value.code == "FM-TAB-01"
    assert "63" not in caught.value.message


def test_a_table_larger_than_allowed(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "MAX_BYTES", 20)
    with pytest.raises(FedmedError) as caught:
        read(tmp_path, "age,grade\n" + "63,1\n" * 10)
    assert caught.value.code == "FM-TAB-01"


def test_a_table_that_is_not_there_or_lies_outside(tmp_path):
    with pytest.raises(FedmedError) as caught:
        tables.read(tmp_path, TableLayout(file="gone.csv"), ())
    assert caught.value.code == "FM-TAB-01"
    (tmp_path / "root").mkdir()
    (tmp_path / "t.csv").write_text("age,grade\n")
    (tmp_path / "root" / "t.csv").symlink_to(tmp_path / "t.csv")
    with pytest.raises(FedmedError) as caught:
        tables.read(tmp_path / "root", TableLayout(file="t.csv"), ())
    assert caught.value.code == "FM-DAT-15"


def test_a_missing_column_of_the_recipe_is_named_and_one_of_the_hospital_is_not(tmp_path):
    with pytest.raises(FedmedError, match="no column grade, which") as caught:
        read(tmp_path, "age,Grade,Smith\n1,2,3\n")
    assert caught.value.code == "FM-TAB-02"
    assert "Smith" not in caught.value.message
    assert "Grade" in caught.value.local
    with pytest.raises(FedmedError, match="no column age and 1 more"):
        read(tmp_path, "x,y\n1,2\n")
    for key in ("case", "patient"):
        with pytest.raises(FedmedError, match=rf"table\.{key}: the table has no such column") as caught:
            read(tmp_path, "age,grade\n1,2\n", **{key: "Smith"})
        assert "Smith" not in caught.value.message
    with pytest.raises(FedmedError, match=r"table\.where: the table has no such column") as caught:
        read(tmp_path, "age,grade\n1,2\n", where={"Smith": 1})
    assert "Smith" not in caught.value.message


@pytest.mark.parametrize(
    ("cell", "value"),
    [("63", 63), ("-1.5", -1.5), (".7", 0.7), ("7.", 7), ("1e3", 1000), ("+2", 2), ("1,5", None), ("nan", None),
     ("inf", None), ("1e99", 1e99), ("1_000", None), ("0x1", None), ("", None), ("٣", None), ("1 000", None)],
)  # fmt: skip
def test_what_is_a_number(cell, value):
    assert tables.number(cell, TableLayout(file="t.csv")) == value


@pytest.mark.parametrize(
    ("cell", "value"), [("1,5", 1.5), ("63", 63), ("1.234", None), ("1.234,5", None), (",7", 0.7), ("1,2,3", None)]
)
def test_what_is_a_number_where_the_decimal_mark_is_a_comma(cell, value):
    assert tables.number(cell, TableLayout(file="t.csv", decimal=",")) == value


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_number_that_python_writes_is_read_back(value):
    text = repr(value)
    if ("e" not in text or len(text.partition("e")[2].lstrip("+-")) <= 2) and len(text.partition("e")[0]) <= 30:
        assert tables.number(text, TableLayout(file="t.csv")) == value


def test_where_picks_rows_by_number_and_by_text():
    layout = TableLayout(file="t.csv", where={"center": 0, "fold": "train"})
    for center, fold, fits in (
        ("0", "train", True),
        ("0.0", "train", True),
        ("1", "train", False),
        ("0", "test", False),
    ):
        assert tables.fits({"center": center, "fold": fold}, layout) == fits
    assert not tables.fits({"center": "00", "fold": "x"}, TableLayout(file="t.csv", where={"center": "0"}))


def write(root, **texts):
    for name, text in texts.items():
        (root / f"{name}.csv").write_text(text)


def test_the_one_table_is_recognised_with_its_case_and_patient(tmp_path):
    write(tmp_path, a="patient,age,grade\n", labels="path,label\n")
    assert tables.detect(tmp_path) == Layout(table=TableLayout(file="a.csv", patient="patient"))
    write(tmp_path, b="case,age\n")
    assert tables.detect(tmp_path, WANTED) == Layout(table=TableLayout(file="a.csv", patient="patient"))
    assert tables.detect(tmp_path, ("case",)) == Layout(table=TableLayout(file="b.csv", case="case"))


def test_none_or_several_tables_are_not_guessed_at(tmp_path):
    (tmp_path / "deep").mkdir()
    write(tmp_path / "deep", c="age,grade\n")
    with pytest.raises(FedmedError, match="0 tables of cases among 0") as caught:
        tables.detect(tmp_path, WANTED)
    assert caught.value.code == "FM-DAT-05"
    write(tmp_path, a="patient,age,grade\n", b="age,grade\n")
    for columns in ((), WANTED):
        with pytest.raises(FedmedError, match="2 tables of cases among 2"):
            tables.detect(tmp_path, columns)


def test_of_a_single_table_it_is_said_what_is_wrong(tmp_path):
    write(tmp_path, a="age\n1\n")
    with pytest.raises(FedmedError, match="no column grade") as caught:
        tables.detect(tmp_path, WANTED)
    assert caught.value.code == "FM-TAB-02"
