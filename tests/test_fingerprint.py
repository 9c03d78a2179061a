"""Numbers that add up: parts pooled are the whole, and what leaves speaks of nobody."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmed import fingerprint, pooling
from fedmed.fingerprint import Axes, Cell, Fingerprint, Grey, Lengths, Share
from fedmed.preprocessing import Intensity, Preprocessing
from tests import radiographs, tables
from tests.coded import code_of
from tests.training.conftest import tiny_recipe

NOTHING = Lengths(())
GREY = Grey(4, 100.0, 20.0, 60.0, 150.0)


def axes(*lengths: float) -> Axes:
    found = fingerprint.counted(lengths)
    return found, found, found


def made(num_cases: int = 4, **changed: Any) -> Fingerprint:
    given_: dict[str, Any] = {
        "channels": {"MR": replace(GREY, n=num_cases)},
        "spacing": axes(*[1.0] * num_cases),
        "shape": axes(*[64.0] * num_cases),
        "classes": {1: Share(num_cases, 1000.0)},
    }
    return Fingerprint(num_cases, **{**given_, **changed})


def cells(*rows: tuple[int, int, int]) -> tuple[Cell, ...]:
    return tuple(Cell(*row) for row in rows)


# pooling


def test_grey_values_of_two_sites_by_hand() -> None:
    one = made(1, channels={"MR": Grey(1, 10.0, 3.0, 4.0, 16.0)})
    three = made(3, channels={"MR": Grey(3, 50.0, 1.0, 40.0, 60.0)})
    # mean (10 + 3 * 50) / 4; variance (9 + 30^2 + 3 * (1 + 10^2)) / 4; (4 + 3 * 40) / 4; (16 + 3 * 60) / 4
    assert pooling.pool([one, three]).channels["MR"] == Grey(4, 40.0, math.sqrt(303), 31.0, 49.0)


def test_percentiles_are_those_of_who_told_them() -> None:
    silent = made(1, channels={"MR": Grey(1, 100.0, 20.0, None, None)})
    assert pooling.pool([silent, made(3)]).channels["MR"] == replace(GREY, n=4)
    assert pooling.pool([silent, silent]).channels["MR"] == Grey(2, 100.0, 20.0, None, None)


def test_a_site_without_grey_values_of_its_own_changes_none() -> None:
    empty = made(2, channels={"MR": Grey(0, 0.0, 0.0, None, None)})
    assert pooling.pool([empty, made(4)]).channels["MR"] == GREY


def test_lengths_and_classes_add_up() -> None:
    pooled = pooling.pool([made(2, spacing=axes(1.0, 2.0)), made(3, spacing=axes(2.0, 2.0, 4.0))])
    assert pooled.spacing[0] == Lengths(cells((0, 0, 1), (35, 35, 3), (70, 70, 1)))
    assert pooled.num_cases == 5
    assert pooled.classes == {1: Share(5, 2000.0)}


def test_class_counts_are_of_the_sites_that_told_all_of_theirs() -> None:
    whole = made(30, classes={0: Share(20, 0.0), 1: Share(10, 0.0)})
    silent = made(4, classes={0: Share(None, None), 1: Share(0, 0.0)})
    assert pooling.pool([whole, silent]).classes == whole.classes
    assert pooling.pool([silent]).classes == {0: Share(None, None), 1: Share(None, None)}


values = st.lists(st.floats(-1000, 1000), min_size=1, max_size=12)


@given(st.lists(values, min_size=1, max_size=5))
def test_means_and_deviations_of_parts_pooled_are_those_of_the_whole(sites: list[list[float]]) -> None:
    parts = [
        made(len(site), channels={"MR": Grey(len(site), float(np.mean(site)), float(np.std(site)), None, None)})
        for site in sites
    ]
    everything = [value for site in sites for value in site]
    pooled = pooling.pool(parts).channels["MR"]
    assert pooled.n == len(everything)
    assert pooled.mean == pytest.approx(np.mean(everything), abs=1e-9)
    assert pooled.sd == pytest.approx(np.std(everything), abs=1e-6)


# lengths and their median


@given(st.lists(st.floats(0.05, 20), min_size=1, max_size=40))
def test_the_median_is_right_to_one_percent(lengths: list[float]) -> None:
    found = pooling.median(fingerprint.counted(lengths))
    # half a bin is a factor of 1.02 ** 0.5; rounding to four digits may add a two thousandth
    assert found == pytest.approx(sorted(lengths)[(len(lengths) - 1) // 2], rel=0.0105)


def test_a_length_that_no_file_says_counts_nowhere() -> None:
    assert fingerprint.counted([0.0, 0.0]) == NOTHING
    assert pooling.median(NOTHING) is None


def test_a_wide_cell_is_spread_over_its_bins() -> None:
    # bins 0, 1, 2 with 4 cases each, and bin 10 with 3: half of 15 is reached in bin 1
    assert pooling.median(Lengths(cells((0, 2, 12), (10, 10, 3)))) == pytest.approx(1.02)
    assert pooling.median(Lengths(cells((0, 0, 5)), untold=5)) == 1
    assert pooling.median(Lengths(cells((0, 0, 5)), untold=6)) is None


# what may leave


def test_cells_grow_over_their_neighbours_until_they_hold_enough() -> None:
    found = Lengths(cells((0, 0, 2), (3, 3, 1), (4, 4, 3), (9, 9, 1)))
    told = fingerprint.floored(made(7, spacing=(found, found, found)), 3).spacing[0]
    assert told == Lengths(cells((0, 3, 3), (4, 9, 4)))


@given(st.lists(st.integers(-5, 5), max_size=60), st.integers(1, 12))
def test_no_cell_is_too_small_and_nobody_is_lost(bins: list[int], min_count: int) -> None:
    found = fingerprint.counted(fingerprint.STEP**number for number in bins)
    told = fingerprint.floored(made(spacing=(found, found, found)), min_count).spacing[0]
    assert all(cell.count >= min_count for cell in told.cells)
    assert sum(cell.count for cell in told.cells) + told.untold == len(bins)
    assert told.untold == 0 or (told.cells == () and told.untold < min_count)
    if min_count == 1:
        assert told == found


def test_percentiles_of_few_cases_are_left_out_and_the_rest_is_rounded() -> None:
    exact = made(9, channels={"MR": Grey(9, 123.456789, 0.000123456789, 1.23456789, 98765.4321)})
    assert fingerprint.floored(exact, 9).channels["MR"] == Grey(9, 123.46, 0.00012346, 1.2346, 98765.0)
    assert fingerprint.floored(exact, 10).channels["MR"] == Grey(9, 123.46, 0.00012346, None, None)


@pytest.mark.parametrize(
    ("counts", "min_count", "told"),
    [
        ({0: 60, 1: 40}, 10, {0: 60, 1: 40}),
        ({0: 97, 1: 3}, 10, {0: None, 1: None}),  # 97 would tell of the 3
        ({0: 60, 1: 37, 2: 3}, 10, {0: 60, 1: None, 2: None}),  # so would 60 and 37 together
        ({0: 60, 1: 30, 2: 5, 3: 5}, 10, {0: 60, 1: 30, 2: None, 3: None}),  # 10 are enough to hide in
        ({0: 60, 1: 40, 2: 0}, 10, {0: 60, 1: 40, 2: 0}),  # nobody is not the same as not told
        ({0: 57, 1: 40, 2: 0, 3: 3}, 10, {0: 57, 1: None, 2: 0, 3: None}),
        ({0: 3, 1: 2}, 1, {0: 3, 1: 2}),
        ({0: 3, 1: 2}, 10, {0: None, 1: None}),
    ],
)
def test_classes_of_images(counts: dict[int, int], min_count: int, told: dict[int, int | None]) -> None:
    exact = made(sum(counts.values()), classes={label: Share(count, 0.0) for label, count in counts.items()})
    shown = fingerprint.floored(exact, min_count).classes
    assert {label: share.cases for label, share in shown.items()} == told


@pytest.mark.parametrize(
    ("cases", "told"), [(100, 100), (0, 0), (3, None), (97, None), (90, 90), (10, 10), (91, None), (9, None)]
)
def test_classes_of_voxels_are_told_when_enough_cases_have_them_and_lack_them(cases: int, told: int | None) -> None:
    exact = made(100, classes={1: Share(cases, 123456.0), 2: Share(50, 1.0)})
    shown = fingerprint.floored(exact, 10).classes[1]
    assert shown == (Share(None, None) if told is None else Share(cases, 123460.0))


@given(st.lists(st.integers(0, 40), min_size=2, max_size=6), st.integers(1, 12))
def test_no_class_of_a_few_images_can_be_worked_out(counts: list[int], min_count: int) -> None:
    exact = made(sum(counts), classes={label: Share(count, 0.0) for label, count in enumerate(counts)})
    told = [share.cases for share in fingerprint.floored(exact, min_count).classes.values()]
    hidden = sum(counts) - sum(count or 0 for count in told)
    assert hidden == 0 or hidden >= min_count or not any(told)
    assert all(not count or count >= min_count for count in told)


# what images go through


def test_what_a_volume_goes_through() -> None:
    data = {"modality": "MR", "channels": ["MR"], "labels": {1: "ball"}, "normalisation": "federated"}
    found = made(4, spacing=(axes(1.0)[0], axes(2.0)[0], axes(4.0)[0]))
    grey = {"MR": Intensity(mean=100, sd=20, low=60, high=150)}
    spaced = Preprocessing(channels=grey, spacing=(1, 2, 4))
    assert pooling.fitted(found, tiny_recipe(top={"data": data})) == spaced
    given_ = tiny_recipe(top={"data": {**data, "spacing": [3, 3, 3]}})
    assert pooling.fitted(found, given_) == Preprocessing(channels=grey)


def test_what_a_picture_goes_through() -> None:
    recipe = radiographs.recipe(data={"channels": ["MR"], "normalisation": "federated"})
    told = made(4, classes={0: Share(3, 0.0), 1: Share(1, 0.0)})
    assert pooling.fitted(told, recipe).class_counts == {0: 3, 1: 1}
    assert pooling.fitted(made(4, classes={0: Share(None, None), 1: Share(0, 0.0)}), recipe).class_counts is None


def test_what_nothing_can_be_made_of() -> None:
    data = {"modality": "MR", "channels": ["MR"], "labels": {1: "ball"}, "normalisation": "federated"}
    recipe = tiny_recipe(top={"data": data})
    flat, none = (made(channels={"MR": grey}) for grey in (replace(GREY, sd=0.0), Grey(0, 0.0, 0.0, None, None)))
    assert code_of(lambda: pooling.fitted(flat, recipe)) == "FM-NRM-03"
    assert code_of(lambda: pooling.fitted(none, recipe)) == "FM-NRM-03"
    silent = fingerprint.floored(made(4), 10)
    assert code_of(lambda: pooling.fitted(silent, recipe)) == "FM-NRM-04"


def test_what_was_fitted_fits_its_recipe_and_no_other() -> None:
    data = {"modality": "MR", "channels": ["MR"], "labels": {1: "ball"}, "normalisation": "federated"}
    volumes = tiny_recipe(top={"data": data})
    films = radiographs.recipe(data={"channels": ["MR"], "normalisation": "federated"})
    told = made(4, classes={0: Share(3, 0.0), 1: Share(1, 0.0)})
    one, two = pooling.fitted(made(4), volumes), pooling.fitted(told, films)
    table = tables.tabular(data={"normalisation": "federated", "imputation": "mean"})
    rows = pooling.fitted(replace(told, inputs=(replace(GREY, low=None, high=None),) * table.data.width), table)
    numbers, recipes = [one, two, rows], [volumes, films, table]
    found = [[pooling.fits(each, recipe) for recipe in recipes] for each in numbers]
    assert found == [[True, False, False], [False, True, False], [False, False, True]]
    assert not pooling.fits(two.model_copy(update={"class_counts": {0: 3}}), films)
    assert rows.columns
    level = next(column.name for column in table.data.columns if column.levels)
    wrong = {**rows.columns, level: rows.columns[level].model_copy(update={"fill": 99.0})}
    assert not pooling.fits(Preprocessing(columns=wrong), table)
