"""Settings for FLamby's two tables, chosen on its training rows alone: five inner folds at each site, five times.

Without the files between the actors, which change nothing (`flamby_memory`).
"""

from __future__ import annotations

import hashlib
import itertools
import json
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import flamby_memory as memory
import numpy as np
import yaml

from fedmed import files
from fedmed import recipe as recipes
from fedmed.cases import datalist
from fedmed.training import seeds

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from fedmed.cases.case import Case
    from fedmed.recipe import Recipe

FOLDS, REPEATS = 5, 5
RECIPES = {"heart": "heart-disease-table.yaml", "breast": "breast-survival-table.yaml"}


@dataclass(frozen=True)
class Setting:
    """What is chosen: fields of the recipe, and the rounds. A lap is a round of `cyclic`; its last round averages."""

    client_lr: float
    rounds: int
    local_steps: int
    normalisation: str = "federated"
    strategy: str = "fedavg"
    fine_tune_steps: int = 0
    fine_tune_lr: float | None = None

    def recipe(self, shipped: Path, seed: int, validation: float) -> Recipe:
        """The shipped recipe with these settings. All patients' share of the test fold is below FLamby's own."""
        fields = yaml.safe_load(shipped.read_text("utf-8"))
        fields["seed"], fields["strategy"] = seed, {"name": self.strategy}
        fields["data"] |= {"normalisation": self.normalisation, "split": {"validation": validation, "testing": 0.2}}
        optimizer = {"name": "SGD", "client_lr": self.client_lr}
        fields["training"] |= {"local_steps": self.local_steps, "optimizer": optimizer}
        fields["training"] |= {"fine_tune_steps": self.fine_tune_steps, "fine_tune_lr": self.fine_tune_lr}
        return recipes.parse(fields, shipped.name)


TUNES = ((20, 0.03), (100, 0.03), (100, 0.1))
QUESTIONS: dict[str, dict[str, list[Setting]]] = {
    "heart": {
        "averaging": [
            *(Setting(lr, 5, 100, "site") for lr in (0.01, 0.03, 0.1)),
            *(Setting(lr, rounds, 100) for lr in (0.01, 0.03, 0.1) for rounds in (5, 15)),
        ],
        "laps": [Setting(lr, 4, 100, strategy="cyclic") for lr in (0.003, 0.01, 0.03, 0.1)],
    },
    "breast": {
        "5 rounds": [Setting(lr, 5, 100) for lr in (0.01, 0.03, 0.05, 0.1)],
        "5 rounds, own normalisation": [Setting(lr, 5, 100, "site") for lr in (0.03, 0.1)],
        "20 rounds": [Setting(lr, 20, 25) for lr in (0.03, 0.05, 0.1)],
        "3 rounds": [Setting(lr, 3, 166) for lr in (0.03, 0.05, 0.1)],
        "one lap": [
            *(Setting(lr, 1, 100, strategy="cyclic") for lr in (0.003, 0.01, 0.03, 0.1)),
            *(Setting(lr, 1, 200, strategy="cyclic") for lr in (0.003, 0.01, 0.03)),
        ],
    },
}


READY: dict[
    tuple[Any, ...], list[list[memory.Part]]
] = {}  # by table, normalisation and repeats: preparing takes as long


def choose(table: str, cases: Mapping[str, Sequence[Case]], shipped: Path, work: Path) -> dict[str, Any]:
    """By question: every setting with its scores, and the best one. What was scored before is not scored again."""
    found: dict[str, Any] = {}
    for question, settings in QUESTIONS[table].items():
        tried = []
        for setting in settings:
            name = digest(table, setting, REPEATS, TUNES)
            tried.append(kept(work / f"scored-{name}.json", partial(scored, table, setting, cases, shipped)))
            print(f"{table}, {question}: {tried[-1]}", flush=True)
        found[question] = {"tried": tried, "chosen": asdict(best(tried))}
    return found


def digest(*facts: object) -> str:
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:16]


def kept(path: Path, make: Callable[[], Any]) -> Any:
    """What is in the file, made if it is not there."""
    if not path.exists():
        files.write_atomic(path, json.dumps(make()).encode())
    return json.loads(path.read_text("utf-8"))


def scored(table: str, setting: Setting, cases: Mapping[str, Sequence[Case]], shipped: Path) -> dict[str, Any]:
    """The criterion of a setting, and of each way to tune its last model where sites are scored on their own."""
    repeats = range(REPEATS)
    # hospitals of one order at a time: the order of a lap is drawn from the recipe's seed
    at_once = [[repeat] for repeat in repeats] if setting.strategy == "cyclic" else [list(repeats)]
    found: dict[str, list[np.ndarray]] = {}
    for some in at_once:
        for how, each in _trained(table, setting, cases, shipped, some).items():
            found.setdefault(how, []).append(each)
    sizes = [len(each) if table == "breast" else 1 for each in cases.values()]
    scores = {how: _summary(np.concatenate(each), sizes) for how, each in found.items()}
    return {"setting": asdict(setting), "scores": scores}


def _trained(
    table: str, setting: Setting, cases: Mapping[str, Sequence[Case]], shipped: Path, repeats: Sequence[int]
) -> dict[str, np.ndarray]:
    """By how the last model is used: [repeats * FOLDS, sites]."""
    places = list(itertools.product(repeats, range(FOLDS)))
    jobs = [setting.recipe(shipped, repeat, 0.0) for repeat, _ in places]
    key = (table, setting.normalisation, tuple(repeats))
    if key not in READY:
        divided = [_divided(recipe, cases, *place) for recipe, place in zip(jobs, places, strict=True)]
        READY[key] = [
            [memory.part_of(name, [each[side][name] for each in divided]) for name in cases] for side in (0, 1)
        ]
    learned, held = READY[key]
    model = memory.federated(jobs, setting, learned)
    found = {"global": memory.scores(table, jobs, [model] * len(held), held)}
    for count, lr in TUNES if table == "heart" else ():  # behind the last round, whatever a validation fold would say
        own = [memory.local(jobs, model, part, setting.rounds, count, lr) for part in learned]
        found[f"{count} steps at {lr}"] = memory.scores(table, jobs, own, held)
    return found


def _summary(found: np.ndarray, sizes: Sequence[int]) -> dict[str, float]:
    """Of [jobs, sites]: the mean over sites, each weighing its size, where it is defined; over repeats the error."""
    weights = np.isfinite(found) * np.array(sizes, float)
    each = (np.nan_to_num(found) * weights).sum(axis=1) / weights.sum(axis=1)
    repeats = each.reshape(REPEATS, FOLDS).mean(axis=1)
    return {"mean": float(repeats.mean()), "standard error": float(repeats.std(ddof=1) / REPEATS**0.5)}


def _divided(
    recipe: Recipe, cases: Mapping[str, Sequence[Case]], repeat: int, fold: int
) -> tuple[dict[str, memory.Prepared], dict[str, memory.Prepared]]:
    """What is learned from and what is held back in one inner fold."""
    held, learned = {}, {}
    for name, every in cases.items():
        place = seeds.stream("inner folds", repeat, name).permutation(len(every)) % FOLDS
        held[name] = [case for case, number in zip(every, place, strict=True) if number == fold]
        learned[name] = [case for case, number in zip(every, place, strict=True) if number != fold]
    return memory.prepared(recipe, learned, held)


def best(found: Sequence[dict[str, Any]]) -> Setting:
    """The highest mean; among equals the first."""
    chosen, how, _ = max(
        ((each["setting"], how, score["mean"]) for each in found for how, score in each["scores"].items()),
        key=lambda one: one[2],
    )
    setting = Setting(**chosen)
    if how == "global":
        return setting
    count, lr = how.split(" steps at ")
    return replace(setting, fine_tune_steps=int(count), fine_tune_lr=float(lr))


def training_cases(listed: Mapping[str, datalist.Datalist]) -> dict[str, list[Case]]:
    """FLamby's training rows of each site; its test rows stay out of all that is chosen by."""
    return {
        name: sorted(
            [*datalist.cases(each, "training"), *datalist.cases(each, "validation")], key=lambda case: case.case
        )
        for name, each in listed.items()
    }
