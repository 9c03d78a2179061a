"""Classes that a site never labels: what it left blank is not learned as background, and nothing of them is scored."""

import math

import numpy as np
import pytest
import torch

from fedmed.cases import labels
from fedmed.errors import FedmedError
from fedmed.recipe import Classification
from fedmed.site import ratings, scores
from fedmed.training import classification, fit, metrics, networks, objective, overlap, resume
from fedmed.training.metrics import CaseScores
from fedmed.training.rated import Rated
from tests import radiographs

from .conftest import tiny_recipe

LABELS = {1: "ball", 2: "core", 3: "rim"}
DATA = {"modality": "MR", "channels": ["MR"], "labels": LABELS, "spacing": [2, 2, 2]}
LOGITS = [0.0, math.log(2), math.log(3), math.log(4)]  # probabilities .1, .2, .3, .4


def recipe(loss="DiceCELoss", **more):
    return tiny_recipe(top={"data": DATA}, loss={"name": loss, **more})


def voxel(value=0):
    """One voxel with the logits above, and its label."""
    logits = torch.tensor(LOGITS).reshape(1, 4, 1, 1, 1).requires_grad_()
    return logits, torch.full((1, 1, 1, 1, 1), value, dtype=torch.uint8)


def test_probabilities_of_absent_classes_count_as_backgrounds():
    merged = objective.merged(torch.tensor([LOGITS]), frozenset({2, 3}))
    assert torch.softmax(merged, 1)[0].tolist() == pytest.approx([0.1 + 0.3 + 0.4, 0.2])
    merged = objective.merged(torch.tensor([LOGITS]), frozenset({1}))
    assert torch.softmax(merged, 1)[0].tolist() == pytest.approx([0.1 + 0.2, 0.3, 0.4])


def test_gradient_of_cross_entropy_in_a_background_voxel():
    """p_k - [k in 0, 2] p_k / (p_0 + p_2): (.1 - .25, .2, .3 - .75, .4). The absent class 2 is pulled up with
    background, three times as much because it is three times as likely; without `absent` it would be pushed down.
    """
    whole = objective.loss_function(recipe(), None, frozenset({2}))
    dice = objective.loss_function(recipe("DiceLoss"), None, frozenset({2}))
    logits, label = voxel()
    loss = whole(logits, label) - dice(logits, label)
    assert loss.item() == pytest.approx(-math.log(0.1 + 0.3))
    (gradient,) = torch.autograd.grad(loss, logits)
    assert gradient.flatten().tolist() == pytest.approx([0.1 - 0.25, 0.2, 0.3 - 0.75, 0.4], abs=1e-6)
    plain = objective.loss_function(recipe())(logits, label) - objective.loss_function(recipe("DiceLoss"))(
        logits, label
    )
    (gradient,) = torch.autograd.grad(plain, logits)
    assert gradient.flatten().tolist() == pytest.approx([0.1 - 1, 0.2, 0.3, 0.4], abs=1e-6)


def test_a_voxel_of_a_class_that_is_there():
    """Class 3 is the third of the three that are left: -log .4, gradient p_k - [k = 3]."""
    logits, label = voxel(3)
    loss = objective.loss_function(recipe(), None, frozenset({2}))(logits, label)
    loss = loss - objective.loss_function(recipe("DiceLoss"), None, frozenset({2}))(logits, label)
    (gradient,) = torch.autograd.grad(loss, logits)
    assert loss.item() == pytest.approx(-math.log(0.4))
    assert gradient.flatten().tolist() == pytest.approx([0.1, 0.2, 0.3, 0.4 - 1], abs=1e-6)


@pytest.mark.parametrize("include_background", [True, False])
def test_dice_of_the_merged_classes_by_hand(include_background):
    """Two voxels, of background and of class 1, with p as above: merged (.5, .1, .4) or in order 0+2, 1, 3."""
    logits = torch.tensor([LOGITS, LOGITS]).T.reshape(1, 4, 2, 1, 1)
    label = torch.tensor([0, 1], dtype=torch.uint8).reshape(1, 1, 2, 1, 1)
    loss = objective.loss_function(recipe("DiceLoss", include_background=include_background), None, frozenset({2}))
    by_class = [1 - 2 * 0.4 / (0.8 + 1), 1 - 2 * 0.2 / (0.4 + 1), 1 - 0 / (0.8 + 0)]
    expected = np.mean(by_class if include_background else by_class[1:])
    assert loss(logits, label).item() == pytest.approx(expected, abs=1e-4)


def test_no_class_absent_is_the_loss_of_the_recipe():
    logits = torch.randn(2, 4, 3, 3, 3, generator=torch.Generator().manual_seed(1))
    label = torch.randint(0, 4, (2, 1, 3, 3, 3), generator=torch.Generator().manual_seed(2), dtype=torch.uint8)
    for name in overlap.LOSSES:
        same = objective.loss_function(recipe(name), None, frozenset())
        assert torch.equal(same(logits, label), objective.loss_function(recipe(name))(logits, label))


@pytest.mark.parametrize("value", [2, 3])
@pytest.mark.parametrize("name", list(overlap.LOSSES))
def test_a_label_of_an_absent_class_is_refused(value, name):
    """The reader refuses it long before; a loss that took it for something else would be silent."""
    loss = objective.loss_function(recipe(name), None, frozenset({2, 3}))
    with pytest.raises((RuntimeError, IndexError, AssertionError)):
        loss(*voxel(value))


def test_logits_of_absent_findings_are_left_out_of_the_softmax():
    film = radiographs.recipe(data={"labels": LABELS})
    weights = torch.tensor([1.0, 2.0, 7.0, 4.0])
    loss = objective.loss_function(film, weights, frozenset({2}))
    logits = torch.tensor([LOGITS, LOGITS], requires_grad=True)
    value = loss(logits, torch.tensor([0, 3]))
    expected = (1 * -math.log(0.1 / 0.7) + 4 * -math.log(0.4 / 0.7)) / 5
    assert value.item() == pytest.approx(expected, rel=1e-6)
    (gradient,) = torch.autograd.grad(value, logits)
    assert gradient[:, 2].tolist() == [0, 0]
    assert (gradient[:, [0, 1, 3]] != 0).all()
    with pytest.raises((RuntimeError, IndexError)):
        loss(logits, torch.tensor([0, 2]))


def recall_after(absent, steps=25):
    """Of class 2, in a classifier of voxels that knew it, after training where it is labelled background."""
    random = torch.Generator().manual_seed(3)
    number = torch.randint(0, 3, (2, 1, 4, 4, 4), generator=random)
    image = one_hot(number) + 0.1 * torch.randn(2, 3, 4, 4, 4, generator=random)
    network = torch.nn.Conv3d(3, 3, 1)
    with torch.no_grad():
        network.weight.copy_(8 * torch.eye(3).reshape(3, 3, 1, 1, 1))
        network.bias.zero_()
    data = {**DATA, "labels": {1: "ball", 2: "core"}}
    loss = objective.loss_function(tiny_recipe(top={"data": data}), None, absent)
    for _ in range(steps):
        network.zero_grad()
        loss(network(image), torch.where(number == 2, 0, number)).backward()
        with torch.no_grad():
            for param in network.parameters():
                param.sub_(param.grad)
    predicted = network(image).argmax(1, keepdim=True)
    return [
        ((predicted == label) & (number == label)).sum().item() / (number == label).sum().item() for label in (1, 2)
    ]


def one_hot(number):
    return torch.nn.functional.one_hot(number[:, 0], 3).movedim(-1, 1).float()


def test_a_site_that_never_labels_a_class_does_not_unlearn_it():
    assert recall_after(frozenset()) == [1.0, 0.0], "unlearned: it was labelled background"
    assert recall_after(frozenset({2})) == [1.0, 1.0]


# --- through training and scoring ---------------------------------------------------------------------------------


def test_training_with_a_class_absent(ball_root, ball_cases, tmp_path):
    two = tiny_recipe(top={"data": {**DATA, "labels": {1: "ball", 2: "core"}}}, local_steps=2)
    start = networks.initial_params(two)[0]

    def trained(absent):
        given = {"site": "a", "round": 0, "rounds": 1, "attempt": 1, "num_steps": 2, "device": torch.device("cpu")}
        return fit.fit(two, start, ball_cases, root=ball_root, label_map={}, absent=absent, **given).params

    plain, masked = trained(frozenset()), trained(frozenset({2}))
    assert any(not np.array_equal(plain[name], masked[name]) for name in plain)
    place = ("a", 0, 1, 1, 2)
    digests = {resume.inputs_digest(two, start, ball_cases, {}, each, None, place) for each in (frozenset(), {1}, {2})}
    assert len(digests) == 3


def test_scores_of_a_segmentation_leave_absent_classes_out():
    reference = np.zeros((4, 4, 4), np.uint8)
    reference[:2] = 1
    predicted = reference.copy()
    predicted[2:] = 2  # what the others taught it, and nobody here can judge
    rows = metrics.score(predicted, reference, np.eye(4), recipe(), frozenset({2, 3}))
    assert {row.label for row in rows} == {1}
    assert all(row.value in {1.0, 0.0} and not row.spurious for row in rows)
    told = scores.rows("global", [CaseScores("case-1", tuple(rows))] * 2, recipe(), 1)
    assert {row.label for row in told} == {"all", "ball"}
    dice = next(row for row in told if (row.metric, row.label) == ("dice", "all"))
    assert (dice.n, float(dice.mean)) == (2, 1.0)


class Fixed(torch.nn.Module):
    def forward(self, images):
        return torch.tensor([LOGITS]).repeat(len(images), 1)


def film() -> Classification:
    return radiographs.recipe(data={"labels": LABELS})


def test_probabilities_without_absent_findings():
    slices = torch.zeros(3, 1, 16, 16)
    found = classification.probabilities(Fixed(), slices, film(), torch.device("cpu"), frozenset({2}))
    np.testing.assert_allclose(found, [[1 / 7, 2 / 7, 0, 4 / 7]] * 3)
    whole = classification.probabilities(Fixed(), slices, film(), torch.device("cpu"))
    np.testing.assert_allclose(whole, [[0.1, 0.2, 0.3, 0.4]] * 3, atol=1e-7)


def test_figures_of_findings_that_nobody_labels_here():
    absent = frozenset({2})
    rated = [
        Rated(f"case-{number}", truth, tuple(0.7 if each == truth else 0.1 for each in range(4)), absent)
        for number, truth in enumerate([0, 1, 3] * 4)
    ]
    above = ratings.thresholds(rated, film())
    assert sorted(above) == [1, 3]
    rows = ratings.rows("global", rated, film(), 2, above)
    assert {row.label for row in rows} == {"all", "ball", "rim"}
    assert {row.n for row in rows if row.metric == "specificity_at_spec90"} == {8}
    assert {curve.label for curve in ratings.curves("global", rated, film(), 2)} == {"ball", "rim"}
    # beside a hospital that labels it, a finding is scored on that one's cases alone
    other = [Rated(f"other-{n}", truth, (0.1, 0.1, 0.7, 0.1), frozenset()) for n, truth in enumerate([0, 2] * 4)]
    auroc = [row for row in ratings.rows("global", rated + other, film(), 2, {}) if row.metric == "auroc"]
    assert {row.label: row.n for row in auroc} == {"all": 20, "ball": 20, "core": 8, "rim": 20}


def test_a_case_with_an_absent_class_is_not_trained_on(tmp_path):

    cases = radiographs.cases(tmp_path, [0, 1, 2])
    three = radiographs.recipe(data={"labels": {1: "fracture", 2: "implant"}})
    given = labels.labelling({}, ["implant"], three.data)
    start = networks.initial_params(three)[0]
    with pytest.raises(FedmedError) as refused:
        fit.fit(
            three, start, cases, root=tmp_path, label_map=given.label_map, absent=given.absent, site="a", round=0,
            rounds=1, attempt=1, num_steps=1, device=torch.device("cpu"),
        )  # fmt: skip
    assert refused.value.code == "FM-DAT-73"
