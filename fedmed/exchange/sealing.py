"""Saying something: number it, sign it, archive it, write the ledger, and only then put a copy into the outbox.

An intent in the ledger comes first. A command that was killed finds it: if the archive already holds a statement with
that number it was said, and only the ledger's line and the outbox copy are added; otherwise nothing was said, and it is
sealed again with the same number and time.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from fedmed import files
from fedmed.errors import CODES, FedmedError
from fedmed.exchange import archived, artifact, confidential, intake, predicates, private_facts, reading, statement

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    from fedmed.exchange.artifact import Content
    from fedmed.exchange.record import Known
    from fedmed.exchange.statement import Statement
    from fedmed.exchange.workspace import Workspace

_COMMITTED = ".said"
_CIPHERTEXT = ".age"
UNKNOWN = "0" * 64  # stands for a digest while the payload is hashed and written


@dataclass(frozen=True)
class Opening:
    """What every statement of this sender begins with; the actor adds what its kind says."""

    sender: predicates.Actor
    seq: int
    prev: str | None
    resumes: int
    created: str
    ledger: predicates.LedgerHead

    def fields(self) -> dict[str, Any]:
        """For the predicate's constructor."""
        return {"format": "fedmed/1", **vars(self)}

    def expires(self, days: int) -> str:
        """Counted from `created`, so that sealing again after a kill gives the same bytes."""
        return statement.to_time(statement.from_time(self.created) + timedelta(days=days))


def say(
    workspace: Workspace,
    command: str,
    kind: str,
    round_: int | None,
    contents: Sequence[Content],
    build: Callable[[Opening, list[predicates.Payload], list[statement.Subject]], Statement],
    now: datetime,
    once: Mapping[str, object] | None = None,
    readers: Sequence[str] = (),
) -> Known:
    """Seal one statement with its payloads; returns what the ledger now knows of it. Raises FedmedError FM-RES-*.

    `once`: what cannot be sealed a second time, because its payloads would be others. The ledger's line comes before
    the archive then, with these facts: from there on these bytes are said, and `settle` ends what was killed.
    `readers`: the age recipients that the payloads are encrypted to, as `Federation.readers` has them.
    """
    opening = _open(workspace, command, kind, round_, now)

    def signed(said: Statement) -> tuple[str, bytes]:
        raw = statement.encode(said)
        if statement.decode(raw) != said:
            raise ValueError("a statement that its own schema refuses")
        return artifact.sha256(raw), artifact.head(raw, workspace.key, kind)

    said, plain = build(opening, _payload(contents), _subject(contents)), ""
    if readers:
        said, contents, plain = _encrypted(workspace, said, contents, readers)
    statement_id, head = signed(said)
    part = workspace.spool / f"{kind}.part"
    with files.Sink(part) as sink:
        with files.beside(sink.write) as write:
            write(bytes(len(head)))
            digests = artifact.write_payloads(contents, write)
        if any(each.sha256 is None for each in contents):
            said = said.model_copy(update={"subject": _subject(contents, digests)})
            statement_id, head = signed(said)
        sink.write_first(head)
    files.empty(workspace.spool, f"*{_CIPHERTEXT}")
    known = intake.to_known(statement_id, said, "said", workspace.name, plain)
    facts = {**_floor(workspace, opening.created, now), **(once or {})}
    if once is None:
        files.publish(part, workspace.archived(statement_id))
        workspace.write_known(command, "said", now, known, **facts)
        return known
    committed = workspace.spool / f"{statement_id}{_COMMITTED}"
    files.publish(part, committed)
    workspace.write_known(command, "said", now, known, **facts)
    files.publish(committed, workspace.archived(statement_id))
    return known


def _payload(contents: Sequence[Content]) -> list[predicates.Payload]:
    return [
        predicates.Payload(name=part.name, bytes=part.size, media=part.media, enc=part.enc, coding=part.coding)  # type: ignore[arg-type]
        for part in contents
    ]


def _subject(contents: Sequence[Content], digests: Sequence[str] = ()) -> list[statement.Subject]:
    named = zip(contents, digests or [part.sha256 or UNKNOWN for part in contents], strict=True)
    return [statement.Subject(name=part.name, digest=statement.Sha256(sha256=digest)) for part, digest in named]


def _encrypted(
    workspace: Workspace, said: Statement, contents: Sequence[Content], readers: Sequence[str]
) -> tuple[Statement, list[Content], str]:
    """The same for `readers` alone, and the digest of the first payload's plaintext."""
    public, private = private_facts.hide(said.predicate)
    hidden = [] if private is None else [artifact.json_content(statement.PRIVATE, private)]
    bound, made, digests = confidential.binding(said), [], []
    for part in [*contents, *hidden]:
        target = workspace.spool / f"{said.kind}.{part.name}{_CIPHERTEXT}"
        ciphertext, plain = confidential.encrypt(part, bound, readers, target)
        made.append(ciphertext)
        digests.append(plain)
    predicate = public.model_copy(update={"payload": _payload(made)})
    return statement.make(said.kind, _subject(made), predicate), made, digests[0]


def settle(workspace: Workspace) -> None:
    """What the ledger says was said, and a killed command left in the spool, gets its place in the archive.

    Before the spool is emptied. Raises FedmedError FM-RES-*.
    """
    for known in workspace.record.said:
        committed = workspace.spool / f"{known.id}{_COMMITTED}"
        if committed.exists():
            files.publish(committed, workspace.archived(known.id))


def _floor(workspace: Workspace, created: str, now: datetime) -> dict[str, str]:
    """At the coordinator time has come at least as far as what it signed; a site's own clock proves nothing to it."""
    return {"floor": min(created, statement.to_time(now))} if workspace.role == "coordinator" else {}


def _open(workspace: Workspace, command: str, kind: str, round_: int | None, now: datetime) -> Opening:
    record, ledger = workspace.record, workspace.ledger
    intent = record.intent
    if intent is None or (intent.command, intent.kind, intent.round) != (command, kind, round_):
        created = statement.to_time(now)
        workspace.write_entry(command, "intent", now, kind=kind, round=round_, seq=record.next_seq, created=created)
        intent = record.intent
    if intent is None:
        raise ValueError("an intent was written and is not there")
    return Opening(
        sender=statement.actor(workspace.name, workspace.public_key),
        seq=intent.seq,
        prev=record.last_said,
        resumes=record.resumes,
        created=intent.created,
        ledger=predicates.LedgerHead(length=ledger.length, head=ledger.head),
    )


def complete_intent(workspace: Workspace, now: datetime) -> None:
    """After a kill between archive, ledger and outbox: record and post what was said. Every command calls this first.

    Raises FedmedError FM-TRU-06 when the archive holds a statement of this workspace that its ledger forgot.
    """
    intent = workspace.record.intent
    recorded = workspace.record.ids()
    for path in sorted((workspace.root / "archive").glob("*.fedmed")):
        if path.stem in recorded:
            continue
        said = _own_statement(workspace, path)
        if said is None:
            continue
        if intent is None or said.predicate.seq != intent.seq:
            number = said.predicate.seq
            next_ = CODES["FM-TRU-06"].remedy.replace("NAME", workspace.name)
            message = f"the archive holds number {number} of this workspace, the ledger does not"
            raise FedmedError("FM-TRU-06", message, next=next_)
        known = intake.to_known(path.stem, said, "said", workspace.name, archived.plain_digest(workspace, path.stem))
        workspace.write_known(intent.command, "said", now, known, **_floor(workspace, intent.created, now))
    for known in workspace.record.said:
        if known.id not in workspace.record.posted and known.kind != "state":
            post(workspace, known)


def _own_statement(workspace: Workspace, path: Path) -> Statement | None:
    fd = files.open_regular(path)
    try:
        envelope = artifact.read_envelope(reading.reader(fd))
        if not workspace.owns(envelope.signature.public_key):
            return None
        return statement.decode(envelope.raw)
    finally:
        os.close(fd)


def post(workspace: Workspace, known: Known) -> Path:
    """A copy in the outbox under a name for people; made again when it is missing or damaged.

    The ledger remembers that it was there once, so that a killed command's copy is made by the next one and a copy
    that was carried away is not. Raises FedmedError FM-TRU-11, FM-RES-*, ValueError for a state: it leaves nobody.
    """
    if known.kind == "state":
        raise ValueError("a state is for its sender alone")
    fd, envelope, said = archived.open_archived(workspace, known.id)
    target = workspace.outbox / file_name(said)
    try:
        if not _same_bytes(target, fd):
            _copy_verified(target, fd, envelope, said)
    finally:
        os.close(fd)
    if known.id not in workspace.record.posted:
        workspace.write_entry("post", "posted", statement.from_time(known.created), id=known.id)
    return target


def _copy_verified(target: Path, fd: int, envelope: artifact.Envelope, said: Statement) -> None:
    """A file of the archive that no longer verifies replaces nothing."""
    part = target.with_name(f"{target.name}.part")
    try:
        files.write_stream(part, reading.verified(fd, envelope, said, {}))
    except FedmedError as error:
        part.unlink(missing_ok=True)
        if error.code.startswith("FM-RES"):
            raise
        raise FedmedError("FM-TRU-11", f"archive: {envelope.id[:16]}... is damaged: {error.message}") from error
    files.publish(part, target)


def file_name(said: Statement) -> str:
    """Convenience for people, never trusted: update-r0003-st-olav.fedmed, report-r0010-st-olav-test.fedmed."""
    predicate = said.predicate
    if not isinstance(predicate, predicates.RoundPredicate):
        return f"{_name_without_round(said)}.fedmed"
    about = "" if said.kind == "model" else f"-{said.sender}"
    if isinstance(predicate, predicates.UnmaskRequestPredicate):
        about = f"-{predicate.recipients[0].name}"
    if isinstance(predicate, predicates.ReportPredicate) and predicate.body.split == "testing":
        about += "-test"
    attempt = f"-a{predicate.attempt}" if predicate.attempt > 1 else ""
    return f"{said.kind}-r{predicate.round:04d}{attempt}{about}.fedmed"


def _name_without_round(said: Statement) -> str:
    predicate = said.predicate
    if isinstance(predicate, predicates.FederationPredicate):
        return f"federation-v{predicate.federation.version:04d}"
    if isinstance(predicate, predicates.ApprovalPredicate):
        return f"approval-v{predicate.federation.version:04d}-{said.sender}"
    if isinstance(predicate, predicates.RevocationPredicate):
        return f"revocation-{predicate.body.site}"
    if isinstance(predicate, predicates.RotationPredicate):
        return f"rotation-{said.sender}-{predicate.seq:04d}"
    if isinstance(predicate, predicates.ReceiptPredicate):
        return f"receipt-{predicate.recipients[0].name}-by-{said.sender}"
    return f"{said.kind}-{said.sender}"


def _same_bytes(path: Path, fd: int) -> bool:
    """Whether `path` holds exactly what the open file holds; a damaged copy in the outbox is made again."""
    try:
        other = files.open_regular(path)
    except OSError:
        return False
    try:
        size = os.fstat(fd).st_size
        pairs = zip(files.read_chunks(fd, 0, size), files.read_chunks(other, 0, size), strict=False)
        return os.fstat(other).st_size == size and all(ours == theirs for ours, theirs in pairs)
    finally:
        os.close(other)
