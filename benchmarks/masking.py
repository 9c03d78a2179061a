"""What secure aggregation costs: sealing a masked update beside a plain one, the replies, and the sum.

    python benchmarks/masking.py            # about 5 minutes and 3 GB below work/
    python benchmarks/masking.py --quick    # small models, to see that it runs

Every run is a process of its own; plain and masked take turns. Resumable: what is in --work is not measured again.
Writes results/masking.{json,md}.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import Any

from aggregate import RESULTS, TOP, Memory, machine

SIZES = {"10 x 30 M": (10, 30_000_000, 1), "3 x 30 M": (3, 30_000_000, 0), "100 x 1 M": (100, 1_000_000, 3)}
QUICK = {"10 x 1 M": (10, 1_000_000, 1), "3 x 1 M": (3, 1_000_000, 0), "30 x 0.1 M": (30, 100_000, 3)}
REPEATS = 5
SITE, ROUND = ("plain", "masked"), ("average", "recover")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--work", type=Path, default=TOP / "work" / "masking")
    options = parser.parse_args()
    work = options.work / "quick" if options.quick else options.work
    work.mkdir(parents=True, exist_ok=True)
    rows: dict[str, dict[str, Any]] = {}
    for size, (sites, elements, absent) in (QUICK if options.quick else SIZES).items():
        folder = work / size.replace(" ", "")
        job = {"sites": sites, "elements": elements, "absent": absent, "folder": str(folder), "out": str(work / "out")}
        rows |= measured(work / "rows.json", size, job)
        shutil.rmtree(folder, ignore_errors=True)
    (work / "out").unlink(missing_ok=True)
    found = {"machine": machine(), "rows": summary(rows)}
    target = work if options.quick else RESULTS
    (target / "masking.json").write_text(json.dumps(found, indent=1) + "\n")
    (target / "masking.md").write_text(text(found) + "\n")
    print(text(found))


def measured(kept: Path, size: str, job: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Every row of one size."""
    rows = json.loads(kept.read_text()) if kept.exists() else {}
    turns = [(mode, repeat) for repeat in range(REPEATS) for mode in (SITE if repeat % 2 else SITE[::-1])]
    rounds = [("make", 0), *((mode, repeat) for repeat in range(3) for mode in ROUND)]
    if all(f"{size}, {mode}, {repeat}" in rows for mode, repeat in rounds):
        rounds = []
    found = {}
    for mode, repeat in [*turns, *rounds]:
        key = f"{size}, {mode}, {repeat}"
        if key not in rows or mode == "make":
            print(key, flush=True)
            rows[key] = {"size": size, "mode": mode, **run({**job, "mode": mode})}
            kept.write_text(json.dumps(rows, indent=1))
    found |= {key: row for key, row in rows.items() if row["size"] == size}
    return found


def run(job: dict[str, Any]) -> dict[str, Any]:
    os.sync()
    command = [sys.executable, str(TOP / "benchmarks" / "masking_child.py"), json.dumps(job)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        memory = Memory(child.pid)
        said, wrong = child.communicate()
    if child.returncode:
        raise SystemExit(f"{job['mode']}: {wrong[-2000:]}")
    return {**json.loads(said.splitlines()[-1]), "mb": memory.peak / 1024}


def summary(rows: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Medians over the repeats."""
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in rows.values():
        found.setdefault((row["size"], row["mode"]), []).append(row)
    return [
        {"size": size, "mode": mode, "n": len(runs)}
        | {what: median(run[what] for run in runs) for what in runs[0] if what not in ("size", "mode")}
        for (size, mode), runs in found.items()
    ]


def text(found: dict[str, Any]) -> str:
    by = {(row["size"], row["mode"]): row for row in found["rows"]}
    sizes = list(dict.fromkeys(row["size"] for row in found["rows"]))
    first = sizes[0]
    ratio = by[first, "masked"]["bytes"] / by[first, "plain"]["bytes"]
    reply = by[first, "make"]["reply"]
    lines = [
        "# What secure aggregation costs",
        "",
        f"On {found['machine']}. Every run is a process of its own, plain and masked take turns; medians.",
        "Use the ratios, not the seconds. A site's time is from the update in memory to a signed file on the",
        "disk, fsync included. The coordinator's is from the replies and files to the mean; beside it the same",
        "number of plain float32 vectors, read and added up in the same pieces.",
        "Made by `python benchmarks/masking.py`.",
        "",
        "| what | size | measured | target | |",
        "|---|---|---:|---:|---|",
        f"| masked file / plain file | {first} | {ratio:.4f} x | 1.05 x | {met(ratio <= 1.05)} |",
        f"| reply | {first} | {reply / 1024:.1f} KiB | 64 KiB | {met(reply <= 64 * 1024)} |",
        "",
        "## A site",
        "",
        (
            "| size | plain s | masked s | masked / plain | of it: whole numbers s | shares s | masks s | file s "
            "| shares and bundles KiB | request KiB | reply KiB | reply s | plain MB | masked MB |"
        ),
        "|---|" + 13 * "---:|",
    ]
    for size in sizes:
        plain, masked, made = by[size, "plain"], by[size, "masked"], by[size, "make"]
        times = masked["seconds"] / plain["seconds"]
        lines.append(
            f"| {size} | {plain['seconds']:.2f} | {masked['seconds']:.2f} | {times:.2f} x"
            f" | {masked['quantise']:.2f} | {masked['deal']:.3f} | {masked['mask']:.2f} | {masked['seal']:.2f}"
            f" | {masked['shares'] / 1024:.1f} | {made['request'] / 1024:.1f} | {made['reply'] / 1024:.1f}"
            f" | {made['seconds']:.3f} | {plain['mb']:.0f} | {masked['mb']:.0f} |"
        )
    lines += [
        "",
        "## The coordinator",
        "",
        "| size | plain mean s | masked s | of it: seeds s | sum and masks s | masked MB |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for size in sizes:
        plain, masked = by[size, "average"], by[size, "recover"]
        lines.append(
            f"| {size} | {plain['seconds']:.2f} | {masked['seconds']:.2f} | {masked['recover']:.2f}"
            f" | {masked['sum']:.2f} | {masked['mb']:.0f} |"
        )
    return "\n".join(lines)


def met(is_met: bool) -> str:
    return "met" if is_met else "**not met**"


if __name__ == "__main__":
    main()
