"""Federations of linear models without files, many side by side: what is chosen by, and our baselines.

All that changes a number is what the product calls in a federation: the numbers to normalise by, the order of samples,
the network, the loss, the means. The steps of SGD are taken in all of them at once, because there are many.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import flamby_protocol as protocol
import flamby_tables as tables
import numpy as np
import torch

from fedmed import pooling
from fedmed.cases import datalist, encoding
from fedmed.cases import fingerprint as measuring
from fedmed.exchange import laps
from fedmed.learning import strategies
from fedmed.rehearsal.models import POOLED
from fedmed.training import networks, objective, rows

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from flamby_choose import Setting

    from fedmed.cases.case import Case
    from fedmed.learning.params import Params
    from fedmed.recipe import Recipe
    from fedmed.training.cache import Tensors

    Model = dict[str, torch.Tensor]  # [jobs, ...]
    Prepared = list[tuple[Case, Tensors]]

NOWHERE = Path()  # rows of a table lie in their cases
SCORES = {"heart": tables.accuracy, "breast": tables.concordance}


@dataclass(frozen=True)
class Part:
    """A site's rows in every job side by side: inputs [jobs, rows, width], outcomes [jobs, rows, ...]; jobs have not as
    many rows, and what lies behind their `cases` is never drawn.
    """

    name: str
    cases: Sequence[Sequence[Case]]
    inputs: torch.Tensor
    outcomes: torch.Tensor
    orders: dict[tuple[int, int], torch.Tensor] = field(default_factory=dict)

    def order(self, jobs: Sequence[Recipe], round_: int, count: int) -> torch.Tensor:
        """Which rows `count` steps take, [jobs, count * batch_size], as the product draws them."""
        if (round_, count) in self.orders:
            return self.orders[round_, count]
        found = []
        for recipe, cases in zip(jobs, self.cases, strict=True):
            drawn = rows.Rows(recipe, cases, NOWHERE, {}, (recipe.seed, self.name, round_, 1), None)  # type: ignore[arg-type]
            found.append([drawn.case_number(i) for i in range(count * recipe.training.batch_size)])
        self.orders[round_, count] = torch.tensor(found)
        return self.orders[round_, count]


def federated(jobs: Sequence[Recipe], setting: Setting, parts: Sequence[Part]) -> Model:
    """The last models of federations without files."""
    model = _first(jobs)
    strategy, count = strategies.named("fedavg"), setting.local_steps
    for round_ in range(setting.rounds):
        lr = jobs[0].training.learning_rate(round_, setting.rounds)
        if setting.strategy == "cyclic" and laps.is_lap(round_, setting.rounds):
            by_name = {part.name: part for part in parts}
            for name in laps.drawn(jobs[0].seed, round_, list(by_name)):
                model = local(jobs, model, by_name[name], round_, count, lr)
        else:
            trained = [local(jobs, model, part, round_, count, lr) for part in parts]
            made = [
                protocol.combined(
                    strategy, _of(model, job), [_of(each, job) for each in trained],
                    [len(part.cases[job]) for part in parts], count, {},
                )[0]
                for job in range(len(jobs))
            ]  # fmt: skip
            model = {name: torch.tensor(np.stack([each[name] for each in made])) for name in model}
    return model


def _first(jobs: Sequence[Recipe]) -> Model:
    each = [networks.initial_params(recipe)[0] for recipe in jobs]
    return {name: torch.tensor(np.stack([params[name] for params in each])) for name in each[0]}


def local(jobs: Sequence[Recipe], model: Model, part: Part, round_: int, count: int, lr: float) -> Model:
    """`count` steps of SGD with the product's network and loss, in all jobs at once."""
    network, loss = networks.build(jobs[0]), objective.loss_function(jobs[0])

    def of_one(params: Model, inputs: torch.Tensor, outcomes: torch.Tensor) -> torch.Tensor:
        return loss(torch.func.functional_call(network, params, (inputs,)), outcomes)

    gradients = torch.func.vmap(torch.func.grad(of_one))
    places = torch.arange(len(jobs))[:, None]
    for chosen in part.order(jobs, round_, count).split(jobs[0].training.batch_size, dim=1):
        found = gradients(model, part.inputs[places, chosen], part.outcomes[places, chosen])
        model = {name: tensor - lr * found[name] for name, tensor in model.items()}
    return model


def _of(model: Model, job: int) -> Params:
    return {name: tensor[job].numpy() for name, tensor in model.items()}


def scores(table: str, jobs: Sequence[Recipe], of_site: Sequence[Model], held: Sequence[Part]) -> np.ndarray:
    """[jobs, sites]"""
    found = np.empty((len(jobs), len(held)))
    for place, (model, part) in enumerate(zip(of_site, held, strict=True)):
        for job, (recipe, cases) in enumerate(zip(jobs, part.cases, strict=True)):
            with torch.inference_mode():
                outputs = networks.loaded(recipe, _of(model, job), protocol.CPU)(part.inputs[job, : len(cases)])[:, 0]
            found[job, place] = SCORES[table](outputs.numpy(), part.outcomes[job, : len(cases)].numpy())
    return found


def prepared(
    recipe: Any, learned: Mapping[str, Sequence[Case]], held: Mapping[str, Sequence[Case]]
) -> tuple[dict[str, Prepared], dict[str, Prepared]]:
    """Site by site, by the numbers of what is learned from: a site's own, or those of all."""
    if recipe.data.pools:
        together = [case for each in learned.values() for case in each]
        pooled = pooling.fitted(measuring.measure(together, recipe, NOWHERE, {}), recipe)
        numbers = dict.fromkeys(learned, pooled)
    else:
        numbers = {name: encoding.fitted(each, recipe.data) for name, each in learned.items()}
    one, two = (
        {name: [(case, rows.prepared(case, recipe, {}, numbers[name])) for case in each] for name, each in side.items()}
        for side in (learned, held)
    )
    return one, two


def baselines(
    table: str, setting: Setting, jobs: Sequence[Recipe], lists: Sequence[Mapping[str, datalist.Datalist]]
) -> dict[str, list[list[float]]]:
    """Pooled and local-only training as the product has them, with as many steps, in memory: the cells of each job.

    Alone is each site's own model on its own test rows, and on all rows the mean of these models.
    """
    names = list(lists[0])
    divided = [prepared(recipe, *_folds(listed)) for recipe, listed in zip(jobs, lists, strict=True)]
    learned, held = ([part_of(name, [each[side][name] for each in divided]) for name in names] for side in (0, 1))
    merged = [
        prepared(recipe, *({POOLED: [case for each in side.values() for case in each]} for side in _folds(listed)))
        for recipe, listed in zip(jobs, lists, strict=True)
    ]
    together = [part_of(POOLED, [each[side][POOLED] for each in merged]) for side in (0, 1)]
    tests = [*held, together[1]]
    own = [_on_its_own(jobs, setting, part, setting.local_steps) for part in learned]
    pooled = _on_its_own(jobs, setting, together[0], setting.local_steps * len(names))
    alone = scores(table, jobs, own, held)
    everywhere = np.mean([scores(table, jobs, [model], tests[-1:])[:, 0] for model in own], axis=0)
    return {
        "pooled": scores(table, jobs, [pooled] * len(tests), tests).tolist(),
        "alone": np.column_stack([alone, everywhere]).tolist(),
    }


def _folds(listed: Mapping[str, datalist.Datalist]) -> tuple[dict[str, list[Case]], dict[str, list[Case]]]:
    one, two = ({name: datalist.cases(each, fold) for name, each in listed.items()} for fold in ("training", "testing"))
    return one, two


def _on_its_own(jobs: Sequence[Recipe], setting: Setting, part: Part, count: int) -> Model:
    model = _first(jobs)
    for round_ in range(setting.rounds):
        model = local(jobs, model, part, round_, count, jobs[0].training.learning_rate(round_, setting.rounds))
    return model


def part_of(name: str, jobs: Sequence[Prepared]) -> Part:
    ordered = [sorted(each, key=lambda one: one[0].case) for each in jobs]  # as samples have them
    padded = [
        torch.nn.utils.rnn.pad_sequence([torch.stack([tensors[what] for _, tensors in each]) for each in ordered], True)
        for what in ("inputs", "outcome")
    ]
    return Part(name, [[case for case, _ in each] for each in ordered], *padded)
