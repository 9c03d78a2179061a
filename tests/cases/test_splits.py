"""Splits and virtual hospitals: by patient, complete, disjoint, the same from the same seed."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmed.cases import likeness
from fedmed.cases.case import Case, Geometry
from fedmed.cases.splits import FOLDS, Division, by_value, split, virtual_sites
from fedmed.recipe_fields import Split

from . import phantoms

SHARES = Split(validation=0.15, testing=0.2)
GRID = Geometry((1, 1, 1), (1.0, 1.0, 1.0), "RAS")


def case(index: int, patient: int, group: str = "") -> Case:
    return Case(f"case-{index:04d}", f"patient-{patient:04d}", group, {"T1": ("x.nii",)}, "y.nii", {}, GRID)


def cohort(patients: int, start: int = 0) -> list[Case]:
    """Every third patient has two cases; the group is a quarter of the numbers."""
    found: list[Case] = []
    for patient in range(start, start + patients):
        for _ in range(2 if patient % 3 == 0 else 1):
            found.append(case(start * 2 + len(found), patient, f"q{1 + patient % 4}"))
    return found


def looks(kind: int) -> str:
    """A hash by chance, the same for each kind."""
    return np.random.RandomState(kind).bytes(128).hex()


def alike(owners: list[int], share: int) -> list[Case]:
    """A case for each owner; patients of the same remainder look the same, with a share of 31 nobody does."""
    cases = [case(index, owner, f"q{1 + owner % 4}") for index, owner in enumerate(owners)]
    return [replace(one, likeness=looks(owner % share)) for one, owner in zip(cases, owners, strict=True)]


cohorts = st.builds(alike, st.lists(st.integers(0, 30), min_size=1, max_size=80), st.sampled_from([31, 31, 28, 12]))


def sides(folds: dict[str, list[Case]], *, together: bool = True) -> dict[str, str]:
    """Patient to fold; fails where a patient, or patients of whom some look the same, stand on two sides."""
    seen: dict[str, str] = {}
    for fold, members in folds.items():
        for one in members:
            assert seen.setdefault(one.patient, fold) == fold
    fold_of_unit: dict[str, str] = {}  # more than half of all patients make no unit: see test_likeness
    for patient, unit in likeness.units([one for members in folds.values() for one in members]).items():
        assert not together or fold_of_unit.setdefault(unit, seen[patient]) == seen[patient]
    return seen


@given(cohorts, st.integers(0, 2**31 - 1), st.floats(0, 0.49), st.floats(0, 0.49))
def test_split_is_complete_by_patient_and_meets_the_shares(
    cases: list[Case], seed: int, validation: float, testing: float
) -> None:
    shares = Split(validation=validation, testing=testing)
    folds = split(cases, seed, shares)
    assert sorted(one.case for members in folds.values() for one in members) == sorted(one.case for one in cases)
    count = Counter(sides(folds).values())
    total = sum(count.values())
    units = Counter(likeness.units(cases).values())
    assert count["training"] >= 1
    for fold, share in (("validation", validation), ("testing", testing)):
        if len(units) >= 3:
            assert count[fold] >= (share > 0)
        if share == 0:
            assert count[fold] == 0
        is_one_unit = len({likeness.units(cases)[one.patient] for one in folds[fold]}) == 1
        assert is_one_unit or count[fold] <= max(1, round(share * total + 0.5)) + max(units.values()) // 2
    assert split(cases[::-1], seed, shares) == folds


@given(cohorts, cohorts, st.integers(0, 2**31 - 1))
def test_a_new_case_moves_nobody(before: list[Case], after: list[Case], seed: int) -> None:
    old = sides(split(before, seed, SHARES))
    new = sides(split(after, seed, SHARES, old), together=False)
    assert all(new[patient] == fold for patient, fold in old.items() if patient in new)


def test_growing_site_reaches_its_shares() -> None:
    known: dict[str, str] = {}
    for count in (2, 5, 11, 60):
        known = sides(split(cohort(count), 7, SHARES, known))
    assert Counter(known.values()) == {"training": 39, "validation": 9, "testing": 12}


@pytest.mark.parametrize("seed", range(12))
def test_large_units_leave_no_fold_empty(seed: int) -> None:
    """Fifteen patients of whom always five look the same, and four of whom always two do."""
    folds = split(alike(list(range(15)), 3), seed, SHARES)
    assert Counter(sides(folds).values()) == {"training": 5, "validation": 5, "testing": 5}
    folds = split(alike(list(range(4)), 2), seed, SHARES)
    assert Counter(sides(folds).values()) == {"training": 2, "testing": 2}


def test_the_seed_decides_and_the_place_in_the_list_does_not() -> None:
    first, other = (sides(split(cohort(40), seed, SHARES)) for seed in (7, 8))
    assert first != other
    written = {"testing": 8, "validation": 6, "training": 26}
    assert Counter(first.values()) == Counter(other.values()) == written


def test_tiny_sites() -> None:
    assert [len(split(cohort(1), 7, SHARES)[fold]) for fold in FOLDS] == [2, 0, 0]
    assert Counter(sides(split(cohort(3), 7, SHARES)).values()) == {"training": 1, "validation": 1, "testing": 1}
    assert split([], 7, SHARES) == {"training": [], "validation": [], "testing": []}


@given(
    cohorts,
    st.sampled_from(get_args(Division)),
    st.integers(1, 6),
    st.integers(0, 2**31 - 1),
    st.sampled_from([0.3, 1.0, 100.0]),
)
def test_virtual_sites_are_disjoint_complete_and_not_empty(
    cases: list[Case], how: str, sites: int, seed: int, alpha: float
) -> None:
    arguments = {"how": how, "sites": sites, "seed": seed, "alpha": alpha, "sizes": [1.0 + i for i in range(sites)]}
    parts, code = phantoms.attempt(lambda: virtual_sites(cases, **arguments))
    if code:
        assert code == "FM-DAT-42"
        assert sites > 1
        return
    assert len(parts) == sites
    assert all(parts)
    sides({str(index): part for index, part in enumerate(parts)})
    assert sorted(one.case for part in parts for one in part) == sorted(one.case for one in cases)
    assert virtual_sites(cases[::-1], **arguments) == parts


def patients(parts: list[list[Case]]) -> list[int]:
    return [len({one.patient for one in part}) for part in parts]


def test_sizes_follow_the_proportions() -> None:
    assert patients(virtual_sites(cohort(100), how="iid", sites=3, seed=7)) == [34, 33, 33]
    assert patients(virtual_sites(cohort(100), how="sizes", sites=3, seed=7, sizes=[5, 3, 2])) == [50, 30, 20]
    assert patients(virtual_sites(cohort(10), how="sizes", sites=3, seed=7, sizes=[100, 1, 1])) == [8, 1, 1]


def test_sizes_that_grow_from_site_to_site() -> None:
    assert patients(virtual_sites(cohort(100), how="linear", sites=4, seed=7)) == [10, 20, 30, 40]
    # 1, e, e^2 of 100 are 9.0, 24.5 and 66.5: the largest remainder gets the last one
    assert patients(virtual_sites(cohort(100), how="exponential", sites=3, seed=7)) == [9, 24, 67]
    assert min(patients(virtual_sites(cohort(120), how="exponential", sites=100, seed=7))) == 1


def test_quantities_are_drawn_and_groups_are_not_looked_at() -> None:
    def spread(alpha: float) -> float:
        return float(
            np.mean(
                [
                    np.std(patients(virtual_sites(cohort(400), how="quantity", sites=4, seed=seed, alpha=alpha)))
                    for seed in range(10)
                ]
            )
        )

    assert spread(0.3) > 2 * spread(3) > 4 * spread(300)
    for part in virtual_sites(cohort(400), how="quantity", sites=4, seed=7, alpha=300):
        assert {one.group for one in part} == {"q1", "q2", "q3", "q4"}


def test_of_shards_most_sites_see_two_groups_at_the_most() -> None:
    parts = virtual_sites(cohort(400), how="shards", sites=8, seed=7)
    assert patients(parts) == [50] * 8
    seen = [len({one.group for one in part}) for part in parts]
    assert max(seen) <= 4
    assert sorted(seen)[6] <= 2, "at most one of eight has a shard that lies across two groups"
    with phantoms.refuses("FM-DAT-42", "7 patients cannot be divided into 8 shards"):
        virtual_sites(cohort(7), how="shards", sites=4, seed=7)


def test_alpha_decides_how_different_the_sites_are() -> None:
    def spread(alpha: float) -> float:
        shares = []
        for seed in range(10):
            parts = virtual_sites(cohort(400), how="dirichlet", sites=4, seed=seed, alpha=alpha)
            counts = np.array([[sum(one.group == f"q{q}" for one in part) for q in range(1, 5)] for part in parts])
            shares.append((counts / counts.sum(axis=0)).std())
        return float(np.mean(shares))

    assert spread(0.1) > 3 * spread(10) > 6 * spread(1000)


def test_what_cannot_be_divided() -> None:
    with phantoms.refuses("FM-DAT-42", "3 patients cannot be divided among 4 sites"):
        virtual_sites(cohort(3), how="iid", sites=4, seed=7)
    one_group = [case(index, index, "q1") for index in range(12)]
    with phantoms.refuses("FM-DAT-42", "1000 draws", "12 patients"):
        virtual_sites(one_group, how="dirichlet", sites=12, seed=7, alpha=0.01)
    for arguments in ({"how": "sizes"}, {"how": "sizes", "sizes": [1, 0]}, {"how": "dirichlet"}, {"how": "quantity"}):
        with phantoms.refuses("FM-USE-01"):
            virtual_sites(cohort(9), sites=2, seed=7, **arguments)


@pytest.mark.parametrize("alpha", [0.0, -1.0, float("nan"), float("inf")])
def test_alpha_must_be_a_positive_number(alpha: float) -> None:
    with phantoms.refuses("FM-USE-01", "alpha"):
        virtual_sites(cohort(9), how="dirichlet", sites=2, seed=7, alpha=alpha)


VALUES = st.one_of(st.none(), st.integers(0, 5), st.sampled_from(["", " ", "GE", "Philips ", "unknown", "3"]))


@given(cohorts, st.data())
def test_sites_by_value_are_disjoint_complete_and_not_empty(cases: list[Case], data: st.DataObject) -> None:
    values = {one.case: data.draw(VALUES) for one in cases}
    found, code = phantoms.attempt(lambda: by_value(cases, values))
    if code:
        assert code == "FM-DAT-42"
        return
    parts, moved = found
    assert all(part for _, part in parts)
    assert 2 <= len(parts) <= 10
    sides({str(index): part for index, (_, part) in enumerate(parts)})
    assert sorted(one.case for _, part in parts for one in part) == sorted(one.case for one in cases)
    assert 0 <= moved <= len({one.patient for one in cases})
    assert by_value(cases[::-1], values) == (parts, moved)


def test_a_site_for_each_value_in_order() -> None:
    values = [10, 9, "b", "a", None, "", " a ", 1.5]
    cases = [case(index, index) for index in range(len(values))]
    parts, moved = by_value(cases, dict(zip((one.case for one in cases), values, strict=True)))
    assert [(value, len(part)) for value, part in parts] == [
        *(("1.5", 1), ("9", 1), ("10", 1)),
        *(("a", 2), ("b", 1), ("unknown", 2)),
    ]
    assert moved == 0


def test_a_patient_with_several_values_goes_to_the_most_frequent() -> None:
    said = {1: ["b", "a", "b"], 2: ["b", "a"], 3: ["c", "a", None, None, None], 4: [None, "b"], 5: [None]}
    cases, values = [], {}
    for patient, each in said.items():
        for value in each:
            cases.append(case(len(cases), patient))
            values[cases[-1].case] = value
    parts, moved = by_value(cases, values)
    assert {value: sorted({one.patient[-1] for one in part}) for value, part in parts} == {
        "a": ["2", "3"],
        "b": ["1", "4"],
        "unknown": ["5"],
    }, "nobody is left at c, so it is no site"
    assert moved == 3


def test_the_number_of_values() -> None:
    cases = [case(index, index) for index in range(101)]
    values = {one.case: index for index, one in enumerate(cases)}
    assert len(by_value(cases[:100], values, sites=100)[0]) == 100
    with phantoms.refuses("FM-DAT-42", "101 different values, expected 2 to 100"):
        by_value(cases, values)
    with phantoms.refuses("FM-DAT-42", "1 different values"):
        by_value(cases[:1], values)
    with phantoms.refuses("FM-DAT-42", "3 different values, expected 4"):
        by_value(cases[:3], values, sites=4)
