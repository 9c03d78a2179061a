"""What a classifier says of a case and of a patient, with the numbers written out."""

import numpy as np
import pytest
import torch

from fedmed.errors import FedmedError
from fedmed.training import classification, devices, networks
from tests import radiographs
from tests.cases import phantoms

CPU = torch.device("cpu")
TWO = {"labels": {1: "one", 2: "two"}}


@pytest.mark.parametrize(
    ("pooling", "expected"),
    [
        ("mean", (0.4, 0.2, 0.4)),
        ("max", (0.3, 0.3, 0.7)),  # each finding's largest; class 0 gets what the largest of them leaves
    ],
)
def test_pooling_by_hand(pooling, expected):
    recipe = radiographs.recipe(data=TWO, evaluation={"pooling": pooling})
    slices = [np.array(row) for row in ([0.7, 0.2, 0.1], [0.5, 0.1, 0.4], [0.0, 0.3, 0.7])]
    assert classification.pooled(slices, recipe) == pytest.approx(expected)
    assert classification.pooled(slices[:1], recipe) == pytest.approx(
        (0.7, 0.2, 0.1) if pooling == "mean" else (0.8, 0.2, 0.1)
    )


def test_with_one_finding_both_ways_of_pooling_add_up_to_one():
    slices = [np.array(row) for row in ([0.75, 0.25], [0.5, 0.5])]
    for pooling, expected in (("mean", (0.625, 0.375)), ("max", (0.5, 0.5))):
        assert classification.pooled(slices, radiographs.recipe(evaluation={"pooling": pooling})) == expected


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    root = tmp_path_factory.mktemp("films")
    return root, radiographs.cases(root, [0, 1, 2, 1, 0])


def rated(films, cases=None, label_map=None, **changed):
    recipe = radiographs.recipe(data=TWO, **changed)
    params, _ = networks.initial_params(recipe)
    return classification.evaluate(
        recipe, params, films[1] if cases is None else cases, root=films[0], label_map=label_map or {}, device=CPU
    )


def test_one_row_a_case_in_the_order_given(films):
    rows = rated(films)
    assert [row.who for row in rows] == [f"case-{number:02d}" for number in range(5)]
    assert [row.truth for row in rows] == [0, 1, 2, 1, 0]
    assert all(sum(row.probabilities) == pytest.approx(1, abs=1e-12) and len(row.probabilities) == 3 for row in rows)
    assert len({row.probabilities for row in rows}) == 5
    assert rated(films, films[1][::-1]) == rows[::-1]
    assert [row.truth for row in rated(films, label_map={1: 2, 2: 1})] == [0, 2, 1, 2, 0]


def test_a_patient_with_two_exams_is_one_row(films):
    _, cases = films
    of_ann = [radiographs.case(case.case, case.label, patient="ann") for case in (cases[0], cases[2], cases[1])]
    listed = [of_ann[0], cases[3], of_ann[1], of_ann[2]]
    single = {row.who: row for row in rated(films, evaluation={"unit": "case"})}
    rows = rated(films, listed, evaluation={"unit": "patient"})
    assert [row.who for row in rows] == ["ann", "case-03"]
    assert [row.truth for row in rows] == [2, 1], "the higher number of two findings, and a finding before none"
    mean = np.mean([single[case.case].probabilities for case in of_ann], axis=0)
    np.testing.assert_allclose(rows[0].probabilities, mean, rtol=1e-6)
    assert rows[1].probabilities == single["case-03"].probabilities
    assert len(rated(films, listed, evaluation={"unit": "case"})) == 4


def test_all_slices_count_however_they_are_batched(tmp_path):
    levels = np.random.RandomState(0).rand(20, 20, 9).astype(np.float32) + np.arange(1, 10)
    phantoms.write_nifti(tmp_path / "v.nii.gz", levels.astype(np.float32), np.eye(4))
    case = radiographs.case("case-00", 1)
    case = type(case)(**{**vars(case), "image": {"MR": ("v.nii.gz",)}})
    data = {"modality": "MR", "channels": ["MR"], "slices": {"middle": 1}}
    found = []
    for size in (1, 4, 16):
        recipe = radiographs.recipe(data=data, evaluation={"batch_size": size, "pooling": "max"})
        params, _ = networks.initial_params(recipe)
        found.append(
            classification.evaluate(recipe, params, [case], root=tmp_path, label_map={}, device=CPU)[0].probabilities
        )
    np.testing.assert_allclose(found[0], found[1], rtol=1e-5)
    np.testing.assert_allclose(found[0], found[2], rtol=1e-5)


def test_progress_and_no_case(films):
    seen = []
    recipe = radiographs.recipe(data=TWO)
    params, _ = networks.initial_params(recipe)
    where = {"root": films[0], "label_map": {}, "device": CPU}
    classification.evaluate(recipe, params, films[1][:2], progress=lambda *at: seen.append(at), **where)
    assert seen == [(1, 2), (2, 2)]
    assert classification.evaluate(recipe, params, [], **where) == []


def test_a_case_without_a_class_is_refused(films):
    with pytest.raises(FedmedError) as caught:
        rated(films, [radiographs.case("case-00", None)])
    assert caught.value.code == "FM-TRN-03"


def test_a_full_device_has_a_code(films, monkeypatch):
    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(devices, "autocast", full)
    with pytest.raises(FedmedError) as caught:
        rated(films)
    assert caught.value.code == "FM-RES-04"
