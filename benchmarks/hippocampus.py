"""Four uneven hospitals on the hippocampus (MSD Task04): federated, pooled and local-only on one common test fold.

The federation runs through four site workspaces and a coordinator's, by signed files and the functions behind the
command line. Pooled training takes as many steps as all sites together; a site alone takes its own share of them.
Every model is then scored on the test cases of all sites. Run again after a kill: it goes on where it was.

    python benchmarks/hippocampus.py --data DIR [--work work/hippocampus] [--rounds 10]
"""

from __future__ import annotations

import argparse
import json
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from fedmed import files, recipe
from fedmed.cases import datalist
from fedmed.coordinator import admit, aggregate, found, start
from fedmed.learning import params
from fedmed.rehearsal.demo import carry
from fedmed.reporting import statistics
from fedmed.site import alone, approve, desk, join, partition, train
from fedmed.training import devices, fit, metrics, networks

if TYPE_CHECKING:
    from fedmed.cases.case import Case
    from fedmed.learning.params import Params
    from fedmed.recipe import Recipe

TOP = Path(__file__).resolve().parents[1]
RECIPE = TOP / "recipes" / "hippocampus-segmentation-mr.small.yaml"
RESULTS = TOP / "benchmarks" / "results"
SIZES = (70, 45, 25, 15)
NAMES = [f"site-{number}" for number in range(1, len(SIZES) + 1)]


@dataclass(frozen=True)
class Row:
    """Mean over the common test fold."""

    model: str
    cases: int
    steps: int
    dice: statistics.Summary
    hd95: statistics.Summary


def main() -> None:
    options = _options()
    work, data = options.work.resolve(), options.data.resolve()
    lists = _divide(work, data)
    _found(work, data, options.rounds)
    for round_ in range(options.rounds):
        for name in NAMES:
            train.train(work / name, _now(), train.Options(device=options.device), _quiet)
        carry(work, NAMES)
        if not list((work / "coordinator" / "outbox").glob(f"model-r{round_ + 1:04d}.fedmed")):
            made = aggregate.aggregate(work / "coordinator", _now())
            print(f"round {round_}: " + ", ".join(f"{m.metric} {m.mean}" for m in made.pooled), flush=True)
        carry(work, NAMES)
    for name in NAMES:
        alone.train_alone(work / name, _now(), options.device, _quiet)
        print(f"{name} alone: done", flush=True)
    chosen = recipe.load(RECIPE)
    pooled = _pooled(work, data, lists, chosen, options)
    _write(_rows(work, data, lists, chosen, pooled, options), options.rounds)


def _divide(work: Path, data: Path) -> dict[str, datalist.Datalist]:
    if not (work / "parts").exists():
        partition.virtual_sites(
            data, RECIPE, work / "parts", how="sizes", sites=len(SIZES), sizes=SIZES, alpha=None, seed=None
        )
    return {name: datalist.load(work / "parts" / name / "cases.json") for name in NAMES}


def _found(work: Path, data: Path, rounds: int) -> None:
    """The founding, step by step; a step that was done is passed over."""
    coordinator = work / "coordinator"
    if not coordinator.exists():
        found.init(coordinator, RECIPE, _now(), title="hippocampus", rounds=rounds)
    for name in NAMES:
        if not (work / name).exists():
            join.init(work / name, name, data, _now())
            shutil.copy(work / "parts" / name / "cases.json", work / name / "cases.json")
    carry(work, NAMES)
    if not (coordinator / "outbox" / "federation-v0001.fedmed").exists():
        admit.admit(coordinator, sorted((coordinator / "inbox").glob("join-*.fedmed")), _now())
    started = start.start(coordinator, networks.initial_params, _now())
    carry(work, NAMES)
    for name in NAMES:
        approve.approve(work / name, _now(), by="the benchmark", ask=lambda _: started.fingerprint)


def _pooled(
    work: Path, data: Path, lists: dict[str, datalist.Datalist], chosen: Recipe, options: argparse.Namespace
) -> Params:
    """All training cases in one place, for as many steps as the sites took together; kept after each round."""
    weights, rows = networks.initial_params(chosen)
    table = params.table_from_rows(rows)
    cases = [case for each in lists.values() for case in datalist.cases(each, "training")]
    steps = sum(_steps(chosen, each) for each in lists.values())
    for round_ in range(options.rounds):
        kept = work / f"pooled-r{round_ + 1:04d}.safetensors"
        if kept.exists():
            weights = params.from_payload(kept.read_bytes(), table)
            continue
        fitted = fit.fit(
            chosen, weights, cases, root=data, label_map={}, site="pooled", round=round_, rounds=options.rounds,
            attempt=1, num_steps=steps, device=devices.pick(options.device), checkpoint=kept.with_suffix(".checkpoint"),
        )  # fmt: skip
        weights = fitted.params
        files.write_atomic(kept, params.to_payload(weights, table))
        print(f"pooled round {round_}: loss {fitted.train_loss:.3f}", flush=True)
    return weights


def _rows(
    work: Path,
    data: Path,
    lists: dict[str, datalist.Datalist],
    chosen: Recipe,
    pooled: Params,
    options: argparse.Namespace,
) -> list[Row]:
    test = [case for each in lists.values() for case in datalist.cases(each, "testing")]
    sizes = {name: len(each.training) for name, each in lists.items()}
    steps = {name: options.rounds * _steps(chosen, each) for name, each in lists.items()}

    def scored(model: str, weights: Params, cases: int, taken: int) -> Row:
        return _score(model, weights, cases, taken, test=test, data=data, chosen=chosen, options=options)

    site = desk.peek(work / NAMES[0])
    consent = desk.require_approved(site)
    last = site.workspace.record.newest("model")
    if last is None or last.round != options.rounds:
        raise SystemExit("the last model has not arrived")
    whole = sum(sizes.values()), sum(steps.values())
    rows = [
        scored("federated", desk.model_params(site, consent, last), *whole),
        scored("pooled", pooled, *whole),
    ]
    for name in NAMES:
        own = desk.peek(work / name)
        weights = alone.newest(own, consent)
        if weights is None:
            raise SystemExit(f"{name} has no local-only model")
        rows.append(scored(f"{name} alone", weights, sizes[name], steps[name]))
    return rows


def _score(
    model: str,
    weights: Params,
    cases: int,
    steps: int,
    *,
    test: list[Case],
    data: Path,
    chosen: Recipe,
    options: argparse.Namespace,
) -> Row:
    found_ = metrics.evaluate(chosen, weights, test, root=data, label_map={}, device=devices.pick(options.device))
    values: dict[str, list[float]] = {"dice": [], "hd95": []}
    for case in found_:
        for metric, into in values.items():
            into.append(sum(s.value or 0.0 for s in case.rows if s.metric == metric) / len(chosen.data.labels))
    return Row(model, cases, steps, statistics.summarise(values["dice"]), statistics.summarise(values["hd95"]))


def _write(rows: list[Row], rounds: int) -> None:
    local = [row for row in rows if row.model.endswith("alone")]
    mean = sum(row.dice.mean or 0 for row in local) / len(local)
    by_name = {row.model: row.dice.mean or 0 for row in rows}
    lines = [
        "# Hippocampus: federated, pooled, local-only",
        "",
        f"{rounds} rounds, one seed; {rows[0].dice.n} common test cases (the test folds of all sites), mean over the",
        "two labels of a case. Made by `python benchmarks/hippocampus.py`; settings were chosen on training and",
        "validation cases.",
        "",
        "| model | training cases | steps | Dice | sd | HD95 mm | sd |",
        "|---|---:|---:|---:|---:|---:|---:|",
        *(
            f"| {row.model} | {row.cases} | {row.steps} | {row.dice.mean:.4f} | {row.dice.sd:.4f} "
            f"| {row.hd95.mean:.2f} | {row.hd95.sd:.2f} |"
            for row in rows
        ),
        "",
        (
            f"Mean of local-only {mean:.4f}; federated minus pooled {by_name['federated'] - by_name['pooled']:+.4f}; "
            f"federated minus the mean of local-only {by_name['federated'] - mean:+.4f}."
        ),
    ]
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "hippocampus.md").write_text("\n".join(lines) + "\n")
    plain = [{**vars(row), "dice": vars(row.dice), "hd95": vars(row.hd95)} for row in rows]
    (RESULTS / "hippocampus.json").write_text(json.dumps({"rounds": rounds, "rows": plain}, indent=1) + "\n")
    print("\n".join(lines))


def _steps(chosen: Recipe, each: datalist.Datalist) -> int:
    return fit.local_steps(chosen, len(each.training))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the folder with images/ and labels/")
    parser.add_argument("--work", type=Path, default=TOP / "work" / "hippocampus")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--device", default="cpu")
    return parser.parse_args()


def _quiet(_what: str, _done: int, _total: int) -> None:
    return


def _now() -> datetime:
    return datetime.now(UTC)


if __name__ == "__main__":
    main()
