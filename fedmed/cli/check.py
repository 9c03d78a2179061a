"""`check`: the data of a hospital before anything is learned from them, and the files that are to leave it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedmed.cli import screen
from fedmed.cli.screen import Json, Screen
from fedmed.errors import CODES, FedmedError

if TYPE_CHECKING:
    from fedmed.site.check import Checked
    from fedmed.site.outgoing import Looked


def register(app: typer.Typer) -> None:
    app.command()(check)


def check(
    data: Annotated[
        Path | None, typer.Argument(help="A folder with images; in a workspace its own data folder.")
    ] = None,
    workspace: Annotated[
        Path | None, typer.Option("-w", "--workspace", help="The workspace; here if left out.", show_default=False)
    ] = None,
    recipe: Annotated[
        Path | None, typer.Option(help="What the data are for; in a workspace the approved one if left out.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Where the report goes; check-report/, or reports/check/ of a workspace.")
    ] = None,
    preview: Annotated[int, typer.Option(min=0, max=500, help="Draw so many cases as the model will see them.")] = 0,
    show_ids: Annotated[bool, typer.Option("--show-ids", help="Name the files of each case: for here only.")] = False,
    outgoing: Annotated[
        bool, typer.Option("--outgoing", help="Look through outbox/ and the shareable log for words of patients.")
    ] = False,
    again: Annotated[bool, typer.Option("--again", help="Read unchanged files too.")] = False,
    as_json: Json = False,
) -> None:
    """Check every case, say what is wrong with each and what to do, and write a page, a table and pictures.

    Nothing in the data folder is changed. Exit code 6 where the data cannot be used as they are.

    Example: fedmed check DATA --recipe recipes/tumour-segmentation-mr.yaml --preview 24

    Example: fedmed check -w st-olav

    Example: fedmed check --outgoing -w st-olav
    """
    from fedmed.site import check as action  # noqa: PLC0415

    if data is not None and workspace is not None:
        raise FedmedError("FM-USE-01", "--workspace: not with DATA, a workspace knows its own data folder")
    shown = Screen(as_json=as_json)
    if outgoing:
        if data or recipe or out or preview or show_ids or again:
            raise FedmedError("FM-USE-01", "--outgoing: only with --workspace and --json")
        _outgoing(shown, workspace or Path())
        return
    if data is None and workspace is None and not Path("fedmed.yaml").exists():
        raise FedmedError("FM-USE-01", "expected DATA with --recipe, or a workspace here or by -w; got none of them")
    options = action.Options(again=again, preview=preview, show_ids=show_ids)
    with shown.progress() as step:
        found = action.check(data, workspace or Path(), recipe, out, screen.now(), options=options, progress=step)
    _show(shown, found)
    shown.result(found)
    if found.report.refusal:
        raise typer.Exit(CODES[found.report.refusal.code].exit)


def _outgoing(out: Screen, workspace: Path) -> None:
    from fedmed.site import outgoing as action  # noqa: PLC0415

    with out.progress() as step:
        found = action.search(workspace, lambda done, total: step("reading headers", done, total))
    rows = [[looked.name, _found(looked)] for looked in found.files]
    out.table(f"{found.known} words and pseudonyms of patients looked for", ["file", "found "], rows)
    if opened := sum(looked.opened for looked in found.files):
        out.say(f"{opened} encrypted payloads opened with this workspace's age key, and looked through")
    if found.others:
        out.say(f"{found.others} in outbox/ are no files of fedmed's, and were not looked at")
    if refusal := action.refusal(found):
        raise refusal
    out.result(found)


def _found(looked: Looked) -> str:
    """Nothing was found in what nobody looked into: that is not 0."""
    closed = f"{looked.unread} encrypted payloads not looked at"
    return str(looked.found) if not looked.unread else f"{looked.found}, {closed}" if looked.found else closed


def _show(out: Screen, found: Checked) -> None:
    report = found.report
    out.say(str(report.funnel))
    if report.counts:
        rows = [[count.code, count.severity, str(count.cases or "folder"), count.meaning] for count in report.counts]
        out.table("what was found", ["code", "counts as", "cases ", "meaning"], rows)
    for told in report.folder:
        out.say(f"{told.code} {told.message}")
    for code, number in report.ignored.items():
        out.say(f"note: {number} findings of {code} are ignored by the recipe")
    for note in report.notes:
        out.say(f"note: {note}")
    out.say(f"{found.read} cases read, {report.funnel.found - found.read} unchanged since the last check")
    out.say(f"written: {', '.join(map(str, found.written))}")
    if report.local:
        out.say("the report names files or shows images of patients: it is for this hospital only")
    if report.refusal:
        out.say(f"{report.refusal.code} {report.refusal.message}")
        out.say(f"next: {report.refusal.next}")
