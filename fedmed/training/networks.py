"""Networks by name, and the params that travel: the only place where a torch module becomes named arrays.

Layers that keep running statistics of the data are built only where the recipe says what becomes of them: averaging or
forgetting them silently breaks a federation (Li et al., FedBN, ICLR 2021, arXiv:2102.07623), and MONAI builds some of
them where another norm was asked for.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np
import torch
from torch import nn

from fedmed import recipe as recipes
from fedmed import recipe_networks
from fedmed.errors import FedmedError
from fedmed.training import quiet, seeds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from fedmed.recipe import Recipe, Rowwise
    from fedmed.recipe_networks import BatchNorm

quiet.silence()

Params = dict[str, np.ndarray]
BATCH_NORM = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


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
        network = _builder(recipe)(recipe)
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


def refuse_buffers(network: nn.Module) -> None:
    """For differential privacy: what a layer keeps beside its weights would carry patients past the noise.

    Raises FedmedError FM-TRN-02.
    """
    for name, module in network.named_modules():
        if isinstance(module, BATCH_NORM) or any(True for _ in module.buffers(recurse=False)):
            kind = type(module).__name__
            words = "which keeps state beside its weights; dp excludes it"
            raise FedmedError("FM-TRN-02", f"network: layer {name or 'itself'} is {kind}, {words}")


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


def _builder(recipe: Recipe) -> Callable[[Any], nn.Module]:
    if isinstance(recipe, recipes.Rowwise):
        return FOR_ROWS[recipe.network.name]
    from fedmed.training import convolutional  # noqa: PLC0415 - monai, which tables do without

    return convolutional.BUILDERS[recipe.network.name]


FOR_ROWS: dict[str, Callable[[Any], nn.Module]] = {"Linear": _linear, "MLP": _mlp}
