"""Trust in the roster: pinned peers, keys that are replaced or taken back, and workspaces that were restored."""

from __future__ import annotations

import sys
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedmed.cli import screen
from fedmed.cli.audit import keys_app
from fedmed.cli.screen import Json, Screen, Workspace
from fedmed.errors import FedmedError

if TYPE_CHECKING:
    from types import ModuleType


def register(app: typer.Typer) -> None:
    keys_app.command("pin")(pin)
    keys_app.command("rotate")(rotate)
    keys_app.command("revoke")(revoke)
    app.command()(recover)


def pin(
    sites: Annotated[
        list[str] | None, typer.Argument(help="Other sites of the federation.", metavar="SITE...", show_default=False)
    ] = None,
    workspace: Workspace = Path(),
    fingerprint: Annotated[
        list[str] | None,
        typer.Option(
            metavar="HEX", help="The fingerprint of its join, had from that hospital itself; once for each SITE."
        ),
    ] = None,
    everyone: Annotated[
        bool, typer.Option("--all", help="All sites that are not pinned yet, one after another.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Confirm other sites by the fingerprint that is read to you there (site). At that site: fedmed keys fingerprint.

    Example: fedmed keys pin riks -w st-olav

    Example: fedmed keys pin riks lakeside --fingerprint "8c01 ..." --fingerprint "03fe ..." -w st-olav
    """
    from fedmed.site import pin as action  # noqa: PLC0415

    out = Screen(as_json=as_json)
    if bool(sites) == everyone:
        raise FedmedError("FM-USE-01", "keys pin: expected the names of sites, or --all")
    to_call, revoked = action.due(workspace)
    names = sites or to_call
    if fingerprint and len(fingerprint) != len(names):
        raise FedmedError(
            "FM-USE-01", f"--fingerprint: expected {len(names)}, one for each site, got {len(fingerprint)}"
        )

    def ask(name: str) -> str:
        if not sys.stdin.isatty():
            raise FedmedError("FM-USE-01", "keys pin without a terminal needs --fingerprint")
        return str(typer.prompt(f"type the fingerprint of its join that {name} reads to you", err=True))

    read = zip_longest(names, fingerprint or [])
    done = [action.pin(workspace, name, screen.now(), partial(ask, name), typed) for name, typed in read]
    for pinned in done:
        out.say(f"{pinned.site}: {'pinned' if pinned.is_new else 'was pinned before'}")
    left = done[-1].unpinned if done else []
    out.say(f"not pinned yet: {', '.join(left) or 'nobody'}")
    if revoked:
        out.say(f"revoked, and not to be pinned: {', '.join(revoked)}")
    out.result(
        {
            "pinned": [each.site for each in done],
            "is_new": [each.is_new for each in done],
            "unpinned": left,
            "revoked": revoked,
        }
    )


def rotate(workspace: Workspace = Path(), as_json: Json = False) -> None:
    """Replace this workspace's signing key; the old one vouches for the new, so nobody is called. Not for a stolen key.

    Example: fedmed keys rotate -w st-olav
    """
    out = Screen(as_json=as_json)
    is_coordinator = screen.is_coordinator(workspace)
    if is_coordinator:
        from fedmed.coordinator import rotate as desk  # noqa: PLC0415

        done = desk.rotate(workspace, screen.now())
    else:
        from fedmed.site import rotate as bedside  # noqa: PLC0415

        done = bedside.rotate(workspace, screen.now())
    out.say(f"next key {done.new}{'' if done.is_new else ', as it was named before'}")
    out.say(f"key until the next model {done.old}")
    stays = f"nothing to carry, nor {done.posted}"
    carry = f"{stays}: the next model brings it to every site, with the federation file beside it"
    out.say(f"next: {carry if is_coordinator else f'bring {done.posted} to the coordinator'}")
    out.result(done)


def revoke(
    site: Annotated[str, typer.Argument(help="The site whose key is stolen or lost.", metavar="SITE")],
    last_seq: Annotated[int, typer.Option(min=0, help="The last number that its owner signed (fedmed inspect).")],
    reason: Annotated[str, screen.reason("Why; every site reads it.")],
    workspace: Workspace = Path(),
    as_json: Json = False,
) -> None:
    """Take a site's key back, at once and everywhere (coordinator). A site that lost its own asks the coordinator.

    Example: fedmed keys revoke riks --last-seq 14 --reason "laptop stolen" -w coord
    """
    from fedmed.coordinator import revoke as action  # noqa: PLC0415

    out = Screen(as_json=as_json)
    done = action.revoke(workspace, site, last_seq, reason, screen.now())
    out.say(
        f"{site}: {'revoked' if done.is_new else 'was revoked before'}; its key counts up to number {done.last_seq}"
    )
    out.say(f"files here that do not count any more: {done.undone}; rounds go on without {site}")
    out.say(f"next: bring {done.posted} to every site, now")
    out.result(done)


def recover(
    workspace: Workspace = Path(),
    restored: Annotated[
        str | None,
        typer.Option(
            "--for", metavar="NAME", help="Tell who was restored where it was: a site's name, or coordinator."
        ),
    ] = None,
    dismiss: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Refuse what NAME acknowledges and cannot prove that this side signed."),
    ] = None,
    reason: Annotated[str | None, screen.reason("With --dismiss: why; recorded in the ledger.")] = None,
    again: Annotated[
        bool, typer.Option("--again", help="A site that masks: it was restored from a backup once more.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Go on with a workspace that was restored from a backup, from the receipt of the other side in inbox/.

    Example: fedmed recover --for st-olav -w coord

    Example: fedmed recover -w st-olav

    Example: fedmed recover --dismiss riks --reason "it has no such file, said Dr. Ek" -w coord
    """
    out = Screen(as_json=as_json)
    if None not in (restored, dismiss) or (dismiss is None) != (reason is None):
        raise FedmedError("FM-USE-01", "--for and --dismiss exclude each other, and --dismiss needs --reason")
    goes_on = restored is None and dismiss is None and not screen.is_coordinator(workspace)
    if again and not goes_on:
        raise FedmedError("FM-USE-01", "--again: only at a site that goes on, without --for and --dismiss")
    action = _recovering(workspace)
    if restored is not None:
        posted = action.vouch(workspace, restored, screen.now())
        out.say(f"next: bring {' and '.join(map(str, posted))} to {restored}, and there: fedmed recover")
        out.result({"posted": posted})
    elif dismiss is not None and reason is not None:
        action.require_claim(workspace, dismiss, screen.now())
        action.dismiss(workspace, dismiss, reason, screen.now())
        out.say(f"what {dismiss} acknowledges and this workspace never signed is refused from now on")
        out.say(f"next: {screen.hint('status', workspace)}")
        out.result({"dismissed": dismiss})
    else:
        if goes_on and not again:
            action.require_first(workspace)
        found = action.recover(workspace, screen.now())
        what = "found again" if found.is_new else "was recovered before"
        out.say(f"{what}: {found.statements} that this workspace signed and its backup did not hold")
        out.say(f"it goes on with number {found.next_seq}")
        if found.answered >= 0:
            out.say(f"rounds up to {found.answered} are not answered again")
        if found.posted:
            out.say("a masked round that is open goes on without this site, whose mask keys are lost")
        brought = f"bring {found.posted} to the coordinator, whose next model lists its new mask keys; then "
        out.say(f"next: {brought if found.posted else ''}{screen.hint('status', workspace)}")
        out.result(found)


def _recovering(workspace: Path) -> ModuleType:
    """The room whose workspace it is."""
    if screen.is_coordinator(workspace):
        from fedmed.coordinator import recover as desk  # noqa: PLC0415

        return desk
    from fedmed.site import recover as bedside  # noqa: PLC0415

    return bedside
