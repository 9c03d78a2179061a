"""The table and the picture of `privacy.py`: benchmarks/results/privacy.md, .json and .png."""

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
INTRO = """# What differential privacy costs

AUROC over the test patients of all hospitals, against the epsilon of a patient over all rounds, at delta = 0.00001:
mean and standard deviation over five seeds, which draw first weights, order, sampling and noise anew; folds stay.
"infinite" is the same recipe without `dp`. Each hospital trains by patient-level DP-SGD with the noise that its own
number of patients needs (`noise multiplier`: of the hospitals with least and most); the guarantee is each hospital's
own and covers the weights alone, as they are sent, also against the coordinator.

Learning rate, clip and patients a step were chosen for each epsilon by two other seeds on validation patients; **that
choice is not in epsilon**, nor would it be in a federation. The test patients took no part in it. The hospitals are
small: with the thousands of training patients of a real one the same epsilon needs far less noise.

Made by `python benchmarks/privacy.py`.
"""


def mean_of(runs: Sequence[Mapping[str, Any]], setting: tuple[float, float, int]) -> float:
    """On validation patients, over the runs that had this setting."""
    return fmean(run["validation"] for run in runs if (run["lr"], run["clip"], run["size"]) == setting)


def publish(found: Mapping[str, tuple[str, list[dict[str, Any]]]]) -> None:
    """A task that was not played again keeps the runs of the committed file."""
    path, everything = RESULTS / "privacy.json", {}
    if path.exists():
        everything = json.loads(path.read_text())
    everything |= {task: {"title": title, "runs": runs} for task, (title, runs) in found.items()}
    lines = [INTRO]
    for each in everything.values():
        lines += [f"## {each['title']}", "", *table(each["runs"]), ""]
    lines.append("![What differential privacy costs](privacy.png)")
    (RESULTS / "privacy.md").write_text("\n".join(lines) + "\n")
    path.write_text(json.dumps(everything, indent=1) + "\n")
    picture(everything)
    print("\n".join(lines))


def table(runs: Sequence[Mapping[str, Any]]) -> list[str]:
    lines = [
        "| epsilon | AUROC | lowest of the seeds | noise multiplier | learning rate | clip | patients a step |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for epsilon, mine in by_epsilon(runs).items():
        values, first = [run["testing"] for run in mine], mine[0]
        noises = sorted(first["noise_multiplier"].values())
        is_private = epsilon != "infinite"
        noise = f"{noises[0]:.2f} to {noises[-1]:.2f}" if is_private else "none"
        clip = f"{first['clip']:g}" if is_private else "none"
        told = f"{fmean(values):.3f} +- {stdev(values):.3f}" if len(values) > 1 else f"{values[0]:.3f}"
        lines.append(
            f"| {epsilon} | {told} | {min(values):.3f} | {noise} | {first['lr']:g} | {clip} | {first['size']} |"
        )
    return lines


def by_epsilon(runs: Sequence[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    found: dict[str, list[Mapping[str, Any]]] = {}
    for run in runs:
        name = "infinite" if run["epsilon"] is None else f"{run['epsilon']:g}"
        found.setdefault(name, []).append(run)
    return found


def picture(everything: Mapping[str, Any]) -> None:
    figure, panels = plt.subplots(1, len(everything), figsize=(5 * len(everything), 3.6), squeeze=False)
    for panel, each in zip(panels[0], everything.values(), strict=True):
        grouped = by_epsilon(each["runs"])
        names = list(grouped)[::-1]
        values = [[run["testing"] for run in grouped[name]] for name in names]
        panel.boxplot(values, tick_labels=names, widths=0.5, medianprops={"color": "black"})
        panel.axhline(0.5, color="grey", linewidth=0.8, linestyle=":")
        panel.set(title=each["title"], xlabel="epsilon", ylabel="AUROC, test patients")
    figure.tight_layout()
    figure.savefig(RESULTS / "privacy.png", dpi=110)
    plt.close(figure)
