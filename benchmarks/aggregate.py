"""Aggregation beside Flower and NVFLARE on the same updates, and what each of fedmed's strategies costs.

    python benchmarks/aggregate.py            # about 25 minutes and 20 GB below work/
    python benchmarks/aggregate.py --quick    # small models, to see that it runs

Every contender is a process of its own; contenders take turns in rotated order on warm files. Resumable: what is in
--work is not measured again. The peers are installed below work/ (peers.py). Writes results/aggregate.{json,md}.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import peers
from aggregate_table import text
from aggregate_worlds import INBOX, TAKEN, World

TOP = Path(__file__).resolve().parents[1]
RESULTS = TOP / "benchmarks" / "results"
RULES = {"mean": ("fedavg", {}), "median": ("median", {}), "trimmed mean": ("trimmed_mean", {"trim": 0.2})}
SIZES = {"10 x 31 M": (10, 31_200_000, 5), "32 x 7 M": (32, 7_000_000, 5), "6 x 200 M": (6, 200_000_000, 2)}
QUICK = {"5 x 3 M": (5, 3_000_000, 2), "6 x 1 M": (6, 1_000_000, 2)}
STRATEGIES: dict[str, dict[str, Any]] = {
    "fedavg": {}, "fednova": {}, "fedavgm": {}, "fedadam": {"server_lr": 0.01}, "fedyogi": {"server_lr": 0.01},
    "fedadagrad": {"server_lr": 0.01}, "norm_clipped_mean": {}, "krum": {"f": 1}, "multi_krum": {"f": 1},
    "geometric_median": {}, "median": {}, "trimmed_mean": {"trim": 0.25},
}  # fmt: skip
TOLERANCE = 1e-4  # between the samples of results: peers add up in single precision


@dataclass(frozen=True)
class Contender:
    """`before` is the state of the coordinator's workspace; None where it is not touched."""

    name: str
    job: dict[str, Any]
    before: str | None = None
    files: list[Path] = field(default_factory=list)
    python: Path = Path(sys.executable)
    script: str = "aggregate_child.py"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--size", action="append", help="only this one, as it is called in the table")
    parser.add_argument("--work", type=Path, default=TOP / "work" / "aggregate")
    parser.add_argument("--keep", action="store_true", help="keep the updates, which take much room")
    options = parser.parse_args()
    work = options.work / "quick" if options.quick else options.work
    for name in peers.PACKAGES:
        peers.python(name)
    sizes = QUICK if options.quick else SIZES
    rows: dict[str, dict[str, Any]] = {}
    for size, (sites, elements, repeats) in sizes.items():
        if options.size and size not in options.size:
            continue
        world = World(work / size.replace(" ", ""), sites, elements)
        rows.update(measured(work / "rows.json", world, size, repeats, first=size == next(iter(sizes))))
        if not options.keep:
            world.remove()
    found = {"machine": machine(), "sizes": {name: rule[2] for name, rule in sizes.items()}, "rows": summary(rows)}
    folder = work if options.quick else RESULTS
    (folder / "aggregate.json").write_text(json.dumps(found, indent=1) + "\n")
    (folder / "aggregate.md").write_text(text(found) + "\n")
    print(text(found))


def machine() -> str:
    return f"{len(os.sched_getaffinity(0))} cores ({platform.machine()}), CPython {platform.python_version()}"


def measured(kept: Path, world: World, size: str, repeats: int, *, first: bool) -> dict[str, dict[str, Any]]:
    """Every row of one size; the strategies, and updates as a site writes them, with the first size alone."""
    groups = {rule: contenders(world, rule) for rule in RULES}
    if first:
        groups["strategy"] = strategies(world)
        groups["update"] = updates(world)
    rows = json.loads(kept.read_text()) if kept.exists() else {}
    found = {}
    for group, everyone in groups.items():
        for repeat in range(min(repeats, 3) if group == "strategy" else repeats):
            turn = repeat % len(everyone)
            for each in [*everyone[turn:], *everyone[:turn]]:
                key = f"{size}, {group}, {each.name}, {repeat}"
                if key not in rows:
                    print(key, flush=True)
                    rows[key] = run(each, world.make(), group)
                    kept.parent.mkdir(parents=True, exist_ok=True)
                    kept.write_text(json.dumps(rows, indent=1))
                found[key] = {**rows[key], "size": size, "group": group, "contender": each.name}
        agree([row for row in found.values() if row["group"] == group])
    return found


def contenders(world: World, rule: str) -> list[Contender]:
    strategy, settings = RULES[rule]
    files = [str(path) for path in world.plain]
    out = world.folder / "out.safetensors"
    job = {"strategy": strategy, "settings": settings, "world": str(world.coordinator), "elements": world.elements,
           "base": str(world.base), "files": files}  # fmt: skip
    found = [
        Contender("fedmed, arithmetic alone", {**job, "mode": "arithmetic"}, files=[world.base, *world.plain]),
        Contender("fedmed, verified, written, hashed, signed", {**job, "mode": "sealed"}, TAKEN),
        Contender("fedmed aggregate, updates taken in before", {**job, "mode": "command"}, TAKEN),
        Contender("fedmed aggregate, all in the inbox", {**job, "mode": "command"}, INBOX),
    ]
    others = {"Flower": "flwr"}
    if rule == "mean":
        others |= {"NVFLARE, numpy": "nvflare", "NVFLARE, torch": "nvflare"}
    for name, package in others.items():
        asked = {"contender": name, "rule": rule, "files": files, "out": str(out)}
        found.append(Contender(name, asked, None, world.plain, peers.python(package), "aggregate_peers.py"))
    return found


def strategies(world: World) -> list[Contender]:
    job = {"world": str(world.coordinator), "mode": "sealed"}
    return [
        Contender(name, {**job, "strategy": name, "settings": settings}, TAKEN) for name, settings in STRATEGIES.items()
    ]


def updates(world: World) -> list[Contender]:
    job = {"mode": "update", "elements": world.elements, "out": str(world.folder / "out.safetensors"),
           "site": str(world.site), "world": str(world.coordinator)}  # fmt: skip
    names = ("safetensors", "safetensors and fsync", "fedmed: hashed, signed, on the disk")
    return [Contender(name, {**job, "contender": name}) for name in names]


# --- one process ----------------------------------------------------------------------------------------------------


def run(each: Contender, world: World, group: str) -> dict[str, Any]:
    if each.before:
        world.reset(each.before)
    if group == "update":
        world.reset_site()
    os.sync()
    warm(each.files or world.read_by(each.before))
    command = [str(each.python), str(TOP / "benchmarks" / each.script), json.dumps(each.job)]
    begun = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        memory = Memory(child.pid)
        said, wrong = child.communicate()
    whole = time.perf_counter() - begun
    if child.returncode:
        raise SystemExit(f"{each.name}: {wrong[-2000:]}")
    row = {"whole": whole, "mb": memory.peak / 1024, "own_mb": memory.own / 1024}
    told = [line for line in said.splitlines() if line.startswith('{"seconds"')]
    row |= json.loads(told[-1]) if told else {}
    if each.before and group != "strategy":
        row["sample"] = world.sample()
    return row


def warm(files: list[Path]) -> None:
    for path in files:
        with path.open("rb", buffering=0) as file:
            while file.read(1 << 24):
                pass


class Memory:
    """The most memory of a process, all of it and its own without pages of files, in KB; looked at every 5 ms."""

    def __init__(self, pid: int) -> None:
        self.peak = self.own = 0
        self._status = Path(f"/proc/{pid}/status")
        threading.Thread(target=self._look, daemon=True).start()

    def _look(self) -> None:
        while True:
            try:
                lines = self._status.read_text().splitlines()
            except OSError:
                return
            found = {
                line.split(":")[0]: int(line.split()[1]) for line in lines if line.startswith(("VmHWM", "RssAnon"))
            }
            if not found:
                return
            self.peak, self.own = max(self.peak, found["VmHWM"]), max(self.own, found["RssAnon"])
            time.sleep(0.005)


# --- what came of it ------------------------------------------------------------------------------------------------


def agree(rows: list[dict[str, Any]]) -> None:
    """Speed of a wrong result is no speed: all samples of a size and rule are the same."""
    for size in {row["size"] for row in rows}:
        samples = {row["contender"]: row["sample"] for row in rows if row["size"] == size and "sample" in row}
        if samples and max(samples.values()) > min(samples.values()) * (1 + TOLERANCE):
            raise SystemExit(f"{size}: the results differ: {samples}")


def summary(rows: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Medians over the repeats."""
    found: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for row in rows.values():
        found.setdefault((row["size"], row["group"], row["contender"]), []).append(row)
    return [
        {"size": size, "group": group, "contender": contender, "n": len(runs)}
        | {what: median(run[what] for run in runs) for what in ("whole", "seconds", "mb", "own_mb") if what in runs[0]}
        for (size, group, contender), runs in found.items()
    ]


if __name__ == "__main__":
    main()
