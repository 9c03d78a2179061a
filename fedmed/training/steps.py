"""The optimiser's steps of a round, over batches that are ready: all of local training but where batches come from.

`fit` feeds it with a site's own samples; a script that reproduces somebody else's loop, with batches of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from fedmed.training import devices, networks, objective, seeds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from torch import nn

    from fedmed.recipe import Recipe
    from fedmed.training.networks import Params
    from fedmed.training.optimizers import Optimizer


@dataclass
class Run:
    """The moving parts of a round: the modules, and how far it is."""

    network: nn.Module
    optimizer: Optimizer
    loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    start: list[torch.Tensor]  # what the proximal term pulls to: the round's first params, or others
    correction: list[torch.Tensor]  # what is added to the gradients; empty for nothing
    step: int = 0
    loss_sum: float = 0.0


def begin(
    recipe: Recipe,
    params: Params,
    device: torch.device,
    lr: float,
    *,
    class_weights: torch.Tensor | None = None,
    absent: frozenset[int] = frozenset(),
    counts: Mapping[int, int] | None = None,
    correction: Params | None = None,
    anchor: Params | None = None,
) -> Run:
    """The recipe's network with `params`, in training mode, and a fresh optimiser. Raises FedmedError FM-TEN-01.

    `correction` is added to the gradient of every step, by the names of what is learned (SCAFFOLD's c - c_i). `anchor`
    is what the proximal term pulls to, if not to `params`.
    """
    network = networks.loaded(recipe, params, device)
    networks.set_training(network, recipe)
    named = list(network.named_parameters()) if recipe.training.proximal_mu else []
    start = [tensor.detach().clone() for _, tensor in named]
    if anchor is not None:
        start = [torch.tensor(anchor[name], device=device) for name, _ in named]
    optimizer = objective.optimizer(recipe, network.parameters(), lr)
    weights = None if class_weights is None else class_weights.to(device)
    loss = objective.loss_function(recipe, weights, absent, counts)
    terms = correction or {}
    added = [torch.tensor(terms[name], device=device) for name, _ in network.named_parameters()] if terms else []
    return Run(network, optimizer, loss, start, added)


def each(
    recipe: Recipe,
    run: Run,
    batches: Iterable[tuple[torch.Tensor, torch.Tensor]],
    where: tuple[str | int, ...] | None = None,
) -> Iterator[float]:
    """One step a batch, (images [B, ...], what is to be learned [B, ...]) on the network's device. Yields each loss.

    `where` is (recipe.seed, site, round, attempt), from which, with the step, each step's dropout is seeded; without it
    dropout goes on with torch's random state as it is. `run.step` and `run.loss_sum` count behind each step, before
    the loss is yielded, also where it is not finite: that is for the caller to see.
    """
    for images, labels in batches:
        if where is not None:
            devices.seed(images.device, seeds.seed(*where, "step", run.step))
        loss = step(recipe, run, images, labels)
        run.step, run.loss_sum = run.step + 1, run.loss_sum + loss
        yield loss


def step(recipe: Recipe, run: Run, images: torch.Tensor, labels: torch.Tensor) -> float:
    """One optimiser step. The loss that is reported leaves the proximal term out; the clip sees the whole gradient."""
    training = recipe.training
    with devices.autocast(images.device):
        logits = run.network(images)
    loss = run.loss(logits.float(), labels)
    run.optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    networks.keep_turns(run.network, recipe, run.step)
    if training.proximal_mu:
        objective.add_proximal(list(run.network.parameters()), run.start, training.proximal_mu)
    if training.grad_clip:
        torch.nn.utils.clip_grad_norm_(run.network.parameters(), training.grad_clip)
    if run.correction:  # behind the clip: what SGD walked is then the sum of the gradients as they were clipped
        objective.add_correction(list(run.network.parameters()), run.correction)
    run.optimizer.step()
    return loss.item()
