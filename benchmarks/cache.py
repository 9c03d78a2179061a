"""What the cache of prepared cases is worth: time of an epoch's samples and memory, each contender in a process anew.

    python benchmarks/cache.py --series FOLDER --hippocampus FOLDER

--series is a folder with one DICOM series of MR, --hippocampus has images/ and labels/; what is not given is left out.
A large study is made here. Resumable: what is in --work is not measured again. An epoch is every case once: prepared or
taken from the cache, a patch cut and altered; the network is not in it, except where loader processes are compared.
"""

from __future__ import annotations

import argparse
import json
import platform
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from statistics import median
from typing import Any

import nibabel
import numpy as np
import torch

import fedmed.training  # noqa: F401 - before any work: it says how torch's threads wait
from fedmed import recipe as recipes
from fedmed.cases import content, dicom
from fedmed.cases.case import Case, Geometry
from fedmed.preprocessing import Intensity, Preprocessing
from fedmed.recipe import Segmentation
from fedmed.training import cache, fit, networks, patches

TOP = Path(__file__).resolve().parents[1]
RESULTS = TOP / "benchmarks" / "results"
CONTENDERS = ("no cache", "empty cache", "filled cache")
EPOCHS = 4
WORKERS = (0, 1, 2)
STEPS = 24
HU = Preprocessing(channels={"CT": Intensity(mean=60.0, sd=60.0, low=-160.0, high=240.0)})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--series", type=Path)
    parser.add_argument("--hippocampus", type=Path)
    parser.add_argument("--slices", type=int, default=800, help="of the large study, of 512 x 512 pixels")
    parser.add_argument("--large", type=int, default=3, help="how many large studies; 0 leaves them out")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--work", type=Path, default=TOP / "work" / "cache")
    parser.add_argument("--child", default="", help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    if options.child:
        print(json.dumps(measured(json.loads(options.child), options.work)))
        return
    tasks = made(options)
    rows: dict[str, dict[str, Any]] = {}
    for repeat in range(options.repeats):
        for name, task in tasks.items():
            for number in range(len(task["contenders"])):
                contender = task["contenders"][(number + repeat) % len(task["contenders"])]
                key = f"{name}, {contender}, {repeat}"
                rows[key] = row(key, {**task, "name": name, "contender": contender, "repeat": repeat}, options)
    publish(rows, tasks, options)


def row(key: str, job: dict[str, Any], options: argparse.Namespace) -> dict[str, Any]:
    """Measured in a process of its own, once."""
    kept = options.work / "rows.json"
    rows = json.loads(kept.read_text()) if kept.exists() else {}
    if key not in rows:
        print(key, flush=True)
        command = [sys.executable, __file__, "--work", str(options.work), "--child", json.dumps(job)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(done.stderr)
        rows[key] = json.loads(done.stdout.splitlines()[-1])
        kept.write_text(json.dumps(rows, indent=1))
    found: dict[str, Any] = rows[key]
    return found


# --- what is measured ---------------------------------------------------------------------------------------------


def made(options: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """The tasks by name: data root, recipe, case files; masks and large studies are written to --work."""
    tasks: dict[str, dict[str, Any]] = {}
    if options.series:
        root, files = series(options.series, options.work / "series")
        for size, small in (("1 mm", ""), ("3 mm", ".small")):
            tasks[f"DICOM series of {len(files)} files, {size}"] = task(
                root, f"tumour-segmentation-mr{small}", "MR", [files]
            )
    if options.hippocampus:
        names = sorted(path.name for path in (options.hippocampus / "images").glob("*.nii*"))
        pairs = [[f"images/{name}"] for name in names]
        small = "hippocampus-segmentation-mr.small"
        tasks[f"hippocampus, {len(pairs)} cases"] = task(options.hippocampus, small, "MR", pairs)
        few = task(options.hippocampus, small, "MR", pairs[:48])
        tasks["loader processes, hippocampus, with the network"] = {
            **few,
            "contenders": [f"{n} loaders" for n in WORKERS],
        }
    if options.large:
        root = large(options.work / "large", options.slices, options.large)
        pairs = [[f"images/{number}.nii"] for number in range(options.large)]
        for count in sorted({1, options.large}):
            name = f"CT of 512 x 512 x {options.slices}, {count} studies"
            tasks[name.replace("1 studies", "1 study")] = task(root, "tumour-segmentation-ct", "CT", pairs[:count])
    return tasks


def task(root: Path, recipe: str, channel: str, images: list[list[str]]) -> dict[str, Any]:
    listed = [str(root.resolve()), recipe, channel, images]
    return {**dict(zip(("root", "recipe", "channel", "images"), listed, strict=True)), "contenders": list(CONTENDERS)}


def series(folder: Path, work: Path) -> tuple[Path, list[str]]:
    """A root with a link to the series and a mask: the brightest thousandth of the voxels, for want of a true one."""
    work.mkdir(exist_ok=True)
    if not (work / "dicom").exists():
        (work / "dicom").mkdir()
        for path in sorted(folder.rglob("*.dcm")):
            shutil.copyfile(path, work / "dicom" / path.name)
    files = sorted(f"dicom/{path.name}" for path in (work / "dicom").iterdir())
    if not (work / "label.nii").exists():
        volume, affine = dicom.read(work, files, "the series")
        save(work / "label.nii", (volume > np.quantile(volume, 0.999)).astype(np.uint8), affine)
    return work, files


def large(work: Path, slices: int, count: int) -> Path:
    """Studies of noise with a bright ball, 0.8 x 0.8 x 1 mm, int16."""
    for number in range(count):
        (work / "images").mkdir(parents=True, exist_ok=True)
        (work / "labels").mkdir(exist_ok=True)
        path = work / "images" / f"{number}.nii"
        if path.exists() and nibabel.load(path).shape == (512, 512, slices):
            continue
        random = np.random.default_rng(number)
        image = random.integers(-100, 100, (512, 512, slices), dtype=np.int16)
        label = np.zeros(image.shape, np.uint8)
        label[200:260, 200:260, slices // 2 : slices // 2 + 40] = 1
        image[label == 1] += 200
        affine = np.diag([0.8, 0.8, 1.0, 1.0])
        save(work / "labels" / f"{number}.nii", label, affine)
        save(path, image, affine)
    return work


def save(path: Path, array: np.ndarray, affine: np.ndarray) -> None:
    image = nibabel.Nifti1Image(array, affine)
    image.header.set_xyzt_units("mm")
    nibabel.save(image, path)


# --- in a process of its own --------------------------------------------------------------------------------------


def measured(job: dict[str, Any], work: Path) -> dict[str, Any]:
    recipe = recipes.load(TOP / "recipes" / f"{job['recipe']}.yaml")
    assert isinstance(recipe, Segmentation)
    root = Path(job["root"])
    cases = [case_of(job, root, number) for number in range(len(job["images"]))]
    folder = work / "caches" / f"{job['name']}, {job['repeat']}"
    if job["contender"] == "empty cache":
        shutil.rmtree(folder, ignore_errors=True)
    disk = None if job["contender"] == "no cache" else cache.Cache(folder, 1 << 40)
    numbers = HU if recipe.data.modality == "CT" else None
    if job["contender"].endswith("loaders"):
        return with_network(recipe, cases, root, cache.Cache(folder, 1 << 40), int(job["contender"].split()[0]))
    if job["contender"] == "filled cache":
        fill(recipe, cases, root, disk, numbers)
    drawn = patches.Patches(recipe, cases, root, {}, (recipe.seed, "a", 0, 1), numbers, disk)
    epochs = []
    for epoch in range(EPOCHS):
        with Memory() as memory:
            begun = time.perf_counter()
            for number in range(len(cases)):
                drawn[epoch * len(cases) + number]
            epochs.append({"s": time.perf_counter() - begun, "peak_mb": memory.peak_mb})
    return {"epochs": epochs}


def fill(recipe: Segmentation, cases: list[Case], root: Path, disk: cache.Cache | None, numbers: Any) -> None:
    """In a child, so that this process is as one that finds the cache as another command left it."""
    code = torch.multiprocessing.get_context("fork").Process(target=_fill, args=(recipe, cases, root, disk, numbers))
    code.start()
    code.join()
    assert code.exitcode == 0


def _fill(recipe: Segmentation, cases: list[Case], root: Path, disk: cache.Cache, numbers: Any) -> None:
    torch.set_num_threads(1)  # a fork takes no threads along
    drawn = patches.Patches(recipe, cases, root, {}, (recipe.seed, "a", 0, 1), numbers, disk)
    for number in range(len(cases)):
        drawn.prepared(number)


def with_network(
    recipe: Segmentation, cases: list[Case], root: Path, disk: cache.Cache, num_workers: int
) -> dict[str, Any]:
    start, _ = networks.initial_params(recipe)
    epochs = []
    shutil.rmtree(disk.folder, ignore_errors=True)
    for number in range(2):
        begun = time.perf_counter()
        fit.fit(
            recipe, start, cases, root=root, label_map={}, site="a", round=number, rounds=9, attempt=1, num_steps=STEPS,
            device=torch.device("cpu"), num_workers=num_workers, disk=disk,
        )  # fmt: skip
        epochs.append({"s": (time.perf_counter() - begun) / STEPS, "peak_mb": 0.0})
    return {"epochs": epochs}


def case_of(job: dict[str, Any], root: Path, number: int) -> Case:
    files = job["images"][number]
    label = "label.nii" if len(files) > 1 else files[0].replace("images/", "labels/")
    grid = Geometry((1, 1, 1), (1.0, 1.0, 1.0), "")
    case = Case(f"case-{number:03d}", f"p{number}", "", {job["channel"]: tuple(files)}, label, {}, grid)
    return Case(**{**vars(case), "content": content.digest(case, root)})


class Memory:
    """The most memory of this process's own, without pages of files that the system may drop; looked at every 5 ms."""

    def __enter__(self) -> Memory:
        self.peak_mb, self._over = own_mb(), threading.Event()
        self._watch = threading.Thread(target=self._look)
        self._watch.start()
        return self

    def _look(self) -> None:
        while not self._over.wait(0.005):
            self.peak_mb = max(self.peak_mb, own_mb())

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._watch.join()


def own_mb() -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) / 1024


# --- the table ----------------------------------------------------------------------------------------------------


def publish(rows: dict[str, dict[str, Any]], tasks: dict[str, dict[str, Any]], options: argparse.Namespace) -> None:
    """benchmarks/results/cache.md and .json: medians over the repeats."""
    found: dict[str, dict[str, dict[str, float]]] = {}
    for name, each in tasks.items():
        for contender in each["contenders"]:
            runs = [rows[f"{name}, {contender}, {repeat}"]["epochs"] for repeat in range(options.repeats)]
            found.setdefault(name, {})[contender] = {
                "first_s": median(run[0]["s"] for run in runs),
                "later_s": median(epoch["s"] for run in runs for epoch in run[1:]),
                "first_mb": median(run[0]["peak_mb"] for run in runs),
                "later_mb": median(epoch["peak_mb"] for run in runs for epoch in run[1:]),
            }
    RESULTS.mkdir(exist_ok=True)
    text = "\n".join(lines(found, options.repeats)) + "\n"
    (RESULTS / "cache.md").write_text(text)
    (RESULTS / "cache.json").write_text(json.dumps(found, indent=1) + "\n")
    print(text)


def lines(found: dict[str, dict[str, dict[str, float]]], repeats: int) -> list[str]:
    out = [
        "# The cache of prepared cases",
        "",
        "An epoch is every case once: prepared, or taken from the cache, a patch cut and altered, without the network.",
        "Each row is a process of its own; in the last the cache had been filled by another. MB is the most memory of",
        f"the process's own, without pages of files. Medians of {repeats} runs on {torch.get_num_threads()} cores",
        f"({platform.machine()}); use the ratios, not the seconds. Made by `python benchmarks/cache.py`.",
    ]
    for name, contenders in found.items():
        out += ["", f"## {name}", "", *(loaders if "0 loaders" in contenders else epochs)(contenders)]
    return out


def loaders(contenders: dict[str, dict[str, float]]) -> list[str]:
    out = ["| loader processes | s a step, cache empty | cache filled | to none |", "|---|---:|---:|---:|"]
    base = contenders["0 loaders"]
    for who, one in contenders.items():
        first, later = one["first_s"], one["later_s"]
        out.append(f"| {who.split()[0]} | {first:.3f} | {later:.3f} | {later / base['later_s']:.2f} |")
    return out


def epochs(contenders: dict[str, dict[str, float]]) -> list[str]:
    out = ["| | first epoch, s | later epochs, s | first, MB | later, MB |", "|---|---:|---:|---:|---:|"]
    for who, one in contenders.items():
        times, sizes = (one["first_s"], one["later_s"]), (one["first_mb"], one["later_mb"])
        out.append(f"| {who} | {times[0]:.3f} | {times[1]:.3f} | {sizes[0]:.0f} | {sizes[1]:.0f} |")
    none, cold, warm = (contenders[who] for who in CONTENDERS)
    later, anew = cold["first_s"] / cold["later_s"], cold["first_s"] / warm["first_s"]
    filling = cold["first_s"] / none["first_s"]
    return [
        *out,
        "",
        f"The second epoch from the cache is {later:.1f} times as fast as the first, the first epoch of a new process",
        f"with a filled cache {anew:.1f} times; to fill it makes a first one {filling:.2f} times as long as without.",
    ]


if __name__ == "__main__":
    main()
