"""What a forked child does for a kill test: one command, which may have to die on the way.

A job is {call, root, now, out, mode, at}. `mode` is `clean` (SIGKILL before the `at`-th call that changes the disk),
`torn` (half of the `at`-th write, then SIGKILL), `full` (no space from the `at`-th call on: nothing can be created or
written any more), `broken` (every call fails from the `at`-th on) or "" (live). A child that lives writes {posted,
steps, calls, writes} to `out`, and {code, calls} where the disk ended its command. Patched is the child alone, and only
`os`.
"""

from __future__ import annotations

import errno
import json
import os
import signal
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedmed.cli import app
from fedmed.coordinator import admit, aggregate, desk, found, run, start, void
from fedmed.coordinator import unmask as asking
from fedmed.errors import FedmedError
from fedmed.exchange import sealing
from fedmed.site import approve, evaluate, join, partition, train, unmask
from tests import small

if TYPE_CHECKING:
    from collections.abc import Callable

CHANGES = ("open", "write", "fsync", "replace", "ftruncate", "unlink")
FAULTS = {"full": (errno.ENOSPC, ("open", "write", "ftruncate")), "broken": (errno.EIO, CHANGES)}


@dataclass
class Reaper:
    """Counts the calls that change the disk and ends the process at the one it was told."""

    mode: str
    at: int
    calls: int = 0
    writes: int = 0
    real: dict[str, Any] = field(default_factory=lambda: {name: getattr(os, name) for name in CHANGES})

    def arm(self) -> None:
        for name in CHANGES:
            setattr(os, name, self._counted(name))

    def _counted(self, name: str) -> Any:
        real = self.real[name]

        def call(*arguments: Any, **options: Any) -> Any:
            if name == "open" and not arguments[1] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
                return real(*arguments, **options)
            self.calls += 1
            self.writes += name == "write"
            if self.mode == "clean" and self.calls == self.at:
                os.kill(os.getpid(), signal.SIGKILL)
            if self.mode == "torn" and name == "write" and self.writes == self.at:
                real(arguments[0], bytes(arguments[1])[: len(arguments[1]) // 2])
                os.kill(os.getpid(), signal.SIGKILL)
            number, calls = FAULTS.get(self.mode, (0, ()))
            if name in calls and self.calls >= self.at:
                raise OSError(number, os.strerror(number))
            return None if name == "fsync" else real(*arguments, **options)  # a kill is no power cut: nothing is lost

        return call


def work(call: str, root: Path, now: datetime) -> dict[str, Any]:
    """The actors' own functions; `steps` are the optimiser steps that were done here."""
    steps: list[int] = []

    def progress(what: str, done: int, total: int) -> None:
        if what == "training":
            steps.append(done)

    posted: dict[str, Callable[[], Path | None]] = {
        "train-masked": lambda: train.train(root, now, train.Options(device="cpu"), progress).posted,
        "ask": lambda: asking.unmask(root, now, close=True).posted[-1],
        "answer": lambda: unmask.unmask(root, now).posted,
        "void": lambda: begun_again(root, now),
        "train": lambda: train.train(root, now, train.Options(device="cpu"), progress).posted,
        "evaluate": lambda: evaluate.evaluate(root, now, "validation", "cpu", progress).posted,
        "fingerprint": lambda: train.train(root, now, train.Options(device="cpu"), progress).posted,
        "aggregate": lambda: next_model(root, now),
        "first-model": lambda: next_model(root, now),
        "relay": lambda: handed_on(root, now),
        "init-coordinator": lambda: new_workspace(root, lambda: found.init(root, root.parent / "recipe.yaml", now)),
        "init-site": lambda: new_workspace(root, lambda: join.init(root, "aa", root.parent / "data", now)),
        "admit": lambda: admitted(root, now),
        "partition": lambda: partition.partition(root, now) and root / "cases.json",
        "start": lambda: start.start(root, small.numpy_initial, now).posted[-1],
        "approve": lambda: (
            approve.approve(root, now, by="Dr. Test", ask=lambda found: found[0].statement_id[:32]).posted
        ),
    }
    return {"posted": str(posted[call]()), "steps": steps}


def admitted(root: Path, now: datetime) -> Path:
    admit.admit(root, sorted((root / "inbox").glob("join-*")), now)
    return root


def next_model(root: Path, now: datetime) -> Path:
    """A run behind the one that sealed the model finds the next round open and waits for it."""
    try:
        return aggregate.aggregate(root, now).posted
    except FedmedError as error:
        if error.code not in ("FM-WAI-03", "FM-MSK-07"):
            raise
        return max((root / "outbox").glob("model-*.fedmed"))


def begun_again(root: Path, now: datetime) -> Path:
    """A run behind the one that sealed the next attempt finds it."""
    with desk.opened(root, now) as workspace:
        known = workspace.record.newest("model")
        if known and known.attempt > 1:
            return sealing.post(workspace, known)
    return void.void(root, now, "killed").posted


def handed_on(root: Path, now: datetime) -> Path:
    """The update that the next site of a lap waits for."""
    run.run(root, lambda: now, lambda *_: None, lambda _: None)
    return next((root / "outbox").glob("update-*.fedmed"))


def new_workspace(root: Path, init: Callable[[], object]) -> Path:
    """A run behind one that wrote fedmed.yaml finds a workspace."""
    try:
        init()
    except FedmedError as error:
        if error.code != "FM-SET-04":
            raise
    return root / "fedmed.yaml"


def child(job: dict[str, Any]) -> int:
    reaper = Reaper(job["mode"], job["at"])
    reaper.arm()
    try:
        result = work(job["call"], Path(job["root"]), datetime.fromisoformat(job["now"]))
    except (FedmedError, OSError) as error:
        if job["mode"] not in FAULTS:
            raise
        coded = error if isinstance(error, FedmedError) else app._of_the_disk(error)
        assert coded
        result = {"code": coded.code}
    Path(job["out"]).write_text(json.dumps({**result, "calls": reaper.calls, "writes": reaper.writes}))
    return 0
