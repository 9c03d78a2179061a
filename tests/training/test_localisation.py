"""Where a model points and what that hits, with the numbers written out; and a round that is bit-equal and learns."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from fedmed.cases.case import Box, Case, Geometry
from fedmed.reporting import detection
from fedmed.training import boxed, fit, localisation, networks, objective, scoring
from fedmed.training.heatmaps import Peak
from tests import boxed as films
from tests import radiographs
from tests.rounds import Killed, killed_behind, same

CPU = torch.device("cpu")
TWO = {"labels": {1: "one", 2: "two"}}


def matched(points, boxes):
    """Points as (label, score, x, y)."""
    found = localisation.matched([(Peak(label, score, 0, 0), (x, y)) for label, score, x, y in points], boxes)
    return [(each.score, each.outcome, each.box) for each in found]


def test_each_box_is_hit_once_by_the_highest_point_in_it():
    boxes = [Box(0, 0, 10, 10, 1), Box(20, 0, 10, 10, 1)]
    points = [(1, 0.2, 5, 5), (1, 0.9, 15, 5), (1, 0.8, 10, 10), (1, 0.5, 20, 0), (1, 0.4, 25, 5), (1, 0.1, 5, 11)]
    assert matched(points, boxes) == [
        (0.9, "false positive", None),
        (0.8, "hit", 0),  # on the border
        (0.5, "hit", 1),
        (0.4, "again", None),
        (0.2, "again", None),
        (0.1, "false positive", None),
    ]


def test_of_overlapping_boxes_a_point_hits_the_nearest_that_is_open():
    boxes = [Box(0, 0, 20, 20, 1), Box(8, 8, 4, 4, 1), Box(0, 0, 100, 100, 2)]
    assert matched([(1, 0.9, 11, 9), (1, 0.8, 10, 10), (1, 0.7, 10, 10)], boxes) == [
        (0.9, "hit", 0),  # both middles are as near: the first
        (0.8, "hit", 1),
        (0.7, "again", None),
    ]
    assert matched([(1, 0.9, 10, 9)], [Box(0, 0, 20, 20, 1), Box(8, 4, 4, 10, 1)]) == [(0.9, "hit", 1)]


def test_a_point_hits_boxes_of_its_own_label_alone():
    assert matched([(2, 0.9, 5, 5), (1, 0.8, 5, 5)], [Box(0, 0, 10, 10, 1)]) == [
        (0.9, "false positive", None),
        (0.8, "hit", 0),
    ]
    assert matched([], [Box(0, 0, 10, 10, 1)]) == []
    assert matched([(1, 0.9, 5, 5)], []) == [(0.9, "false positive", None)]


# the loss


def test_focal_loss_by_hand():
    logits = torch.tensor([[[[0.0, 2.0, -1.0]]]])
    maps = torch.tensor([[[[1.0, 0.5, 0.0]]]])
    p = [1 / (1 + math.exp(-x)) for x in (0, 2, -1)]
    expected = -(
        (1 - p[0]) ** 2 * math.log(p[0]) + 0.5**4 * p[1] ** 2 * math.log(1 - p[1]) + p[2] ** 2 * math.log(1 - p[2])
    )
    assert float(objective.focal(logits, maps)) == pytest.approx(expected, rel=1e-6)
    twice = objective.focal(logits.expand(2, 1, 1, 3), maps.expand(2, 1, 1, 3))
    assert float(twice) == pytest.approx(expected, rel=1e-6), "of two images with a peak each"
    nothing = objective.focal(logits, torch.zeros_like(maps))
    assert float(nothing) == pytest.approx(-sum(q**2 * math.log(1 - q) for q in p), rel=1e-6)


def test_the_heat_map_of_an_absent_class_is_left_out_of_loss_and_candidates(root):
    recipe = films.recipe(data=TWO)
    logits, maps = torch.randn(2, 2, 8, 8), torch.rand(2, 2, 8, 8)
    whole, without = objective.loss_function(recipe), objective.loss_function(recipe, absent=frozenset({1}))
    assert torch.equal(whole(logits, maps), objective.focal(logits, maps))
    assert torch.equal(without(logits, maps), objective.focal(logits[:, 1:], maps[:, 1:]))
    cases = films.cases(root / "absent", [0, 0])
    params = networks.get_params(networks.build(recipe))
    where = {"root": root / "absent", "label_map": {}, "device": CPU}
    for absent, labels in ((frozenset(), {1, 2}), (frozenset({1}), {2})):
        located = scoring.evaluate(recipe, params, cases, absent=absent, **where)
        assert {one.label for each in located for one in each.candidates} == labels
        assert {each.absent for each in located} == {absent}


def test_focal_loss_is_finite_at_the_ends():
    logits = torch.tensor([[[[-200.0, 200.0]]]], requires_grad=True)
    loss = objective.focal(logits, torch.tensor([[[[1.0, 0.0]]]]))
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(logits.grad).all()


# the network


@pytest.mark.parametrize("units", [0, 1, 2])
@pytest.mark.parametrize("labels", [{1: "one"}, {1: "one", 2: "two", 3: "three"}])
def test_it_draws_a_map_for_each_label_and_begins_low(units, labels):
    network = {"name": "UNet", "channels": [8, 16, 32], "strides": [2, 2], "num_res_units": units}
    recipe = films.recipe(network=network, data={"labels": labels})
    built = networks.build(recipe)
    with torch.inference_mode():
        maps = torch.sigmoid(built(torch.randn(2, 1, 32, 32)))
    assert maps.shape == (2, len(labels), 32, 32)
    assert maps.mean() == pytest.approx(0.01, rel=0.2)
    assert maps.max() < 0.05, "no pixel is taken for a finding before anything was learned"
    assert {row["group"] for row in networks.table(built)} == {"param"}


# a round


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("marks")


@pytest.fixture(scope="module")
def cases(root):
    return films.cases(root, [0, 1, 2] * 4)


def run(recipe, cases, root, **changes):
    where = {"site": "a", "round": 0, "rounds": 1, "attempt": 0, "num_steps": 4, "device": CPU}
    start = networks.get_params(networks.build(recipe))
    return fit.fit(recipe, start, cases, root=root, label_map={}, **{**where, **changes})


@pytest.mark.parametrize("step", [1, 3])
def test_a_killed_round_goes_on_bit_equal(root, cases, tmp_path, step):
    recipe, path = films.recipe(), tmp_path / "checkpoint"
    whole = run(recipe, cases, root)
    with pytest.raises(Killed):
        run(recipe, cases, root, checkpoint=path, checkpoint_minutes=0, progress=killed_behind(step))
    steps = []
    resumed = run(recipe, cases, root, checkpoint=path, progress=lambda *at: steps.append(at[0]))
    assert steps == list(range(step + 1, 5))
    assert same(whole.params, resumed.params)
    corrected = [replace(cases[0], label=(Box(1, 1, 7, 7, 1),)), *cases[1:]]
    run(recipe, corrected, root, checkpoint=path, progress=lambda *at: steps.append(at[0]))
    assert steps[-4:] == [1, 2, 3, 4], "boxes that were corrected are another input"


def test_the_number_of_loader_processes_does_not_matter(root, cases):
    assert same(run(films.recipe(), cases, root).params, run(films.recipe(), cases, root, num_workers=2).params)


def test_it_learns_to_point_at_crosses(root, cases):
    recipe = films.recipe(training={"batch_size": 8, "optimizer": {"client_lr": 0.02}}, augment=[])
    unseen = films.cases(root / "unseen", [0, 1, 2] * 4, seed=5)

    def sensitivity(params):
        """At one false positive in four images."""
        located = scoring.evaluate(recipe, params, unseen, root=root / "unseen", label_map={}, device=CPU)
        assert [each.case for each in located] == [case.case for case in unseen]
        assert [each.boxes for each in located] == [case.label for case in unseen]
        everything = [one for each in located for one in each.candidates]
        hits, wrong = (
            np.array([one.score for one in everything if one.outcome == kind]) for kind in ("hit", "false positive")
        )
        return detection.sensitivities(hits, wrong, 12, 12)[0]

    untrained = sensitivity(networks.get_params(networks.build(recipe)))
    trained = sensitivity(run(recipe, cases, root, num_steps=25).params)
    assert untrained < 0.5
    assert trained > 0.9


def test_candidates_lie_in_pixels_of_the_stored_image(root):
    """A network that answers with its input: the brightest pixel is where it was, whatever the frame."""

    class Echo(torch.nn.Module):
        def forward(self, image):
            return image

    levels = np.full((30, 20), 50)
    levels[21:24, 4:7] = 250
    radiographs.write(root / "echo.png", levels)
    box = Box(3, 20, 5, 5, 1)
    case = Case("case-00", "p", "", {"XR": ("echo.png",)}, (box,), {}, Geometry((20, 30, 1), (0.0, 0.0, 0.0), ""))
    for size in ([64, 80], [32, 16]):
        prepared = boxed.seen(case, root, films.recipe(data={"image_size": size}), {}, None)
        best = localisation._peaks(Echo(), prepared, films.recipe(), CPU)[0]
        point = boxed.place_in(prepared).back(best.x, best.y)
        assert point == pytest.approx((5.5, 22.5), abs=1.5)
        assert localisation.matched([(best, point)], [box])[0].outcome == "hit"
