"""What fedmed costs beside the network: its loop, its rounds, its rehearsals and its commands, beside those of others.

    python benchmarks/training.py [--hippocampus FOLDER] [--only loop,round,job,command] [--quick]

loop     fedmed's steps against a bare PyTorch loop over the same batches, in one process, by turns.
round    `fit` with samples from files, and `fedmed train-local`, against that loop, without and with start-up.
job      a whole federation by `fedmed simulate`, Flower's simulation, NVFLARE's simulator and a bare loop.
command  `fedmed --help`, `status` and `verify` against `nvflare --help` and `flwr --help`.

Flower and NVFLARE live in environments of their own (peers.py). Contenders take turns, each in a process of its own.
Resumable: what is in --work is not measured again. Without --hippocampus the volumes are made here.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import peer_work
import peers
import training_data
import training_report

if TYPE_CHECKING:
    from collections.abc import Callable

HERE = Path(__file__).resolve().parent
WORK = HERE.parent / "work" / "training"
SECTIONS = ("loop", "round", "job", "command")
FEDMED = [str(Path(sys.executable).with_name("fedmed"))]


def main() -> None:
    options = asked()
    options.work.mkdir(parents=True, exist_ok=True)
    kept = options.work / ("quick.json" if options.quick else "rows.json")
    rows: dict[str, Any] = json.loads(kept.read_text()) if kept.exists() else {}
    plan = [each for section in SECTIONS if section in options.only for each in PLANS[section](options)]
    for number in range(max(repeats for _, repeats, _ in plan)):
        for at in range(len(plan)):
            name, repeats, measure = plan[(at + number) % len(plan)]  # by turns, and in another order each time
            key = f"{name}, {number}"
            if number < repeats and key not in rows:
                print(key, flush=True)
                rows[key] = measure()
                kept.write_text(json.dumps(rows, indent=1))
    training_report.publish(rows, quick=options.quick)


def asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hippocampus", type=Path, help="a folder with images/ and labels/")
    parser.add_argument("--only", default=",".join(SECTIONS), type=lambda text: text.split(","))
    parser.add_argument("--quick", action="store_true", help="once each: does it run at all? Nothing is published")
    parser.add_argument("--work", type=Path, default=WORK)
    return parser.parse_args()


Measured = tuple[str, int, "Callable[[], Any]"]  # its name, how often, and what measures it once


def loops(options: argparse.Namespace) -> list[Measured]:
    return [
        (f"loop, {task}", 1 if options.quick else 5, lambda task=task: child("loop", task, options))
        for task in training_data.TASKS
    ]


def rounds(options: argparse.Namespace) -> list[Measured]:
    """`fit` beside the bare loop in one process; then each as a command that starts from nothing."""
    repeats = 1 if options.quick else 5
    found: list[Measured] = []
    for task in training_data.TASKS:
        found += [
            (f"round, {task}", repeats, lambda task=task: child("round", task, options)),
            (f"start, {task}, fedmed", repeats, lambda task=task: started(task, options)),
            (f"start, {task}, bare", repeats, lambda task=task: bare_start(task, options)),
        ]
    return found


def jobs(options: argparse.Namespace) -> list[Measured]:
    found: list[Measured] = []
    for job in peer_work.ROUNDS:
        repeats = 1 if options.quick else {"empty": 5, "real": 3}[job]
        contenders: dict[str, Callable[[], list[str]]] = {
            "fedmed": lambda job=job: simulation(job, options),
            "Flower": lambda job=job: [str(peers.python("flwr")), str(HERE / "peer_flower.py"), job],
            "NVFLARE": lambda job=job: nvflare(job, options),
            "bare, 1 process": lambda job=job: [sys.executable, str(HERE / "peer_bare.py"), job, "1"],
            "bare, 2 processes": lambda job=job: [sys.executable, str(HERE / "peer_bare.py"), job, "2"],
        }
        for who, command in contenders.items():
            found.append((f"job, {job}, {who}", repeats, lambda command=command: timed(command())))
    return found


def commands(options: argparse.Namespace) -> list[Measured]:
    repeats = 2 if options.quick else 15
    world, site = training_data.federation(options.work / "world", "table", None)
    model = str(world / "coordinator" / "outbox" / "model-r0000.fedmed")
    contenders = {
        "fedmed --help": [*FEDMED, "--help"],
        "fedmed status": [*FEDMED, "status", "-w", str(world / site)],
        "fedmed verify": [*FEDMED, "verify", model],
        "nvflare --help": [str(peers.command("nvflare", "nvflare")), "--help"],
        "flwr --help": [str(peers.command("flwr", "flwr")), "--help"],
        "python -c pass": [sys.executable, "-c", "pass"],
    }
    return [
        (f"command, {name}", repeats, lambda command=command: timed(command)) for name, command in contenders.items()
    ]


PLANS: dict[str, Callable[[argparse.Namespace], list[Measured]]] = {
    "loop": loops,
    "round": rounds,
    "job": jobs,
    "command": commands,
}


def timed(command: list[str], **env: str) -> float:
    """Seconds of a process, which must end well. Files are in the page cache and modules compiled from earlier runs."""
    environment = {**os.environ, **env}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # or fedmed, which pip did not compile, is compiled at each start
    begun = time.perf_counter()
    ran = subprocess.run(command, capture_output=True, text=True, check=False, cwd=HERE, env=environment)
    seconds = time.perf_counter() - begun
    if ran.returncode:
        raise SystemExit(f"{command}\n{ran.stdout}\n{ran.stderr}")
    return seconds


def child(what: str, task: str, options: argparse.Namespace) -> Any:
    """Measured by training_loop.py in a process of its own."""
    job = {"what": what, "task": task, "work": str(options.work), "quick": options.quick}
    job["hippocampus"] = str(options.hippocampus.resolve()) if options.hippocampus else ""
    command = [sys.executable, str(HERE / "training_loop.py"), json.dumps(job)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, cwd=HERE)
    if ran.returncode:
        raise SystemExit(ran.stderr)
    return json.loads(ran.stdout.splitlines()[-1])


def started(task: str, options: argparse.Namespace) -> float:
    """`fedmed train-local` of a site that has a model and prepared cases, from nothing to the signed update."""
    world, site = training_data.federation(options.work / "world", task, options.hippocampus)
    copy = options.work / "site"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(world / site, copy)
    return timed([*FEDMED, "train-local", "-w", str(copy), "--device", "cpu"])


def bare_start(task: str, options: argparse.Namespace) -> float:
    batches = training_data.batches_file(options.work, task)
    if not batches.exists():
        child("batches", task, options)
    return timed(
        [sys.executable, str(HERE / "bare_round.py"), task, str(batches), str(options.work / "bare.safetensors")]
    )


def simulation(job: str, options: argparse.Namespace) -> list[str]:
    recipe, data = training_data.job(options.work / "jobs", job)
    out = options.work / "simulation"
    shutil.rmtree(out, ignore_errors=True)
    plan = ["--sites", str(peer_work.SITES), "--rounds", str(peer_work.ROUNDS[job]), "--how", "iid"]
    return [*FEDMED, "simulate", "--recipe", str(recipe), "--data", str(data), "--out", str(out), *plan]


def nvflare(job: str, options: argparse.Namespace) -> list[str]:
    folder = options.work / "nvflare"
    shutil.rmtree(folder, ignore_errors=True)
    return [str(peers.python("nvflare")), str(HERE / "peer_nvflare.py"), job, str(folder)]


if __name__ == "__main__":
    main()
