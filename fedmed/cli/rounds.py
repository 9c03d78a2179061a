"""The work of a round: train-local, unmask, aggregate, evaluate, status."""

from __future__ import annotations

import dataclasses
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from fedmed.cli import screen, tables
from fedmed.cli.screen import Device, Json, Screen, Workspace
from fedmed.errors import FedmedError


class SplitName(StrEnum):
    """`--split`: which fold is scored."""

    validation = "validation"
    test = "test"


TrustClock = Annotated[str | None, screen.reason("Use a file signed in the future; recorded in the ledger.")]
Expired = Annotated[str | None, screen.reason("Use an expired file; recorded in the ledger.")]


def register(app: typer.Typer) -> None:
    app.command("train-local")(train_local)
    app.command()(unmask)
    app.command()(aggregate)
    app.command()(evaluate)
    app.command()(status)


def train_local(
    workspace: Workspace = Path(),
    device: Device = "",
    again: Annotated[bool, typer.Option("--again", help="A corrected update while the round is open.")] = False,
    alone: Annotated[bool, typer.Option("--alone", help="The local-only baseline; never sealed, never sent.")] = False,
    accept_expired: Expired = None,
    trust_clock: TrustClock = None,
    as_json: Json = False,
) -> None:
    """Train on this hospital's cases and seal the update (site). Killed, it goes on where it was.

    Where the recipe says normalisation: federated, it seals a fingerprint of the cases first, and shows it. Where it
    has fine_tune_steps, the last model is tuned to this hospital and kept if its validation cases say so. In a lap
    (strategy: cyclic) it waits, with exit code 75, for the update of the site before.

    Example: fedmed train-local -w st-olav
    """
    from fedmed.site import alone as baseline  # noqa: PLC0415
    from fedmed.site import fingerprint, tune  # noqa: PLC0415
    from fedmed.site import status as bedside  # noqa: PLC0415
    from fedmed.site import train as action  # noqa: PLC0415

    out = Screen(as_json=as_json)
    if again and alone:
        raise FedmedError("FM-USE-01", "--again and --alone exclude each other")
    if alone:
        with out.progress() as step:
            done = baseline.train_alone(workspace, screen.now(), device, step)
        what = "trained" if done.is_new else "was trained before"
        out.say(f"local-only model {what}: {done.rounds} rounds, {done.num_steps} steps")
        out.result(done)
        return
    with out.progress() as step:
        trained = action.train(
            workspace, screen.now(), action.Options(device, again, accept_expired or "", trust_clock or ""), step
        )
    tables.warn(out, trained.arrivals)
    if isinstance(trained, fingerprint.Fingerprinted):
        tables.fingerprint(out, fingerprint.told(trained.body, trained.inputs))
        out.say(f"{'sealed' if trained.is_new else 'was sealed before'}; the first model comes when all are pooled")
        out.say(f"next: bring {trained.posted} to the coordinator")
    elif isinstance(trained, tune.Tuned):
        tables.tuned(out, trained)
        out.say(f"next: {screen.hint('evaluate', workspace)}")
    elif trained.over:
        out.say(f"the federation is over: round {trained.round} is the last")
        out.say(f"next: {screen.step(bedside.status(workspace, screen.now()).next, workspace)}")
    elif trained.body is not None and trained.facts is None:
        out.say(f"{tables.named(trained)}: was trained before; the update is masked, and tells nothing of this site")
        tables.lines(out, trained.promises)
        out.say(f"next: bring {trained.posted} to the coordinator")
    elif trained.body is not None and trained.facts is not None:
        out.say(f"{tables.named(trained)}: {tables.trained(trained)}, {tables.steps(trained.facts)}")
        out.say(tables.received(trained.facts, is_masked=trained.body.masked is not None))
        tables.lines(out, trained.promises)
        behind = f", for {trained.behind}, who goes on from it" if trained.behind else ""
        out.say(f"next: bring {trained.posted} to the coordinator{behind}")
    out.result(trained)


def aggregate(
    workspace: Workspace = Path(),
    close: Annotated[bool, typer.Option("--close", help="Close the round without the missing sites.")] = False,
    include: Annotated[
        list[str] | None, typer.Option(metavar="SITE", help="Count the held update of a site that you have called.")
    ] = None,
    reason: Annotated[str | None, screen.reason("With --include: why; recorded in the ledger.")] = None,
    void: Annotated[
        str | None, screen.reason("Masked rounds: declare the attempt void and begin the next one.")
    ] = None,
    trust_clock: TrustClock = None,
    as_json: Json = False,
) -> None:
    """Admit the updates that arrived and make the next model (coordinator); before the first one, pool fingerprints.

    Where updates are masked it waits, with exit code 75, until enough sites have answered what `unmask` asked them.

    Example: fedmed aggregate -w coord

    Example: fedmed aggregate --close -w coord

    Example: fedmed aggregate --void "the disk of riks failed, and its update is lost" -w coord
    """
    from fedmed.coordinator import aggregate as action  # noqa: PLC0415

    out = Screen(as_json=as_json)
    if void is not None:
        from fedmed.coordinator import void as attempts  # noqa: PLC0415

        if close or include or reason or trust_clock:
            raise FedmedError("FM-USE-01", "--void stands alone")
        found = attempts.void(workspace, screen.now(), void)
        tables.warn(out, found.arrivals)
        out.say(f"round {found.round}: attempt {found.attempt - 1} is void, attempt {found.attempt} begins")
        if found.without:
            out.say(f"it goes without {', '.join(found.without)}: signed files prove what they spoiled")
        out.say(_bring(found.federations, found.posted))
        out.result(found)
        return
    if bool(include) != (reason is not None):
        raise FedmedError("FM-USE-01", "--include and --reason belong together")
    with out.progress() as step:
        made = action.aggregate(
            workspace,
            screen.now(),
            close=close,
            include=include or (),
            reason=reason or "",
            trust_clock=trust_clock or "",
            progress=step,
        )
    tables.warn(out, made.arrivals)
    if made.numbers:
        tables.pooled_fingerprints(out, made)
    else:
        tables.shares(out, made)
    out.say(_bring(made.federations, made.posted))
    out.result(made)


def _bring(federations: list[Path], model: Path) -> str:
    return f"next: bring {' and '.join(map(str, [*federations, model]))} to every site"


def unmask(
    workspace: Workspace = Path(),
    close: Annotated[bool, typer.Option("--close", help="Coordinator: decide without the missing sites.")] = False,
    consent: Annotated[
        str | None, screen.reason("Site: answer about other sites than before on the same model.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Take the masks off a round's sum: decide who is in it and ask them (coordinator), or answer (site).

    Example: fedmed unmask -w st-olav

    Example: fedmed unmask --close -w coord

    Example: fedmed unmask --consent "riks left, said Dr. Ek of the coordinator" -w st-olav
    """
    out = Screen(as_json=as_json)
    if screen.is_coordinator(workspace):
        from fedmed.coordinator import unmask as asking  # noqa: PLC0415

        if consent is not None:
            raise FedmedError("FM-USE-01", "--consent is for a site")
        asked = asking.unmask(workspace, screen.now(), close=close)
        tables.warn(out, asked.arrivals)
        out.say(tables.asked(asked))
        names = ", ".join(path.name for path in asked.posted)
        out.say(f"next: bring each site its request, in {asked.posted[0].parent}: {names}")
        out.result(asked)
        return
    from fedmed.site import unmask as answering  # noqa: PLC0415

    if close:
        raise FedmedError("FM-USE-01", "--close is for the coordinator")
    answered = answering.unmask(workspace, screen.now(), consent=consent or "")
    tables.warn(out, answered.arrivals)
    tables.lines(out, tables.answered(answered))
    out.say(f"next: bring {answered.posted} to the coordinator")
    out.result(answered)


def evaluate(
    workspace: Workspace = Path(),
    split: Annotated[
        SplitName, typer.Option(help="The test fold is for the last model; each opening is recorded.")
    ] = SplitName.validation,
    device: Device = "",
    as_json: Json = False,
) -> None:
    """Score the newest model and seal a report (site), or pool the sites' reports (coordinator).

    Example: fedmed evaluate -w st-olav --split test
    """
    out = Screen(as_json=as_json)
    fold: Any = "testing" if split is SplitName.test else "validation"
    if screen.is_coordinator(workspace):
        from fedmed.coordinator import evaluate as pool  # noqa: PLC0415

        table = pool.evaluate(workspace, screen.now(), fold)
        tables.warn(out, table.arrivals)
        tables.pooled(out, table)
        out.result(table)
        return
    from fedmed.site import evaluate as action  # noqa: PLC0415

    with out.progress() as step:
        found = action.evaluate(workspace, screen.now(), fold, device, step)
    tables.warn(out, found.arrivals)
    tables.report(out, found)
    tables.hurt(out, found.hurt)
    tables.lines(out, found.promises)
    if found.tuned:
        out.say(tables.kept(found.tuned))
    elif found.is_to_tune:
        out.say(f"not tuned to this hospital's cases yet: {screen.hint('train-local', workspace)}")
    out.say(f"case by case, for this hospital only: {found.case_table}")
    if found.worst:
        out.say(f"images that the model points into worst, for this hospital only: {found.worst}")
    out.say(f"next: bring {found.posted} to the coordinator")
    out.result(found)


def status(workspace: Workspace = Path(), as_json: Json = False) -> None:
    """The round, who is in, who is missing and why, and the next step. Changes nothing.

    Example: fedmed status -w st-olav
    """
    out = Screen(as_json=as_json)
    found: Any
    if screen.is_coordinator(workspace):
        from fedmed.coordinator import status as desk  # noqa: PLC0415

        found = desk.status(workspace, screen.now())
        tables.coordinator_status(out, found)
    else:
        from fedmed.site import status as bedside  # noqa: PLC0415

        found = bedside.status(workspace, screen.now())
        tables.site_status(out, found)
    next_ = screen.step(found.next, workspace)
    out.say(f"next: {next_}")
    out.result(dataclasses.replace(found, next=next_))
