"""FLamby's protocol for its two tables, run with fedmed's own arithmetic: the data, the order of chance, the methods.

The order is FLamby's to the draw: one random generator goes through all sites in turn, which no federation could do,
because its hospitals do not share one. So this lives here alone; what it calls are the product's own functions: the
steps of local training (`training.steps`), the strategies (`learning.strategies`), the losses, the C-index. FLamby's
and not the product's are: the preparation of rows (categories are normalised too, rows with gaps left out), who is at
risk at equal times (`flamby_tables.cox_loss`), and the forms of SCAFFOLD and Cyclic.

Source: Ogier du Terrail et al., FLamby, NeurIPS 2022; https://github.com/owkin/FLamby (MIT), commit edacf54d.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from fedmed import recipe as recipes
from fedmed.learning import strategies
from fedmed.learning.strategy import Block, Meta
from fedmed.training import networks, steps

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from flamby_tables import Rows, Table

    from fedmed.learning.params import Params
    from fedmed.learning.strategy import Strategy
    from fedmed.recipe import Recipe

    Batches = Iterator[tuple[torch.Tensor, torch.Tensor]]

CPU = torch.device("cpu")
SEEDS = (42, 43, 44, 45, 46)
LOCAL_STEPS = 100


@dataclass(frozen=True)
class Method:
    """`kind` average: a strategy of the product with `settings`; the others are FLamby's own forms, kept to this
    script: scaffold (no variate at the server), cyclic (weights never leave their site, the first site's are scored).
    """

    client_lr: float
    strategy: str = "fedavg"
    settings: Mapping[str, float] = field(default_factory=dict)
    proximal_mu: float = 0.0
    kind: str = "average"


ADAPTIVE = {"beta1": 0.9, "tau": 1e-8}
HEART = {
    "fedavg": Method(0.001),
    "fedprox": Method(0.001, proximal_mu=0.01),
    "scaffold": Method(0.001, kind="scaffold"),
    "fedadam": Method(0.01, "fedadam", {"server_lr": 0.01, "beta2": 0.999, **ADAPTIVE}),
    "fedyogi": Method(0.003162, "fedyogi", {"server_lr": 0.01, "beta2": 0.999, **ADAPTIVE}),
    "fedadagrad": Method(0.003162, "fedadagrad", {"server_lr": 0.316228, **ADAPTIVE}),
    "cyclic": Method(0.01, kind="cyclic"),
}
BREAST = {
    "fedavg": Method(0.1),
    "fedprox": Method(0.1, proximal_mu=0.1),
    "scaffold": Method(0.01, kind="scaffold"),
    "fedadam": Method(0.01, "fedadam", {"server_lr": 0.1, "beta2": 0.999, **ADAPTIVE}),
    "fedyogi": Method(0.01, "fedyogi", {"server_lr": 0.1, "beta2": 0.999, **ADAPTIVE}),
    "fedadagrad": Method(0.01, "fedadagrad", {"server_lr": 1.0, **ADAPTIVE}),
    "cyclic": Method(0.01, kind="cyclic"),
}


def play(table: Table, seed: int, methods: Mapping[str, Method]) -> Iterator[tuple[str, list[float]]]:
    """Every row of the table for one seed, in FLamby's order: pooled, each site alone, the methods by name.

    The random generator is the one there is in FLamby's process; each row begins by seeding it again.
    """
    start, random = first(table, seed), torch.Generator()
    for name, rows in {"pooled": table.pooled, **{f"local-{n}": site for n, site in enumerate(table.sites)}}.items():
        random.manual_seed(seed)
        yield name, scores(table, central(table, start, rows.training, random), random)
    for name, method in sorted(methods.items()):
        yield name, scores(table, federated(table, seed, method, random), random)


def federated(table: Table, seed: int, method: Method, random: torch.Generator) -> Params:
    """The last model of one method. Loaders are made before the generator is seeded."""
    loaders = [_loader(site.training, table, random) for site in table.sites]
    random.manual_seed(seed)
    rule = {"average": _average, "scaffold": _scaffold, "cyclic": _cyclic}[method.kind]
    return rule(_Round(table, method, loaders, seed), first(table, seed))


def scores(table: Table, params: Params, random: torch.Generator) -> list[float]:
    """On the test rows of each site, and of all. torch's loader draws a number for each of them."""
    network = networks.loaded(_recipe_of(table, 1.0), params, CPU)
    found = []
    for rows in (*(site.testing for site in table.sites), table.pooled.testing):
        _drawn(random)
        with torch.inference_mode():
            outputs = network(rows.inputs)[:, 0]
        found.append(table.score(outputs.numpy(), rows.outcomes.numpy()))
    return found


def first(table: Table, seed: int) -> Params:
    """torch's own first weights of a linear layer."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layer = torch.nn.Linear(len(table.recipe["data"]["columns"]), 1)
    return {name: tensor.detach().numpy().copy() for name, tensor in layer.named_parameters()}


def central(table: Table, start: Params, rows: Rows, random: torch.Generator) -> Params:
    """All epochs on some rows with Adam; AdamW without decay is the same."""
    recipe = _recipe_of(table, table.central_lr, name="AdamW")
    loader = _loader(rows, table, random)
    run = steps.begin(recipe, start, CPU, table.central_lr)
    run.loss = table.loss or run.loss
    per_epoch = math.ceil(len(rows) / recipe.training.batch_size)
    for _ in steps.each(recipe, run, itertools.islice(loader, table.epochs * per_epoch)):
        pass
    return networks.get_params(run.network)


@dataclass(frozen=True)
class _Round:
    """What the rounds of one row share."""

    table: Table
    method: Method
    loaders: Sequence[Batches]
    seed: int

    def local(self, site: int, model: Params, drift: Params | None = None) -> Params:
        """One site's steps of a round; `drift` is taken from every gradient."""
        recipe = _recipe_of(self.table, self.method.client_lr, proximal_mu=self.method.proximal_mu)
        run = steps.begin(recipe, model, CPU, self.method.client_lr)
        run.loss = self.table.loss or run.loss
        if drift is not None:
            plain, held = run.loss, {name: torch.tensor(array) for name, array in drift.items()}
            params = dict(run.network.named_parameters())
            run.loss = lambda outputs, outcomes: (
                plain(outputs, outcomes) - sum((params[name] * held[name]).sum() for name in held)
            )
        for _ in steps.each(recipe, run, itertools.islice(self.loaders[site], LOCAL_STEPS)):
            pass
        return networks.get_params(run.network)

    def combined(self, model: Params, trained: Sequence[Params], memory: Mapping[str, np.ndarray]) -> Any:
        strategy = strategies.named(self.method.strategy, **self.method.settings)
        sizes = [len(site.training) for site in self.table.sites]
        return combined(strategy, model, trained, sizes, LOCAL_STEPS, memory)


def combined(
    strategy: Strategy,
    model: Params,
    trained: Sequence[Params],
    sizes: Sequence[int],
    num_steps: int,
    memory: Mapping[str, np.ndarray],
) -> tuple[Params, Mapping[str, np.ndarray]]:
    """The next model and what is remembered, by the product's functions, the whole model being one block."""
    base = _flat(model)
    updates = np.stack([_flat(each) - base for each in trained])
    shares = strategies.shares(sizes, 1.0)
    meta = [Meta(f"site-{n}", *facts, num_steps) for n, facts in enumerate(zip(sizes, shares, strict=True))]
    wide = updates.astype(np.float64)
    known = {name: memory.get(name, np.zeros_like(base)) for name in strategy.memory}
    made = strategy.combine(Block(0, "param", base, updates, known), strategy.weigh(meta, wide @ wide.T))
    return _shaped(made.base, model), made.memory


def _average(rounds: _Round, model: Params) -> Params:
    memory: Mapping[str, np.ndarray] = {}
    for _ in range(rounds.table.rounds):
        trained = [rounds.local(site, model) for site in range(len(rounds.loaders))]
        model, memory = rounds.combined(model, trained, memory)
    return model


def _scaffold(rounds: _Round, model: Params) -> Params:
    """FLamby's form, not the paper's: what a site corrects by is how far its own last weights were from the mean's."""
    count, scale = len(rounds.loaders), rounds.method.client_lr * LOCAL_STEPS
    drifts = [{name: np.zeros_like(array) for name, array in model.items()}] * count
    before = [model] * count
    for _ in range(rounds.table.rounds):
        drifts = [
            {name: drift[name] + (model[name] - last[name]) / np.float32(scale) for name in model}
            for drift, last in zip(drifts, before, strict=True)
        ]
        before = [rounds.local(site, model, drifts[site]) for site in range(count)]
        model, _memory = rounds.combined(model, before, {})
    return model


def _cyclic(rounds: _Round, model: Params) -> Params:
    """FLamby's form, which is defective: each site goes on with its own weights, and those of the first are scored."""
    random, count = np.random.default_rng(rounds.seed), len(rounds.loaders)
    models = [model] * count
    turns: list[int] = []
    while len(turns) < rounds.table.rounds:
        turns += random.permutation(count).tolist()
    for site in turns[: rounds.table.rounds]:
        models[site] = rounds.local(site, models[site])
    return models[0]


def _recipe_of(table: Table, lr: float, name: str = "SGD", proximal_mu: float = 0.0) -> Recipe:
    training = {**table.recipe["training"], "local_steps": LOCAL_STEPS, "proximal_mu": proximal_mu}
    training["optimizer"] = {"name": name, "client_lr": lr}
    return recipes.parse({**table.recipe, "training": training}, "flamby")


def _loader(rows: Rows, table: Table, random: torch.Generator) -> Batches:
    """Batches as torch's shuffling loader gives them, for ever: it keeps its place over rounds.

    For each pass it draws a number for its worker processes and one for the order: the latter at once where the loader
    `reads_ahead`, because it has such processes, else when the first batch is asked for.
    """
    _drawn(random)
    return _passes(rows, table, random, _shuffled(rows, random) if table.reads_ahead else None)


def _passes(rows: Rows, table: Table, random: torch.Generator, order: torch.Tensor | None) -> Batches:
    order = _shuffled(rows, random) if order is None else order
    while True:
        for chosen in order.split(table.recipe["training"]["batch_size"]):
            yield rows.inputs[chosen], rows.outcomes[chosen]
        _drawn(random)
        order = _shuffled(rows, random)


def _shuffled(rows: Rows, random: torch.Generator) -> torch.Tensor:
    return torch.randperm(len(rows), generator=torch.Generator().manual_seed(_drawn(random)))


def _drawn(random: torch.Generator) -> int:
    return int(torch.empty((), dtype=torch.int64).random_(generator=random).item())


def _flat(params: Params) -> np.ndarray:
    return np.concatenate([params[name].ravel() for name in sorted(params)])


def _shaped(flat: np.ndarray, like: Params) -> Params:
    found, start = {}, 0
    for name in sorted(like):
        stop = start + like[name].size
        found[name] = flat[start:stop].reshape(like[name].shape)
        start = stop
    return found
