"""What encodings of updates save on disk, and what they cost in the metric: the same seeds for each encoding.

    python benchmarks/bytes.py --data FOLDER

FOLDER has fed_heart_disease/ and fed_tcga_brca/. `--task NAME` runs one of them. Resumable: a killed run goes on; what
is done is published. Nothing is chosen by these figures.
"""

from __future__ import annotations

import argparse
import csv
import json
import tarfile
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

import simulated
import yaml

from fedmed import recipe
from fedmed.auditor import inspection
from fedmed.exchange import bodies
from fedmed.learning import compression, shapes
from fedmed.learning.layout import Encoding, Layout
from fedmed.rehearsal.models import EVERYWHERE, GLOBAL
from fedmed.rehearsal.simulate import Plan
from fedmed.training import networks

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

RECIPES = simulated.TOP / "recipes"
ENCODINGS: dict[str, dict[str, Any]] = {
    "fp32": {"encoding": "fp32"},
    "fp16": {"encoding": "fp16"},
    "bf16": {"encoding": "bf16"},
    "int8": {"encoding": "int8"},
    "topk 5 %": {"encoding": "topk", "fraction": 0.05},
}
LARGE = ["tumour-segmentation-mr", "hippocampus-segmentation-mr", "fracture-classification-xray"]
HEART = ["age", "sex", "cp", "trestbps", "chol", "fbs", "restecg", "thalach", "exang", "oldpeak", "slope", "ca"]


@dataclass(frozen=True)
class Task:
    """`prepare(source, folder)` gives the folder of the data; `changes` are made to the recipe."""

    title: str
    recipe: str
    rounds: int
    seeds: int
    plan: dict[str, Any]
    prepare: Callable[[Path, Path], Path]
    changes: dict[str, Any]


@dataclass(frozen=True)
class Row:
    """One encoding of one task: bytes of a whole signed update, plain and packed by zstd, and a value for each seed.

    `validation` is of the model before the last, `test` of the last.
    """

    metric: str
    sites: int
    file: float
    packed: float
    validation: list[float]
    test: list[float]


def heart(source: Path, folder: Path) -> Path:
    """A folder for each hospital, with names above its columns."""
    for name in ("cleveland", "hungarian", "switzerland", "va"):
        (folder / name).mkdir(parents=True, exist_ok=True)
        rows = (source / "fed_heart_disease" / f"processed.{name}.data").read_text()
        (folder / name / "patients.csv").write_text(",".join([*HEART, "thal", "num"]) + "\n" + rows)
    return folder


def breast(source: Path, folder: Path) -> Path:
    """One table of all regions, with the region in a column; without the patients that FLamby puts into none."""
    folder.mkdir(parents=True, exist_ok=True)
    with (source / "fed_tcga_brca" / "train_test_split.csv").open() as rows:
        region = {row["pid"]: row["fold2"].rpartition("_")[2] for row in csv.DictReader(rows)}
    with (source / "fed_tcga_brca" / "brca.csv").open() as rows:
        head, *table = csv.reader(rows)
    with (folder / "brca.csv").open("w", newline="") as out:
        writer = csv.writer(out, lineterminator="\n")
        writer.writerows([[*head, "center"], *([*row, region[row[0]]] for row in table if row[0] in region)])
    return folder


def sample(name: str) -> Callable[[Path, Path], Path]:
    return lambda _source, _folder: simulated.TOP / "sample_data" / name


MLP = {"network": {"name": "MLP", "hidden": [64]}}
FOLDERS = {"how": "folders"}
TASKS = {
    "fracture": Task(
        "Fractures, three sample hospitals, residual network of 140,000 weights",
        "fracture-classification-xray.small",
        rounds=6,
        seeds=3,
        plan=FOLDERS,
        prepare=sample("xray-fracture"),
        changes={},
    ),
    "tumour": Task(
        "Tumours, three sample hospitals, U-Net",
        "tumour-segmentation-mr.small",
        rounds=5,
        seeds=2,
        plan=FOLDERS,
        prepare=sample("mr-tumour"),
        changes={},
    ),
    "heart": Task(
        "Fed-Heart-Disease, four hospitals, a layer of 64 between inputs and output",
        "heart-disease-table",
        rounds=8,
        seeds=3,
        plan=FOLDERS,
        prepare=heart,
        changes=MLP,
    ),
    "breast": Task(
        "Fed-TCGA-BRCA, six regions, a layer of 64 between inputs and output",
        "breast-survival-table",
        rounds=8,
        seeds=3,
        plan={"how": "column", "by": "center"},
        prepare=breast,
        changes=MLP,
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=simulated.TOP / "work" / "bytes")
    parser.add_argument("--task", choices=TASKS, action="append")
    options = parser.parse_args()
    for name in options.task or TASKS:
        measure(TASKS[name], options.data, options.work / name)
    found = {name: kept(options.work / name) for name in TASKS}
    publish({name: rows for name, rows in found.items() if rows})


def measure(task: Task, source: Path, work: Path) -> None:
    """Each encoding, unless it was measured before."""
    work.mkdir(parents=True, exist_ok=True)
    data = task.prepare(source, work / "data")
    for name, update in ENCODINGS.items():
        result = work / f"{slug(name)}.json"
        if result.exists():
            continue
        fields = yaml.safe_load((RECIPES / f"{task.recipe}.yaml").read_text())
        path = work / f"{slug(name)}.yaml"
        path.write_text(yaml.safe_dump({**fields, **task.changes, "update": update}, sort_keys=False))
        plan = Plan(recipe=path, data=data, rounds=task.rounds, seeds=task.seeds, baselines=False, **task.plan)
        print(f"{task.title}: {name}", flush=True)
        found = simulated.run(plan, work / slug(name))
        metric = found.metrics[0]
        cell = found.cell(GLOBAL, EVERYWHERE, metric)
        sealed = sorted((work / slug(name)).glob("seed-*/coordinator/inbox/update-*.fedmed"))
        sizes = [size_of(each, layout_of(path, work / slug(name))) for each in sealed]
        row = Row(
            metric,
            len(found.sites),
            fmean(plain for plain, _ in sizes),
            fmean(packed for _, packed in sizes),
            [validation(work / slug(name) / f"seed-{seed}", task.rounds, metric) for seed in found.seeds],
            list(cell.values) if cell else [],
        )
        result.write_text(json.dumps(asdict(row), indent=1))


def slug(name: str) -> str:
    return "".join(each for each in name if each.isalnum())


def layout_of(path: Path, work: Path) -> Layout:
    table = inspection.read_federation(next(work.glob("seed-*/coordinator/outbox/federation-v0001.fedmed"))).table
    update = recipe.load(path).update
    return Layout(table, Encoding(update.encoding, update.fraction))


def size_of(path: Path, layout: Layout) -> tuple[int, int]:
    """Bytes of a signed file as it is, and with its payload packed by zstd: nothing else in it differs in length."""
    with tarfile.open(path) as archive:
        member = archive.extractfile("update.safetensors")
        payload = member.read() if member else b""
    packed = compression.pack(payload, layout.regions)
    size = path.stat().st_size
    return size, size - _padded(len(payload)) + _padded(len(packed))


def _padded(size: int) -> int:
    return size + -size % 512


def validation(seed: Path, rounds: int, metric: str) -> float:
    """Of the model before the last, as the last one says."""
    said = inspection.inspect(seed / "coordinator" / "outbox" / f"model-r{rounds:04d}.fedmed").statement
    body = said.predicate.body
    if not isinstance(body, bodies.Model):
        raise TypeError("expected a model")
    return float(next(each.mean or "nan" for each in body.pooled if (each.metric, each.label) == (metric, bodies.ALL)))


def kept(work: Path) -> dict[str, Row]:
    paths = {name: work / f"{slug(name)}.json" for name in ENCODINGS}
    return {name: Row(**json.loads(path.read_text())) for name, path in paths.items() if path.exists()}


def publish(found: dict[str, dict[str, Row]]) -> None:
    """benchmarks/results/bytes.md and .json."""
    lines = [
        "# Bytes of an update and the metric, by encoding",
        "",
        "Bytes are of the whole signed file in the inbox, mean over sites, rounds and seeds; `with zstd` is the same",
        "file with its payload packed (`compress: zstd`), which changes no number. Changes are against fp32 with the",
        "same seeds: mean over them, and the largest of one seed. The validation figure is of the model before the",
        "last, the test figure of the last. Made by `python benchmarks/bytes.py --data FOLDER`.",
        "",
    ]
    for name, rows in found.items():
        lines += table(TASKS[name], rows)
    lines += large()
    simulated.RESULTS.mkdir(exist_ok=True)
    (simulated.RESULTS / "bytes.md").write_text("\n".join(lines) + "\n")
    data = {task: {name: asdict(row) for name, row in rows.items()} for task, rows in found.items()}
    (simulated.RESULTS / "bytes.json").write_text(json.dumps(data, indent=1) + "\n")
    print("\n".join(lines))


def table(task: Task, rows: dict[str, Row]) -> list[str]:
    base = rows["fp32"]
    lines = [
        f"## {task.title}",
        "",
        f"Recipe {task.recipe}, {base.sites} sites, {task.rounds} rounds, {len(base.test)} seeds; {base.metric}.",
        "",
        "| encoding | update, bytes | smaller | with zstd | smaller | validation | change | test | change | largest |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for name, row in rows.items():
        tested = _changes(row.test, base.test)
        cells = [
            f"{row.file:,.0f}",
            f"{base.file / row.file:.2f} x",
            f"{row.packed:,.0f}",
            f"{base.file / row.packed:.2f} x",
            f"{fmean(row.validation):.4f}",
            f"{fmean(_changes(row.validation, base.validation)):+.4f}",
            f"{fmean(row.test):.4f}",
            f"{fmean(tested):+.4f}",
            f"{max(tested, key=abs):+.4f}",
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return [*lines, ""]


def _changes(values: Sequence[float], base: Sequence[float]) -> list[float]:
    return [value - before for value, before in zip(values, base, strict=True)]


def large() -> list[str]:
    """Payloads of the recipes for a GPU: their size follows from the tensors alone."""
    lines = [
        "## Networks of the recipes for a GPU",
        "",
        "Bytes of the payload, which follow from the network's tensors alone.",
        "",
        f"| recipe | weights | {' | '.join(ENCODINGS)} |",
        f"|---|---:|{'---:|' * len(ENCODINGS)}",
    ]
    for name in LARGE:
        tensors = shapes.table_from_rows(networks.initial_params(recipe.load(RECIPES / f"{name}.yaml"))[1])
        chosen = {each: Encoding(update["encoding"], update.get("fraction")) for each, update in ENCODINGS.items()}
        sizes = {each: Layout(tensors, encoding).size for each, encoding in chosen.items()}
        cells = [f"{size:,} ({sizes['fp32'] / size:.2f} x)" for size in sizes.values()]
        lines.append(f"| {name} | {shapes.elements(tensors):,} | {' | '.join(cells)} |")
    return lines


if __name__ == "__main__":
    main()
