"""Everything that fedmed claims about its files, tried out: writes fedmed/docs/EVIDENCE.md.

    make evidence                                     # everything, on all cores
    python benchmarks/evidence.py --only flips fuzz   # some sections
    python benchmarks/evidence.py --quick             # a small part of each, in a few minutes
    python benchmarks/evidence.py --render            # the document again, from the figures that are there

A run may be killed at any time: the same command goes on behind the last slice that was done. Figures are kept in
benchmarks/results/evidence.json, each section with the commit and the machine it was run on; the document is made of
that file alone. A section that was run whole on this very code is not run again, unless `--again`. Exit 1 where a
section does not hold or was never run.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import platform
import subprocess
import sys
import threading
import time
import traceback
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import evidence_attacks
import evidence_files
import evidence_fuzz
import evidence_kills
import evidence_masking
import evidence_numbers
import evidence_privacy
import evidence_report
import evidence_runs
import evidence_stock
from evidence_report import RESULTS, load, save
from evidence_section import NothingToTryError, Section

TOP = Path(__file__).resolve().parents[1]
PARTS = (
    evidence_files,
    evidence_stock,
    evidence_fuzz,
    evidence_runs,
    evidence_kills,
    evidence_masking,
    evidence_attacks,
    evidence_privacy,
    evidence_numbers,
)
SECTIONS: list[Section] = [section for part in PARTS for section in part.SECTIONS]
TITLES = {each.name: each.title for each in SECTIONS}
WORK = TOP / "work" / "evidence"
CODE = ("fedmed", "tests", "benchmarks", ":!fedmed/docs", ":!benchmarks/results")


def main() -> int:
    options = _options()
    found = load(RESULTS)
    if not options.render:
        run_all(options, found)
    evidence_report.write(TITLES, found)
    return 0 if all(name in found and found[name]["figures"]["holds"] for name in TITLES) else 1


def run_all(options: argparse.Namespace, found: dict[str, Any]) -> None:
    """One section after the other, each kept as soon as it is done; one that cannot be run stops no other."""
    code = _code()
    chosen = [each for each in SECTIONS if each.name in (options.only or TITLES)]
    if not (options.again or options.quick):
        chosen = [each for each in chosen if not _is_done(found.get(each.name), code)]
    for index, section in enumerate(chosen):
        _print_what_is_left(chosen[index:], found)
        try:
            entry = run(section, quick=options.quick, code=code, again=options.again, processes=options.processes)
        except NothingToTryError as error:
            print(f"{section.name}: not run: {error}", flush=True)
            continue
        except Exception:  # noqa: BLE001 - a fault of one section
            traceback.print_exc()
            print(f"{section.name}: FAILED", flush=True)
            continue
        if entry["whole"] or not found.get(section.name, {}).get("whole"):
            found[section.name] = entry
            save(RESULTS, {name: found[name] for name in TITLES if name in found})
        print(f"{section.name}: {'holds' if entry['figures']['holds'] else 'DOES NOT HOLD'}", flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=TITLES)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--again", action="store_true", help="also what was done before")
    parser.add_argument("--render", action="store_true", help="run nothing")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    return parser.parse_args()


def run(section: Section, *, quick: bool, code: Code, again: bool = False, processes: int = 1) -> dict[str, Any]:
    """All slices that are not done yet; returns what evidence.json keeps of a section."""
    slices = section.slices(quick)
    if not slices:
        raise NothingToTryError("there is nothing to try")
    folder = WORK / f"{section.name}-{'quick' if quick else 'whole'}-{code.digest}"
    kept = {} if again else load(folder / "slices.json")
    waiting = [index for index in range(len(slices)) if str(index) not in kept]
    started, done = time.monotonic(), 0
    with ProcessPoolExecutor(1 if section.alone else processes, initializer=_end_with, initargs=(os.getpid(),)) as pool:
        futures = {pool.submit(_timed, section, slices[index]): index for index in waiting}
        for future in as_completed(futures):
            seconds, result = future.result()
            kept[str(futures[future])] = {"seconds": seconds, "result": result}
            save(folder / "slices.json", kept)
            done += 1
            left = (time.monotonic() - started) / done * (len(waiting) - done)
            print(f"{section.name}: {len(kept)} of {len(slices)} slices, {_minutes(left)} left", flush=True)
    in_order = [kept[str(index)] for index in range(len(slices))]
    figures = section.figures([each["result"] for each in in_order])
    return {
        "title": section.title,
        "tried": section.tried,
        "whole": not quick,
        "date": datetime.now(UTC).date().isoformat(),
        "commit": code.commit,
        "code": code.digest,
        "seconds": round(sum(each["seconds"] for each in in_order)),
        "machine": _machine(),
        "figures": asdict(figures),
    }


def _timed(section: Section, part: Any) -> tuple[float, Any]:
    started = time.monotonic()
    result = section.work(part)
    return round(time.monotonic() - started, 2), result


def _end_with(parent: int) -> None:
    """A worker whose parent was killed ends too, instead of waiting for work for ever."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@dataclass(frozen=True)
class Code:
    """The commit that is checked out, with a + where it was changed since; and a digest of all code as it lies here.

    Documents and results are no part of the digest: they may be committed while a run goes on.
    """

    commit: str
    digest: str


def _code() -> Code:
    def git(*arguments: str) -> str:
        done = subprocess.run(["git", *arguments], cwd=TOP, capture_output=True, text=True, check=False)
        return done.stdout.strip()

    names = git("ls-files", "--modified", "--others", "--exclude-standard", "--", *CODE).splitlines()
    digest = hashlib.sha256(git("ls-files", "--stage", "--", *CODE).encode())
    for name in names:
        digest.update((TOP / name).read_bytes() if (TOP / name).exists() else b"")
    head = git("rev-parse", "--short=10", "HEAD") or "unknown"
    return Code(f"{head}+" if names else head, digest.hexdigest()[:10])


def _is_done(entry: dict[str, Any] | None, code: Code) -> bool:
    return bool(entry and entry["whole"] and entry["code"] == code.digest and code.commit != "unknown")


def _machine() -> dict[str, str]:
    ssh = subprocess.run(["ssh", "-V"], capture_output=True, text=True, check=False).stderr.split(",")[0].split()
    return {
        "system": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "Python": platform.python_version(),
        "OpenSSH": ssh[0].removeprefix("OpenSSH_") if ssh else "",
        **{name: version(name) for name in ("fedmed", "cryptography", "numpy", "pydantic")},
    }


def _print_what_is_left(sections: list[Section], found: dict[str, Any]) -> None:
    known = [found[each.name]["seconds"] for each in sections if found.get(each.name, {}).get("whole")]
    time_ = f"; those run before took {_minutes(sum(known))} of one core" if known else ""
    print(f"left: {', '.join(each.name for each in sections)}{time_}", flush=True)


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"


if __name__ == "__main__":
    sys.exit(main())
