import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from fedmed.errors import FedmedError
from fedmed.training import metrics, networks

CPU = torch.device("cpu")
AFFINE = np.diag([1.0, 2.0, 3.0, 1.0])  # mm
SHAPE = (10, 8, 6)


def box(x, y, z):
    mask = np.zeros(SHAPE, np.uint8)
    mask[slice(*x), slice(*y), slice(*z)] = 1
    return mask


def scored(recipe, predicted, reference, affine=AFFINE):
    return {row.metric: row for row in metrics.score(predicted, reference, affine, recipe)}


def test_a_shifted_box_by_hand(recipe_of):
    # 4x4x2 voxels against the same one voxel further along y (2 mm): 24 of 32 voxels are shared
    rows = scored(recipe_of(), box((2, 6), (3, 7), (2, 4)), box((2, 6), (2, 6), (2, 4)))
    assert rows["dice"].value == pytest.approx(2 * 24 / 64)
    assert rows["sensitivity"].value == pytest.approx(24 / 32)
    assert rows["hd95"].value == pytest.approx(2.0)
    assert [rows["dice"].missed, rows["dice"].spurious, rows["dice"].empty] == [False] * 3


def test_hd95_is_the_larger_direction_and_in_mm(recipe_of):
    # one voxel against itself and one 4 voxels along z (12 mm): one direction is 0; the other has distances 0 and 12,
    # whose 95th percentile is 11.4
    reference = box((2, 3), (2, 3), (1, 2))
    rows = scored(recipe_of(), reference | box((2, 3), (2, 3), (5, 6)), reference)
    assert rows["hd95"].value == pytest.approx(0.95 * 12)
    assert scored(recipe_of(), reference, reference | box((2, 3), (2, 3), (5, 6)))["hd95"].value == pytest.approx(11.4)


def test_spacing_is_read_from_an_oblique_affine(recipe_of):
    turn = np.array([[0.6, -0.8, 0], [0.8, 0.6, 0], [0, 0, 1.0]])
    oblique = AFFINE.copy()
    oblique[:3, :3] = turn @ AFFINE[:3, :3]
    rows = scored(recipe_of(), box((2, 6), (3, 7), (2, 4)), box((2, 6), (2, 6), (2, 4)), oblique)
    assert rows["hd95"].value == pytest.approx(2.0)


DIAGONAL = math.sqrt(10**2 + 16**2 + 18**2)


@pytest.mark.parametrize(
    ("predicted", "reference", "marks", "values"),
    [
        (False, True, (True, False, False), (0.0, DIAGONAL, 0.0)),
        (True, False, (False, True, False), (0.0, DIAGONAL, None)),
        (False, False, (False, False, True), (1.0, 0.0, None)),
    ],
)
def test_a_missing_lesion_is_counted_and_never_dropped(recipe_of, predicted, reference, marks, values):
    something, nothing = box((2, 6), (2, 6), (2, 4)), np.zeros(SHAPE, np.uint8)
    rows = scored(recipe_of(), something if predicted else nothing, something if reference else nothing)
    assert [(row.missed, row.spurious, row.empty) for row in rows.values()] == [marks] * 3
    assert tuple(row.value for row in rows.values()) == pytest.approx(values)


def test_labels_are_scored_apart_and_only_what_the_recipe_asks(recipe_of):
    data = {"modality": "MR", "channels": ["MR"], "labels": {1: "a", 2: "b"}, "spacing": [2, 2, 2]}
    recipe = recipe_of(top={"data": data, "evaluation": {"metrics": ["dice"]}})
    reference = box((0, 2), (0, 2), (0, 2)) + 2 * box((4, 6), (4, 6), (2, 4))
    predicted = np.where(reference == 2, 2, 0).astype(np.uint8)
    rows = metrics.score(predicted, reference, AFFINE, recipe)
    assert [(row.metric, row.label, row.value, row.missed) for row in rows] == [
        ("dice", 1, 0.0, True),
        ("dice", 2, 1.0, False),
    ]


def test_evaluate_scores_every_case_by_alias(recipe_of, ball_root, ball_cases):
    recipe = recipe_of()
    params, _ = networks.initial_params(recipe)
    seen = []
    scores = metrics.evaluate(
        recipe, params, ball_cases[:2], root=ball_root, label_map={}, device=CPU, progress=lambda *at: seen.append(at)
    )
    assert [case.case for case in scores] == ["case-0", "case-1"]
    assert [row.metric for row in scores[0].rows] == ["dice", "hd95", "sensitivity"]
    assert seen == [(1, 2), (2, 2)]


def test_a_case_without_a_label_cannot_be_scored(recipe_of, ball_root, ball_cases):
    recipe = recipe_of()
    params, _ = networks.initial_params(recipe)
    with pytest.raises(FedmedError) as caught:
        metrics.evaluate(recipe, params, [replace(ball_cases[0], label=None)], root=ball_root, label_map={}, device=CPU)
    assert caught.value.code == "FM-TRN-03"
