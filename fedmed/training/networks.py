"""Networks by name, and the params that travel: the only place where a torch module becomes named arrays.

Layers that keep running statistics of the data are built only where the recipe says what becomes of them: averaging or
forgetting them silently breaks a federation (Li et al., FedBN, ICLR 2021, arXiv:2102.07623), and MONAI builds some of
them where another norm was asked for.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np
import torch
from monai.networks import nets
from monai.networks.layers import get_norm_layer
from torch import nn

from fedmed import recipe as recipes
from fedmed import recipe_networks
from fedmed.errors import FedmedError
from fedmed.training import quiet, seeds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from fedmed.recipe import Imaging, Recipe, Rowwise
    from fedmed.recipe_networks import BatchNorm

quiet.silence()

Params = dict[str, np.ndarray]
BATCH_NORM = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
MAX_GROUPS = 8  # MONAI's own number for SegResNet
PRIOR = 0.01


class Row(TypedDict):
    """One row of the parameter table: what a tensor that travels is called and how it is shaped."""

    name: str
    shape: list[int]
    group: str


def build(recipe: Recipe) -> nn.Module:
    """The recipe's network on the CPU, its first weights drawn from `recipe.seed` alone.

    Segmentation: [B, channels, X, Y, Z] float32 to [B, num_classes, X, Y, Z] logits. Classification: [B, channels,
    rows, columns] to [B, num_classes]; localisation to [B, labels, rows, columns]. Rows of a table: [B, width] to [B,
    num_outputs]. Leaves torch's random state as it was. Raises FedmedError FM-TRN-02 when a layer that keeps running
    statistics is in it and the recipe has no `batch_norm`.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seeds.seed(recipe.seed, "weights"))
        network = BUILDERS[recipe.network.name](recipe)
    if batch_norm(recipe) is None:
        refuse_running_statistics(network)
    return network


def loaded(recipe: Recipe, params: Mapping[str, np.ndarray], device: torch.device) -> nn.Module:
    """The recipe's network with `params` on `device`, in evaluation mode. Raises FedmedError FM-TEN-01."""
    network = build(recipe)
    set_params(network, params)
    return network.to(device).eval()


def batch_norm(recipe: Recipe) -> BatchNorm | None:
    """The recipe's policy for batch norm layers; None where it has none."""
    network = recipe.network
    return network.batch_norm if isinstance(network, recipe_networks.Classifier) else None


def staying(recipe: Recipe) -> frozenset[str]:
    """Names of the tensors that a site keeps to itself: weights and statistics of batch norm under `local` (FedBN), and
    a personal head (FedPer: Arivazhagan et al. 2019, arXiv:1912.00818; FedRep: Collins et al., ICML 2021).
    """
    is_own, has_head = batch_norm(recipe) == "local", recipe.training.personal == "head"
    if not is_own and not has_head:
        return frozenset()
    network = build(recipe)
    names = [row["name"] for row in table(network)]
    norms = {name for name, module in network.named_modules() if is_own and isinstance(module, BATCH_NORM)}
    kept = {name for name in names if name.rpartition(".")[0] in norms}
    return frozenset(kept.union(name for name in names if has_head and in_head(recipe, name)))


def in_head(recipe: Recipe, name: str) -> bool:
    """Whether a tensor belongs to the head, the last layer: from features to classes. Of a segmenting U-Net that is its
    whole last level on the way up, which has as many channels as classes from its first convolution on.
    """
    network = recipe.network
    if isinstance(network, recipe_networks.UNet):
        prefix = "2." if isinstance(recipe, recipes.Localisation) else "model.2."
    elif isinstance(network, recipe_networks.MLP):
        prefix = f"{3 * len(network.hidden)}."  # behind a linear layer, ReLU and dropout for each width
    else:
        prefix = {"SegResNet": "conv_final.", "DenseNet121": "class_layers.out.", "ResNet": "fc."}[network.name]
    return name.startswith(prefix)


def keep_turns(network: nn.Module, recipe: Recipe, step: int) -> None:
    """FedRep: drop the gradients of what does not learn in this step, which is the body in the first `head_steps` of a
    round and the head behind them.
    """
    if recipe.training.head_steps:
        for name, tensor in network.named_parameters():
            if in_head(recipe, name) != (step < recipe.training.head_steps):
                tensor.grad = None


def set_training(network: nn.Module, recipe: Recipe) -> None:
    """Training mode; batch norm under `frozen` keeps its statistics and learns nothing."""
    network.train()
    if batch_norm(recipe) == "frozen":
        for module in network.modules():
            if isinstance(module, BATCH_NORM):
                module.eval().requires_grad_(False)


def refuse_running_statistics(network: nn.Module) -> None:
    """Look at what was built, not at what was asked for. Raises FedmedError FM-TRN-02."""
    for name, module in network.named_modules():
        if getattr(module, "track_running_stats", False) or getattr(module, "running_mean", None) is not None:
            kind = type(module).__name__
            raise FedmedError(
                "FM-TRN-02", f"network: layer {name or 'itself'} is {kind}, which keeps running statistics"
            )


def table(network: nn.Module) -> list[Row]:
    """The rows of what travels, in the network's own order: floating-point state only, a shared tensor once."""
    learned = {name for name, _ in network.named_parameters(remove_duplicate=False)}
    return [
        {"name": name, "shape": list(tensor.shape), "group": "param" if name in learned else "buffer"}
        for name, tensor in _travelling(network)
    ]


def get_params(network: nn.Module) -> Params:
    """A float32 copy of what travels, on the CPU."""
    return {name: np.array(tensor.detach().cpu().numpy(), np.float32) for name, tensor in _travelling(network)}


def set_params(network: nn.Module, params: Mapping[str, np.ndarray]) -> None:
    """Copy `params` into the network, in place.

    Raises FedmedError FM-TEN-01 unless names and shapes are exactly the network's own.
    """
    state = dict(_travelling(network))
    if state.keys() != params.keys():
        odd = sorted(state.keys() ^ params.keys())
        raise FedmedError("FM-TEN-01", f"params: {len(odd)} tensors are missing or unknown, the first is {odd[0]}")
    for name, tensor in state.items():
        if tuple(tensor.shape) != params[name].shape:
            expected, got = list(tensor.shape), list(params[name].shape)
            raise FedmedError("FM-TEN-01", f"params: tensor {name}: expected shape {expected}, got {got}")
    with torch.no_grad():
        for name, tensor in state.items():
            tensor.copy_(torch.tensor(params[name]))


def initial_params(recipe: Recipe) -> tuple[Params, list[Row]]:
    """Model r0 of a federation: the first weights and the parameter table.

    Raises FedmedError FM-FED-04 where the recipe freezes statistics that nothing has ever been learned from.
    """
    if batch_norm(recipe) == "frozen":
        raise FedmedError("FM-FED-04", "the recipe freezes batch norm: expected weights that were trained before")
    network = build(recipe)
    return get_params(network), table(network)


def _travelling(network: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    """Integer buffers (counters, index tables) stay: every site takes them from its own freshly built network."""
    seen: set[tuple[int, tuple[int, ...], tuple[int, ...]]] = set()
    for name, tensor in network.state_dict(keep_vars=True).items():
        place = (tensor.data_ptr(), tuple(tensor.shape), tensor.stride())
        if not tensor.is_floating_point() or (tensor.numel() and place in seen):
            continue
        seen.add(place)
        yield name, tensor


def _unet(recipe: Imaging) -> nn.Module:
    """U-Net with residual units (Ronneberger et al. 2015; Kerfoot et al. 2019), as in MONAI. Heat maps: see `_head`."""
    network = recipe.network
    if not isinstance(network, recipe_networks.UNet):
        raise TypeError(type(network).__name__)
    is_flat = isinstance(recipe, recipes.Localisation)
    out_channels = network.channels[0] if is_flat else recipe.num_classes
    # with residual units MONAI also normalises the last upsampling, as wide as the output
    widths = (*network.channels, out_channels) if network.num_res_units else network.channels
    built: nn.Module = nets.UNet(
        spatial_dims=2 if is_flat else 3,
        in_channels=len(recipe.data.channels),
        out_channels=out_channels,
        channels=network.channels,
        strides=network.strides,
        num_res_units=network.num_res_units,
        norm=_norm(network.norm, widths),
        dropout=network.dropout,
    )
    return nn.Sequential(built, nn.ReLU(), _head(out_channels, recipe.num_classes)) if is_flat else built


def _head(width: int, labels: int) -> nn.Module:
    """From features to a heat map for each label, a pixel at a time (Zhou et al. 2019): a norm over the one map of a
    single label would give every image a peak.

    It begins at PRIOR everywhere, or the first steps would only learn that most pixels are none (Lin et al. 2017).
    """
    head = nn.Conv2d(width, labels, kernel_size=1)
    with torch.no_grad():
        head.weight.normal_(std=0.01)
        head.bias.fill_(math.log(PRIOR / (1 - PRIOR)))  # type: ignore[union-attr]
    return head


def _segresnet(recipe: Imaging) -> nn.Module:
    """SegResNet without the autoencoder branch (Myronenko 2018), as in MONAI."""
    network = recipe.network
    if not isinstance(network, recipe_networks.SegResNet):
        raise TypeError(type(network).__name__)
    built: nn.Module = nets.SegResNet(
        spatial_dims=3,
        init_filters=network.init_filters,
        in_channels=len(recipe.data.channels),
        out_channels=recipe.num_classes,
        blocks_down=network.blocks_down,
        blocks_up=network.blocks_up,
        norm=_norm(network.norm, (network.init_filters,)),
        dropout_prob=network.dropout or None,
    )
    return built


def _densenet(recipe: Imaging) -> nn.Module:
    """DenseNet121 (Huang et al. 2017), as in MONAI, not pretrained."""
    network = recipe.network
    if not isinstance(network, recipe_networks.DenseNet121):
        raise TypeError(type(network).__name__)
    built: nn.Module = nets.DenseNet121(
        spatial_dims=2,
        in_channels=len(recipe.data.channels),
        out_channels=recipe.num_classes,
        norm=_norm(network.norm, (64, 32)),
        dropout_prob=network.dropout_prob,
    )
    return built


def _resnet(recipe: Imaging) -> nn.Module:
    """ResNet of basic blocks (He et al. 2016), as in MONAI."""
    network = recipe.network
    if not isinstance(network, recipe_networks.ResNet):
        raise TypeError(type(network).__name__)
    built: nn.Module = nets.ResNet(
        block="basic",
        layers=list(network.layers),
        block_inplanes=list(network.block_inplanes),
        spatial_dims=2,
        n_input_channels=len(recipe.data.channels),
        conv1_t_size=network.conv1_t_size,
        conv1_t_stride=network.conv1_t_stride,
        no_max_pool=network.no_max_pool,
        num_classes=recipe.num_classes,
        bias_downsample=False,
    )
    if network.norm != "batch":
        _replace_batch_norm(built, _norm(network.norm, network.block_inplanes))
    return built


def _linear(recipe: Rowwise) -> nn.Module:
    return nn.Linear(recipe.data.width, recipe.num_outputs)


def _mlp(recipe: Rowwise) -> nn.Module:
    network = recipe.network
    if not isinstance(network, recipe_networks.MLP):
        raise TypeError(type(network).__name__)
    layers: list[nn.Module] = []
    for before, after in pairwise((recipe.data.width, *network.hidden)):
        layers += [nn.Linear(before, after), nn.ReLU(), nn.Dropout(network.dropout)]
    return nn.Sequential(*layers, nn.Linear(network.hidden[-1], recipe.num_outputs))


def _replace_batch_norm(network: nn.Module, norm: tuple[str, dict[str, Any]]) -> None:
    """MONAI 1.6 hands ResNet's `norm` to the first layer alone and builds batch norm everywhere else."""
    for parent in list(network.modules()):
        for name, layer in list(parent.named_children()):
            if isinstance(layer, BATCH_NORM):
                setattr(parent, name, get_norm_layer(norm, spatial_dims=2, channels=layer.num_features))


def _norm(name: str, widths: tuple[int, ...]) -> tuple[str, dict[str, Any]]:
    """MONAI's norm argument. Group norm takes the largest number of groups, at most 8, that divides every width."""
    if name != "group":
        return name, {}
    groups = math.gcd(*widths)
    return "group", {"num_groups": max(n for n in range(1, MAX_GROUPS + 1) if groups % n == 0)}


BUILDERS: dict[str, Callable[[Any], nn.Module]] = {
    "UNet": _unet,
    "SegResNet": _segresnet,
    "DenseNet121": _densenet,
    "ResNet": _resnet,
    "Linear": _linear,
    "MLP": _mlp,
}
