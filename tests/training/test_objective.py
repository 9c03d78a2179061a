import math

import pytest
import torch

from fedmed.training import objective, overlap


def rates(recipe, rounds):
    return [recipe.training.learning_rate(number, rounds) for number in range(rounds)]


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ({"name": "constant"}, [0.01, 0.01, 0.01, 0.01]),
        ({"name": "constant", "warmup_rounds": 1}, [0.005, 0.01, 0.01, 0.01]),
        # (1 + cos(0, 45, 90, 135 degrees)) / 2
        ({"name": "cosine"}, [0.01, 0.00853553, 0.005, 0.00146447]),
        # two rounds of warm-up, then (1 + cos(0, 90 degrees)) / 2
        ({"name": "cosine", "warmup_rounds": 2}, [0.01 / 3, 0.02 / 3, 0.01, 0.005]),
        ({"name": "polynomial", "power": 2}, [0.01, 0.005625, 0.0025, 0.000625]),
    ],
)
def test_learning_rate_over_four_rounds(recipe_of, schedule, expected):
    assert rates(recipe_of(schedule=schedule), 4) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("name", ["constant", "cosine", "polynomial"])
def test_no_round_is_without_a_learning_rate(recipe_of, name):
    recipe = recipe_of(schedule={"name": name, "warmup_rounds": 3})
    for rounds in (1, 2, 3, 4):
        assert all(0 < rate <= 0.01 for rate in rates(recipe, rounds))
    assert recipe.training.learning_rate(9, 5) == recipe.training.learning_rate(4, 5) > 0  # an extension


def test_proximal_step_by_hand():
    # loss w^2 at w = 3, w_global = 1, mu = 0.5: gradient 6 + 0.5 (3 - 1) = 7; SGD with 0.1 gives 3 - 0.7
    w = torch.nn.Parameter(torch.tensor([3.0]))
    optimizer = torch.optim.SGD([w], lr=0.1)
    (w**2).sum().backward()
    objective.add_proximal([w], [torch.tensor([1.0])], 0.5)
    optimizer.step()
    assert w.item() == pytest.approx(2.3)


def test_dice_loss_by_hand(recipe_of):
    # eight voxels, two of the ball; the network says 0.5 everywhere: 1 - (2 * 1) / (2 + 8 * 0.5) = 2/3
    label = torch.zeros(1, 1, 2, 2, 2, dtype=torch.uint8)
    label[0, 0, 0, 0] = 1
    loss = objective.loss_function(recipe_of(loss={"name": "DiceLoss"}))
    assert loss(torch.zeros(1, 2, 2, 2, 2), label).item() == pytest.approx(2 / 3, abs=1e-4)
    both = objective.loss_function(recipe_of(loss={"name": "DiceCELoss"}))
    assert both(torch.zeros(1, 2, 2, 2, 2), label).item() == pytest.approx(2 / 3 + math.log(2), abs=1e-4)


@pytest.mark.parametrize("name", list(overlap.LOSSES))
@pytest.mark.parametrize("background", [True, False])
def test_every_loss_prefers_the_truth(recipe_of, name, background):
    label = torch.randint(0, 2, (2, 1, 4, 4, 4), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    truth = torch.cat([label == 0, label == 1], dim=1).float() * 20 - 10
    loss = objective.loss_function(recipe_of(loss={"name": name, "include_background": background}))
    assert loss(truth, label).item() < 0.01 < loss(-truth, label).item()


def test_corrected_step_by_hand():
    # loss w^2 at w = 3, c - c_i = -2: gradient 6 - 2 = 4; SGD with 0.1 gives 3 - 0.4; what has no gradient stays
    w, frozen = torch.nn.Parameter(torch.tensor([3.0])), torch.nn.Parameter(torch.tensor([1.0]))
    optimizer = torch.optim.SGD([w, frozen], lr=0.1)
    (w**2).sum().backward()
    objective.add_correction([w, frozen], [torch.tensor([-2.0]), torch.tensor([5.0])])
    optimizer.step()
    assert [w.item(), frozen.item()] == pytest.approx([2.6, 1.0])
