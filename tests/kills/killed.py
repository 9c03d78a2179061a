"""What a forked child does for a kill test: one command, which may have to die on the way.

A job is {call, root, now, out, mode, at}. `mode` is `clean` (SIGKILL before the `at`-th call that changes the disk),
`torn` (half of the `at`-th write, then SIGKILL), `full` (no space from the `at`-th call on that needs some), `broken`
(every call fails from the `at`-th on) or "" (live). A child that lives writes {posted, steps, calls} to `out`, and
{code, calls} where the disk ended its command; `calls` are counted by name. Patched is the child alone, and only `os`.
"""

from __future__ import annotations

import errno
import gc
import json
import os
import signal
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import filelock
import pyrage
from pydantic import BaseModel

from fedmed.cli import app
from fedmed.coordinator import admit, aggregate, found, revoke, run, start, void
from fedmed.coordinator import evaluate as pooling
from fedmed.coordinator import recover as at_coordinator
from fedmed.coordinator import rotate as renewing
from fedmed.coordinator import unmask as asking
from fedmed.errors import FedmedError
from fedmed.site import alone, approve, cache, check, evaluate, join, partition, rotate, train, unmask
from fedmed.site import recover as at_site
from tests import small

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

CHANGES = ("open", "write", "fsync", "replace", "ftruncate", "unlink", "mkdir", "chmod")
NEEDS_SPACE = ("open", "write", "ftruncate", "mkdir")
COUNTED = {"clean": CHANGES, "torn": ("write",), "full": NEEDS_SPACE, "broken": CHANGES}
FAULTS = {"full": errno.ENOSPC, "broken": errno.EIO}
_HAD = (filelock, pyrage, datetime.strptime("2000", "%Y"))  # imported late by what runs: not anew in every child
tempfile.gettempdir()  # for libraries; what it lies on is another disk


def _build(model: type[BaseModel]) -> None:
    """Schemas that are built at first use: not anew in every child."""
    for each in model.__subclasses__():
        each.model_rebuild()
        _build(each)


_build(BaseModel)


@dataclass
class Reaper:
    """Counts the calls that change the disk and ends the process at the one it was told."""

    mode: str
    at: int
    calls: Counter[str] = field(default_factory=Counter)
    real: dict[str, Any] = field(default_factory=lambda: {name: getattr(os, name) for name in CHANGES})

    def arm(self) -> None:
        for name in CHANGES:
            setattr(os, name, self._counted(name))

    def _counted(self, name: str) -> Any:
        real = self.real[name]

        def call(*arguments: Any, **options: Any) -> Any:
            if name == "open" and not arguments[1] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
                return real(*arguments, **options)
            self.calls[name] += 1
            if name in COUNTED.get(self.mode, ()):
                self._reap(name, arguments)
            return None if name == "fsync" else real(*arguments, **options)  # a kill is no power cut: nothing is lost

        return call

    def _reap(self, name: str, arguments: tuple[Any, ...]) -> None:
        reached = counted(self.calls, self.mode)
        if self.mode in FAULTS and reached >= self.at:
            number = FAULTS[self.mode]
            raise OSError(number, os.strerror(number))
        if self.mode in FAULTS or reached != self.at:
            return
        if self.mode == "torn" and name == "write":
            self.real["write"](arguments[0], bytes(arguments[1])[: len(arguments[1]) // 2])
        os.kill(os.getpid(), signal.SIGKILL)


def counted(calls: Mapping[str, int], mode: str) -> int:
    """How many of these calls a mode has to do with."""
    return sum(calls.get(name, 0) for name in COUNTED[mode])


def work(call: str, root: Path, now: datetime) -> dict[str, Any]:
    """The actors' own functions; `steps` are the optimiser steps that were done here."""
    steps: list[int] = []

    def progress(what: str, done: int, total: int) -> None:
        if what in ("training", "training alone"):
            steps.append(done)

    posted = {**at_the_coordinator(root, now), **at_a_site(root, now, progress)}[call]()
    return {"posted": str(posted) if isinstance(posted, Path) else "", "steps": steps}


def at_the_coordinator(root: Path, now: datetime) -> dict[str, Callable[[], object]]:
    """What each call does; a path is what it posted."""
    return {
        "init": lambda: new_workspace(root, lambda: found.init(root, root.parent / "recipe.yaml", now)),
        "admit": lambda: admit.admit(root, sorted((root / "inbox").glob("join-*")), now),
        "start": lambda: start.start(root, small.numpy_initial, now).posted[-1],
        "unmask": lambda: asking.unmask(root, now, close=True).posted[-1],
        "aggregate": lambda: next_model(root, now),
        "void": lambda: void.void(root, now, "killed").posted,
        "evaluate": lambda: pooling.evaluate(root, now, "validation"),
        "run": lambda: handed_on(root, now),
        "recover": lambda: at_coordinator.recover(root, now),
        "vouch": lambda: at_coordinator.vouch(root, "aa", now)[-1],
        "dismiss": lambda: at_coordinator.dismiss(root, "aa", "killed", now),
        "rotate": lambda: renewing.rotate(root, now).posted,
        "revoke": lambda: revoke.revoke(root, "aa", 2, "killed", now).posted,
    }


def at_a_site(root: Path, now: datetime, progress: Callable[[str, int, int], None]) -> dict[str, Callable[[], object]]:
    """The same for a site."""
    return {
        "site-init": lambda: new_workspace(root, lambda: join.init(root, "aa", root.parent / "data", now)),
        "approve": lambda: approve.approve(root, now, by="Dr. Test", ask=lambda said: said[0].statement_id[:32]).posted,
        "pin": lambda: small.call_all(root, ["bb"]),
        "check": lambda: check.check(None, root, None, None, now, options=check.Options(), progress=progress),
        "partition": lambda: partition.partition(root, now),
        "train-local": lambda: getattr(train.train(root, now, train.Options("cpu"), progress), "posted", None),
        "train-alone": lambda: alone.train_alone(root, now, "cpu", progress),
        "site-unmask": lambda: unmask.unmask(root, now).posted,
        "site-evaluate": lambda: evaluate.evaluate(root, now, "validation", "cpu", progress).posted,
        "site-rotate": lambda: rotate.rotate(root, now).posted,
        "site-recover": lambda: at_site.recover(root, now).posted,
        "site-vouch": lambda: at_site.vouch(root, "coordinator", now)[0],
        "site-dismiss": lambda: at_site.dismiss(root, "coordinator", "killed", now),
        "cache-clear": lambda: cache.wipe(root, now),
    }


def next_model(root: Path, now: datetime) -> Path:
    """A run behind the one that sealed the model finds the next round open and waits for it."""
    try:
        return aggregate.aggregate(root, now).posted
    except FedmedError as error:
        if error.code not in ("FM-WAI-03", "FM-MSK-07"):
            raise
        return max((root / "outbox").glob("model-*.fedmed"))


def handed_on(root: Path, now: datetime) -> Path:
    """The update that the next site of a lap waits for."""
    run.run(root, lambda: now, lambda *_: None, lambda _: None)
    return next((root / "outbox").glob("update-*.fedmed"))


def new_workspace(root: Path, init: Callable[[], object]) -> None:
    """A run behind one that wrote fedmed.yaml finds a workspace."""
    try:
        init()
    except FedmedError as error:
        if error.code != "FM-SET-04":
            raise


def child(job: dict[str, Any]) -> int:
    gc.disable()  # it would copy all that the child shares with the process that it was forked from
    reaper = Reaper(job["mode"], job["at"])
    reaper.arm()
    try:
        result = work(job["call"], Path(job["root"]), datetime.fromisoformat(job["now"]))
    except (FedmedError, OSError) as error:
        if job["mode"] not in FAULTS:
            raise
        coded = error if isinstance(error, FedmedError) else app._of_the_disk(error)
        if coded is None:
            raise
        result = {"code": coded.code}
    Path(job["out"]).write_text(json.dumps({**result, "calls": reaper.calls}))
    return 0
