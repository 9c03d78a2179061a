"""The README's commands run in the order they stand there, and print what stands below them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[1]
README = (TOP / "README.md").read_text()


def blocks() -> list[list[tuple[str, list[str]]]]:
    """Code blocks that show a session: each command with the lines printed below it."""
    found = []
    for block in re.findall(r"^```\n(\$ .*?)^```$", README, re.MULTILINE | re.DOTALL):
        commands: list[tuple[str, list[str]]] = []
        for line in block.splitlines():
            if line.startswith("$ "):
                commands.append((line[2:], []))
            else:
                commands[-1][1].append(masked(line))
        found.append(commands)
    return found


def masked(line: str) -> str:
    """Without what differs from run to run: keys, digests, fingerprints, times, numbers, the width of columns."""
    line = re.sub(r"SHA256:\S+|\b[0-9a-f]{64}\b|\b[0-9a-f]{4}(?: [0-9a-f]{4}){7}\b", "#", line)
    return re.sub(r"\s+", " ", re.sub(r"\d[\d.:TZ-]*", "0", line)).strip()


@pytest.mark.slow
def test_the_sessions_of_the_readme_are_real(tmp_path):
    for folder in ("recipes", "sample_data"):
        shutil.copytree(TOP / folder, tmp_path / folder)
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "COLUMNS": "120"}
    sessions = blocks()
    assert len(sessions) == 4
    for session in sessions:
        script = "set -e\n" + "".join(f"{command}\necho; echo @@\n" for command, _ in session)
        done = subprocess.run(
            ["bash", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        printed = [part.strip("\n").splitlines() for part in done.stdout.split("@@\n")[:-1]]
        for (command, expected), lines in zip(session, printed, strict=True):
            assert [masked(line) for line in lines if line.strip()] == [line for line in expected if line], command
