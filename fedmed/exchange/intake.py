"""Receiving: look at what lies in the inbox, admit it, and keep what counts in the archive.

Statement and signature are verified in place; only then is the file copied, once, into a private spool, and every byte
of the copy is verified while it is written. Nothing in the inbox is ever moved, changed or deleted.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from fedmed import files
from fedmed.errors import FedmedError
from fedmed.exchange import answers, artifact, attempts, decrypting, examining, predicates, reading, sequence, statement
from fedmed.exchange.artifact import Expected
from fedmed.exchange.federation import COORDINATOR, from_statement
from fedmed.exchange.keys import fingerprint_of
from fedmed.exchange.record import Known
from fedmed.exchange.seen import Seen
from fedmed.exchange.verdict import ARCHIVED, Outcome, Situation, Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from pathlib import Path

    from fedmed.exchange.artifact import Demand, Envelope
    from fedmed.exchange.federation import Federation
    from fedmed.exchange.statement import Statement
    from fedmed.exchange.workspace import Workspace

APPROVED_EXTRA = 16 << 20
SETTLING_SECONDS = 60
_MAY_BE_A_COPY_IN_PROGRESS = {"FM-FRM-01", "FM-FRM-02", "FM-FRM-05", "FM-SIG-01", "FM-SIG-02", "FM-TRU-10"}


@dataclass(frozen=True)
class Arrival:
    """One file of the inbox and what became of it."""

    path: Path
    verdict: Verdict


@dataclass(frozen=True)
class Terms:
    """What a receiver demands: the federation in force, the tensors it expects, what its operator allows, and `pools`,
    `lap_seed`, `stops` and `masks` as in `Situation`.
    """

    federation: Federation | None
    expected: Mapping[str, Demand] = field(default_factory=dict)
    accept_expired: bool = False
    trust_clock: bool = False
    pools: bool = False
    lap_seed: int | None = None
    stops: bool = False
    masks: bool = False

    @property
    def limit(self) -> int:
        """Largest file to look into, in bytes."""
        if self.federation is None:
            return examining.UNAPPROVED_LIMIT
        return max((part.size for part in self.expected.values()), default=0) + APPROVED_EXTRA


def receive_all(workspace: Workspace, terms: Terms, now: datetime, command: str, kind: str = "") -> list[Arrival]:
    """Look at everything that has arrived, or at what is signed as one `kind`.

    Raises FedmedError FM-RES-*, and FM-TRU-06 (this workspace was restored).
    """
    arrivals = []
    for path in candidates(workspace):
        if kind and _kind_of(path) != kind:
            continue
        verdict = receive(workspace, path, situate(workspace, terms, now), terms, command, again=bool(kind))
        if verdict.code == "FM-TRU-06":
            raise verdict.error()
        arrivals.append(Arrival(path, verdict))
    return arrivals


def _kind_of(path: Path) -> str | None:
    """What a file claims to be; nothing is checked."""
    envelope = envelope_of(path)
    return statement.kind_of(envelope.signature.namespace) if envelope else None


def envelope_of(path: Path) -> Envelope | None:
    """What a file of the inbox says, unchecked; None where it cannot be read as one."""
    try:
        fd = files.open_regular(path)
    except OSError:
        return None
    try:
        return artifact.read_envelope(reading.reader(fd))
    except FedmedError:
        return None
    finally:
        os.close(fd)


def look_at_all(workspace: Workspace, terms: Terms, now: datetime) -> list[Arrival]:
    """The same without writing anything: what `status` shows."""
    arrivals, known = [], workspace.record.ids()
    terms, versions = _with_next_versions(workspace, terms, now)
    for path in candidates(workspace):
        if path in versions:
            arrivals.append(versions[path])
            continue
        before = Seen(workspace, path, terms.federation.digest if terms.federation else "").verdict
        if before is not None and before.outcome is Outcome.REJECTED:  # payloads are not read here, so not found again
            arrivals.append(Arrival(path, before))
            continue
        try:
            fd = files.open_regular(path)
        except OSError as error:
            arrivals.append(Arrival(path, examining.unopened(error)))
            continue
        try:
            verdict, envelope = examining.examine(fd, situate(workspace, terms, now), terms.limit)
        finally:
            os.close(fd)
        if envelope is None or envelope.id not in known:
            arrivals.append(Arrival(path, verdict))
    return arrivals


def _with_next_versions(workspace: Workspace, terms: Terms, now: datetime) -> tuple[Terms, dict[Path, Arrival]]:
    """The terms once the versions of the federation are in force that lie in the inbox, and these."""
    found: dict[Path, Arrival] = {}
    if terms.federation is None or workspace.role != "site":
        return terms, found
    versions = [path for path in candidates(workspace) if _kind_of(path) == "federation"]
    for path in versions * len(versions):  # in whatever order they stand
        fd = files.open_regular(path)
        try:
            verdict, envelope = examining.examine(fd, situate(workspace, terms, now), terms.limit)
        finally:
            os.close(fd)
        if verdict.outcome is Outcome.ACCEPTED and verdict.statement is not None and envelope is not None:
            terms = replace(terms, federation=from_statement(verdict.statement, envelope.id))
            found[path] = Arrival(path, verdict)
    return terms, found


def situate(workspace: Workspace, terms: Terms, now: datetime) -> Situation:
    """What this workspace knows at this moment."""
    newest = workspace.record.newest("model")
    named = [fingerprint_of(each.payload) for each in workspace.record.said if each.kind == "rotation"]
    return Situation(
        role=workspace.role,
        name=workspace.name,
        public_key=workspace.public_key,
        federation=terms.federation,
        record=workspace.record,
        round=-1 if newest is None or newest.round is None else newest.round,
        now=now,
        tables={name.split(".")[0]: part.table for name, part in terms.expected.items() if isinstance(part, Expected)},
        accept_expired=terms.accept_expired,
        trust_clock=terms.trust_clock,
        pools=terms.pools,
        lap_seed=terms.lap_seed,
        stops=terms.stops,
        masks=terms.masks,
        other_keys=(*workspace.record.keys[:-1], *named),
    )


def keep(workspace: Workspace, data: bytes, known: Known, command: str, now: datetime, **facts: object) -> None:
    """Archive a small verified file and record it as accepted."""
    files.write_atomic(workspace.archived(known.id), data, mode=0o600)
    workspace.write_known(command, "received", now, known, code="", **facts)


def candidates(workspace: Workspace) -> list[Path]:
    """Files to look at, by name: finished copies in the inbox, and what a killed run archived but did not record."""
    try:
        everything = sorted(workspace.inbox.iterdir())
    except OSError as error:  # an unmounted share must not look like "nothing has arrived"
        why = os.strerror(error.errno or 0).lower()
        raise FedmedError("FM-RES-05", f"the inbox cannot be read: {why}", local=str(error)) from error
    names = [path for path in everything if path.name.endswith(".fedmed") and path.name[0] != "."]
    known = workspace.record.ids()
    return [
        *names,
        *(path for path in sorted((workspace.root / "archive").glob("*.fedmed")) if path.stem not in known),
    ]


def receive(
    workspace: Workspace, path: Path, situation: Situation, terms: Terms, command: str, *, again: bool = False
) -> Verdict:
    """Admit one file; when it counts, archive it and write the ledger. `again`: this command judges it once more, when
    it knows more keys, so that no refusal is kept yet. Raises FedmedError only for FM-RES-*.
    """
    seen = Seen(workspace, path, situation.federation.digest if situation.federation else "")
    if seen.verdict is not None:
        return seen.verdict
    try:
        fd = files.open_regular(path)
    except OSError as error:
        return examining.unopened(error)
    plain = ""
    try:
        verdict, envelope = examining.examine(fd, situation, terms.limit)
        if envelope is not None and verdict.outcome in ARCHIVED:
            verdict, plain = _take_in(workspace, fd, envelope, verdict, terms)
        age = situation.now.timestamp() - os.fstat(fd).st_mtime
    finally:
        os.close(fd)
    if (
        verdict.outcome is Outcome.REJECTED
        and verdict.code in _MAY_BE_A_COPY_IN_PROGRESS
        and 0 <= age < SETTLING_SECONDS
    ):
        return Verdict(
            Outcome.INCOMPLETE, "FM-WAI-04", f"does not verify yet and is {age:.0f} s old: {verdict.message}"
        )
    if envelope is not None and verdict.statement is not None:
        _record(workspace, envelope, verdict, situation, command, plain)
    if not (again and verdict.outcome is Outcome.REJECTED):
        seen.remember(verdict)
    return verdict


def _take_in(workspace: Workspace, fd: int, envelope: Envelope, verdict: Verdict, terms: Terms) -> tuple[Verdict, str]:
    """Copy into the spool, verifying every byte that is written, then give it its place in the archive. What is
    encrypted is opened out of that copy; then the digest of the first payload's plaintext comes with the verdict.
    """
    said, plain = verdict.statement, ""
    target = workspace.archived(envelope.id)
    if said is None:
        return verdict, plain
    part = workspace.spool / f"{envelope.id}.part"
    try:
        files.write_stream(part, reading.verified(fd, envelope, said, terms.expected), mode=0o600)
        if said.is_encrypted and terms.federation is not None:
            whole, plain = decrypting.examine(part, workspace.age_key, envelope, said, terms.expected, terms.federation)
            verdict = replace(verdict, statement=whole)
            if isinstance(whole.predicate, predicates.ModelPredicate):
                attempts.require_same_weights(whole.predicate, plain, workspace.record)
    except FedmedError as error:
        part.unlink(missing_ok=True)
        if error.code.startswith(("FM-RES", "FM-KEY")):
            raise
        return examining.failed(error, said), plain
    if target.exists():
        part.unlink()
    else:
        files.publish(part, target)
    return verdict, plain


def _record(
    workspace: Workspace, envelope: Envelope, verdict: Verdict, situation: Situation, command: str, plain: str
) -> None:
    """The ledger's line about a statement that is verified and addressed to this actor."""
    said = verdict.statement
    if said is None or verdict.outcome not in (*ARCHIVED, Outcome.CONFLICT, Outcome.REJECTED):
        return
    if verdict.outcome is Outcome.REJECTED and not answers.gets_a_receipt(said, situation):
        return
    if any(known.id == envelope.id for known in workspace.record.conflicts):
        return
    known = to_known(envelope.id, said, verdict.outcome.value, workspace.name, plain)
    is_told_time = situation.role == "site" and said.sender == COORDINATOR  # the word of another site moves no time
    floor = {"floor": min(said.predicate.created, statement.to_time(situation.now))} if is_told_time else {}
    workspace.write_known(command, "received", situation.now, known, code=verdict.code, **floor)


def to_known(statement_id: str, said: Statement, outcome: str, receiver: str, plain: str = "") -> Known:
    """What the ledger keeps of a statement; of one that is encrypted with the digest of the plaintext."""
    predicate, membership = said.predicate, getattr(said.predicate, "federation", None)
    model = predicate.body if isinstance(predicate, predicates.ModelPredicate) else None
    return Known(
        id=statement_id,
        kind=said.kind,
        sender=said.sender,
        seq=predicate.seq,
        prev=predicate.prev,
        round=getattr(predicate, "round", None),
        outcome=outcome,
        ack=sequence.acknowledged(said, receiver),
        payload=plain or said.subject[0].digest.sha256,
        created=predicate.created,
        order=tuple(model.order) if model else (),
        last=model is not None and model.last,
        last_seq=predicate.body.last_seq if isinstance(predicate, predicates.RevocationPredicate) else None,
        resumes=predicate.resumes,
        key=predicate.sender.key,
        attempt=getattr(predicate, "attempt", 1),
        version=membership.version if membership else 0,
        federation=getattr(membership, "digest", ""),
        previous=model.previous if model else None,
    )
