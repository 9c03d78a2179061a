"""What a classifier says of each case: probabilities of the classes, pooled from slices to cases and to patients."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch

from fedmed.training import cache, devices, networks, pictures, samples
from fedmed.training.rated import Rated

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import nn

    from fedmed.cases.case import Case
    from fedmed.preprocessing import Preprocessing
    from fedmed.recipe import Classification
    from fedmed.training.cache import Cache
    from fedmed.training.networks import Params


def evaluate(
    recipe: Classification,
    params: Params,
    cases: Sequence[Case],
    *,
    root: Path,
    label_map: Mapping[int, int],
    absent: frozenset[int] = frozenset(),
    device: torch.device,
    preprocessing: Preprocessing | None = None,
    disk: Cache | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[Rated]:
    """One row a case, or a patient where the recipe's `unit` says so, in the order of the cases.

    Raises FedmedError FM-TRN-03 for a case without a class, FM-TEN-01, FM-RES-04, and what reading a case raises.
    """
    network = networks.loaded(recipe, params, device)
    found: dict[str, tuple[int, list[NDArray[np.float64]]]] = {}
    for done, case in enumerate(cases, start=1):
        truth = samples.class_of(case, recipe, label_map)
        make = partial(pictures.seen, case, root, recipe, label_map, preprocessing)
        seen = cache.prepared(disk, "pictures", case, recipe, label_map, preprocessing, make).tensors
        slices = probabilities(network, seen["slices"], recipe, device, absent)
        who = case.patient if recipe.evaluation.unit == "patient" else case.case
        before, rows = found.get(who, (0, []))
        # of two exams with different findings the patient has the one with the higher number, which is never "none"
        found[who] = (max(before, truth), [*rows, *slices])
        if progress:
            progress(done, len(cases))
    return [Rated(who, truth, pooled(rows, recipe), absent) for who, (truth, rows) in found.items()]


def probabilities(
    network: nn.Module,
    slices: torch.Tensor,
    recipe: Classification,
    device: torch.device,
    absent: frozenset[int] = frozenset(),
) -> NDArray[np.float64]:
    """Softmax over classes [S, num_classes] of prepared slices [S, C, *image_size], 0 for `absent` ones.

    Raises FedmedError FM-RES-04.
    """
    rows = []
    with devices.out_of_memory(device), torch.inference_mode():
        for batch in torch.split(slices, recipe.evaluation.batch_size):
            with devices.autocast(device):
                logits = network(batch.to(device))
            logits = logits.double()
            logits[:, sorted(absent)] = -torch.inf  # as in training: see objective.loss_function
            rows.append(torch.softmax(logits, dim=1).cpu())
    return np.array(torch.cat(rows).numpy())


def pooled(slices: Sequence[NDArray[np.float64]], recipe: Classification) -> tuple[float, ...]:
    """One row of probabilities from those of the slices: their mean, or each finding's largest.

    With `max` the classes no longer add up to one; class 0 gets what the largest finding leaves.
    """
    rows = np.stack(slices)
    if recipe.evaluation.pooling == "mean":
        return tuple(rows.mean(axis=0).tolist())
    highest = rows.max(axis=0)
    highest[0] = 1 - highest[1:].max()
    return tuple(highest.tolist())
