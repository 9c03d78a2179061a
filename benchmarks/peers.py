"""Flower and NVFLARE, each in a virtual environment of its own below work/: they pin what fedmed needs newer.

    python benchmarks/peers.py

makes both. A benchmark calls `python(name)` and runs a script by what it gives; it finds them made, or makes them.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

WORK = Path(__file__).resolve().parents[1] / "work" / "peers"
COMMON = ("torch==2.13.0", "numpy==2.4.6", "safetensors==0.8.0")
PACKAGES = {
    "flwr": ("flwr[simulation]==1.41.0", *COMMON),
    "nvflare": ("nvflare==2.9.0", *COMMON),
}


def python(name: str) -> Path:
    """The interpreter of `flwr` or `nvflare`. Ends the benchmark, with pip's own words, when it cannot be installed."""
    folder = WORK / name
    found, done = folder / "bin" / "python", folder / "installed.txt"
    wanted = "\n".join(PACKAGES[name])
    if done.exists() and done.read_text() == wanted:
        return found
    print(f"{name}: making its environment, some minutes", flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    for command in (
        [sys.executable, "-m", "venv", str(folder)],
        [str(found), "-m", "pip", "install", "--quiet", *PACKAGES[name]],
    ):
        ran = subprocess.run(command, capture_output=True, text=True, check=False)
        if ran.returncode:
            raise SystemExit(f"{name}: cannot be installed\n{ran.stderr}")
    done.write_text(wanted)
    return found


def command(name: str, script: str) -> Path:
    """A command that was installed with it, such as `nvflare`."""
    return python(name).parent / script


if __name__ == "__main__":
    for each in PACKAGES:
        print(each, python(each))
