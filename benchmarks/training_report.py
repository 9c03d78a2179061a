"""Ratios of what training.py measured, beside the targets: benchmarks/results/training.md and .json."""

from __future__ import annotations

import json
import os
import platform
from pathlib import Path
from statistics import median
from typing import Any

import peer_work
import training_data

RESULTS = Path(__file__).resolve().parent / "results"
Rows = dict[str, Any]


def publish(rows: Rows, *, quick: bool) -> None:
    found = {"loop": loops(rows), "round": rounds(rows), "job": jobs(rows), "command": commands(rows)}
    text = "\n".join(lines(found)) + "\n"
    print(text)
    if not quick:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "training.md").write_text(text)
        (RESULTS / "training.json").write_text(json.dumps(found, indent=1) + "\n")


def repeats(rows: Rows, name: str) -> list[Any]:
    return [row for key, row in rows.items() if key.rpartition(", ")[0] == name]


def loops(rows: Rows) -> dict[str, Any]:
    """By task: seconds a step, and the median over all turns of each contender's time to that of the bare loop."""
    found = {}
    for task in training_data.TASKS:
        runs = repeats(rows, f"loop, {task}")
        if not runs:
            continue
        every = {name: [each for run in runs for each in run["seconds"][name]] for name in runs[0]["seconds"]}
        ratios = {
            name: median(mine / bare for mine, bare in zip(seconds, every["bare"], strict=True))
            for name, seconds in every.items()
        }
        found[task] = {
            "params": runs[0]["params"],
            "seconds": {name: median(each) for name, each in every.items()},
            "ratios": ratios,
        }
    return found


def rounds(rows: Rows) -> dict[str, Any]:
    found = {}
    for task in training_data.TASKS:
        runs = repeats(rows, f"round, {task}")
        starts = {who: repeats(rows, f"start, {task}, {who}") for who in ("fedmed", "bare")}
        if runs and all(starts.values()):
            found[task] = {
                "steps": runs[0]["steps"],
                "fit": median(run["fit"] for run in runs),
                "bare": median(run["bare"] for run in runs),
                "fit / bare": median(run["fit"] / run["bare"] for run in runs),
                "samples / bare": median(run["making"] / run["bare"] for run in runs),
                "train-local": median(starts["fedmed"]),
                "bare script": median(starts["bare"]),
            }
    return found


def jobs(rows: Rows) -> dict[str, dict[str, float]]:
    contenders = ("fedmed", "Flower", "NVFLARE", "bare, 1 process", "bare, 2 processes")
    found = {}
    for job in peer_work.ROUNDS:
        seconds = {who: repeats(rows, f"job, {job}, {who}") for who in contenders}
        if all(seconds.values()):
            found[job] = {who: median(each) for who, each in seconds.items()}
    return found


def commands(rows: Rows) -> dict[str, float]:
    names = {key.rpartition(", ")[0] for key in rows if key.startswith("command, ")}
    return {name.removeprefix("command, "): median(repeats(rows, name)) for name in sorted(names)}


def lines(found: dict[str, Any]) -> list[str]:
    out = [
        "# Training beside a bare loop, Flower and NVFLARE",
        "",
        f"Made by `python benchmarks/training.py` on {os.cpu_count()} cores ({platform.machine()}). Medians;",
        "contenders took turns. Use the ratios, not the seconds.",
    ]
    if found["loop"]:
        out += ["", "## The loop alone", "", *of_loops(found["loop"])]
    if found["round"]:
        out += ["", "## A whole round", "", *of_rounds(found["round"])]
    for job, seconds in found["job"].items():
        out += ["", f"## {JOBS[job][0]}", "", *JOBS[job][1], "", *of_job(job, seconds)]
    if found["command"]:
        out += ["", "## Commands", "", *of_commands(found["command"])]
    return out


def of_loops(found: dict[str, Any]) -> list[str]:
    out = [
        "fedmed's steps and a bare loop over the same batches in memory, in one process: the same network, loss and",
        "optimiser kernel. Target: at most 1.02 of the bare loop.",
        "",
        "| task | parameters | ms a step, bare | fedmed / bare | torch's default optimiser / bare | target |",
        "|---|---:|---:|---:|---:|---|",
    ]
    for task, row in found.items():
        own, default = row["ratios"]["fedmed"], row["ratios"]["bare, torch's default optimiser"]
        shown = f"{1000 * row['seconds']['bare']:.2f} | {own:.3f} | {default:.3f}"
        out.append(f"| {task} | {row['params']} | {shown} | {met(own, 1.02)} |")
    return out


def of_rounds(found: dict[str, Any]) -> list[str]:
    out = [
        "`fit` takes its samples from the cache of prepared cases, alters each anew, and leaves a checkpoint; the",
        "bare loop has the batches in memory. With start-up: `fedmed train-local` also verifies what it received,",
        "checks the data, scores the received model on the validation cases, writes and signs the update; the bare",
        "script imports, loads one file of batches, trains and saves.",
        "",
        "| task | steps | `fit` / bare | making the samples / bare | `train-local` s | bare script s | ratio |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for task, row in found.items():
        whole, bare = row["train-local"], row["bare script"]
        shares = f"{row['fit / bare']:.2f} | {row['samples / bare']:.2f}"
        out.append(f"| {task} | {row['steps']} | {shares} | {whole:.2f} | {bare:.2f} | {whole / bare:.2f} |")
    return out


JOBS = {
    "empty": (
        "An empty job: 4 sites, 5 rounds, 1 MB",
        [
            "The others' sites send back 250,000 numbers as they came. fedmed has no trainer that does nothing: its",
            "sites take one step of a network of 250 thousand parameters on 4 of 16 rows. It also divides a table",
            "among the sites, founds the federation (keys, roster, approvals), scores every model on validation",
            "rows and the last on test rows, pools the reports, verifies, signs and archives every file, and draws two",
            "pictures. Nothing of this is done by the others. A simulation waits for no disk (fsync): a",
            "kill costs it nothing, a power cut may.",
        ],
    ),
    "real": (
        "A small real training: 4 sites, 3 rounds, 20 batches of 8",
        [
            "A U-Net of 252 thousand parameters over 32 x 32 x 32 voxels, AdamW, cross entropy with Dice. The others",
            "have their batches in memory; fedmed reads NIfTI files, checks them, cuts patches, and does all that is",
            "said above.",
        ],
    ),
}


def of_job(job: str, seconds: dict[str, float]) -> list[str]:
    out = ["| contender | s | to the bare loop of 2 processes |", "|---|---:|---:|"]
    bare = seconds["bare, 2 processes"]
    out += [f"| {who} | {each:.1f} | {each / bare:.2f} |" for who, each in seconds.items()]
    targets = {
        "empty": (("Flower", 0.4), ("NVFLARE", 0.2)),
        "real": (("bare, 2 processes", 1.10), ("Flower", 0.75), ("NVFLARE", 0.75)),
    }
    out += ["", "| fedmed to | ratio | target |", "|---|---:|---|"]
    for who, limit in targets[job]:
        ratio = seconds["fedmed"] / seconds[who]
        out.append(f"| {who} | {ratio:.2f} | {met(ratio, limit)} |")
    return out


def of_commands(seconds: dict[str, float]) -> list[str]:
    out = ["| command | s | to `nvflare --help` | target |", "|---|---:|---:|---|"]
    for name, each in seconds.items():
        ratio = each / seconds["nvflare --help"]
        target = met(ratio, 0.35) if name.startswith("fedmed") else ""
        out.append(f"| `{name}` | {each:.2f} | {ratio:.2f} | {target} |")
    return out


def met(ratio: float, limit: float) -> str:
    return f"<= {limit}: {'met' if ratio <= limit else 'not met'}"
