"""A round that was killed goes on: what a checkpoint keeps of it, and which inputs it answers for."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

import torch

from fedmed import logs
from fedmed import preprocessing as preprocessings
from fedmed import recipe as recipes
from fedmed.training import checkpoints, networks

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from fedmed.cases.case import Case
    from fedmed.preprocessing import Preprocessing
    from fedmed.recipe import Recipe
    from fedmed.training.networks import Params
    from fedmed.training.steps import Run


def inputs_digest(
    recipe: Recipe,
    params: Params,
    cases: Sequence[Case],
    label_map: Mapping[int, int],
    absent: frozenset[int],
    preprocessing: Preprocessing | None,
    where: tuple[str | int | float, ...],
    correction: Params | None = None,
    anchor: Params | None = None,
) -> str:
    """SHA-256 of all the result depends on: recipe, start params, cases, label map, absent classes, fitted numbers,
    place in the federation, what corrects the gradients, what the proximal term pulls to.
    """
    listed = [
        [case.case, case.content, {name: list(paths) for name, paths in case.image.items()}, case.label]
        for case in cases
    ]
    fitted = preprocessings.digest_of(preprocessing)
    meaning = [sorted(label_map.items()), sorted(absent)]
    tensors = [checkpoints.digest_of(each or {}) for each in (params, correction, anchor)]
    facts = [recipes.digest(recipe), tensors, listed, meaning, fitted, where]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def save(run: Run, path: Path, inputs: str) -> None:
    """Params, optimiser and step. Raises FedmedError FM-RES-01 or -02 when the disk refuses."""
    tensors = {f"param/{name}": tensor for name, tensor in networks.get_params(run.network).items()}
    for number, state in run.optimizer.state.items():
        tensors |= {f"optimizer/{number}/{key}": tensor.cpu().numpy() for key, tensor in state.items()}
    checkpoints.save(path, checkpoints.Checkpoint(run.step, run.loss_sum, tensors), inputs)


def load(run: Run, path: Path, inputs: str) -> None:
    """Put `run` where the checkpoint at `path` left it; a checkpoint that is not of `inputs` changes nothing."""
    found = checkpoints.load(path, inputs)
    if not isinstance(found, checkpoints.Checkpoint):
        if found:
            logs.shareable.info(found)
        return
    networks.set_params(
        run.network,
        {name.removeprefix("param/"): tensor for name, tensor in found.tensors.items() if name.startswith("param/")},
    )
    state: dict[int, dict[str, torch.Tensor]] = {}
    for name, tensor in found.tensors.items():
        if name.startswith("optimizer/"):
            _, number, key = name.split("/")
            state.setdefault(int(number), {})[key] = torch.tensor(tensor)
    run.optimizer.resume(state)
    run.step, run.loss_sum = found.step, found.loss_sum
    logs.shareable.info("training goes on behind local step %d", run.step)
