"""`fedmed run`: what cron or a timer calls every few minutes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fedmed.cli import screen, tables
from fedmed.cli.screen import Device, Json, Screen, Workspace
from fedmed.codes.code import OK, WAITING

if TYPE_CHECKING:
    from fedmed.coordinator import run as desk
    from fedmed.site import run as bedside


def register(app: typer.Typer) -> None:
    app.command()(run)


def run(
    workspace: Workspace = Path(),
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and change nothing.")] = False,
    device: Device = "",
    as_json: Json = False,
) -> None:
    """Do everything that is due and needs no person (both roles), for cron: exit code 75 when there is nothing yet.

    Example: fedmed run -w st-olav
    """
    out = Screen(as_json=as_json)
    found = _plan(workspace) if dry_run else _run(out, workspace, device)
    tables.warn(out, found.arrivals)
    due = found.due
    is_over = not due.step and not due.waiting
    next_ = "" if is_over else screen.step(due.next, workspace)
    if due.step:
        out.say(f"would do {due.step}: {due.why}; and then what is due")
    elif is_over:
        out.say("nothing left to do")
    else:
        out.say(f"waiting for {due.waiting}")
        out.say(f"next: {next_}")
    done = [{"step": each.step, "time": _time(each), "result": each.result} for each in found.done]
    out.result({"done": done, "waiting": due.waiting, "next": next_})
    raise typer.Exit(WAITING if due.waiting and not found.done else OK)


def _plan(workspace: Path) -> desk.Standing | bedside.Standing:
    if screen.is_coordinator(workspace):
        from fedmed.coordinator import run as desk  # noqa: PLC0415

        return desk.plan(workspace, screen.now())
    from fedmed.site import run as bedside  # noqa: PLC0415

    return bedside.plan(workspace, screen.now())


def _run(out: Screen, workspace: Path, device: str) -> desk.Standing | bedside.Standing:
    def tell(done: desk.Done | bedside.Done) -> None:
        _SAY[done.step, screen.is_coordinator(workspace)](out, f"{_time(done)} {done.step}:", done.result)

    with out.progress() as step:
        if screen.is_coordinator(workspace):
            from fedmed.coordinator import run as desk  # noqa: PLC0415

            return desk.run(workspace, screen.now, step, tell)
        from fedmed.site import run as bedside  # noqa: PLC0415

        return bedside.run(workspace, screen.now, device, step, tell)


def _time(done: desk.Done | bedside.Done) -> str:
    return done.time.strftime("%Y-%m-%dT%H:%M:%SZ")


def _partitioned(out: Screen, begin: str, found: Any) -> None:
    counts = found.shares[0].counts
    folds = ", ".join(f"{counts[fold]} {word}" for fold, word in _FOLDS.items())
    excluded = sum(found.excluded.values())
    out.say(f"{begin} {folds}" + (f"; {excluded} excluded, logs/local.log says why" if excluded else ""))


def _trained(out: Screen, begin: str, found: Any) -> None:
    from fedmed.site import fingerprint, tune  # noqa: PLC0415

    if isinstance(found, fingerprint.Fingerprinted):
        out.say(f"{begin} a fingerprint of {found.body.num_cases} cases is sealed; fedmed inspect {found.posted}")
        return
    if isinstance(found, tune.Tuned):
        out.say(f"{begin} {tables.kept(found)}")
        return
    if found.body is None:  # a later model came in the meantime, and it is the last
        out.say(f"{begin} the federation is over, round {found.round} is the last")
        return
    facts = found.facts
    if facts is None:
        out.say(f"{begin} {tables.named(found)} was trained before; the update is masked")
        return
    again = "" if found.is_trained else ", masked again"
    out.say(f"{begin} {tables.named(found)}{again}, {tables.steps(facts)}")


def _scored(out: Screen, begin: str, found: Any) -> None:
    facts = found.body.told
    scores = [row for row in facts.scores if (row.model, row.label) == ("global", "all")]
    metrics = ", ".join(f"{row.metric} {screen.number(row.mean)}" for row in scores)
    out.say(f"{begin} model r{found.round:04d} on {facts.num_cases} test cases: {metrics or '-'}")
    tables.hurt(out, found.hurt)


def _aggregated(out: Screen, begin: str, found: Any) -> None:
    if found.numbers:
        used = ", ".join(ack.site for ack in found.acks if ack.status == "used")
        out.say(f"{begin} federation version 2 from the fingerprints of {used}, and model r0000")
        return
    if found.round == 0:
        out.say(f"{begin} all sites have approved, and model r0000 is sealed")
        return
    sites = ", ".join(parent.site for parent in found.parents)
    told = f"; {found.told}" if found.told else ""
    out.say(f"{begin} model r{found.round:04d} of {sites}" + (", the last" if found.last else "") + told)
    if found.watched:
        tables.hurt(out, found.watched.hurt)


def _asked(out: Screen, begin: str, found: Any) -> None:
    out.say(f"{begin} {tables.asked(found)}")


def _answered(out: Screen, begin: str, found: Any) -> None:
    tables.lines(out, [f"{begin} {line}" for line in tables.answered(found)])


def _relayed(out: Screen, begin: str, found: Any) -> None:
    out.say(f"{begin} the update of {found.site} is in outbox/ for {found.to}, which goes on from it")


def _pooled(out: Screen, begin: str, found: Any) -> None:
    out.say(f"{begin} {len(found.reports)} reports on the test fold")
    tables.pooled(out, found)


_FOLDS = {"training": "training", "validation": "validation", "testing": "test cases"}
_SAY = {
    ("partition", False): _partitioned,
    ("train-local", False): _trained,
    ("evaluate", False): _scored,
    ("unmask", False): _answered,
    ("unmask", True): _asked,
    ("aggregate", True): _aggregated,
    ("relay", True): _relayed,
    ("evaluate", True): _pooled,
}
