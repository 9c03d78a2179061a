"""What differential privacy of patients costs: AUROC against epsilon, on heart disease at four real hospitals and on
the sample hospitals' fractures.

    python benchmarks/privacy.py --heart FOLDER

FOLDER has FLamby's four files processed.*.data. Federations in memory: local training, accounting and averaging are the
product's, only the files between the actors are missing. Settings are chosen for each epsilon on validation patients.
Resumable: each run that ended is kept in --work, one JSON file each.
"""

from __future__ import annotations

import argparse
import csv
import functools
import itertools
import json
import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

os.environ["OMP_NUM_THREADS"] = "1"  # two runs side by side keep both cores busy

import privacy_tables
import yaml
from sklearn.metrics import roc_auc_score

from fedmed import files
from fedmed import recipe as recipes
from fedmed.cases import datalist, find
from fedmed.exchange import secret
from fedmed.learning import accounting
from fedmed.site import private, virtual
from fedmed.training import devices, fit, networks, scoring
from fedmed.training.dp_sgd import Mechanism

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fedmed.cases.case import Case
    from fedmed.cases.datalist import Datalist
    from fedmed.learning.params import Params
    from fedmed.recipe import Recipe

TOP = Path(__file__).resolve().parents[1]
HEART = ("age", "sex", "cp", "trestbps", "chol", "fbs", "restecg", "thalach", "exang", "oldpeak", "slope", "ca", "thal")
EPSILONS = (None, 8.0, 4.0, 1.0)  # None: no noise, no clip, plain batches of as many
SEEDS, TUNING_SEEDS = (20, 21, 22, 23, 24), (10, 11)
FOLDS_SEED = 20  # the test patients are the same in every run, and no setting is chosen by them


@dataclass(frozen=True)
class Task:
    """A recipe, what is changed of it, and the settings that are tried: learning rates, clips and patients a step."""

    title: str
    recipe: str
    rounds: int
    rates: tuple[float, ...]
    clips: tuple[float, ...]
    sizes: tuple[int, ...]
    changes: dict[str, Any]


TASKS = {
    "heart": Task(
        "Heart disease, four hospitals", "heart-disease-table-dp.yaml", 10,
        (0.03, 0.1, 0.3, 1.0), (0.3, 1.0), (16, 48), {},
    ),
    "fractures": Task(
        "Fractures, three sample hospitals", "fracture-classification-xray.small.yaml", 8,
        (5e-4, 2e-3), (0.3, 1.0), (16,), {"balance": "none", "grad_clip": None, "local_steps": 15},
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Job:
    """One federation; the metric is that of the test patients, while a setting is chosen of the validation patients."""

    task: str
    epsilon: float | None
    seed: int
    lr: float
    clip: float
    size: int

    @property
    def key(self) -> str:
        return "-".join(str(value) for value in asdict(self).values())


def recipe_of(job: Job) -> Recipe:
    task = TASKS[job.task]
    fields = yaml.safe_load((TOP / "recipes" / task.recipe).read_text("utf-8"))
    fields["seed"] = job.seed
    fields["training"] |= task.changes
    fields["training"]["optimizer"]["client_lr"] = job.lr
    fields["dp"] = {"clip_norm": job.clip, "patients_per_step": job.size, "target_epsilon": job.epsilon}
    if job.epsilon is None:
        fields["dp"], fields["training"]["batch_size"] = None, job.size
    return recipes.parse(fields, task.recipe)


@functools.cache
def hospitals(task: str, source: Path, work: Path) -> dict[str, tuple[Path, Datalist]]:
    """Folder and folds of each."""
    chosen = recipe_of(Job(task, None, FOLDS_SEED, 0.1, 1.0, 16))
    folders = (
        heart(source, work / "heart") if task == "heart" else {each.name: each for each in sorted(source.iterdir())}
    )
    found = {}
    for name, folder in folders.items():
        if folder.is_dir():
            cases = find.find(virtual.described(folder, chosen), chosen, pseudonym_key=name.encode(), label_map={})
            found[name] = folder, datalist.build(cases, chosen)
    return found


def heart(source: Path, out: Path) -> dict[str, Path]:
    """A folder with a table for each hospital; a gap is an empty cell."""
    found = {}
    for path in sorted(source.glob("processed.*.data")):
        found[path.name.split(".")[1]] = folder = out / path.name.split(".")[1]
        folder.mkdir(parents=True, exist_ok=True)
        rows = [row for row in csv.reader(path.read_text().splitlines()) if row]
        text = "\n".join(",".join("" if cell == "?" else cell for cell in row) for row in [[*HEART, "num"], *rows])
        (folder / "patients.csv").write_text(text + "\n")
    return found


def play(job: Job, source: Path, work: Path) -> dict[str, Any]:
    target = work / "runs" / f"{job.key}.json"
    if target.exists():
        return json.loads(target.read_text())
    sites, chosen, task = hospitals(job.task, source, work), recipe_of(job), TASKS[job.task]
    model, _ = networks.initial_params(chosen)
    noises = {name: noise(job, chosen, listed, task.rounds) for name, (_, listed) in sites.items()}
    for round_ in range(task.rounds):
        trained = [local(chosen, model, name, *site, round_, noises[name]) for name, site in sites.items()]
        model = averaged(trained)
    folds = {fold: auroc(chosen, model, [(root, datalist.cases(listed, fold)) for root, listed in sites.values()])
             for fold in ("validation", "testing")}  # fmt: skip
    found = {**asdict(job), **folds, "noise_multiplier": noises, "spent": spent(job, chosen, sites, noises)}
    target.parent.mkdir(parents=True, exist_ok=True)
    files.write_atomic(target, json.dumps(found, indent=1).encode())
    return found


def patients(listed: Datalist) -> int:
    return private.declared(listed.header.patients["training"])


@functools.cache
def calibrated(epsilon: float, delta: float, rate: float, steps: int) -> float:
    found = accounting.calibrate(epsilon, delta, rate, steps)
    assert found is not None
    return found


def noise(job: Job, chosen: Recipe, listed: Datalist, rounds: int) -> float:
    """As little as all rounds together can have."""
    if chosen.dp is None:
        return 0.0
    steps = rounds * (chosen.training.local_steps or 0)
    return calibrated(chosen.dp.target_epsilon, chosen.dp.delta, job.size / patients(listed), steps)


def spent(job: Job, chosen: Recipe, sites: dict[str, Any], noises: dict[str, float]) -> float | None:
    """Epsilon of the patient who has spent most."""
    if chosen.dp is None:
        return None
    steps = TASKS[job.task].rounds * (chosen.training.local_steps or 0)
    events = [accounting.Event(job.size / patients(listed), noises[name], steps) for name, (_, listed) in sites.items()]
    return max(accounting.epsilon([event], chosen.dp.delta) for event in events)


def local(chosen: Recipe, model: Params, name: str, root: Path, listed: Datalist, round_: int, z: float) -> fit.Fitted:
    """One hospital's round."""
    mechanism = None
    if chosen.dp is not None:
        asked = chosen.dp
        mechanism = Mechanism(
            asked.clip_norm, z, asked.patients_per_step, asked.patients_per_step / patients(listed), asked.max_images,
            "benchmark", secret.fresh(), lambda _: None,
        )  # fmt: skip
    return fit.fit(
        chosen, model, datalist.cases(listed, "training"), root=root, label_map={}, site=name, round=round_,
        rounds=TASKS_ROUNDS[chosen.name], attempt=1, num_steps=chosen.training.local_steps or 0,
        device=devices.pick("cpu"), mechanism=mechanism,
    )  # fmt: skip


TASKS_ROUNDS = {Path(task.recipe).stem.replace(".", "-"): task.rounds for task in TASKS.values()}


def averaged(trained: Sequence[fit.Fitted]) -> Params:
    """FedAvg: the mean, each hospital weighing its training cases."""
    total = sum(each.num_cases for each in trained)
    return {name: sum(each.params[name] * (each.num_cases / total) for each in trained) for name in trained[0].params}


def auroc(chosen: Recipe, model: Params, parts: Sequence[tuple[Path, Sequence[Case]]]) -> float:
    """Of the finding, over the cases of all hospitals together."""
    rated = [
        row
        for root, cases in parts
        for row in scoring.evaluate(
            chosen, model, cases, root=root, label_map={}, absent=frozenset(), device=devices.pick("cpu")
        )
    ]
    return float(roc_auc_score([row.truth for row in rated], [row.probabilities[1] for row in rated]))


def settings(task: Task, epsilon: float | None) -> list[tuple[float, float, int]]:
    clips = task.clips if epsilon is not None else task.clips[:1]
    return list(itertools.product(task.rates, clips, task.sizes))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--heart", type=Path, metavar="FOLDER")
    parser.add_argument("--work", type=Path, default=TOP / "work" / "privacy")
    parser.add_argument("--tasks", nargs="+", default=list(TASKS), choices=list(TASKS))
    parser.add_argument("--seeds", type=int, default=len(SEEDS), help="fewer, for a look")
    options = parser.parse_args()
    if "heart" in options.tasks and options.heart is None:
        parser.error("--heart: expected the folder of FLamby's four files")
    sources = {"heart": options.heart, "fractures": TOP / "sample_data" / "xray-fracture"}
    found, chosen = {}, {}
    with ProcessPoolExecutor(2) as pool:
        for task in options.tasks:
            played = lambda jobs, task=task: list(  # noqa: E731
                pool.map(play, jobs, itertools.repeat(sources[task]), itertools.repeat(options.work))
            )
            chosen[task] = {}
            for epsilon in EPSILONS:
                tried = settings(TASKS[task], epsilon)
                runs = played([Job(task, epsilon, seed, *each) for each in tried for seed in TUNING_SEEDS])
                chosen[task][epsilon] = best = max(tried, key=lambda each: privacy_tables.mean_of(runs, each))
                print(f"{task}, epsilon {epsilon}: lr, clip, patients a step {best}", flush=True)
            jobs = [Job(task, e, seed, *chosen[task][e]) for e in EPSILONS for seed in SEEDS[: options.seeds]]
            found[task] = played(jobs)
    privacy_tables.publish({task: (TASKS[task].title, runs) for task, runs in found.items()})


if __name__ == "__main__":
    main()
