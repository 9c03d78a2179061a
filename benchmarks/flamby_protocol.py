"""FLamby's protocol for its two tables, run with fedmed's own arithmetic: the data, the order of chance, the methods.

The order is FLamby's to the draw: one random generator goes through all sites in turn, which no federation could do,
because its hospitals do not share one. So this lives here alone; what it calls are the product's own functions: the
steps of local training (`training.steps`), the strategies (`learning.strategies`), the losses, the C-index. FLamby's
and not the product's are: the preparation of rows (categories are normalised too, rows with gaps left out), who is at
risk at equal times (`cox_loss`), and the forms of SCAFFOLD and Cyclic.

Source: Ogier du Terrail et al., FLamby, NeurIPS 2022; https://github.com/owkin/FLamby (MIT), commit edacf54d.
"""

from __future__ import annotations

import csv
import itertools
import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from sklearn.model_selection import train_test_split

from fedmed import recipe as recipes
from fedmed.learning import strategies
from fedmed.learning.strategy import Block, Meta
from fedmed.reporting import survival
from fedmed.training import networks, steps

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from fedmed.learning.params import Params
    from fedmed.recipe import Recipe

    Batches = Iterator[tuple[torch.Tensor, torch.Tensor]]

CPU = torch.device("cpu")
SEEDS = (42, 43, 44, 45, 46)
LOCAL_STEPS = 100
HOSPITALS = ("cleveland", "hungarian", "switzerland", "va")
HEART_COLUMNS = (
    *("age", "sex", "cp", "trestbps", "chol", "fbs", "restecg", "thalach", "exang", "oldpeak", "slope", "ca", "thal"),
    "num",
)
DROPPED = (10, 11, 12)  # slope, ca, thal: known to one hospital alone
CATEGORIES = (2, 6)  # cp, restecg


@dataclass(frozen=True)
class Rows:
    """Inputs [rows, width] and outcomes [rows] or, of a survival, [rows, time and event]; both float32."""

    inputs: torch.Tensor
    outcomes: torch.Tensor

    def __len__(self) -> int:
        return len(self.inputs)


@dataclass(frozen=True)
class Split:
    training: Rows
    testing: Rows


@dataclass(frozen=True)
class Table:
    """One of the two tables. `sites` in FLamby's order; `pooled` is all of them in one place.

    `loss` is FLamby's own where it is not the product's. Its loaders for TCGA `reads_ahead`, with worker processes.
    """

    name: str
    recipe: Mapping[str, Any]
    sites: Sequence[Split]
    pooled: Split
    score: Callable[[np.ndarray, np.ndarray], float]
    epochs: int
    central_lr: float
    rounds: int
    loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] | None = None
    reads_ahead: bool = False


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


def heart(data: Path) -> Table:
    """Four hospitals, 13 inputs; train and test stratified within each, drawn with seed 43."""
    parts = [hospital(data / "fed_heart_disease" / f"processed.{name}.data") for name in HOSPITALS]
    encoded = _one_hot(np.concatenate([inputs for inputs, _ in parts]))
    edges = list(itertools.accumulate([0, *(len(inputs) for inputs, _ in parts)]))
    drawn = []
    for (start, stop), (_, labels) in zip(itertools.pairwise(edges), parts, strict=True):
        drawn.append([(encoded[start:stop][part], labels[part]) for part in halves(labels)])
    together = [
        (np.concatenate([part[fold][0] for part in drawn]), np.concatenate([part[fold][1] for part in drawn]))
        for fold in (0, 1)
    ]
    fields = _recipe("tabular", [*range(13)], {"outcome": {"column": "num"}, "labels": {1: "disease"}})
    fields["training"] = {"batch_size": 4, "loss": {"name": "CrossEntropyLoss"}}
    sites = [_normalised(*part) for part in drawn]
    return Table("heart", fields, sites, _normalised(*together), accuracy, epochs=50, central_lr=1e-3, rounds=15)


def halves(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Places of training and test rows, in their order; stratified where each class has more than 2."""
    counts = np.unique(labels, return_counts=True)[1]
    training, testing = train_test_split(
        np.arange(len(labels)), test_size=1 - 0.66, train_size=0.66, random_state=43, shuffle=True,
        stratify=labels if len(counts) > 1 and (counts > 2).all() else None,
    )  # fmt: skip
    return np.sort(training), np.sort(testing)


def breast(data: Path) -> Table:
    """Six regions, 39 inputs as they are; FLamby's own folds, rows in the order of the file."""
    _, *rows = brca(data)

    def part(fold: str) -> Rows:
        """Of one site's fold, or of all sites' where no site is named, in the order of the file."""
        return _survivals([cells for said, *cells in rows if said.startswith(fold)])

    sites = [Split(part(f"train_{site}"), part(f"test_{site}")) for site in range(6)]
    pooled = Split(part("train"), part("test"))
    fields = _recipe("survival", [*range(39)], {"outcome": {"time": "T", "event": "E"}})
    fields["training"] = {"batch_size": 8, "loss": {"name": "CoxPHLoss"}}
    found = Table("breast", fields, sites, pooled, concordance, epochs=30, central_lr=0.1, rounds=5)
    return replace(found, loss=cox_loss, reads_ahead=True)


def brca(data: Path) -> list[list[str]]:
    """The names of the columns, then the rows that are in a fold: the fold, with its site, stands for the patient."""
    folder = data / "fed_tcga_brca"
    with (folder / "train_test_split.csv").open(newline="") as file:
        fold_of = {row["pid"]: row["fold2"] for row in csv.DictReader(file)}
    with (folder / "brca.csv").open(newline="") as file:
        head, *rows = csv.reader(file)
    return [head, *([fold_of[name], *cells] for name, *cells in rows if name in fold_of)]


def _recipe(task: str, inputs: Sequence[int], data: Mapping[str, Any]) -> dict[str, Any]:
    columns = [{"name": f"input {number}"} for number in inputs]
    return {
        "schema": 1, "name": "flamby", "task": task, "seed": 0, "network": {"name": "Linear"},
        "data": {"columns": columns, "normalisation": "none", "imputation": "drop", **data},
    }  # fmt: skip


def hospital(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Inputs [rows, 10] of the rows without a gap, and whether there is disease."""
    known = np.array(without_gaps(path), float)
    return known[:, :-1], (known[:, -1] > 0).astype(float)


def without_gaps(path: Path) -> list[list[str]]:
    """Rows that have all that is kept of the columns."""
    with path.open(newline="") as file:
        rows = [[cell for place, cell in enumerate(row) if place not in DROPPED] for row in csv.reader(file)]
    return [row for row in rows if "?" not in row]


def _one_hot(inputs: np.ndarray) -> np.ndarray:
    """Categories behind the numbers, 0 or 1 for each level of all hospitals but the first."""
    numbers = np.delete(inputs, CATEGORIES, axis=1)
    levels = [(place, level) for place in CATEGORIES for level in np.unique(inputs[:, place])[1:]]
    return np.column_stack([numbers, *((inputs[:, place] == level).astype(float) for place, level in levels)])


def _normalised(training: tuple[np.ndarray, np.ndarray], testing: tuple[np.ndarray, np.ndarray]) -> Split:
    """By mean and standard deviation of the training rows, counted as torch does, in float32."""
    inputs = [torch.tensor(part[0], dtype=torch.float32) for part in (training, testing)]
    mean, sd = inputs[0].mean(dim=0), inputs[0].std(dim=0)
    labels = [torch.tensor(part[1], dtype=torch.float32) for part in (training, testing)]
    one, two = (Rows((each - mean) / (sd + 1e-9), said) for each, said in zip(inputs, labels, strict=True))
    return Split(one, two)


def _survivals(rows: Sequence[Sequence[str]]) -> Rows:
    """The last two cells are event and time."""
    cells = torch.tensor(np.array(rows, float), dtype=torch.float32)
    return Rows(cells[:, :-2], cells[:, [-1, -2]])


def accuracy(outputs: np.ndarray, outcomes: np.ndarray) -> float:
    return float(((outputs > 0) == (outcomes > 0.5)).mean())


def concordance(outputs: np.ndarray, outcomes: np.ndarray) -> float:
    found = survival.c_index(outcomes[:, 0].astype(float), outcomes[:, 1] > 0.5, outputs.astype(float))
    return float("nan") if found is None else found


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


def cox_loss(risks: torch.Tensor, outcomes: torch.Tensor) -> torch.Tensor:
    """FLamby's: of rows with the same time, the one that stands first in the batch is not at risk for the others'
    event. The product's `objective.cox_loss` has all of them at risk (Breslow).
    """
    order = torch.sort(outcomes[:, 0], descending=True, stable=True).indices
    risk = risks[order, 0] - risks.max()
    return (outcomes[order, 1] * (risk.exp().cumsum(0).log() - risk)).mean()


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
        """The next model and what is remembered, by the product's functions, the whole model being one block."""
        strategy = strategies.named(self.method.strategy, **self.method.settings)
        base = _flat(model)
        updates = np.stack([_flat(each) - base for each in trained])
        sizes = [len(site.training) for site in self.table.sites]
        meta = [
            Meta(f"site-{number}", size, share, LOCAL_STEPS)
            for number, (size, share) in enumerate(zip(sizes, strategies.shares(sizes, 1.0), strict=True))
        ]
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
