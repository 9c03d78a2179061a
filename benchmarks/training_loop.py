"""Measured in a process of its own for training.py: fedmed's loop and its `fit`, beside a bare PyTorch loop.

The bare loop takes the network, loss and optimiser of fedmed's recipe and batches that are in memory: what it lacks is
everything around them.
"""

from __future__ import annotations

import json
import math
import sys
import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import torch
import training_data
from safetensors.torch import save_file

import fedmed.training  # noqa: F401 - before torch: it says how its threads wait
from fedmed import recipe as recipes
from fedmed.cases import datalist
from fedmed.site import desk, preprocessing
from fedmed.training import cache, fit, networks, objective, samples, steps

if TYPE_CHECKING:
    from collections.abc import Callable

CPU = torch.device("cpu")
WHERE = (1, "site", 0, 1)
BLOCK = {"segmentation": 4, "classification": 12, "table": 400}  # steps between two turns
PAIRS = 12


class Bare:
    """What a person would write around the recipe's own network."""

    def __init__(self, recipe: Any, params: Any, weights: torch.Tensor | None, *, fused: bool) -> None:
        self.clip = recipe.training.grad_clip
        self.network = networks.loaded(recipe, params, CPU)
        networks.set_training(self.network, recipe)
        self.loss = objective.loss_function(recipe, weights)
        chosen, learned = recipe.training.optimizer, self.network.parameters()
        lr, decay = chosen.client_lr, chosen.weight_decay
        self.optimizer: torch.optim.Optimizer = (
            torch.optim.AdamW(learned, lr=lr, weight_decay=decay, fused=fused or None)
            if chosen.name == "AdamW"
            else torch.optim.SGD(learned, lr=lr, momentum=chosen.momentum, weight_decay=decay, fused=fused or None)
        )

    def take(self, batches: list[samples.Sample]) -> float:
        total = 0.0
        for images, labels in batches:
            loss = self.loss(self.network(images), labels)
            self.optimizer.zero_grad()
            loss.backward()
            if self.clip:
                torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.clip)
            self.optimizer.step()
            total += loss.item()
        return total


class Task:
    """One site's training cases of a task, as `train-local` sees them."""

    def __init__(self, job: dict[str, Any]) -> None:
        name, hippocampus = job["task"], Path(job["hippocampus"]) if job["hippocampus"] else None
        work = Path(job["work"]) / "world"
        folder, first = training_data.federation(work, name, hippocampus)
        site = desk.peek(folder / first)
        consent = desk.require_approved(site)
        self.recipe: Any = consent.recipe
        listed = datalist.load(site.cases_file)
        preprocessing.require(site, consent, listed, lambda *_: None)
        self.numbers = preprocessing.current(desk.peek(folder / first))
        self.cases, self.root = datalist.cases(listed, "training"), site.data_root
        self.label_map = site.settings.label_map
        self.disk = cache.Cache(folder / "cache", 1 << 40)
        self.params, _ = networks.initial_params(self.recipe)
        self.steps = self.recipe.training.num_steps(len(self.cases))
        self.name = name

    def fit(self, num_steps: int, checkpoint: Path) -> float:
        """Seconds of a whole round."""
        checkpoint.unlink(missing_ok=True)
        begun = time.perf_counter()
        fit.fit(
            self.recipe, self.params, self.cases, root=self.root, label_map=self.label_map, site="site", round=0,
            rounds=2, attempt=1, num_steps=num_steps, device=CPU, preprocessing=self.numbers, num_workers="auto",
            disk=self.disk, checkpoint=checkpoint, progress=lambda *_: None,
        )  # fmt: skip
        return time.perf_counter() - begun

    def batches(self, count: int) -> tuple[list[samples.Sample], float, torch.Tensor | None]:
        """Some of the round's own batches, the seconds that one takes to be made, and the weights of the classes."""
        drawn = fit._samples(self.recipe, self.cases, self.root, self.label_map, WHERE, self.numbers, self.disk)  # noqa: SLF001
        size = drawn.batch_size
        for number in range(len(self.cases)):
            drawn.prepared(number)
        begun = time.perf_counter()
        made = [samples.stack([drawn[at * size + index] for index in range(size)]) for at in range(count)]
        seconds = (time.perf_counter() - begun) / count
        found = [(batch[0], batch[1]) for batch in made if isinstance(batch, tuple)]
        assert len(found) == count
        return found, seconds, drawn.class_weights()


def main() -> None:
    job = json.loads(sys.argv[1])
    if job["quick"]:
        torch.set_num_threads(1)  # for a machine that others use as well
    task = Task(job)
    print(json.dumps(MEASURES[job["what"]](task, job)))


def loop(task: Task, job: dict[str, Any]) -> dict[str, Any]:
    """Seconds a step of each, block by block, each contender first as often as the others."""
    count = 2 if job["quick"] else BLOCK[task.name]
    batches, _, weights = task.batches(min(count, 64))
    block = [batches[number % len(batches)] for number in range(count)]
    run = steps.begin(task.recipe, task.params, CPU, task.recipe.training.optimizer.client_lr, class_weights=weights)
    bare = Bare(task.recipe, task.params, weights, fused=True)
    plain = Bare(task.recipe, task.params, weights, fused=False)

    def ours() -> None:
        for loss in steps.each(task.recipe, run, block, WHERE):
            if not math.isfinite(loss):
                raise SystemExit("the loss is not finite")

    turns: dict[str, Callable[[], Any]] = {
        "fedmed": ours,
        "bare": lambda: bare.take(block),
        "bare, torch's default optimiser": lambda: plain.take(block),
    }
    for turn in turns.values():
        turn()
    seconds: dict[str, list[float]] = {name: [] for name in turns}
    for number in range(3 if job["quick"] else PAIRS):
        names = list(turns)
        for name in names[number % 3 :] + names[: number % 3]:
            begun = time.perf_counter()
            turns[name]()
            seconds[name].append((time.perf_counter() - begun) / count)
    return {"seconds": seconds, "params": sum(tensor.size for tensor in task.params.values())}


def whole(task: Task, job: dict[str, Any]) -> dict[str, Any]:
    """A round by `fit`, samples from the cache, and the same number of bare steps over batches in memory."""
    num_steps = 4 if job["quick"] else task.steps if task.name != "table" else 10 * task.steps
    batches, making, weights = task.batches(min(num_steps, 32))
    batches = [batches[number % len(batches)] for number in range(num_steps)]
    checkpoint = Path(job["work"]) / "checkpoint.safetensors"
    task.fit(2, checkpoint)
    Bare(task.recipe, task.params, weights, fused=True).take(batches[:2])  # loads torch's compiler, once
    found: dict[str, list[float]] = {"fit": [], "bare": []}
    for number in range(1 if job["quick"] else 3):
        for name in ("fit", "bare") if number % 2 else ("bare", "fit"):
            if name == "fit":
                found[name].append(task.fit(num_steps, checkpoint))
            else:
                begun = time.perf_counter()
                Bare(task.recipe, task.params, weights, fused=True).take(batches)
                found[name].append(time.perf_counter() - begun)
    return {
        "fit": median(found["fit"]),
        "bare": median(found["bare"]),
        "making": making * num_steps,
        "steps": num_steps,
    }


def batches(task: Task, job: dict[str, Any]) -> dict[str, Any]:
    """The batches of a round in a file, for bare_round.py, with the recipe."""
    found, _, weights = task.batches(task.steps)
    tensors = {"images": torch.stack([each for each, _ in found]), "labels": torch.stack([each for _, each in found])}
    if weights is not None:
        tensors["weights"] = weights
    path = training_data.batches_file(Path(job["work"]), task.name)
    save_file(tensors, path, {"recipe": recipes.to_bytes(task.recipe).decode()})
    return {}


MEASURES = {"loop": loop, "round": whole, "batches": batches}

if __name__ == "__main__":
    main()
