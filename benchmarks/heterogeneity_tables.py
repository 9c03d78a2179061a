"""The tables and the picture of `heterogeneity.py`: benchmarks/results/heterogeneity.md, .json and .png."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

RESULTS = Path(__file__).resolve().parent / "results"
INTRO = """# Hospitals that differ

Four virtual hospitals, divided anew for each of three seeds: alike (iid), by drawing for each group of cases which
share goes to which hospital (Dirichlet; the smaller the number, the more they differ), or alike but in numbers that
differ (quantity); a draw that leaves a hospital with fewer than 4 training, 2 validation or 3 test cases is drawn
again. The groups are the classes of the radiographs; a hippocampus has no class, so there they are the
**quartiles of its labelled volume**: a skew of size, milder than one of labels.

Every method takes the same steps of plain SGD (SCAFFOLD allows no other) over the same rounds, with the same first
weights and test cases. Local-only takes as many steps as a hospital takes in the federation, pooled as many as all
together. `fine-tune` is FedAvg and 40 steps more at each hospital, kept where its validation cases say so. FedBN needs
batch norm, which fedmed's U-Nets do not have; beside it stands FedAvg with averaged batch norm. FedLC calibrates
logits. Settings were chosen on patients that none of these runs has.

The networks are small and the rounds few: the tables compare methods and say nothing of what a task can reach. With
three seeds, and hospitals that have a handful of test cases, differences below about two standard deviations are
chance. Accuracy is shown for the fractures because a hospital of one class has no AUROC: there a model that always
says that class is right, and local-only training looks better than it is.

Made by `python benchmarks/heterogeneity.py`; one seed's figures site by site are below, all in the JSON file.
"""

Run = dict[str, Any]
Runs = list[Run]


def over_all(sites: Mapping[str, Mapping[str, Any]], model: str) -> float:
    """The mean over cases: exact for the Dice of cases and for accuracy."""
    known = [(site["n"], site[model]) for site in sites.values() if site.get(model) is not None]
    return sum(n * value for n, value in known) / sum(n for n, _ in known)


def worst(sites: Mapping[str, Mapping[str, Any]], model: str) -> float:
    return min(site[model] for site in sites.values() if site.get(model) is not None)


FIGURES = {"over the test cases of all sites": over_all, "at the worst site": worst}


def publish(
    everything: Mapping[str, Runs],
    chosen: Mapping[str, Mapping[str, Mapping[str, float]]],
    names: Mapping[str, Sequence[str]],
    played: Mapping[str, tuple[str, str]],
    splits: Sequence[str],
    tuned_on: str,
) -> None:
    """`everything` has the runs by task, `names` the rows of its tables, and `played` which run and model a row is."""
    lines = [INTRO]
    for task, runs in everything.items():
        rows = {name: played.get(name, (name, "global")) for name in names[task]}
        lines += [*tables(task, runs, rows, splits)]
        settings = "; ".join(f"{name}: {told(each)}" for name, each in chosen[task].items())
        lines += ["", f"Settings, chosen on other patients ({tuned_on}): {settings}.", ""]
    lines.append("![Hospitals that differ](heterogeneity.png)")
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "heterogeneity.md").write_text("\n".join(lines) + "\n")
    kept = {"chosen": chosen, "runs": [run for runs in everything.values() for run in runs]}
    (RESULTS / "heterogeneity.json").write_text(json.dumps(kept, indent=1) + "\n")
    picture({task: (runs, names[task]) for task, runs in everything.items()}, played, splits)
    print("\n".join(lines))


def tables(task: str, runs: Runs, rows: Mapping[str, tuple[str, str]], splits: Sequence[str]) -> list[str]:
    metric, lines = runs[0]["metric"], [f"## {task}", ""]
    for words, figure in FIGURES.items():
        lines += [f"| {metric}, {words} | {' | '.join(splits)} |", f"|---|{'---:|' * len(splits)}"]
        for name, row in rows.items():
            lines.append(f"| {name} | {' | '.join(shown(values(runs, split, row, figure)) for split in splits)} |")
        lines.append("")
    seed = min(run["seed"] for run in runs)
    lines += [
        f"Each site with seed {seed}, on its own test cases, the worst in bold:",
        "",
        f"| division | site | n | {' | '.join(rows)} |",
        f"|---|---|---:|{'---:|' * len(rows)}",
    ]
    for split in splits:
        lines += site_rows([run for run in runs if (run["split"], run["seed"]) == (split, seed)], split, rows)
    return lines


def values(runs: Runs, split: str, row: tuple[str, str], figure: Any) -> list[float]:
    """One a seed."""
    method, model = row
    mine = [run for run in runs if (run["split"], run["method"]) == (split, method)]
    return [figure(run["sites"], model) for run in sorted(mine, key=lambda run: run["seed"])]


def site_rows(runs: Runs, split: str, rows: Mapping[str, tuple[str, str]]) -> list[str]:
    of_method = {run["method"]: run["sites"] for run in runs}
    columns = {
        name: {site: facts.get(model) for site, facts in of_method[method].items()}
        for name, (method, model) in rows.items()
    }
    lines = []
    for site, facts in sorted(runs[0]["sites"].items()):
        cells = [cell(column[site], column.values()) for column in columns.values()]
        lines.append(f"| {split} | {site} | {facts['n']} | {' | '.join(cells)} |")
    return lines


def cell(value: float | None, column: Any) -> str:
    if value is None:
        return "-"
    is_worst = value == min(each for each in column if each is not None)
    return f"**{value:.3f}**" if is_worst else f"{value:.3f}"


def shown(found: Sequence[float]) -> str:
    spread = f" +- {stdev(found):.3f}" if len(found) > 1 else ""
    return f"{fmean(found):.3f}{spread}"


def told(settings: Mapping[str, float]) -> str:
    return ", ".join(f"{name.split('.')[-1]} {value:g}" for name, value in settings.items())


def picture(
    everything: Mapping[str, tuple[Runs, Sequence[str]]], played: Mapping[str, tuple[str, str]], splits: Sequence[str]
) -> None:
    """Two panels a task: over all test cases, and at the worst site; a dot a seed and a bar for the mean."""
    figure, panels = plt.subplots(len(everything), 2, figsize=(15, 4.5 * len(everything)), squeeze=False)
    for row, (task, (runs, names)) in zip(panels, everything.items(), strict=True):
        for panel, (words, of) in zip(row, FIGURES.items(), strict=True):
            for number, name in enumerate(names):
                shift = (number - (len(names) - 1) / 2) * 0.8 / len(names)
                dots(panel, runs, splits, played.get(name, (name, "global")), of, shift, number, name)
            panel.set_xticks(range(len(splits)), splits)
            panel.set_title(f"{task}: {runs[0]['metric']} {words}")
            panel.grid(axis="y", alpha=0.3)
        row[1].legend(fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5))
    figure.tight_layout()
    figure.savefig(RESULTS / "heterogeneity.png", dpi=90, metadata={"Software": None})


def dots(
    panel: Any, runs: Runs, splits: Sequence[str], row: tuple[str, str], of: Any, shift: float, number: int, name: str
) -> None:
    colour = mpl.colormaps["tab20"](number)
    for place, split in enumerate(splits):
        found, x = values(runs, split, row, of), place + shift
        panel.plot([x] * len(found), found, ".", color=colour, ms=5, label=None if place else name)
        panel.plot([x - 0.03, x + 0.03], [fmean(found)] * 2, color=colour, lw=2)
