"""What fedmed.yaml says of a site's labels: numbers of its own, and classes that it never labels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmed.cases import labels, reading
from fedmed.cases.find import find
from fedmed.cases.labels import Labelling
from fedmed.settings import DataFolder, Layout

from . import phantoms

if TYPE_CHECKING:
    from pathlib import Path

DATA = phantoms.recipe(labels={1: "tumour", 2: "edema", 3: "necrosis"}).data


def test_nothing_absent_changes_nothing() -> None:
    assert labels.labelling({}, [], DATA) == Labelling({}, frozenset())
    assert labels.labelling({7: 3, 8: 0}, [], DATA) == Labelling({7: 3, 8: 0}, frozenset())


def test_values_of_absent_classes_are_told_from_unknown_ones() -> None:
    found = labels.labelling({}, ["edema"], DATA)
    assert found == Labelling({0: 0, 1: 1, 2: labels.NEVER, 3: 3}, frozenset({2}))
    assert [labels.to_class(value, DATA, found.label_map, "case-1 label") for value in (0, 1, 3)] == [0, 1, 3]
    with phantoms.refuses("FM-DAT-73", "case-1 label: value 2 is of a class that absent in fedmed.yaml lists"):
        labels.to_class(2, DATA, found.label_map, "case-1 label", "value 2")
    with phantoms.refuses("FM-DAT-28"):
        labels.to_class(4, DATA, found.label_map, "case-1 label")
    mapped = labels.labelling({10: 1, 30: 3}, ["edema"], DATA)
    assert mapped == Labelling({10: 1, 30: 3}, frozenset({2}))
    with phantoms.refuses("FM-DAT-28"):
        labels.to_class(2, DATA, mapped.label_map, "case-1 label")


@pytest.mark.parametrize(
    ("label_map", "absent", "said"),
    [
        ({}, ["edma"], "expected names of the recipe's classes; did you mean edema?"),
        ({}, ["Nansen"], "absent: expected names of the recipe's classes"),
        ({}, ["tumour", "edema", "necrosis"], "expected some classes, got all of them"),
        ({20: 2}, ["edema", "necrosis"], "has edema, and label_map maps 20 to it"),
    ],
)
def test_what_does_not_fit(label_map: dict[int, int], absent: list[str], said: str) -> None:
    with phantoms.refuses("FM-DAT-72", said):
        labels.labelling(label_map, absent, DATA)


@pytest.mark.parametrize("target", [4, labels.NEVER])
def test_a_label_map_of_no_class(target: int) -> None:
    """Nobody writes into fedmed.yaml what stands for an absent class in the reader's map."""
    with phantoms.refuses("FM-DAT-07", f"label_map: 5: expected 0 to 3, got {target}"):
        labels.labelling({5: target}, [], DATA)


@given(st.sets(st.sampled_from(sorted(DATA.labels.values())), max_size=2), st.integers(0, 5))
def test_each_value_has_its_class_or_is_refused(absent: set[str], value: int) -> None:
    found = labels.labelling({}, sorted(absent), DATA)
    target, code = phantoms.attempt(lambda: labels.to_class(value, DATA, found.label_map, "case-1"))
    if value > 3:
        assert code == "FM-DAT-28"
    elif value and DATA.labels[value] in absent:
        assert code == "FM-DAT-73"
    else:
        assert (target, code) == (value, "")


def test_a_mask_with_an_absent_class_is_excluded(tmp_path: Path) -> None:
    """The others stay; the reader says which value it is, and finds nothing in a mask without it."""
    recipe = phantoms.recipe(labels=DATA.labels, max_excluded=1)
    for name, value in (("a", 1), ("b", 2)):
        phantoms.write_nifti(tmp_path / f"images/{name}.nii", phantoms.ramp())
        phantoms.write_nifti(tmp_path / f"labels/{name}.nii", phantoms.mask() * np.uint8(value))
    folder = DataFolder(root=str(tmp_path), layout=Layout(image={"T1": "images/{case}.nii"}, label="labels/{case}.nii"))
    label_map = labels.labelling({}, ["edema"], DATA).label_map
    found = find(folder, recipe, pseudonym_key=b"k", label_map=label_map)
    assert [case.label for case in found.cases] == ["labels/a.nii"]
    (excluded,) = found.excluded
    assert excluded.code == "FM-DAT-73"
    assert "value 2" in excluded.message
    assert reading.read(found.cases[0], tmp_path, recipe.data, label_map).label.max() == 1


def test_a_recipe_without_classes_has_none_absent() -> None:
    assert labels.labelling({}, [], DATA.model_copy(update={"labels": {}})) == Labelling({})
