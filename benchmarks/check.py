"""How long `fedmed check` takes, cold and over unchanged files: whole processes, with their peak memory.

Two folders of ../shared/data: 195 hippocampus cases (NIfTI with masks) and one head series (384 DICOM files, with an
invented class). Cold is the first check of a fresh folder for the report; the files may be in the cache
of the operating system either way. `--cases N` takes the first N hippocampus cases, to try the script.

    python benchmarks/check.py [--cases N] [--repeats 3]
"""

from __future__ import annotations

import argparse
import json
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

TOP = Path(__file__).resolve().parents[1]
DATA = TOP.parent / "shared" / "data"
RESULTS = TOP / "benchmarks" / "results"
FEDMED = Path(sys.executable).with_name("fedmed")


def timed(words: list[str | Path]) -> dict[str, Any]:
    """Seconds and peak MB of one process, by the kernel's own account of its children."""
    script = (
        "import json, resource, subprocess, sys, time; start = time.perf_counter();"
        "done = subprocess.run(sys.argv[1:], capture_output=True, text=True, check=False);"
        "seconds = time.perf_counter() - start; used = resource.getrusage(resource.RUSAGE_CHILDREN);"
        "print(json.dumps({'seconds': seconds, 'cpu': used.ru_utime + used.ru_stime, 'rss': used.ru_maxrss,"
        " 'code': done.returncode, 'out': done.stdout, 'err': done.stderr}))"
    )
    done = subprocess.run([sys.executable, "-c", script, *map(str, words)], capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    found["mb"] = found.pop("rss") / (2**20 if platform.system() == "Darwin" else 2**10)
    return found


def measured(words: list[str | Path], out: Path, repeats: int) -> dict[str, Any]:
    """Medians of `repeats` pairs: a cold check and one over unchanged files."""
    runs: dict[str, list[dict[str, Any]]] = {"cold": [], "unchanged": []}
    for _ in range(repeats):
        shutil.rmtree(out, ignore_errors=True)
        for name in ("cold", "unchanged"):
            ran = timed([FEDMED, "check", *words, "--out", out, "--json"])
            if ran["code"]:
                raise SystemExit(f"exit code {ran['code']}: {ran['err']}")
            report = json.loads(ran["out"])
            if (report["read"] == 0) != (name == "unchanged"):
                raise SystemExit(f"{name}: {report['read']} studies read")
            runs[name].append({**ran, "funnel": report["report"]["funnel"]})
    return {
        name: {key: statistics.median(run[key] for run in each) for key in ("seconds", "cpu", "mb")}
        | {"funnel": each[0]["funnel"]}
        for name, each in runs.items()
    }


def hippocampus(work: Path, cases: int) -> Path:
    """The first cases, in a folder of their own."""
    folder = work / "hippocampus"
    for kind in ("images", "labels"):
        (folder / kind).mkdir(parents=True)
        for path in sorted((DATA / "hippocampus_msd04" / kind).glob("*.nii*"))[:cases]:
            shutil.copyfile(path, folder / kind / path.name)
    return folder


def head(work: Path) -> Path:
    """The series as one case with an invented class."""
    folder = work / "head" / "dicom" / "one"
    folder.mkdir(parents=True)
    for path in sorted((DATA / "head_mr_dicom" / "dicoms").rglob("*")):
        if path.is_file():
            shutil.copyfile(path, folder / path.name)
    (work / "head" / "labels.csv").write_text("path,label\ndicom/one,1\n", encoding="utf-8")
    return work / "head"


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--cases", type=int, default=10_000)
    options.add_argument("--repeats", type=int, default=3)
    given = options.parse_args()
    if not DATA.is_dir():
        raise SystemExit("../shared/data is not here")
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        found = {
            "hippocampus": _of(work, hippocampus(work, given.cases), "hippocampus-segmentation-mr.small", given),
            "head series": _of(work, head(work), "tumour-classification-mr", given),
        }
    _write(found, given)


def _of(work: Path, data: Path, recipe: str, given: argparse.Namespace) -> dict[str, Any]:
    files = sum(path.is_file() for path in data.rglob("*"))
    found = measured([data, "--recipe", TOP / "recipes" / f"{recipe}.yaml"], work / "out", given.repeats)
    return {"files": files, "mb": sum(p.stat().st_size for p in data.rglob("*") if p.is_file()) / 2**20, **found}


def _write(found: dict[str, Any], given: argparse.Namespace) -> None:
    RESULTS.mkdir(exist_ok=True)
    about = {"repeats": given.repeats, "python": platform.python_version(), "made": time.strftime("%Y-%m-%d")}
    (RESULTS / "check.json").write_text(json.dumps({**about, "found": found}, indent=1) + "\n", encoding="utf-8")
    lines = [
        "# `fedmed check`: time and memory",
        "",
        f"Whole processes (`benchmarks/check.py`), medians of {given.repeats}, with the start of Python in them.",
        "Cold: every file is read, and may be in the cache of the operating system; unchanged: none is read.",
        "",
        "| folder | files | MB | check | seconds | files a second | processor seconds | peak MB |",
        "|---|---:|---:|---|---:|---:|---:|---:|",
    ]
    for name, each in found.items():
        for way in ("cold", "unchanged"):
            run = each[way]
            lines.append(
                f"| {name} | {each['files']} | {each['mb']:.0f} | {way} | {run['seconds']:.2f} "
                f"| {each['files'] / run['seconds']:.0f} | {run['cpu']:.2f} | {run['mb']:.0f} |"
            )
    (RESULTS / "check.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
