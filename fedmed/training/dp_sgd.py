"""DP-SGD with the patient as the unit (Abadi et al. 2016, CCS; Poisson sampling as its accountants assume).

A step takes every patient with the same probability, cuts each one's gradient to `clip_norm`, adds up, adds noise once
and divides by the expected number of patients, never by how many came: an empty step is a step like any other. Every
random number that privacy rests on comes out of `take`, which gives secret bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch

from fedmed.noise import gaussian

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import nn

Take = Callable[[int], bytes]
Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
SHRINK = 1 - 1e-6  # so that rounding in float32 cannot lift a gradient above the clip


@dataclass(frozen=True)
class Mechanism:
    """What a round's guarantee rests on: constants from before its first step, and where its randomness comes from.

    `expected` is the number B of patients that a step expects, `rate` q = B / n the probability of each. `reservation`
    names what was charged for it. `tally(step)` is told before a step's noise is drawn.
    """

    clip_norm: float
    noise_multiplier: float
    expected: int
    rate: float
    max_images: int
    reservation: str
    take: Take = field(repr=False)
    tally: Callable[[int], None] = field(repr=False)

    @property
    def facts(self) -> tuple[float | int | str, ...]:
        """All of it that a checkpoint may know: nothing random."""
        return (
            self.clip_norm, self.noise_multiplier, self.expected, self.rate, self.max_images, self.reservation,
        )  # fmt: skip


def drawn(take: Take, count: int, rate: float) -> list[int]:
    """Which of `count` patients take part: each by a coin of its own, of 64 bits."""
    coins = np.frombuffer(take(8 * count), "<u8")
    return np.flatnonzero(coins < np.uint64(int(rate * 2.0**64))).tolist() if rate < 1 else [*range(count)]


def chosen(take: Take, count: int, most: int) -> list[int]:
    """At most `most` of a patient's `count` images, every set of them as likely as every other."""
    keys = np.frombuffer(take(8 * count), "<u8")
    return sorted(np.argsort(keys, kind="stable")[:most].tolist())


def clipped_sum(
    network: nn.Module, loss: Loss, images: torch.Tensor, labels: torch.Tensor, owner: Sequence[int], clip_norm: float
) -> tuple[torch.Tensor, list[float]]:
    """The sum of the patients' gradients, each cut to `clip_norm`: float64 [number of trained values], in the order of
    `network.parameters()`; and the loss of every image.

    `owner[i]` is whose image i is: 0, 1, 2, ... A patient's gradient is the mean over the images given here, so all of
    a patient's must come in one call. One that is not finite counts as zero.
    """
    learned = {name: param for name, param in network.named_parameters() if param.requires_grad}
    rest = {name: param for name, param in network.named_parameters() if not param.requires_grad}
    fixed = {**rest, **dict(network.named_buffers())}

    def of_one(params: dict[str, torch.Tensor], image: torch.Tensor, label: torch.Tensor) -> tuple[torch.Tensor, ...]:
        logits = torch.func.functional_call(network, {**fixed, **params}, (image[None],))
        found = loss(logits.float(), label[None])
        return found, found.detach()

    each = torch.func.vmap(torch.func.grad(of_one, has_aux=True), in_dims=(None, 0, 0), randomness="different")
    detached = {name: param.detach() for name, param in learned.items()}
    gradients, losses = each(detached, images, labels)
    whose = torch.as_tensor(owner, device=images.device)
    counts = torch.bincount(whose).to(torch.float32)
    flat = torch.cat([gradient.flatten(1) for gradient in gradients.values()], dim=1)
    mean = torch.zeros(len(counts), flat.shape[1], device=flat.device).index_add_(0, whose, flat) / counts[:, None]
    mean = torch.where(mean.isfinite().all(dim=1, keepdim=True), mean, 0.0)
    norms = mean.to(torch.float64).norm(dim=1)
    scale = torch.clamp(clip_norm * SHRINK / norms.clamp(min=1e-30), max=1.0)
    return (mean.to(torch.float64) * scale[:, None]).sum(0), losses.tolist()


def noised(total: torch.Tensor, mechanism: Mechanism) -> torch.Tensor:
    """The step's gradient: `total` of the clipped ones with noise N(0, (z C)^2) on every value, divided by B."""
    spread = mechanism.noise_multiplier * mechanism.clip_norm
    noise = torch.from_numpy(gaussian(mechanism.take, total.numel()) * spread)
    return ((total.cpu().to(torch.float64) + noise) / mechanism.expected).to(torch.float32).to(total.device)
