"""What the benchmarks on simulated federations share: run, compare, and write the committed table and picture."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from fedmed.rehearsal import simulate, summary
from fedmed.rehearsal.models import EVERYWHERE, GLOBAL, POOLED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fedmed.rehearsal.simulate import Plan
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
