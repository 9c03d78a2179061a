"""Hospitals that differ: eight ways of learning together on four kinds of division, three seeds, beside local-only and
pooled training; every federation runs through signed files as in earnest.

    python benchmarks/heterogeneity.py --hippocampus FOLDER

FOLDER has images/ and labels/ (Medical Segmentation Decathlon, task 4). The fractures are the sample hospitals', thrown
together and divided anew. Settings are chosen on patients that no reported run has. Resumable: each run that ended is
kept in --work, one JSON file each.
"""

from __future__ import annotations

import argparse
import csv
import functools
import hashlib
import json
import os
import shutil
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import heterogeneity_tables
import yaml

from fedmed import files, recipe
from fedmed.cases import datalist, find, splits
from fedmed.coordinator import evaluate as pooling
from fedmed.rehearsal import acts, models, simulate
from fedmed.rehearsal.acts import Setting
from fedmed.rehearsal.crew import Crew
from fedmed.site import evaluate, virtual

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fedmed.cases.case import Case

TOP = Path(__file__).resolve().parents[1]
SITES = 4
CASES = 100  # of the hippocampus data, the first by name; the others are for choosing settings
ASIDE = 3  # every third patient with radiographs is for choosing settings
TUNING_SEED, SEEDS = 19, (20, 21, 22)
TUNED_ON = "Dirichlet 0.5"
SPLITS: dict[str, dict[str, Any]] = {
    "iid": {"how": "iid"},
    "Dirichlet 0.5": {"how": "dirichlet", "alpha": 0.5},
    "Dirichlet 0.1": {"how": "dirichlet", "alpha": 0.1},
    "quantity 1": {"how": "quantity", "alpha": 1.0},
}
LEAST = {"training": 4, "validation": 2, "testing": 3}  # cases of a fold at a hospital
SPLIT, TUNING_SPLIT = {"validation": 0.2, "testing": 0.25}, {"validation": 0.45, "testing": 0.0}
BATCH_NORM = {"norm": "batch", "batch_norm": "average"}
ROUNDS = {"hippocampus": 8, "fractures": 10}
BASES: dict[str, dict[str, Any]] = {
    "hippocampus": {
        "schema": 1,
        "name": "hippocampus-heterogeneity",
        "task": "segmentation",
        "data": {
            "modality": "MR",
            "channels": ["MR"],
            "labels": {1: "anterior", 2: "posterior"},
            "spacing": [1.5, 1.5, 1.5],
        },
        "network": {"name": "UNet", "channels": [8, 16, 32], "strides": [2, 2], "num_res_units": 1},
        "training": {"patch_size": [24, 36, 24], "batch_size": 4, "local_steps": 12},
        "evaluation": {"metrics": ["dice"], "window_batch": 4},
    },
    "fractures": {
        "schema": 1,
        "name": "fractures-heterogeneity",
        "task": "classification",
        "data": {
            "modality": "XR",
            "channels": ["XR"],
            "labels": {1: "fracture"},
            "image_size": [48, 48],
        },
        "network": {
            "name": "ResNet",
            "block_inplanes": [8, 12, 24, 40],
            "conv1_t_size": 3,
            "conv1_t_stride": 1,
            "no_max_pool": True,
        },
        "training": {"batch_size": 8, "local_steps": 20, "balance": "none", "grad_clip": 1.0},
        "evaluation": {"metrics": ["accuracy", "auroc"]},
    },
}


@dataclass(frozen=True)
class Method:
    """`changes` are dotted fields of the recipe; `grid` is one of them with the values it is chosen from, where a
    number is a multiple of FedAvg's learning rate if the field is one. `tasks` it is for; `model` that is reported.
    """

    name: str
    changes: dict[str, Any]
    grid: tuple[str, tuple[float, ...]] | None = None
    tasks: tuple[str, ...] = ("hippocampus", "fractures")
    model: str = "global"


RATE = "training.optimizer.client_lr"
METHODS = (
    Method("FedAvg", {}, (RATE, (0.03, 0.1, 0.3, 1.0))),
    Method("FedProx", {}, ("training.proximal_mu", (0.01, 0.1, 1.0))),
    Method("SCAFFOLD", {"strategy.name": "scaffold"}, (RATE, (0.3, 1.0))),
    Method("FedAvgM", {"strategy.name": "fedavgm"}, ("strategy.momentum", (0.5, 0.9))),
    Method("FedAdam", {"strategy.name": "fedadam"}, ("strategy.server_lr", (0.003, 0.01, 0.03))),
    Method("cyclic", {"strategy.name": "cyclic"}, (RATE, (0.3, 1.0))),
    Method("fine-tune", {"training.fine_tune_steps": 40}, ("training.fine_tune_lr", (0.1, 0.3, 1.0)), model="personal"),
    Method("FedAvg, batch norm", {"network": BATCH_NORM}, None, ("fractures",)),
    Method("FedBN", {"network": {**BATCH_NORM, "batch_norm": "local"}}, None, ("fractures",)),
    Method("FedLC", {}, ("training.logit_calibration", (0.3, 1.0)), ("fractures",)),
)
PLAYED = {  # in which run, and as which of its models, a row of the tables stands: one run gives four of them
    "FedAvg": ("fine-tune", "global"),
    "fine-tune": ("fine-tune", "personal"),
    "local-only": ("fine-tune", "alone"),
    "pooled": ("fine-tune", "pooled"),
}
RATES = (RATE, "training.fine_tune_lr")  # a grid over them is a grid of multiples, but FedAvg's own


@dataclass(frozen=True)
class Job:
    """One federation. Where `fold` is validation it is played to choose a setting, on cases that are for that alone."""

    task: str
    split: str
    seed: int
    method: str
    settings: dict[str, Any]
    fold: str = "testing"
    baselines: bool = False

    @property
    def key(self) -> str:
        chosen = "-".join(f"{name.split('.')[-1]}-{value}" for name, value in sorted(self.settings.items()))
        words = f"{self.task} {self.split} {self.seed} {self.method} {self.fold} {chosen}"
        return "".join(letter if letter.isalnum() or letter == "." else "-" for letter in words)


class Inline:
    """A crew of the process that plays the run: two runs side by side keep both cores busy."""

    def run(self, act: Callable[..., Any], *args: Any) -> Any:
        return act(*args)

    def each(self, act: Callable[..., Any], rows: Sequence[tuple[Any, ...]], done: Callable[[], None]) -> list[Any]:
        found = []
        for row in rows:
            found.append(act(*row))
            done()
        return found


def with_changes(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Dotted names reach into sections; a section that is given is merged."""
    made = json.loads(json.dumps(base))
    for name, value in changes.items():
        *sections, last = name.split(".")
        place = made
        for section in sections:
            place = place.setdefault(section, {})
        place[last] = {**place.get(last, {}), **value} if isinstance(value, dict) else value
    return made


def recipe_of(job: Job) -> dict[str, Any]:
    method = next(each for each in METHODS if each.name == job.method)
    made = with_changes({**BASES[job.task], "seed": job.seed}, {**method.changes, **job.settings})
    made["data"]["split"] = TUNING_SPLIT if job.fold == "validation" else SPLIT
    made["training"]["optimizer"] = {"name": "SGD", **made["training"].get("optimizer", {})}
    if "labels" in made["data"]:
        made["data"]["labels"] = {int(number): name for number, name in made["data"]["labels"].items()}
    return made


def data_of(job: Job, work: Path) -> Path:
    return work / "data" / f"{job.task}{'-tuning' if job.fold == 'validation' else ''}"


def prepare(task: str, source: Path, work: Path) -> None:
    """Two folders a task, with no patient in common: hippocampus volumes, or radiographs of all sample hospitals."""
    kept, aside = (work / "data" / f"{task}{words}" for words in ("", "-tuning"))
    if (aside / "done").exists():
        return
    for target in (kept, aside):
        shutil.rmtree(target, ignore_errors=True)
        (target / "images").mkdir(parents=True)
    if task == "hippocampus":
        for number, path in enumerate(sorted((source / "images").glob("*.nii.gz"))):
            target = kept if number < CASES else aside
            for kind in ("images", "labels"):
                (target / kind).mkdir(exist_ok=True)
                shutil.copyfile(source / kind / path.name, target / kind / path.name)
    else:
        rows = [row for hospital in sorted(source.iterdir()) if hospital.is_dir() for row in radiographs(hospital)]
        patients = sorted({patient for _, _, patient in rows})
        for target, wanted in ((kept, False), (aside, True)):
            mine = [row for row in rows if (not patients.index(row[2]) % ASIDE) == wanted]
            lines = ["path,label,patient"]
            for path, label, patient in mine:
                name = f"images/{path.parents[1].name}-{path.name}"
                shutil.copyfile(path, target / name)
                lines.append(f"{name},{label},{patient}")
            (target / "labels.csv").write_text("\n".join(lines) + "\n")
    (aside / "done").touch()


def radiographs(hospital: Path) -> list[tuple[Path, str, str]]:
    """File, class and patient; the samples also have rows without a file, for the data check to find."""
    rows = csv.DictReader((hospital / "labels.csv").read_text("utf-8").splitlines())
    found = [(hospital / row["path"], row["label"], f"{hospital.name}-{row['patient']}") for row in rows]
    return [row for row in found if row[0].exists()]


def divide(job: Job, work: Path) -> None:
    """WORK/parts/...: one case list a site, the same for every method; drawn again where a fold has too few cases."""
    parts, draw, chosen = parts_of(job, work), 0, recipe.parse(recipe_of(job), "recipe")
    wanted = {**LEAST, "testing": 0} if job.fold == "validation" else LEAST
    cases = [] if parts.exists() else cases_in(data_of(job, work), job.task)
    while not parts.exists():
        divided = splits.virtual_sites(cases, sites=SITES, seed=job.seed + 1000 * draw, **SPLITS[job.split])
        lists = [datalist.build(find.Found(part, [], []), chosen) for part in divided]
        if all(each.header.counts[fold] >= least for each in lists for fold, least in wanted.items()):
            made = parts.with_suffix(".part")
            for number, each in enumerate(lists, start=1):
                (made / f"site-{number}").mkdir(parents=True, exist_ok=True)
                datalist.save(made / f"site-{number}" / "cases.json", each)
            made.rename(parts)
        draw += 1


def divide_all(jobs: Sequence[Job], work: Path) -> None:
    for job in jobs:
        divide(job, work)


@functools.cache
def cases_in(data: Path, task: str) -> list[Case]:
    """Read once: only the division and the folds depend on the seed."""
    job = Job(task, "iid", TUNING_SEED, "FedAvg", {RATE: 0.1})
    chosen = recipe.parse(recipe_of(job), "recipe")
    key = hashlib.sha256(b"an experiment with public data").digest()
    return find.find(virtual.described(data, chosen), chosen, pseudonym_key=key, label_map={}).cases


def parts_of(job: Job, work: Path) -> Path:
    return work / "parts" / f"{job.task}-{job.split.replace(' ', '-')}-{job.seed}"


def play(job: Job, work: Path) -> dict[str, Any]:
    """The run, and what it gave: by site and model the first metric on the site's own cases of the fold."""
    target = work / "runs" / f"{job.key}.json"
    if target.exists():
        return json.loads(target.read_text())
    began = time.monotonic()
    folder = work / "playing" / job.key
    shutil.rmtree(folder, ignore_errors=True)
    setting = setting_of(job, folder, work)
    acts.begin(setting)
    prepared = work / "cache" / f"{job.task}-{os.getpid()}"  # once a worker, whatever the method and the division
    prepared.mkdir(parents=True, exist_ok=True)
    for name in setting.names:
        cache = setting.site(name) / "cache"
        shutil.rmtree(cache)
        cache.symlink_to(prepared)
        acts.partition(setting, name)
    simulate.play(setting, Inline(), lambda: None, lambda _: None)  # type: ignore[arg-type]
    sites = scored(job, setting)
    metric = recipe.load(setting.recipe).evaluation.metrics[0]
    if job.baselines:
        models.train_pooled(setting)
        for row in models.score(setting, models.POOLED):
            if row.metric == metric and row.site in sites:
                sites[row.site]["pooled"] = row.value
    found = {**asdict(job), "metric": metric, "sites": sites, "seconds": round(time.monotonic() - began, 1)}
    target.parent.mkdir(parents=True, exist_ok=True)
    files.write_atomic(target, json.dumps(found, indent=1).encode())
    shutil.rmtree(folder)
    return found


def setting_of(job: Job, folder: Path, work: Path) -> Setting:
    folder.mkdir(parents=True)
    file = folder / "recipe.yaml"
    file.write_text(yaml.safe_dump(recipe_of(job)))
    chosen, data = recipe.load(file), data_of(job, work)
    cases = {}
    for path in sorted(parts_of(job, work).glob("site-*/cases.json")):
        found = datalist.load(path)
        header = found.header.model_copy(update={"recipe": recipe.digest(chosen)})
        cases[path.parent.name] = folder / f"{path.parent.name}.json"
        datalist.save(cases[path.parent.name], found.model_copy(update={"header": header}))
    return Setting(folder, file, dict.fromkeys(cases, data), ROUNDS[job.task], "heterogeneity", cases)


def scored(job: Job, setting: Setting) -> dict[str, dict[str, Any]]:
    """What the sites report, as the coordinator reads it."""
    now = lambda: datetime.now(UTC)  # noqa: E731
    fold: evaluate.Split = "validation" if job.fold == "validation" else "testing"
    for name in setting.names:
        if job.baselines:
            acts.train_alone(setting, name)
        evaluate.evaluate(setting.site(name), now(), fold, "", lambda *_: None)
    acts.carry(setting)
    table = pooling.evaluate(setting.coordinator, now(), fold)
    metric = recipe.load(setting.recipe).evaluation.metrics[0]
    found: dict[str, dict[str, Any]] = {}
    for report in table.reports:
        n, value = report.body.overall("global", metric)
        found[report.site] = {"n": n, "global": value}
        for model in ("personal", "alone"):
            if any(row.model == model for row in report.body.told.scores):
                found[report.site][model] = report.body.overall(model, metric)[1]
    return found


def choose(task: str, work: Path, crew: Crew) -> dict[str, dict[str, Any]]:
    """The setting of each method with the best mean over the validation cases of all sites."""
    first = METHODS[0]
    assert first.grid is not None
    rates = [Job(task, TUNED_ON, TUNING_SEED, first.name, {RATE: value}, "validation") for value in first.grid[1]]
    chosen = {first.name: best(played(rates, work, crew), first)}
    rate = chosen[first.name][RATE]
    jobs = []
    for method in METHODS[1:]:
        if task not in method.tasks:
            continue
        chosen[method.name] = {RATE: rate}
        name, values = method.grid or ("", ())
        for value in values:
            settings = {RATE: rate, name: round(value * rate, 6) if name in RATES else value}
            jobs.append(Job(task, TUNED_ON, TUNING_SEED, method.name, settings, "validation"))
    runs = played(jobs, work, crew)
    for method in METHODS[1:]:
        mine = [run for run in runs if run["method"] == method.name]
        if mine:
            chosen[method.name] = best(mine, method)
    return chosen


def best(runs: list[dict[str, Any]], method: Method) -> dict[str, Any]:
    return max(runs, key=lambda run: heterogeneity_tables.over_all(run["sites"], method.model))["settings"]


def played(jobs: list[Job], work: Path, crew: Crew) -> list[dict[str, Any]]:
    began, done = time.monotonic(), 0
    waiting = sum(not (work / "runs" / f"{job.key}.json").exists() for job in jobs)

    def tell() -> None:
        nonlocal done
        done += 1
        if waiting and not done % 10:
            print(f"{done} of {len(jobs)} runs, {time.monotonic() - began:.0f} s", flush=True)

    return crew.each(play, [(job, work) for job in jobs], tell)


def jobs_of(task: str, chosen: dict[str, dict[str, Any]], seeds: Sequence[int]) -> list[Job]:
    return [
        Job(task, split, seed, method.name, chosen[method.name], baselines=method.name == "fine-tune")
        for method in METHODS
        if task in method.tasks and method.name != "FedAvg"  # whose model the run of fine-tune has
        for split in SPLITS
        for seed in seeds
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hippocampus", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--work", type=Path, default=TOP / "work" / "heterogeneity")
    parser.add_argument("--seeds", type=int, default=len(SEEDS), help="fewer, for a look")
    parser.add_argument("--tasks", nargs="+", default=list(BASES), choices=list(BASES))
    options = parser.parse_args()
    sources = {"hippocampus": options.hippocampus, "fractures": TOP / "sample_data" / "xray-fracture"}
    seeds = SEEDS[: options.seeds]
    everything, chosen = {}, {}
    for task in options.tasks:
        prepare(task, sources[task], options.work)
    with Crew(at_once=64) as crew:
        plain = {RATE: 0.1}
        divisions = [
            Job(task, split, seed, "FedAvg", plain) for task in options.tasks for split in SPLITS for seed in seeds
        ]
        divisions += [Job(task, TUNED_ON, TUNING_SEED, "FedAvg", plain, "validation") for task in options.tasks]
        crew.each(
            divide_all,
            [([each for each in divisions if each.task == task], options.work) for task in options.tasks],
            lambda: None,
        )
        for task in options.tasks:
            chosen[task] = choose(task, options.work, crew)
            print(f"{task}: {chosen[task]}", flush=True)
            everything[task] = played(jobs_of(task, chosen[task], seeds), options.work, crew)
    names = {
        task: [*(each.name for each in METHODS if task in each.tasks), "local-only", "pooled"] for task in everything
    }
    heterogeneity_tables.publish(everything, chosen, names, PLAYED, list(SPLITS), TUNED_ON)


if __name__ == "__main__":
    main()
