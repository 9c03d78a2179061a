"""`fedmed WORDS...` as a process of its own, forked from one that has its imports behind it, and what it printed."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.warm import Warm

ACTORS = (  # and what they draw in at their first use
    "fedmed.auditor.books",
    "fedmed.auditor.inspection",
    "fedmed.auditor.keyring",
    "fedmed.coordinator.admit",
    "fedmed.coordinator.aggregate",
    "fedmed.coordinator.evaluate",
    "fedmed.coordinator.found",
    "fedmed.coordinator.start",
    "fedmed.coordinator.status",
    "fedmed.site.approve",
    "fedmed.site.check",
    "fedmed.site.evaluate",
    "fedmed.site.join",
    "fedmed.site.partition",
    "fedmed.site.status",
    "fedmed.site.train",
    "tests.warmed",
)


@dataclass(frozen=True)
class Ran:
    """A command that ended."""

    words: tuple[str, ...]
    code: int
    out: str
    err: str
    modules: frozenset[str]

    @property
    def json(self) -> Any:
        """The one object on stdout."""
        lines = self.out.splitlines()
        assert len(lines) == 1, self.out
        return json.loads(lines[0])

    @property
    def next(self) -> str:
        """The last hint, wherever it stands."""
        return [line.removeprefix("next: ") for line in (self.out + self.err).splitlines() if "next: " in line][-1]


class Fedmed:
    """The command, run again and again. `modules` are imported beforehand."""

    def __init__(self, folder: Path, *modules: str) -> None:
        self._folder = folder
        self._warm = Warm("tests.command", "fedmed.cli.app", *modules)

    def run(self, *words: str | Path, cwd: Path | None = None, **env: str) -> Ran:
        """In `cwd`, with nothing on stdin, behind no terminal."""
        out, err, modules = (self._folder / name for name in ("out", "err", "modules"))
        arguments = [str(word) for word in words]
        job = {"words": arguments, "cwd": str(cwd or self._folder), "env": env}
        status = self._warm.run({**job, "out": str(out), "err": str(err), "modules": str(modules)})
        assert status % 256 == 0, f"{arguments} was ended by signal {status}"
        imported = frozenset(modules.read_text().split())
        return Ran(tuple(arguments), status // 256, out.read_text(), err.read_text(), imported)

    def ok(self, *words: str | Path, cwd: Path | None = None) -> Ran:
        ran = self.run(*words, cwd=cwd)
        assert ran.code == 0, ran.err
        return ran

    def close(self) -> None:
        self._warm.close()


def child(job: dict[str, Any]) -> int:
    from fedmed import files  # noqa: PLC0415
    from fedmed.cli import app  # noqa: PLC0415 - the tests' side of this module needs none of it

    files.Process.is_durable = False  # no test cuts the power
    os.chdir(job["cwd"])
    for number, name in ((1, job["out"]), (2, job["err"])):
        os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for name in ("FORCE_COLOR", "GITHUB_ACTIONS", "PY_COLORS", "COLUMNS", "NO_COLOR"):
        os.environ.pop(name, None)
    os.environ.update(job["env"])
    sys.argv = ["fedmed", *job["words"]]
    try:
        app.main()
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else 0
    finally:
        Path(job["modules"]).write_text(" ".join(sorted({name.split(".")[0] for name in sys.modules})))
    raise AssertionError("main() returned")
