from pathlib import Path

import numpy as np
import pytest
import torch

from fedmed import recipe as recipes
from fedmed.errors import FedmedError
from fedmed.training import convolutional, networks

UNET = {"name": "UNet", "channels": [8, 16, 16], "strides": [2, 2]}
SEGRESNET = {"name": "SegResNet", "init_filters": 8, "blocks_down": [1, 1], "blocks_up": [1]}


@pytest.mark.parametrize("norm", ["instance", "group"])
@pytest.mark.parametrize(
    "network", [UNET, {**UNET, "num_res_units": 2, "dropout": 0.2}, SEGRESNET, {**SEGRESNET, "init_filters": 12}]
)
def test_every_network_builds_and_answers(recipe_of, network, norm):
    recipe = recipe_of(top={"network": {**network, "norm": norm}}, patch_size=[8, 8, 8])
    built = networks.build(recipe).eval()
    with torch.no_grad():
        assert built(torch.zeros(2, 1, 8, 8, 8)).shape == (2, 2, 8, 8, 8)


def test_group_norm_divides_every_width_it_meets(recipe_of):
    # with residual units MONAI also normalises an output as wide as the number of classes, here 2
    unet = {**UNET, "norm": "group"}
    groups = {
        (units, module.num_groups)
        for units in (0, 2)
        for module in networks.build(recipe_of(top={"network": {**unet, "num_res_units": units}})).modules()
        if isinstance(module, torch.nn.GroupNorm)
    }
    assert groups == {(0, 8), (2, 2)}


def test_weights_come_from_the_seed_alone(recipe_of):
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first, rows = networks.initial_params(recipe_of())
    assert torch.equal(before, torch.get_rng_state())
    torch.manual_seed(2)
    again, _ = networks.initial_params(recipe_of())
    other, _ = networks.initial_params(recipe_of(top={"seed": 8}))
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert any(not np.array_equal(first[name], other[name]) for name in first)
    assert [row["name"] for row in rows] == list(first)
    assert {row["group"] for row in rows} == {"param"}
    assert all(
        tensor.dtype == np.float32 and list(tensor.shape) == row["shape"]
        for tensor, row in zip(first.values(), rows, strict=True)
    )


@pytest.mark.parametrize("layer", [torch.nn.BatchNorm3d(2), torch.nn.InstanceNorm3d(2, track_running_stats=True)])
def test_running_statistics_are_refused_whoever_built_them(recipe_of, monkeypatch, layer):
    monkeypatch.setitem(convolutional.BUILDERS, "UNet", lambda _: torch.nn.Sequential(torch.nn.Conv3d(1, 2, 1), layer))
    with pytest.raises(FedmedError, match="layer 1 is") as caught:
        networks.build(recipe_of())
    assert caught.value.code == "FM-TRN-02"


class Odd(torch.nn.Module):
    """A counter that must stay, a floating buffer that must travel, and one tensor under two names."""

    def __init__(self):
        super().__init__()
        self.a = torch.nn.Parameter(torch.ones(2, 3))
        self.b = self.a
        self.register_buffer("scale", torch.ones(3))
        self.register_buffer("counter", torch.zeros((), dtype=torch.int64))


def test_what_travels():
    odd = Odd()
    assert networks.table(odd) == [
        {"name": "a", "shape": [2, 3], "group": "param"},
        {"name": "scale", "shape": [3], "group": "buffer"},
    ]
    params = networks.get_params(odd)
    params["a"][0, 0] = 5
    assert odd.a[0, 0] == 1  # a copy
    networks.set_params(odd, params)
    assert odd.b[0, 0] == 5


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda params: params.pop("scale"), "scale"),
        (lambda params: params.update(extra=np.zeros(1, np.float32)), "extra"),
        (lambda params: params.update(scale=np.zeros(4, np.float32)), r"expected shape \[3\], got \[4\]"),
    ],
)
def test_params_of_another_network_are_refused_and_nothing_is_changed(change, words):
    odd = Odd()
    params = {name: tensor * 2 for name, tensor in networks.get_params(odd).items()}
    change(params)
    with pytest.raises(FedmedError, match=words) as caught:
        networks.set_params(odd, params)
    assert caught.value.code == "FM-TEN-01"
    assert odd.a.sum() == 6


@pytest.mark.parametrize(
    "path", sorted((Path(__file__).parents[2] / "recipes").glob("*.yaml")), ids=lambda path: path.name
)
def test_every_shipped_recipe_builds_its_network(path):
    recipe = recipes.load(path)
    network = networks.build(recipe).eval()
    if isinstance(recipe, recipes.Rowwise):
        assert network(torch.zeros(3, recipe.data.width)).shape == (3, 1)
        return
    channels = len(recipe.data.channels)
    if isinstance(recipe, recipes.Classification):
        with torch.no_grad():
            assert network(torch.zeros(1, channels, *recipe.data.image_size)).shape == (1, recipe.num_classes)
        return
    if isinstance(recipe, recipes.Localisation):
        with torch.no_grad():
            maps = network(torch.zeros(1, channels, *recipe.data.image_size))
        assert maps.shape == (1, len(recipe.data.labels), *recipe.data.image_size)
        return
    side = recipe.network.reduction
    with torch.no_grad():
        logits = network(torch.zeros(1, channels, 2 * side, side, side))
    assert logits.shape == (1, recipe.num_classes, 2 * side, side, side)
