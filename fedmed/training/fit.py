"""Local training: one site's part of one round, repeatable and resumable to the step.

On a CPU with the same number of threads the same inputs give the same bits, killed and resumed or not, with any number
of loader processes. On CUDA they do not: torch's 3-D upsampling adds up in no fixed order.

A local-only baseline (`--alone`) is `fit` called once for each round with `round=0, 1, ...`, each with the params of
the call before: so it takes the same steps, samples and learning rates as the federation, and lacks only the averaging.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch

from fedmed import recipe as recipes
from fedmed.errors import FedmedError
from fedmed.training import (
    devices,
    networks,
    private,
    resume,
    samples,
    steps,
    workers,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from fedmed.cases.case import Case
    from fedmed.preprocessing import Preprocessing
    from fedmed.recipe import Recipe
    from fedmed.training.cache import Cache
    from fedmed.training.dp_sgd import Mechanism
    from fedmed.training.networks import Params


@dataclass(frozen=True)
class Fitted:
    """What a round gave: new params, the steps taken, the cases used, and the mean loss over the steps."""

    params: Params
    num_steps: int
    num_cases: int
    train_loss: float


def fit(
    recipe: Recipe,
    params: Params,
    cases: Sequence[Case],
    *,
    root: Path,
    label_map: Mapping[int, int],
    absent: frozenset[int] = frozenset(),
    site: str,
    round: int,  # noqa: A002 - the field's word
    rounds: int,
    attempt: int,
    num_steps: int,
    device: torch.device,
    preprocessing: Preprocessing | None = None,
    correction: Params | None = None,
    anchor: Params | None = None,
    num_workers: int | Literal["auto"] = 0,
    disk: Cache | None = None,
    mechanism: Mechanism | None = None,
    checkpoint: Path | None = None,
    checkpoint_minutes: float = 10.0,
    progress: Callable[[int, int, float], None] | None = None,
) -> Fitted:
    """Train `params` for `num_steps` on `cases`; `progress(step, num_steps, loss)` is called behind each step.

    `absent` classes are never labelled in these cases, and the loss leaves them out (`objective.loss_function`).
    `correction` is added to the gradient of every step, by the names of what is learned (SCAFFOLD's c - c_i). `anchor`
    is what the proximal term pulls to, if not to `params` (Ditto's global model). With `mechanism` every step is one of
    DP-SGD (`private`), which a recipe with `dp` needs.
    Prepared cases are kept in `disk`, else in memory; for `num_workers` see `workers.count`.

    With `checkpoint` the state is kept there every `checkpoint_minutes` (0: every step) and behind the last step, and
    a call with the same inputs goes on from it. The caller deletes the file when the update is safe.
    Raises FedmedError FM-TRN-01 (loss not finite), -03 (no label), -04 (no case), FM-PER-01 (too few steps),
    FM-TEN-01 (params of another network), FM-RES-01, -02 (checkpoint), -04 (memory), and what reading a case raises.
    """
    _require_work(recipe, cases, num_steps)
    if (recipe.dp is None) != (mechanism is None):
        raise ValueError("a recipe with dp is trained by a reserved mechanism, and no other one is")
    where = (recipe.seed, site, round, attempt)
    drawn = _samples(recipe, cases, root, label_map, where, preprocessing, disk)
    num_workers = workers.count(num_workers, drawn, device)
    drawn.memory_limit //= max(1, num_workers)
    inputs = ""
    if checkpoint is not None:
        place = (site, round, rounds, attempt, num_steps, *(mechanism.facts if mechanism else ()))
        inputs = resume.inputs_digest(
            recipe, params, drawn.cases, label_map, absent, preprocessing, place, correction, anchor
        )
    with devices.out_of_memory(device), torch.random.fork_rng(devices=[]):
        lr = recipe.training.learning_rate(round, rounds)
        weights, counts = drawn.class_weights(), drawn.counts
        run = steps.begin(
            recipe, params, device, lr, class_weights=weights, absent=absent, counts=counts, correction=correction,
            anchor=anchor,
        )  # fmt: skip
        if checkpoint is not None:
            resume.load(run, checkpoint, inputs)
        saved = time.monotonic()
        if mechanism is None:
            losses = steps.each(recipe, run, _batches(drawn, run.step, num_steps, num_workers, device), where)
        else:
            losses = private.each(recipe, run, drawn, num_steps, mechanism, absent)
        for loss in losses:
            if not math.isfinite(loss):
                raise _not_finite(drawn, run.step - 1, num_steps, f"the loss is {loss}")
            due = run.step == num_steps or time.monotonic() - saved >= checkpoint_minutes * 60
            if checkpoint is not None and due:
                resume.save(run, checkpoint, inputs)
                saved = time.monotonic()
            if progress:
                progress(run.step, num_steps, loss)
        trained = networks.get_params(run.network)
    if not all(np.isfinite(tensor).all() for tensor in trained.values()):
        raise _not_finite(drawn, num_steps - 1, num_steps, "the params are not finite")
    return Fitted(trained, num_steps, len(cases), run.loss_sum / num_steps)


def _require_work(recipe: Recipe, cases: Sequence[Case], num_steps: int) -> None:
    if not cases:
        raise FedmedError("FM-TRN-04", "training: expected at least one case, got none")
    if recipe.training.head_steps >= num_steps:
        few = f"expected more steps than the {recipe.training.head_steps} of the head alone, got {num_steps}"
        raise FedmedError("FM-PER-01", f"training: {few}")


def _samples(
    recipe: Recipe,
    cases: Sequence[Case],
    root: Path,
    label_map: Mapping[int, int],
    where: tuple[str | int, ...],
    preprocessing: Preprocessing | None,
    disk: Cache | None,
) -> samples.Samples:
    # each task loads its own: a table needs no monai
    if isinstance(recipe, recipes.Tabular | recipes.Survival):
        from fedmed.training import rows  # noqa: PLC0415

        return rows.Rows(recipe, cases, root, label_map, where, preprocessing)
    from fedmed.training import boxed, patches, pictures  # noqa: PLC0415

    if isinstance(recipe, recipes.Classification):
        return pictures.Pictures(recipe, cases, root, label_map, where, preprocessing, disk)
    if isinstance(recipe, recipes.Localisation):
        return boxed.Boxed(recipe, cases, root, label_map, where, preprocessing, disk)
    if not isinstance(recipe, recipes.Segmentation):
        raise TypeError(type(recipe).__name__)
    return patches.Patches(recipe, cases, root, label_map, where, preprocessing, disk)


def _batches(
    drawn: samples.Samples, first: int, num_steps: int, num_workers: int, device: torch.device
) -> Iterator[samples.Sample]:
    """Images and labels of step `first` ... num_steps - 1, on the device."""
    size = drawn.batch_size
    loader = torch.utils.data.DataLoader(
        drawn,
        sampler=range(first * size, num_steps * size),
        batch_size=size,
        num_workers=num_workers,
        collate_fn=samples.stack,
        pin_memory=device.type == "cuda",
    )
    for batch in loader:
        if isinstance(batch, samples.Refusal):
            raise FedmedError(batch.code, batch.message, next=batch.next, local=batch.local)
        yield batch[0].to(device, non_blocking=True), batch[1].to(device, non_blocking=True)


def _not_finite(drawn: samples.Samples, step: int, num_steps: int, what: str) -> FedmedError:
    if drawn.recipe.dp is not None:  # who is in a step stays secret
        return FedmedError("FM-TRN-01", f"training: {what} at local step {step + 1} of {num_steps}")
    size = drawn.batch_size
    numbers = sorted({drawn.case_number(step * size + index) for index in range(size)})
    names = ", ".join(drawn.cases[number].case for number in numbers)
    return FedmedError("FM-TRN-01", f"training: {what} at local step {step + 1} of {num_steps}, cases {names}")
