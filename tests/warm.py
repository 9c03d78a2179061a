"""A process that has its imports behind it and forks a child for each job: real processes without the seconds of torch.

`python -m tests.warm HANDLER MODULE...` imports the modules, then reads jobs as JSON lines and answers each with the
wait status of a child that ran HANDLER.child(job).
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import subprocess
import sys
import traceback
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).parents[1]
TRAINING = ("fedmed.training.fit", "fedmed.training.metrics", "fedmed.training.convolutional")


class Warm:
    """The tests' side. The process starts at once and is waited for at the first job."""

    def __init__(self, handler: str, *modules: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.warm", handler, *modules],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=PROJECT,
            text=True,
        )
        self._is_warm = False

    def run(self, job: dict[str, Any]) -> int:
        """The wait status of the child: 0, 256 times its exit code, or the signal that ended it."""
        self._is_warm = self._is_warm or self._answer() == "warm"
        assert self._is_warm
        assert self._process.stdin
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        return int(self._answer())

    def close(self) -> None:
        self._process.communicate()
        assert self._process.returncode == 0

    def _answer(self) -> str:
        assert self._process.stdout
        return self._process.stdout.readline().strip()


def main() -> None:
    handler, *_ = [importlib.import_module(name) for name in sys.argv[1:]]
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)  # a fork takes no OpenMP threads along
    gc.freeze()  # a child that looks for garbage would copy every page of what is here
    print("warm", flush=True)
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                code = handler.child(json.loads(line))
            except BaseException:  # noqa: BLE001 - the child must never go on in the parent's loop
                traceback.print_exc()
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)
        print(os.waitpid(pid, 0)[1], flush=True)


if __name__ == "__main__":
    main()
