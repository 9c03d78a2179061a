"""From rows to cases: what is kept, what is excluded with which code, and who a row is when rows come and go."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from fedmed import recipe as recipes
from fedmed.cases import checks, content, datalist, find, tables
from fedmed.cases.case import Row
from fedmed.errors import FedmedError
from fedmed.settings import DataFolder, Layout, TableLayout
from tests import tables as wards
from tests.coded import code_of

HEAD = "id,age,pressure,pain,ward,grade,days,died\n"
ROWS = "a,63,140,none,A,0,100,0\nb,70,?,severe,B,2,50.5,1\nc,55,120,mild,A,1,0,1\n"
RECIPES = Path(__file__).parents[2] / "recipes"
REAL = Path(__file__).parents[3] / "shared" / "data"


def test_a_row_becomes_a_case(tmp_path):
    found = wards.found(tmp_path, HEAD + ROWS, case="id")
    by_number = {case.row.number: case for case in found.cases if case.row}
    assert {number: (case.row, case.label, case.group) for number, case in by_number.items()} == {
        1: (Row(1, (63.0, 140.0, 0.0)), 0, "0"),
        2: (Row(2, (70.0, None, 2.0)), 1, "ill"),
        3: (Row(3, (55.0, 120.0, 1.0)), 1, "ill"),
    }
    assert by_number[1].covariates == {"ward": "A", "days": 100, "died": 0}, "neither inputs nor outcome nor the id"
    assert len({case.case for case in found.cases} | {case.patient for case in found.cases}) == 6
    assert found.excluded == []
    assert found.notes == []


def test_a_survival_has_a_time_and_an_event(tmp_path):
    found = wards.found(tmp_path, HEAD + ROWS, wards.survival(), case="id")
    assert {(case.row.number, case.row.time, case.label, case.group) for case in found.cases} == {
        (1, 100.0, 0, "censored"), (2, 50.5, 1, "event"), (3, 0.0, 1, "event"),
    }  # fmt: skip


def test_events_in_the_hospitals_own_numbers(tmp_path):
    text = HEAD + ROWS.replace(",1\n", ",2\n").replace(",0\n", ",1\n")
    found = wards.found(tmp_path, text, wards.survival(), {1: 0, 2: 1}, case="id")
    assert sorted((case.row.number, case.label, case.group) for case in found.cases) == [
        (1, 1, "censored"), (2, 2, "event"), (3, 2, "event"),
    ]  # fmt: skip


def test_classes_that_are_counted_instead_of_compared(tmp_path):
    recipe = wards.tabular(data={"outcome": {"column": "grade"}, "labels": {1: "mild", 2: "severe"}})
    found = wards.found(tmp_path, HEAD + ROWS, recipe, case="id")
    assert sorted((case.row.number, case.label, case.group) for case in found.cases) == [
        (1, 0, "0"), (2, 2, "severe"), (3, 1, "mild"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("d,old,140,none,A,0,1,0", "FM-TAB-06"),
        ("d,63,140,unbearable,A,0,1,0", "FM-TAB-07"),
        ("d,63,140,none,A,,1,0", "FM-DAT-12"),
        ("d,63,140,none,A,high,1,0", "FM-TAB-06"),
        ("a,63,140,none,A,0,1,0", "FM-TAB-05"),
    ],
)
def test_a_row_that_cannot_be_used_is_excluded(tmp_path, line, code):
    recipe = wards.tabular(data={"max_excluded": 1})
    found = wards.found(tmp_path, f"{HEAD}{ROWS}{line}\n", recipe, case="id")
    assert {one.code for one in found.excluded} == {code}
    assert len(found.cases) == (2 if code == "FM-TAB-05" else 3)
    for one in found.excluded:
        assert one.local in ("row 4", "row 1" if code == "FM-TAB-05" else "")
        assert not {"old", "unbearable", "high"} & set(one.message.split())


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("d,63,140,none,A,0,-1,0", "FM-TAB-08"),
        ("d,63,140,none,A,0,soon,0", "FM-TAB-08"),
        ("d,63,140,none,A,0,,0", "FM-DAT-12"),
        ("d,63,140,none,A,0,1,", "FM-DAT-12"),
        ("d,63,140,none,A,0,1,2", "FM-DAT-28"),
        ("d,63,140,none,A,0,1,0.5", "FM-DAT-28"),
    ],
)
def test_a_survival_that_cannot_be_used_is_excluded(tmp_path, line, code):
    found = wards.found(tmp_path, f"{HEAD}{ROWS}{line}\n", wards.survival(data={"max_excluded": 1}), case="id")
    assert [one.code for one in found.excluded] == [code]
    assert "soon" not in found.excluded[0].message


def test_rows_with_gaps_are_dropped_where_the_recipe_says_so(tmp_path):
    recipe = wards.tabular(data={"imputation": "drop", "max_excluded": 1})
    found = wards.found(tmp_path, HEAD + ROWS, recipe, case="id")
    assert [(one.code, one.local) for one in found.excluded] == [("FM-TAB-09", "row 2")]
    assert "1 of 3 columns are empty" in found.excluded[0].message
    strict = wards.tabular(data={"imputation": "drop"})
    assert code_of(lambda: wards.found(tmp_path, HEAD + ROWS, strict, case="id")) == "FM-DAT-09"


def test_a_recipe_may_call_a_refused_row_an_error(tmp_path):
    for severities, code in (({}, "ok"), ({"FM-TAB-06": "error"}, "FM-CHK-01")):
        recipe = wards.tabular(data={"max_excluded": 1, "severities": severities})
        text = f"{HEAD}{ROWS}d,old,140,none,A,0,1,0\n"
        assert code_of(lambda recipe=recipe, text=text: wards.found(tmp_path, text, recipe, case="id")) == code
    with pytest.raises(FedmedError, match="no finding"):
        wards.tabular(data={"severities": {"FM-TAB-02": "error"}})


def test_few_cases_of_a_class_in_a_fold_are_told(tmp_path):
    cases = wards.found(tmp_path, HEAD + ROWS, case="id").cases
    told = list(checks.of_folds({"validation": cases, "testing": []}, wards.tabular()))
    assert told == [("FM-CHK-02", "validation: 2 cases of ill among 3, expected at least 5")]


def test_where_leaves_the_rows_of_others_alone(tmp_path):
    found = wards.found(tmp_path, HEAD + ROWS, case="id", where={"ward": "A"})
    assert sorted(case.row.number for case in found.cases) == [1, 3]
    assert found.notes == ["1 rows do not fit data.layout.table.where: not this site's"]
    with pytest.raises(FedmedError, match="none of 3 rows") as caught:
        wards.found(tmp_path, HEAD + ROWS, case="id", where={"ward": "Smith"})
    assert caught.value.code == "FM-TAB-04"
    assert "Smith" not in caught.value.message


def test_a_table_without_rows_has_no_case(tmp_path):
    assert code_of(lambda: wards.found(tmp_path, HEAD, case="id")) == "FM-DAT-08"


def test_two_rows_of_one_patient_are_two_cases_on_one_side(tmp_path):
    found = wards.found(tmp_path, HEAD + ROWS.replace("c,", "a,"), patient="id")
    assert sorted(Counter(case.patient for case in found.cases).values()) == [1, 2]
    assert len({case.case for case in found.cases}) == 3
    assert found.notes == []


def test_a_row_without_a_patient_is_nobody_else(tmp_path):
    text = "id,who,age,pressure,pain,grade\n7,,63,140,none,0\n8,7,70,150,mild,1\n,,50,150,mild,1\n"
    found = wards.found(tmp_path, text, case="id", patient="who")
    assert len({case.patient for case in found.cases}) == 3
    assert found.notes == ["1 cases do not say who the patient is: each counts as a patient of its own"]


def test_rows_without_an_id_stay_who_they_are_when_others_come_and_move(tmp_path):
    first = wards.found(tmp_path, HEAD + ROWS)
    assert first.notes == ["3 cases do not say who the patient is: each counts as a patient of its own"]
    lines = ROWS.splitlines(keepends=True)
    moved = wards.found(tmp_path, HEAD + "x,80,150,mild,B,0,9,0\n" + "".join(lines[::-1]))
    assert {case.case for case in first.cases} < {case.case for case in moved.cases}
    assert {case.patient for case in first.cases} < {case.patient for case in moved.cases}


def test_equal_rows_without_an_id_are_as_many_patients(tmp_path):
    found = wards.found(tmp_path, HEAD + ROWS + ROWS)
    assert len({case.case for case in found.cases}) == len({case.patient for case in found.cases}) == 6


def test_a_layout_of_the_other_kind_is_refused(tmp_path):
    volumes = recipes.load(RECIPES / "tumour-segmentation-mr.yaml")
    assert code_of(lambda: wards.found(tmp_path, HEAD + ROWS, volumes)) == "FM-TAB-03"
    folder = DataFolder(root=str(tmp_path), layout=Layout(image={"MR": "{case}.nii"}))
    assert code_of(lambda: find.find(folder, wards.tabular(), pseudonym_key=b"k", label_map={})) == "FM-TAB-03"


def test_a_label_map_to_a_class_that_is_not_there(tmp_path):
    assert code_of(lambda: wards.found(tmp_path, HEAD + ROWS, label_map={4: 2})) == "FM-DAT-07"


def test_cases_json_remembers_rows(tmp_path):
    found = wards.found(tmp_path / "data", HEAD + ROWS, wards.survival(), case="id")
    listed = datalist.build(found, wards.survival())
    datalist.save(tmp_path / "cases.json", listed)
    back = datalist.load(tmp_path / "cases.json")
    assert back == listed
    kept = [case for fold in datalist.FOLDS for case in datalist.cases(back, fold)]
    assert sorted(kept, key=lambda case: case.case) == found.cases


@pytest.mark.parametrize(
    "change",
    [{"row": None}, {"image": {"MR": "x.nii"}}, {"row": {"number": 0, "inputs": [1.0], "time": None}}],
    ids=["neither", "both", "row 0"],
)
def test_an_entry_is_images_or_a_row(tmp_path, change):
    found = wards.found(tmp_path, HEAD + ROWS, case="id")
    entry = datalist.build(found, wards.tabular()).training[0].model_dump(mode="json")
    datalist.Entry.model_validate(entry)
    with pytest.raises(ValueError, match=r"images or a row|greater than or equal to 1"):
        datalist.Entry.model_validate({**entry, **change})


LAYOUT = Layout(table=TableLayout(file="ward.csv", case="id"))


def check(root, cases, layout=LAYOUT):
    seen = []
    content.check(cases, root, lambda *at: seen.append(at), layout.table)
    return seen


def test_a_row_that_changed_since_partition_is_noticed(tmp_path):
    cases = wards.found(tmp_path, HEAD + ROWS, case="id").cases
    assert check(tmp_path, cases) == [(1, 3), (2, 3), (3, 3)]
    for changed in (
        ROWS.replace("63", "64"), ROWS.replace("none,A", "none,B"), ROWS.partition("\n")[2], "x" + ROWS,
    ):  # fmt: skip
        (tmp_path / "ward.csv").write_text(HEAD + changed)
        with pytest.raises(FedmedError) as caught:
            check(tmp_path, cases)
        assert caught.value.code == "FM-DAT-46"
    (tmp_path / "ward.csv").write_text(HEAD.replace("age,pressure", "pressure,age") + ROWS)
    with pytest.raises(FedmedError):
        check(tmp_path, cases)


def test_another_order_of_columns_changes_nothing(tmp_path):
    cases = wards.found(tmp_path, "id,age,pressure,pain,grade\na,63,140,none,0\n", case="id").cases
    (tmp_path / "ward.csv").write_text("id;pain;age;grade;pressure\r\na;none;63;0;140\r\n")
    assert check(tmp_path, cases) == [(1, 1)]


def test_the_content_of_a_row_cannot_be_guessed_from_its_cells(tmp_path):
    cases = wards.found(tmp_path, HEAD + ROWS, case="id").cases
    cells = tables.read(tmp_path, LAYOUT.table, ()).cells(cases[0].row.number)
    assert cases[0].content == tables.digest(cases[0].case, cells)
    assert cases[0].content != tables.digest(cases[1].case, cells)


def test_nothing_of_a_row_leaves_a_message(tmp_path):
    planted = "Gerald Example"
    line = f"{planted},{planted},140,{planted},{planted},{planted},{planted},{planted}\n"
    for recipe in (wards.tabular(), wards.survival()):
        with pytest.raises(FedmedError) as caught:
            wards.found(tmp_path, HEAD + ROWS + line, recipe, case="id")
        assert caught.value.code == "FM-DAT-09"
        assert planted not in caught.value.message + caught.value.next


HEART = [
    "age",
    "sex",
    "cp",
    "trestbps",
    "chol",
    "fbs",
    "restecg",
    "thalach",
    "exang",
    "oldpeak",
    "slope",
    "ca",
    "thal",
    "num",
]


def heart(name, recipe):
    layout = Layout(table=TableLayout(file=f"processed.{name}.data", columns=tuple(HEART)))
    folder = DataFolder(root=str(REAL / "fed_heart_disease"), layout=layout)
    return find.find(folder, recipe, pseudonym_key=wards.KEY, label_map={})


@pytest.mark.skipif(not (REAL / "fed_heart_disease").exists(), reason="the heart disease tables are not here")
@pytest.mark.parametrize(
    ("name", "rows", "complete", "ill"),
    [("cleveland", 303, 303, 139), ("hungarian", 294, 261, 106), ("switzerland", 123, 46, 115), ("va", 200, 130, 149)],
)
def test_the_heart_disease_tables_load_with_their_published_counts(name, rows, complete, ill):
    recipe = recipes.load(RECIPES / "heart-disease-table.yaml")
    found = heart(name, recipe)
    assert (len(found.cases), len(found.excluded)) == (rows, 0)
    assert sum(case.label == 1 for case in found.cases) == ill
    dropping = recipe.model_copy(
        update={"data": recipe.data.model_copy(update={"imputation": "drop", "max_excluded": 1})}
    )
    found = heart(name, dropping)
    assert (len(found.cases), len(found.excluded)) == (complete, rows - complete)


@pytest.mark.skipif(not (REAL / "fed_tcga_brca").exists(), reason="the breast cancer table is not here")
def test_the_breast_cancer_table_loads_with_its_published_counts(tmp_path):
    joined = breast_cancer(tmp_path)
    recipe = recipes.load(RECIPES / "breast-survival-table.yaml")
    counts = {}
    for site in range(6):
        for fold in ("train", "test"):
            where = {"center": site, "fold": fold}
            layout = Layout(table=TableLayout(file=joined.name, case="pid", where=where))
            folder = DataFolder(root=str(tmp_path), layout=layout)
            found = find.find(folder, recipe, pseudonym_key=wards.KEY, label_map={})
            assert found.excluded == []
            counts[site, fold] = len(found.cases), sum(case.label == 1 for case in found.cases)
    assert [counts[site, "train"][0] for site in range(6)] == [248, 156, 164, 129, 129, 40]
    assert [counts[site, "test"] for site in range(6)] == [(63, 14), (40, 4), (42, 8), (33, 3), (33, 2), (11, 1)]
    assert sum(cases for cases, _ in counts.values()) == 1088


def breast_cancer(folder):
    """brca.csv with the region and fold of each patient as two more columns, and without the 8 that are in none."""
    source = REAL / "fed_tcga_brca"
    of_patient = dict(line.split(",", 1) for line in (source / "train_test_split.csv").read_text().splitlines()[1:])
    head, *lines = (source / "brca.csv").read_text().splitlines()
    rows = [f"{head},center,fold"]
    for line in lines:
        if said := of_patient.get(line.partition(",")[0]):
            fold, place = said.split(",")
            rows.append(f"{line},{place.rpartition('_')[2]},{fold}")
    path = folder / "brca.csv"
    path.write_text("\n".join(rows) + "\n")
    return path
