"""A simulation that is killed again and again ends with the same numbers, and leaves no process behind."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests import small

KILLS = 4
PATIENCE = 60  # seconds in which a worker must have noticed; it takes milliseconds, but these cores are shared


def begin(recipe: Path, data: Path, out: Path) -> subprocess.Popen[bytes]:
    """The installed command in a session of its own, by which its processes can be found."""
    words = ["--recipe", recipe, "--data", data, "--out", out, "--sites", "2", "--rounds", "2", "--seeds", "2"]
    return subprocess.Popen(
        [Path(sys.executable).with_name("fedmed"), "simulate", *map(str, words), "--baselines"],
        start_new_session=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=(out.parent / f"{out.name}.err").open("wb"),
    )


def alive(session: int) -> list[int]:
    """Processes of a session that are no zombies."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if fields[0] != "Z" and int(fields[3]) == session:
            found.append(int(stat.parent.name))
    return found


def results(out: Path) -> dict[str, bytes]:
    return {name: (out / name).read_bytes() for name in ("results.json", "table.md")}


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds processes in /proc")
def test_a_killed_simulation_ends_with_the_same_numbers(tmp_path: Path) -> None:
    recipe = small.write_recipe(tmp_path / "recipe.yaml")
    data = small.write_hospital(tmp_path / "data", [f"p{number}" for number in range(10)])
    began = time.monotonic()
    undisturbed = begin(recipe, data, tmp_path / "whole")
    assert undisturbed.wait() == 0, (tmp_path / "whole.err").read_text()
    length = time.monotonic() - began

    chance, reached = random.Random(20), []
    for _ in range(KILLS):
        running = begin(recipe, data, tmp_path / "killed")
        while len(alive(running.pid)) < 2 and running.poll() is None:
            time.sleep(0.05)  # however long it takes to start, there are workers when it is killed
        time.sleep(chance.uniform(0.1, 0.6) * length)
        assert running.poll() in (None, 0), (tmp_path / "killed.err").read_text()
        os.kill(running.pid, signal.SIGKILL)
        running.wait()
        deadline = time.monotonic() + PATIENCE
        while (left := alive(running.pid)) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert left == [], "a worker outlived its parent"
        reached.append(len(list((tmp_path / "killed").glob("seed-*/*/outbox/*"))))
    assert reached == sorted(reached), "every run goes on from the one before"

    resumed = begin(recipe, data, tmp_path / "killed")
    assert resumed.wait() == 0, (tmp_path / "killed.err").read_text()
    assert results(tmp_path / "killed") == results(tmp_path / "whole")
