"""A personal head: which tensors it is, network by network, and FedRep's turns within a round."""

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from fedmed.errors import FedmedError
from fedmed.training import fit, networks
from tests import boxed, radiographs, tables
from tests.rounds import Killed, killed_behind, same

from .conftest import tiny_recipe

CPU = torch.device("cpu")
MLP = {"name": "MLP", "hidden": [6, 3]}
HEAD = {"personal": "head"}
UNETS = {
    "plain": {"name": "UNet", "channels": [4, 8], "strides": [2]},
    "residual": {"name": "UNet", "channels": [4, 8], "strides": [2], "num_res_units": 1},
    "SegResNet": {"name": "SegResNet", "init_filters": 8, "blocks_down": [1, 1], "blocks_up": [1]},
}


def film(network, **training):
    return radiographs.recipe(network=network, training={**HEAD, **training}, data={"image_size": [32, 32]})


def mlp(training):
    return tables.tabular(network=MLP, training=training, data=tables.AS_IT_STANDS)


def ball(network):
    return tiny_recipe(top={"network": network}, **HEAD)


@pytest.mark.parametrize(
    ("recipe", "head"),
    [
        (mlp(HEAD), {"6.weight", "6.bias"}),
        (film(radiographs.NETWORK), {"fc.weight", "fc.bias"}),
        (film({"name": "DenseNet121"}), {"class_layers.out.weight", "class_layers.out.bias"}),
        (ball(UNETS["plain"]), {"model.2.conv.weight", "model.2.conv.bias"}),
        (
            ball(UNETS["residual"]),
            {f"model.2.{layer}" for layer in ("0.conv.weight", "0.conv.bias", "0.adn.A.weight")}
            | {"model.2.1.conv.unit0.conv.weight", "model.2.1.conv.unit0.conv.bias"},
        ),
        (
            ball(UNETS["SegResNet"]),
            {f"conv_final.{layer}" for layer in ("0.weight", "0.bias", "2.conv.weight", "2.conv.bias")},
        ),
    ],
    ids=["MLP", "ResNet", "DenseNet121", "UNet", "UNet residual", "SegResNet"],
)
def test_the_head_of_every_network(recipe, head):
    rows = networks.table(networks.build(recipe))
    assert networks.staying(recipe) == head < {row["name"] for row in rows}
    assert {row["name"] for row in rows[-len(head) :]} == head, "the last layers"


def test_a_localisations_head_draws_the_heat_maps():
    assert networks.staying(boxed.recipe(training=HEAD)) == {"2.weight", "2.bias"}


def test_batch_norm_may_stay_with_it():
    both, norm = film(radiographs.BATCH_NORM["local"]), radiographs.recipe(network=radiographs.BATCH_NORM["local"])
    assert networks.staying(both) == networks.staying(norm) | {"fc.weight", "fc.bias"}


@pytest.mark.parametrize(("field", "value"), [("head_steps", 4), ("head_steps", 9), ("personal", "none")])
def test_turns_that_leave_nothing_to_learn_are_refused(field, value):
    with pytest.raises(FedmedError, match="head_steps") as caught:
        mlp({**HEAD, "head_steps": 1, field: value})
    assert caught.value.code == "FM-RCP-03"


def test_one_layer_is_no_head():
    with pytest.raises(FedmedError, match="only layer") as caught:
        tables.tabular(training=HEAD)
    assert caught.value.code == "FM-RCP-03"


def fitted(recipe, num_steps, **given):
    start = networks.initial_params(recipe)[0]
    place = {"site": "a", "round": 0, "rounds": 1, "attempt": 1, "device": CPU}
    cases = tables.cases([0, 1] * 8)
    return start, fit.fit(recipe, start, cases, root=None, label_map={}, num_steps=num_steps, **place, **given).params


def test_the_head_learns_first_and_the_rest_behind_it(tmp_path):
    """The optimiser's decay and the proximal term, too, leave what does not learn as it is."""
    chosen = {"name": "AdamW", "client_lr": 0.05, "weight_decay": 0.1}
    recipe = mlp({**HEAD, "head_steps": 2, "local_steps": 4, "optimizer": chosen, "proximal_mu": 0.1})
    start, last = fitted(recipe, 4)
    path = tmp_path / "checkpoint"
    with pytest.raises(Killed):
        fitted(recipe, 4, checkpoint=path, checkpoint_minutes=0, progress=killed_behind(2))
    between = {name.removeprefix("param/"): array for name, array in load_file(path).items()}
    head = networks.staying(recipe)
    for name in start:
        moved = not np.array_equal(start[name], between[name]), not np.array_equal(between[name], last[name])
        assert moved == ((True, False) if name in head else (False, True))


@pytest.mark.parametrize("step", [1, 2, 3])
def test_a_round_killed_in_either_turn_goes_on_bit_equal(tmp_path, step):
    recipe = mlp({**HEAD, "head_steps": 2})
    _, whole = fitted(recipe, 4)
    path = tmp_path / "checkpoint"
    with pytest.raises(Killed):
        fitted(recipe, 4, checkpoint=path, checkpoint_minutes=0, progress=killed_behind(step))
    assert same(whole, fitted(recipe, 4, checkpoint=path, checkpoint_minutes=0)[1])


def test_too_few_steps_for_both_turns():
    training = {**HEAD, "head_steps": 2, "local_steps": None, "local_epochs": 1}
    recipe = mlp(training)
    with pytest.raises(FedmedError, match="more steps than the 2") as caught:
        fitted(recipe, 2)
    assert caught.value.code == "FM-PER-01"
