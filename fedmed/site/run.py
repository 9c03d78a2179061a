"""`run` at a site: everything that is due and needs no person, one step after the other, until nothing more is.

Each step is the function behind the command of its name, with a lock of its own: `run` may be killed and repeated as
they may.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedmed.exchange import agreement, intake
from fedmed.site import agenda, desk, evaluate, train, unmask

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from pathlib import Path

    from fedmed.exchange.intake import Arrival
    from fedmed.site.agenda import Due
    from fedmed.site.desk import Site
    from fedmed.site.evaluate import Evaluated
    from fedmed.site.fingerprint import Fingerprinted
    from fedmed.site.partition import Partitioned
    from fedmed.site.train import Trained
    from fedmed.site.tune import Tuned
    from fedmed.site.unmask import Answered


@dataclass(frozen=True)
class Done:
    """One step, with the time of its end and what the command of its name would have returned."""

    step: str
    time: datetime
    result: Partitioned | Trained | Fingerprinted | Tuned | Answered | Evaluated


@dataclass(frozen=True)
class Standing:
    """What has been done, what comes next, and the files of the inbox."""

    done: list[Done]
    due: Due
    arrivals: list[Arrival]


def plan(root: Path, now: datetime) -> Standing:
    """What `run` would begin with; nothing is written. Raises FedmedError as `run` does before its first step."""
    site = desk.peek(root)
    arrivals = intake.look_at_all(site.workspace, desk.terms(desk.approved(site)), now)
    return Standing([], _due(site, arrivals, now), arrivals)


def run(
    root: Path,
    clock: Callable[[], datetime],
    device: str,
    progress: Callable[[str, int, int], None],
    tell: Callable[[Done], None],
) -> Standing:
    """`tell` hears of each step when it is done. Raises FedmedError of the first step that fails, FM-WAI-01, FM-RES-05,
    and the error of a file that a person must decide about before anything else can be done.
    """
    done: list[Done] = []
    before: Due | None = None
    while True:
        due, arrivals = _receive(root, clock())
        if not due.step:
            return Standing(done, due, arrivals)
        if due == before:
            raise ValueError(f"{due.step} was done and is due again")
        result = _do(due, root, clock(), device, progress)
        done.append(Done(due.step, clock(), result))
        tell(done[-1])
        before = due


def _receive(root: Path, now: datetime) -> tuple[Due, list[Arrival]]:
    """Take in what has arrived; before there is consent it is only looked at."""
    with desk.opened(root, now) as site:
        consent = desk.approved(site)
        if consent is None:
            arrivals = intake.look_at_all(site.workspace, desk.terms(None), now)
        else:
            _, arrivals = desk.receive(site, consent, now, "run")
        return _due(site, arrivals, now), arrivals


def _due(site: Site, arrivals: list[Arrival], now: datetime) -> Due:
    consent = desk.approved(site)
    due = agenda.due(site, consent, arrivals)
    if due.held is not None:
        raise due.held.error()
    if due.refused is not None:
        raise due.refused
    if consent is not None and (due.step or due.waiting):
        agreement.require_valid(site.workspace, consent.agreement, now)
    return due


def _do(
    due: Due, root: Path, now: datetime, device: str, progress: Callable[[str, int, int], None]
) -> Partitioned | Trained | Fingerprinted | Tuned | Answered | Evaluated:
    if due.step == "partition":
        from fedmed.site import partition  # noqa: PLC0415 - image libraries, only when there is work

        return partition.partition(root, now, lambda done, total: progress("reading cases", done, total))
    if due.step == "train-local":
        return train.train(root, now, train.Options(device), progress)
    if due.step == "unmask":
        return unmask.unmask(root, now)
    return evaluate.evaluate(root, now, "testing", device, progress)
