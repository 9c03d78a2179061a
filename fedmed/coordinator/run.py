"""`run` at the coordinator: rounds are closed when their rule holds, and the sites' last reports are pooled.

Each step is the function behind the command of its name, with a lock of its own: `run` may be killed and repeated as
they may. Admitting sites, starting, and closing a round without its missing sites are for people.
"""

from __future__ import annotations

import csv
import dataclasses
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedmed import files
from fedmed.coordinator import agenda, aggregate, desk, evaluate, laps, screening, unmask
from fedmed.coordinator.agenda import Due
from fedmed.coordinator.combining import Combiner
from fedmed.errors import FedmedError
from fedmed.exchange import agreement, intake

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from pathlib import Path

    from fedmed.coordinator.aggregate import Aggregated
    from fedmed.coordinator.desk import Started
    from fedmed.coordinator.evaluate import PooledTable
    from fedmed.coordinator.laps import Relayed
    from fedmed.coordinator.unmask import Asked
    from fedmed.exchange.intake import Arrival
    from fedmed.exchange.workspace import Workspace


@dataclass(frozen=True)
class Done:
    """One step, with the time of its end and what the command of its name would have returned."""

    step: str
    time: datetime
    result: Aggregated | Asked | PooledTable | Relayed


@dataclass(frozen=True)
class Standing:
    """What has been done, what comes next, and the files of the inbox."""

    done: list[Done]
    due: Due
    arrivals: list[Arrival]


def plan(root: Path, now: datetime) -> Standing:
    """What `run` would begin with; nothing is written. Raises FedmedError as `run` does before its first step."""
    found = desk.peek(root)
    arrivals = intake.look_at_all(found, desk.terms(desk.started(found)), now)
    return Standing([], _due(found, arrivals, now), arrivals)


def run(
    root: Path,
    clock: Callable[[], datetime],
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
        try:
            result = _do(due, root, clock(), progress)
        except FedmedError as error:
            if error.code not in (
                "FM-WAI-03",
                "FM-STR-01",
                "FM-MSK-07",
            ):  # an update stands out from the others: a person decides
                raise
            return Standing(done, Due(error.next, waiting=error.message), arrivals)
        before = due
        if result is not None:
            done.append(Done(due.step, clock(), result))
            tell(done[-1])


def _receive(root: Path, now: datetime) -> tuple[Due, list[Arrival]]:
    """Take in what has arrived; before the start it is only looked at."""
    with desk.opened(root, now) as found:
        running = desk.started(found)
        if running is None:
            arrivals = intake.look_at_all(found, desk.terms(None), now)
        else:
            arrivals = intake.receive_all(found, desk.terms(running), now, "run")
        return _due(found, arrivals, now), arrivals


def _has_held(found: Workspace, running: Started) -> bool:
    """Only `aggregate` compares updates again, and those that came since may have changed what stands out."""
    return any(each.status == "held" for each in screening.standings(found, running))


def _due(found: Workspace, arrivals: list[Arrival], now: datetime) -> Due:
    running = desk.started(found)
    due = agenda.due(found, running, arrivals, now)
    if due.held is not None:
        raise due.held.error()
    if due.refused is not None:
        raise due.refused
    if running is not None and (due.step or due.waiting):
        agreement.require_valid(found, running.agreement, now)
    if running is not None and due.waiting and _has_held(found, running):
        return dataclasses.replace(due, step="aggregate", why="an update is held; those that came since are compared")
    return due


def _do(
    due: Due, root: Path, now: datetime, progress: Callable[[str, int, int], None]
) -> Aggregated | Asked | PooledTable | Relayed | None:
    if due.step == "unmask":
        return unmask.unmask(root, now)
    if due.step == "aggregate":
        return aggregate.aggregate(root, now, progress=progress)
    return _relay(root, now, progress) if due.step == "relay" else _pool(root, now)


def _relay(root: Path, now: datetime, progress: Callable[[str, int, int], None]) -> Relayed | None:
    """The update that the next site of a lap waits for; None when it stands out and is held."""
    with desk.opened(root, now) as found:
        running = desk.require_started(found)
        combiner = Combiner(found, running, progress)
        everyone = screening.compare(found, running, now, close=False, products=combiner.compare)
        relayed = laps.relay(found, everyone)
        return relayed if relayed and relayed.is_new else None


def _pool(root: Path, now: datetime) -> PooledTable:
    """The table, also as a file for who was not there to see it. Noted last: a killed run makes it again."""
    reports = sorted(agenda.reports_on_test_fold(desk.peek(root)).values())
    table = evaluate.evaluate(root, now, "testing")
    with desk.opened(root, now) as found:
        files.write_atomic(root / "reports" / f"pooled-r{table.round:04d}-testing.csv", _as_csv(table), mode=0o600)
        found.write_entry("run", "note", now, what="pooled", reports=reports)
    return table


def _as_csv(table: PooledTable) -> bytes:
    """One line a site, model, label and metric; an undefined value is empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["site", "model", "label", "metric", "n", "mean", "sd"])
    rows = [(each.site, score.model, score) for each in table.reports for score in each.body.told.scores]
    pooled = [("pooled", model, row) for model, metrics in table.pooled.items() for row in metrics]
    for site, model, row in (*rows, *pooled):
        writer.writerow([site, model, row.label, row.metric, row.n, row.mean or "", row.sd or ""])
    return text.getvalue().encode()
