"""What a network gets of a row, with the numbers written out."""

import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmed import fingerprint, pooling
from fedmed.cases import encoding
from fedmed.cases import fingerprint as measuring
from fedmed.cases.case import NO_GRID, Case, Row
from fedmed.errors import FedmedError
from fedmed.preprocessing import ColumnNumbers, Preprocessing, from_bytes
from tests import tables
from tests.coded import code_of


def cases(*rows):
    return [
        Case(f"case-{number}", f"patient-{number}", "", {}, 0, {}, NO_GRID, row=Row(number, inputs))
        for number, inputs in enumerate(rows, start=1)
    ]


TRAINING = cases((60.0, 100.0, 0.0), (70.0, None, 2.0), (80.0, 130.0, 2.0), (50.0, 190.0, None))
ROW = Row(9, (65.0, None, None))


def table(**changed):
    return tables.tabular(data=changed).data


@pytest.mark.parametrize(
    ("imputation", "fill", "gap"),
    [("median", 130.0, -10 / math.sqrt(2100)), ("mean", 140.0, 0.0)],
)
def test_gaps_and_standard_deviations_by_hand(imputation, fill, gap):
    rules = table(imputation=imputation)
    fitted = encoding.fitted(TRAINING, rules)
    sd_age = math.sqrt((5**2 + 5**2 + 15**2 + 15**2) / 3)
    assert fitted.columns == {
        "age": ColumnNumbers(fill=65.0, mean=65.0, sd=sd_age),
        "pressure": ColumnNumbers(fill=fill, mean=140.0, sd=math.sqrt((40**2 + 10**2 + 50**2) / 2)),
        "pain": ColumnNumbers(fill=2.0),
    }
    assert encoding.encode(ROW, rules, fitted) == pytest.approx([0.0, gap, 0.0, 1.0])
    assert encoding.encode(TRAINING[0].row, rules, fitted)[2:] == [0.0, 0.0], (
        "the first level is what the rest compare to"
    )
    assert encoding.encode(Row(1, (60.0, 100.0, 1.0)), rules, fitted)[2:] == [1.0, 0.0]


def test_without_normalisation_numbers_stay_as_they_are():
    rules = table(normalisation="none")
    fitted = encoding.fitted(TRAINING, rules)
    assert fitted.columns["pressure"] == ColumnNumbers(fill=130.0)
    assert encoding.encode(ROW, rules, fitted) == [65.0, 130.0, 0.0, 1.0]


def test_where_nothing_is_fitted_none_is_needed():
    rules = table(normalisation="none", imputation="drop")
    assert encoding.fitted(TRAINING, rules) is None
    assert encoding.encode(Row(1, (60.0, 100.0, 2.0)), rules, None) == [60.0, 100.0, 0.0, 1.0]


def test_numbers_of_the_recipe_need_no_patient():
    columns = [{"name": "age", "mean": 55.0, "sd": 10.0}, {"name": "pressure"}, {"name": "pain", "levels": [1, 2, 3]}]
    rules = table(normalisation="none", imputation="constant", columns=columns)
    assert encoding.fitted(TRAINING, rules) is None
    assert encoding.encode(ROW, rules, None) == [1.0, 0.0, 0.0, 0.0]
    assert encoding.encode(Row(1, (None, 120.0, 2.0)), rules, None) == [0.0, 120.0, 0.0, 1.0]
    fitted = encoding.fitted(TRAINING, table(normalisation="none", columns=columns))
    assert fitted.columns["age"] == ColumnNumbers(fill=65.0, mean=55.0, sd=10.0)


@pytest.mark.parametrize("changed", [{}, {"normalisation": "none"}, {"imputation": "drop"}])
def test_rows_are_never_encoded_without_the_numbers_they_need(changed):
    for numbers in (None, Preprocessing()):
        with pytest.raises(FedmedError) as caught:
            encoding.encode(ROW, table(**changed), numbers)
        assert caught.value.code == "FM-NRM-02"


def test_a_constant_column_and_a_single_row_become_zero():
    rules = table()
    for training in (cases((60.0, 100.0, 0.0), (60.0, 100.0, 0.0)), cases((60.0, 100.0, 0.0))):
        fitted = encoding.fitted(training, rules)
        assert encoding.encode(training[0].row, rules, fitted) == [0.0, 0.0, 0.0, 0.0]
        assert encoding.encode(Row(1, (61.0, 100.0, 0.0)), rules, fitted)[0] == 1.0, "no division by nearly nothing"


@pytest.mark.parametrize("training", [[], cases((60.0, None, 0.0), (70.0, None, 1.0))], ids=["no row", "no value"])
def test_a_column_without_a_value_cannot_be_filled(training):
    with pytest.raises(FedmedError, match=f"of {len(training)} training rows") as caught:
        encoding.fitted(training, table())
    assert caught.value.code == "FM-TAB-10"


def test_of_equally_frequent_levels_the_first_fills():
    assert encoding.fitted(cases((1.0, 1.0, 2.0), (1.0, 1.0, 1.0)), table()).columns["pain"].fill == 1.0


NUMBERS = st.floats(-1e6, 1e6)


@given(st.lists(st.tuples(NUMBERS, st.none() | NUMBERS, st.sampled_from((None, 0.0, 1.0, 2.0))), min_size=2))
def test_known_numbers_of_training_rows_get_mean_0_and_sd_1(rows):
    rules = table()
    training = cases(*rows)
    if any(all(row[place] is None for row in rows) for place in range(3)):
        assert code_of(lambda: encoding.fitted(training, rules)) == "FM-TAB-10"
        return
    fitted = encoding.fitted(training, rules)
    ages = [encoding.encode(case.row, rules, fitted)[0] for case in training]
    spread = max(row[0] for row in rows) - min(row[0] for row in rows)
    if spread > 1:
        assert statistics.fmean(ages) == pytest.approx(0, abs=1e-6)
        assert statistics.stdev(ages) == pytest.approx(1)
    assert from_bytes(fitted.to_bytes(), "x") == fitted


def test_the_fingerprint_of_rows_by_hand():
    rules = tables.tabular(data={"normalisation": "federated"})
    found = measuring.measure(TRAINING, rules, None, {})
    assert (found.num_cases, dict(found.channels), dict(found.classes)) == (4, {}, {})
    assert [(grey.n, grey.mean) for grey in found.inputs] == [(4, 65), (3, 140), (3, 0), (3, pytest.approx(2 / 3))]
    assert [grey.sd for grey in found.inputs] == pytest.approx([math.sqrt(125), math.sqrt(1400), 0, math.sqrt(2) / 3])
    assert pooling.fitted(found, rules).columns == {
        "age": ColumnNumbers(fill=65, mean=65, sd=11.18),
        "pressure": ColumnNumbers(fill=140, mean=140, sd=37.417),
        "pain": ColumnNumbers(fill=2),
    }
    assert encoding.encode(ROW, rules.data, pooling.fitted(found, rules)) == [0.0, 0.0, 0.0, 1.0]


LEVELS = st.sampled_from((None, 0.0, 1.0, 2.0))
ROWS_OF_SITES = st.lists(
    st.lists(st.tuples(NUMBERS, st.none() | NUMBERS, LEVELS), min_size=1, max_size=8), min_size=1, max_size=4
)


@given(ROWS_OF_SITES)
def test_pooled_fingerprints_are_that_of_all_rows(sites):
    rules = tables.tabular(data={"normalisation": "federated"})
    parts = [measuring.measure(cases(*rows), rules, None, {}) for rows in sites]
    whole = measuring.measure(cases(*(row for rows in sites for row in rows)), rules, None, {})
    for ours, theirs in zip(pooling.pool(parts).inputs, whole.inputs, strict=True):
        assert ours.n == theirs.n
        assert ours.mean == pytest.approx(theirs.mean, abs=1e-6)
        assert ours.sd == pytest.approx(theirs.sd, rel=1e-6, abs=1e-3)


@given(ROWS_OF_SITES, st.integers(1, 5))
def test_what_is_told_of_rows_is_about_enough_of_them(sites, min_count):
    rules = tables.tabular(data={"normalisation": "federated"})
    for rows in sites:
        exact = measuring.measure(cases(*rows), rules, None, {})
        told = fingerprint.floored(exact, min_count)
        assert fingerprint.floored(told, min_count) == told, "the coordinator checks that nothing more was told"
        for before, after in zip(exact.inputs, told.inputs, strict=True):
            assert after == fingerprint.UNTOLD or (after.n == before.n >= min_count)
        for level, grey in enumerate(told.inputs[2:], start=1):
            shown = sum(row[2] == level for row in rows)
            known = sum(row[2] is not None for row in rows)
            if grey != fingerprint.UNTOLD:
                assert all(part == 0 or part >= min_count for part in (shown, known - shown))


def test_a_number_that_nobody_may_tell_stays_as_it_is():
    rules = tables.tabular(data={"normalisation": "federated"})
    few = fingerprint.floored(measuring.measure(TRAINING, rules, None, {}), 4)
    assert few.inputs[1:] == (fingerprint.UNTOLD,) * 3
    fitted = pooling.fitted(few, rules)
    assert fitted.columns["pressure"] == ColumnNumbers(fill=0, mean=0, sd=1)
    assert fitted.columns["pain"] == ColumnNumbers(fill=0)


def test_a_level_that_only_a_small_hospital_may_tell_of_does_not_fill_the_gaps_of_all():
    """100 rows of which 70, 28 and 2 have the levels, and 15 of which 0, 5 and 10 do: 70, 33 and 12 in all."""
    rules = tables.tabular(data={"normalisation": "federated"})
    sites = [[0.0] * 70 + [1.0] * 28 + [2.0] * 2, [1.0] * 5 + [2.0] * 10]
    parts = [
        fingerprint.floored(measuring.measure(cases(*((60.0, 100.0, level) for level in rows)), rules, None, {}), 5)
        for rows in sites
    ]
    assert [part.inputs[3].n for part in parts] == [0, 15]
    pooled = pooling.pool(parts)
    assert pooled.inputs[3].mean == pytest.approx(10 / 15, abs=1e-4)
    assert pooling.fitted(pooled, rules).columns["pain"].fill == 0
