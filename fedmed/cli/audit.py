"""What anyone can do with the files: inspect, verify, explain, keys, ledger."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fedmed.cli.screen import Json, Screen, Workspace, in_this_workspace, plain, write
from fedmed.errors import CODES, FedmedError

if TYPE_CHECKING:
    from fedmed.auditor.inspection import Verified

keys_app = typer.Typer(help="Fingerprints, and the roster for ssh-keygen.", no_args_is_help=True)
ledger_app = typer.Typer(help="The workspace's own record.", no_args_is_help=True)
SMALL = " (tensors of fewer than 64 numbers are in every encoding)"
Reader = Annotated[
    Path | None,
    typer.Option("--workspace", "-w", metavar="DIR", help="Look also at what is encrypted to this workspace."),
]
SignedFile = Annotated[Path, typer.Argument(help="A *.fedmed file.", metavar="FILE")]
AgeKey = Annotated[
    Path | None,
    typer.Option("--age-key", metavar="FILE", help="A recipient's keys/age.key: look also at what is encrypted to it."),
]
FederationFile = Annotated[
    Path | None, typer.Option("--federation", "-f", help="The federation file to hold it against.")
]


def register(app: typer.Typer) -> None:
    app.command()(inspect)
    app.command()(verify)
    app.command()(explain)
    app.add_typer(keys_app, name="keys")
    app.add_typer(ledger_app, name="ledger")


def inspect(
    file: SignedFile,
    workspace: Reader = None,
    age_key: AgeKey = None,
    as_json: Json = False,
) -> None:
    """Show what a file says, without reading its tensors. No workspace needed, but for what is encrypted.

    Example: fedmed inspect inbox/update-r0003-st-olav.fedmed

    Example: fedmed inspect inbox/update-r0003-st-olav.fedmed --age-key keys/age.key
    """
    from fedmed.auditor import inspection, keyring  # noqa: PLC0415

    out = Screen(as_json=as_json)
    key = keyring.age_key(workspace, age_key)
    found = inspection.inspect(file, key)
    predicate = found.statement.predicate
    out.say(f"{found.kind} of {found.sender}, id {found.id}")
    out.say(f"fingerprint {found.spoken}")
    out.say(f"signed by {found.key} (whose key that is, only the federation can tell: fedmed verify --federation)")
    complete = "complete" if found.file_bytes == found.expected_bytes else f"expected {found.expected_bytes}"
    out.say(f"created {predicate.created}, number {predicate.seq} of its sender, {found.file_bytes} bytes ({complete})")
    membership = getattr(predicate, "federation", None)
    if membership is not None:
        out.say(f"federation {membership.title}, version {membership.version}, id {membership.id}")
    if found.round is not None:
        out.say(f"round {found.round}, attempt {found.attempt}")
    if found.encoding:
        out.say(f"numbers written as {found.encoding}{SMALL if found.encoding == 'fp32' else ''}")
    for part in predicate.payload:
        coding = (f" of {part.coding}" if part.coding != "none" else "") + (", encrypted" if part.enc != "none" else "")
        out.say(f"payload {part.name}: {part.bytes} bytes{coding}, sha256 {found.statement.digest_of(part.name)}")
    if found.statement.hides and key is None:
        out.say("what it tells is encrypted: a recipient sees it with fedmed inspect FILE -w WORKSPACE")
    body = plain(predicate.body) or {}
    facts = body.pop("facts", None) or {}
    for name, value in {**body, **facts}.items():
        out.say(f"  {name}: {_words(value)}")
    out.result(found)


def _audit_key(workspace: Path, age_key: Path | None) -> Path | None:
    """That of a workspace, if none is given; an archive that somebody was given has none."""
    from fedmed.auditor import keyring  # noqa: PLC0415

    path = workspace / "keys" / "age.key"
    return keyring.age_key(None, age_key) or (path if path.exists() else None)


def _words(value: Any) -> str:
    """A value of a statement as people write it: lists without brackets, and a dash where there is nothing."""
    if isinstance(value, dict):
        return ", ".join(f"{key} {_words(each)}" for key, each in value.items()) or "-"
    if isinstance(value, list):
        return ("; " if any(isinstance(each, dict | list) for each in value) else ", ").join(map(_words, value)) or "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "-" if value in (None, "") else str(value)


def verify(
    file: SignedFile,
    federation: FederationFile = None,
    workspace: Reader = None,
    age_key: AgeKey = None,
    as_json: Json = False,
) -> None:
    """Check a file to its last byte; with --federation also whose key signed it, and for who can open it also what is
    encrypted. Exit 0 only when it holds.

    Example: fedmed verify update-r0003-st-olav.fedmed --federation federation-v0001.fedmed

    Example: fedmed verify update-r0003-st-olav.fedmed --federation federation-v0001.fedmed --age-key age.key
    """
    from fedmed.auditor import inspection, keyring  # noqa: PLC0415

    out = Screen(as_json=as_json)
    key = keyring.age_key(workspace, age_key)
    if key is not None and federation is None:
        raise FedmedError("FM-USE-01", "what is encrypted is held against the federation: expected --federation FILE")
    found = inspection.verify(file, federation, key)
    whose = f"{found.owner}'s key" if found.owner else f"{found.inspected.key}, an owner not checked"
    if found.federation:  # a file that anyone can have signed: who the key belongs to is its word
        whose += f" by {_whose_word(found)}"
    out.say(f"good: {found.inspected.kind} of {found.inspected.sender}, signed by {whose}")
    out.say("checked: " + "; ".join(found.checked))
    said = found.inspected
    if said.encoding:
        asked = f"encoding {found.encoding} by the recipe, " if found.encoding else ""
        small = SMALL if said.encoding == "fp32" != found.encoding else ""
        out.say(f"{asked}numbers written as {said.encoding}{small}")
    out.result(
        {
            "id": said.id,
            "kind": said.kind,
            "encoding": said.encoding,
            "recipe_encoding": found.encoding,
            "owner": found.owner,
            "federation": found.federation,
            "version": found.version,
            "approved": found.approved,
            "checked": found.checked,
        }
    )


def _whose_word(found: Verified) -> str:
    """What people compare; a later version says itself which one it follows."""
    if found.version == 1:
        return f"the federation {found.federation} (compare it with the coordinator's)"
    compare = "compare both with the coordinator's: fedmed keys fingerprint"
    return f"version {found.version}, {found.federation}, of the federation {found.approved} ({compare})"


def explain(
    code: Annotated[str, typer.Argument(help="A code such as FM-SIG-03; all of them if left out.")] = "",
    as_json: Json = False,
) -> None:
    """What a code means and what to do about it.

    Example: fedmed explain FM-SIG-03
    """
    out = Screen(as_json=as_json)
    chosen = {code.upper(): CODES[code.upper()]} if code.upper() in CODES else CODES
    remedies = {name: in_this_workspace(row.remedy, []) for name, row in chosen.items()}
    if code and code.upper() not in CODES:
        raise FedmedError("FM-USE-01", f"{code[:40]!r}: not a code of fedmed", next="fedmed explain")
    if code:
        row = CODES[code.upper()]
        out.say(f"{code.upper()}: {row.meaning}")
        out.say(f"exit code {row.exit}")
        out.say(f"next: {remedies[code.upper()]}")
    else:
        out.table(
            "codes", ["code", "exit ", "meaning"], [[name, str(row.exit), row.meaning] for name, row in CODES.items()]
        )
    out.result(
        {name: {"exit": row.exit, "meaning": row.meaning, "next": remedies[name]} for name, row in chosen.items()}
    )


@keys_app.command("fingerprint")
def fingerprint(workspace: Workspace = Path(), as_json: Json = False) -> None:
    """This workspace's fingerprints.

    Example: fedmed keys fingerprint -w st-olav
    """
    from fedmed.auditor import keyring  # noqa: PLC0415

    out = Screen(as_json=as_json)
    found = keyring.fingerprints(workspace)
    out.say(f"key {found.key}{', revoked' if found.is_revoked else ', in force' if found.next_key else ''}")
    if found.next_key:
        out.say(f"next key {found.next_key}, in force from the next model on")
    if found.join:
        out.say(f"join, to read to the coordinator and to other sites: {found.join}")
    if found.federation:
        out.say(f"federation in force here: {found.federation}")
    if found.later:
        out.say(f"version {found.version}, which follows the one that people approved: {found.later}")
    for peer in found.peers:
        pinned = f", {'pinned' if peer.is_pinned else 'not pinned'}" if found.join else ""
        out.say(f"site {peer.name}: key {peer.key}{', revoked' if peer.is_revoked else pinned}")
    out.result(found)


@keys_app.command("allowed-signers")
def allowed_signers(workspace: Workspace = Path(), federation: FederationFile = None, as_json: Json = False) -> None:
    """The roster in the form of `ssh-keygen -Y verify -f`.

    Example: fedmed keys allowed-signers --federation federation-v0001.fedmed > allowed_signers
    """
    from fedmed.auditor import keyring  # noqa: PLC0415

    text = keyring.allowed_signers(workspace, federation)
    if not as_json:
        write(text)
    Screen(as_json=as_json).result({"allowed_signers": text})


@ledger_app.command("verify")
def ledger_verify(workspace: Workspace = Path(), age_key: AgeKey = None, as_json: Json = False) -> None:
    """Check the chain of the ledger, and every archived file against it. Encrypted payloads are opened with the age key
    of the workspace, or with the one that is given.

    Example: fedmed ledger verify -w coord

    Example: fedmed ledger verify -w coord --age-key st-olav/keys/age.key
    """
    from fedmed.auditor import books  # noqa: PLC0415

    out = Screen(as_json=as_json)
    with out.progress() as step:
        key = _audit_key(workspace, age_key)
        audit = books.verify(workspace, lambda done, total: step("reading the archive", done, total), key)
    laps = f", {audit.laps} laps from hand to hand" if audit.laps else ""
    out.say(f"unbroken: {audit.entries} entries, {audit.archived} archived files whole{laps}")
    if audit.encrypted:
        opened = f"{audit.opened} of {audit.encrypted} encrypted files opened: what is in them is what the ledger says"
        if rest := audit.encrypted - audit.opened:
            opened += f"; the other {rest} are not encrypted to this key, and what is in them was not looked at"
        closed = f"{audit.encrypted} encrypted files: no key (--age-key FILE), so what is in them was not looked at"
        out.say(opened if key else closed)
    out.say(f"head {audit.head}")
    out.result(audit)


@ledger_app.command("audit")
def ledger_audit(
    round_: Annotated[int, typer.Option("--round", "-r", help="The round that gave the model.", min=0)],
    workspace: Workspace = Path(),
    age_key: AgeKey = None,
    as_json: Json = False,
) -> None:
    """Compute a round's model again from its signed files alone, and compare it bit for bit. An archive is enough, and
    where payloads are encrypted the age key of a recipient: the workspace's own, or --age-key FILE.

    Example: fedmed ledger audit --round 7 -w coord

    Example: fedmed ledger audit --round 7 -w archive --age-key age.key
    """
    from fedmed.auditor import rounds  # noqa: PLC0415

    out = Screen(as_json=as_json)
    with out.progress() as step:
        found = rounds.audit(workspace, round_, step, _audit_key(workspace, age_key))
    out.say(f"round {found.round}: its files give the model r{found.round + 1:04d}, bit for bit")
    out.say(f"made of the updates of {', '.join(found.sites)}")
    if found.revoked:
        out.say(f"signed with a key beyond the number up to which it counts, and revoked: {', '.join(found.revoked)}")
    if found.opened:
        out.say(f"{found.opened} files were encrypted, and opened with the age key")
    out.say(f"sha256 {found.sha256}, id {found.model}")
    out.say(f"by the federation {found.federation} (compare it with the coordinator's)")
    out.result(found)
