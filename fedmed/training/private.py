"""The steps of a round under differential privacy: whose images a step sees, and what becomes of their gradients.

What alters an image and what dropout leaves out are as secret as the coins. From a public seed they would follow the
places of the patients in a step, and without one patient all those behind would have other gradients: the sum would
change by more than the clip.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING

import numpy as np
import torch

from fedmed import recipe as recipes
from fedmed.training import devices, dp_sgd, networks, objective

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from fedmed.recipe import Recipe
    from fedmed.training.dp_sgd import Loss, Mechanism
    from fedmed.training.samples import Sample, Samples
    from fedmed.training.steps import Run

MOST_IMAGES, MOST_ROWS = 8, 1024  # whose gradients are held at a time
LOUD = 1e6
HELD_VALUES = 64 << 20  # of these gradients, in float32: 256 MB


@dataclass
class Round:
    """A round's constants. `size` samples are looked at together; it shrinks where the device has too little memory."""

    samples: Samples
    patients: list[list[int]]
    loss: Loss
    encode: Callable[[torch.Tensor], torch.Tensor]
    size: int


def each(
    recipe: Recipe,
    run: Run,
    samples: Samples,
    num_steps: int,
    mechanism: Mechanism,
    absent: frozenset[int] = frozenset(),
) -> Iterator[float]:
    """As `steps.each`, with samples that are drawn by patient. The loss that is told is the mean over the images that a
    step saw, 0 where it saw none; where it is not finite for an image, that one has no part in it, and none counts for
    more than LOUD: one patient must not end a round.

    Raises FedmedError FM-TRN-02 for a network with state beside its weights.
    """
    networks.refuse_buffers(run.network)
    loss, encode = _loss(recipe, run, absent)
    held = HELD_VALUES // sum(param.numel() for param in run.network.parameters())
    most = MOST_ROWS if isinstance(recipe, recipes.Rowwise) else MOST_IMAGES
    begun = Round(samples, by_patient(samples), loss, encode, max(1, min(held, most)))
    while run.step < num_steps:
        mechanism.tally(run.step)
        total, losses = _total(run, begun, mechanism)
        _move(recipe, run, dp_sgd.noised(total, mechanism))
        finite = [min(value, LOUD) for value in losses if np.isfinite(value)]
        told = fmean(finite) if finite else 0.0
        run.step, run.loss_sum = run.step + 1, run.loss_sum + told
        yield told


def by_patient(samples: Samples) -> list[list[int]]:
    """The numbers of each patient's cases."""
    found: dict[str, list[int]] = {}
    for number, case in enumerate(samples.cases):
        found.setdefault(case.patient, []).append(number)
    return list(found.values())


def _total(run: Run, begun: Round, mechanism: Mechanism) -> tuple[torch.Tensor, list[float]]:
    """The sum of the clipped gradients of those who are drawn for this step, and the losses of their images."""
    device = next(run.network.parameters()).device
    devices.seed(device, int.from_bytes(mechanism.take(8), "little") >> 1)  # dropout's
    values = sum(param.numel() for param in run.network.parameters() if param.requires_grad)
    total = torch.zeros(values, dtype=torch.float64, device=device)
    losses: list[float] = []
    waiting = [
        [begun.patients[place][image] for image in dp_sgd.chosen(mechanism.take, len(begun.patients[place]), most)]
        for most in [mechanism.max_images]
        for place in dp_sgd.drawn(mechanism.take, len(begun.patients), mechanism.rate)
    ]
    while waiting:
        count = _fitting(waiting, begun.size)
        try:
            part, told = _part(run, begun, waiting[:count], mechanism, device)
        except (RuntimeError, MemoryError) as error:
            if not devices.is_full(error) or begun.size == 1:
                raise
            begun.size //= 2
            continue
        total, losses, waiting = total + part, losses + told, waiting[count:]
    return total, losses


def _fitting(waiting: Sequence[Sequence[int]], size: int) -> int:
    """How many patients have `size` images together, at least one: a patient's gradient is never divided."""
    count, images = 0, 0
    for cases in waiting:
        images += len(cases)
        if count and images > size:
            break
        count += 1
    return count


def _part(
    run: Run, begun: Round, patients: Sequence[Sequence[int]], mechanism: Mechanism, device: torch.device
) -> tuple[torch.Tensor, list[float]]:
    numbers = [number for cases in patients for number in cases]
    owner = [place for place, cases in enumerate(patients) for _ in cases]
    drawn = [_sample(begun.samples, number, mechanism) for number in numbers]
    images = torch.stack([image for image, _ in drawn]).to(device)
    labels = begun.encode(torch.stack([label for _, label in drawn]).to(device))
    return dp_sgd.clipped_sum(run.network, begun.loss, images, labels, owner, mechanism.clip_norm)


def _sample(samples: Samples, number: int, mechanism: Mechanism) -> Sample:
    """An image as the augmentation alters it this once."""
    random = np.random.RandomState(np.frombuffer(mechanism.take(16), "<u4"))
    return samples.draw(samples.prepared(number), random)


def _move(recipe: Recipe, run: Run, gradient: torch.Tensor) -> None:
    """One step of the recipe's optimiser; the proximal term knows no patient and comes behind the noise."""
    learned = [param for param in run.network.parameters() if param.requires_grad]
    run.optimizer.zero_grad()
    begin = 0
    for param in learned:
        param.grad = gradient[begin : begin + param.numel()].view_as(param).clone()
        begin += param.numel()
    networks.keep_turns(run.network, recipe, run.step)
    if recipe.training.proximal_mu:
        objective.add_proximal(list(run.network.parameters()), run.start, recipe.training.proximal_mu)
    run.optimizer.step()


def _loss(recipe: Recipe, run: Run, absent: frozenset[int]) -> tuple[Loss, Callable[[torch.Tensor], torch.Tensor]]:
    """The loss of one image, and the form in which it takes its label: a mask as one channel for each class, because
    torch.func cannot scatter one inside.
    """
    if not isinstance(recipe, recipes.Segmentation):
        return run.loss, lambda labels: labels
    from fedmed.training import overlap  # noqa: PLC0415 - monai, which tables do without

    asked = recipe.training.loss
    built: Loss = overlap.LOSSES[asked.name](
        softmax=True, to_onehot_y=False, include_background=asked.include_background
    )
    present = [0, *sorted(recipe.data.labels.keys() - absent)]

    def encode(labels: torch.Tensor) -> torch.Tensor:
        return torch.stack([(labels[:, 0] == number) for number in present], dim=1).to(torch.float32)

    if not absent:
        return built, encode
    return lambda logits, labels: built(objective.merged(logits, absent), labels), encode
