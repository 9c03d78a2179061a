"""What the benchmarks on simulated federations share: run, compare, and write the committed table and picture."""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from statistics import fmean, stdev
from typing import TYPE_CHECKING

import trivial

from fedmed.rehearsal import simulate, summary
from fedmed.rehearsal.models import EVERYWHERE, GLOBAL, POOLED
from fedmed.rehearsal.simulate import Plan

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fedmed.rehearsal.summary import Summary

TOP = Path(__file__).resolve().parents[1]
RESULTS = TOP / "benchmarks" / "results"


def run(plan: Plan, work: Path) -> Summary:
    """All seeds, with a line for each round; goes on where it was killed."""
    return simulate.run(plan, work, lambda line: print(line, flush=True), lambda *_: None)


def differences(found: Summary) -> str:
    """The global model against pooled training and against the hospitals' own, in the first metric, over all cases."""
    metric = found.metrics[0]
    values = {
        model: cell.mean
        for model in (GLOBAL, POOLED, summary.LOCAL)
        if (cell := found.cell(model, EVERYWHERE, metric)) and cell.mean is not None
    }
    worst = found.cell(GLOBAL, found.worst, metric)
    return (
        f"{metric}: global minus pooled {values[GLOBAL] - values[POOLED]:+.4f}; "
        f"global minus the mean of local-only {values[GLOBAL] - values[summary.LOCAL]:+.4f}; "
        f"worst hospital {found.worst} with {summary.shown(worst)}."
    )


def publish(name: str, title: str, intro: Sequence[str], found: Summary, work: Path, more: Sequence[str] = ()) -> None:
    """benchmarks/results/NAME.md, .json and .png."""
    lines = [f"# {title}", "", *intro, "", *summary.markdown(found), "", differences(found), *more, ""]
    lines += [f"![{title}]({name}.png)"]
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.md").write_text("\n".join(lines) + "\n")
    shutil.copyfile(work / "results.json", RESULTS / f"{name}.json")
    shutil.copyfile(work / "plot.png", RESULTS / f"{name}.png")
    print("\n".join(lines))


def options(doc: str, name: str, rounds: int, *, data: Path | None = None) -> argparse.Namespace:
    """The options that all of them have; `--data` must be given where there is no default."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=data, required=data is None)
    parser.add_argument("--work", type=Path, default=TOP / "work" / name)
    parser.add_argument("--rounds", type=int, default=rounds)
    parser.add_argument("--seeds", type=int, default=3)
    return parser.parse_args()


def sample_hospitals(
    name: str, task: str, recipe: str, chosen: argparse.Namespace, threshold: Callable[..., float], limit: float
) -> None:
    """The three sample hospitals, beside an untrained network and an intensity threshold, wanted below `limit`."""
    path = TOP / "recipes" / recipe
    plan = Plan(recipe=path, data=chosen.data, how="folders", rounds=chosen.rounds, seeds=chosen.seeds, baselines=True)
    found = run(plan, chosen.work)
    figures = {
        "untrained network": trivial.every_seed(chosen.work, trivial.untrained),
        "intensity threshold": trivial.every_seed(chosen.work, threshold),
    }
    lines = ["", f"| what needs no learning (wanted below {limit}) | {found.metrics[0]} | highest |", "|---|---:|---:|"]
    for what, values in figures.items():
        spread = f" +- {stdev(values):.4f}" if len(values) > 1 else ""
        lines.append(f"| {what} | {fmean(values):.4f}{spread} | {max(values):.4f} |")
    intro = [
        "Three hospitals that never existed, each with its own scanners and patients (sample_data/README.md). Each",
        "seed draws folds, first weights and samples anew; the test cases are those of all hospitals together. Every",
        "hospital alone takes as many steps as it does in the federation, the pooled model as many as all together.",
        f"The intensity threshold is chosen on training cases. Made by `python benchmarks/{name}.py`.",
    ]
    publish(name, f"Sample hospitals, {task}", intro, found, chosen.work, [*lines, ""])
