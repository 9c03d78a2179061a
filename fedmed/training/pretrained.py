"""Initial weights from a file: safetensors alone, every tensor accounted for.

Weights that silently fail to match are the classic way to train from nothing while believing otherwise. So names and
shapes must be the network's own; only the last layer of a classifier, which has as many outputs as the recipe has
classes, may be missing or of another shape, and then starts anew.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import nn

from fedmed import files
from fedmed import recipe as recipes
from fedmed.errors import FedmedError
from fedmed.training import networks

if TYPE_CHECKING:
    from pathlib import Path

    from fedmed.recipe import Recipe
    from fedmed.training.networks import Params, Row

MAX_BYTES = 8 << 30


@dataclass(frozen=True)
class Pretrained:
    """Params of the whole network with its table; `fresh` names the tensors that the file did not give."""

    params: Params
    rows: list[Row]
    fresh: tuple[str, ...]


def read(recipe: Recipe, path: Path) -> Pretrained:
    """Raises FedmedError FM-TEN-04 (no safetensors file), FM-TEN-01 (other tensors) or FM-TEN-02 (not finite)."""
    network = networks.build(recipe)
    params, rows = networks.get_params(network), networks.table(network)
    counters = network.state_dict().keys() - params.keys()  # integers that every site counts for itself
    given, head, fresh = _tensors(path), _head(network, recipe), []
    for name, own in params.items():
        tensor = given.pop(name, None)
        if tensor is not None and tuple(tensor.shape) == own.shape:
            params[name] = _finite(name, tensor)
        elif name in head:
            fresh.append(name)
        else:
            got = "none" if tensor is None else list(tensor.shape)
            raise FedmedError("FM-TEN-01", f"weights: tensor {name}: expected shape {list(own.shape)}, got {got}")
    if unknown := sorted(given.keys() - counters):
        first = unknown[0][:80]
        raise FedmedError(
            "FM-TEN-01", f"weights: {len(unknown)} tensors are not of the network, the first is {first!r}"
        )
    return Pretrained(params, rows, tuple(fresh))


def _tensors(path: Path) -> dict[str, torch.Tensor]:
    try:
        data = files.read_bounded(path.resolve(), MAX_BYTES)  # a link is fine: an operator named it, on this computer
    except OSError as error:
        raise FedmedError("FM-TEN-04", "weights: the file cannot be read", local=f"{path}: {error}") from error
    try:
        tensors: dict[str, torch.Tensor] = load(data)
    except (SafetensorError, ValueError, KeyError, RecursionError) as error:
        raise FedmedError("FM-TEN-04", "weights: not a whole safetensors file", local=f"{path}: {error}") from error
    return tensors


def _head(network: nn.Module, recipe: Recipe) -> set[str]:
    """The last linear layer of a classifier. A network that outlines has none that could be left out."""
    if not isinstance(recipe, recipes.Classification):
        return set()
    name = [name for name, module in network.named_modules() if isinstance(module, nn.Linear)][-1]
    return {f"{name}.weight", f"{name}.bias"}


def _finite(name: str, tensor: torch.Tensor) -> np.ndarray:
    array = np.array(tensor.to(torch.float32).numpy()) if tensor.is_floating_point() else None
    if array is None or not np.isfinite(array).all():
        raise FedmedError("FM-TEN-02", f"weights: tensor {name}: expected finite floating-point numbers")
    return array
