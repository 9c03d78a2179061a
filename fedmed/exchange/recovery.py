"""A workspace that was restored from a backup learns what it signed since: from its own signatures, and nothing else.

They come in receipts of the other side, in whole files of this workspace that others still have, and in an archive that
is newer than the ledger. What an `ack` claims proves nothing. Source: FORMAT.md section 6.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedmed import files
from fedmed.errors import FedmedError
from fedmed.exchange import (
    archived,
    artifact,
    attempts,
    bodies,
    intake,
    maskkeys,
    predicates,
    quoted,
    reading,
    receipts,
    sealing,
    sshsig,
    statement,
)
from fedmed.exchange.federation import agrees
from fedmed.exchange.record import LOST, facts_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
    from pathlib import Path

    from fedmed.exchange.artifact import Envelope
    from fedmed.exchange.bodies_roster import Quoted
    from fedmed.exchange.federation import Federation
    from fedmed.exchange.record import Known
    from fedmed.exchange.statement import Statement
    from fedmed.exchange.workspace import Workspace


RESERVED = "reserved"  # what a note is called about a training that the hospital's privacy budget was charged for


@dataclass(frozen=True)
class Recovered:
    """`statements` that this workspace signed and did not know; it goes on with the number `next_seq`, and does not
    answer rounds up to `answered` (-1: none). `posted` brings the coordinator the certificate of new mask keys.
    """

    is_new: bool
    statements: int
    next_seq: int
    answered: int
    posted: Path | None = None


@dataclass(frozen=True)
class _Proof:
    """A statement of this workspace; `path` is a whole copy of its file, if there is one."""

    envelope: Envelope
    said: Statement
    path: Path | None


def recover(workspace: Workspace, federation: Federation, now: datetime, *, masks: bool = False) -> Recovered:
    """Safe to repeat; where updates are masked each time is a restore of its own, whatever the proofs hold.

    Others choose which proofs come, so a site that masks answers no round any more that it may have answered: none up
    to the newest that it has heard of. Raises FedmedError FM-WAI-02 (no proof is here), FM-ROS-08, FM-ROS-09, FM-RES-*.
    """
    known = {each.id for each in (*workspace.record.said, *workspace.record.lost)}
    proofs: dict[str, _Proof] = {}
    for proof in _proofs(workspace, federation):
        if proof.path is not None or proof.envelope.id not in proofs:
            proofs[proof.envelope.id] = proof
    new = sorted((each for id_, each in proofs.items() if id_ not in known), key=lambda each: each.said.predicate.seq)
    if not new and not proofs:
        next_ = f"ask the other side for a receipt: fedmed recover --for {workspace.name}; put it into inbox/"
        raise FedmedError("FM-WAI-02", "nothing here was signed by this workspace and is unknown to it", next=next_)
    if new or masks:
        _require_newest(workspace, new)
        _take(workspace, new, proofs, now, _heard_of(workspace, proofs) if masks else -1)
    record = workspace.record
    return Recovered(bool(new) or masks, len(new), record.next_seq, record.answered)


def _heard_of(workspace: Workspace, proofs: dict[str, _Proof]) -> int:
    """The newest round whose model is here, or of which a proof tells; -1 if none."""
    told = [getattr(each.said.predicate, "round", -1) for each in proofs.values()]
    return max([-1, *told, *(each.round_number for each in workspace.record.models())])


def _proofs(workspace: Workspace, federation: Federation) -> Iterator[_Proof]:
    for path in intake.candidates(workspace):
        try:
            fd = files.open_regular(path)
        except OSError:
            continue
        try:
            yield from _in_file(workspace, federation, path, fd)
        except FedmedError as error:
            if error.code == "FM-ROS-08":  # of somebody whose word it is, and it is none
                raise
        finally:
            os.close(fd)


def _in_file(workspace: Workspace, federation: Federation, path: Path, fd: int) -> Iterator[_Proof]:
    envelope = artifact.read_envelope(reading.reader(fd))
    if workspace.owns(envelope.signature.public_key):
        said = _own(workspace, envelope)
        for _ in reading.verified(fd, envelope, said, {}):
            pass
        yield _Proof(envelope, said, path)
        return
    if envelope.signature.namespace != statement.namespace("receipt"):
        return
    sshsig.verify(envelope.signature, envelope.raw)
    owner, said = federation.owner(envelope.signature.public_key), statement.decode(envelope.raw)
    agrees(said, envelope, owner, "receipt")
    me = statement.actor(workspace.name, workspace.public_key)
    if owner is None or me not in getattr(said.predicate, "recipients", ()):
        return
    data = b"".join(reading.verified(fd, envelope, said, {}))
    for each in receipts.read(artifact.payload_bytes(data, envelope, said, receipts.PAYLOAD)):
        yield _quoted(workspace, federation, each)


def _quoted(workspace: Workspace, federation: Federation, each: Quoted) -> _Proof:
    """Raises FedmedError FM-ROS-08 for what this workspace did not sign, in this federation or to join it."""
    try:
        envelope = quoted.opened(each)
        said = _own(workspace, envelope)
    except FedmedError as error:
        raise FedmedError("FM-ROS-08", f"{receipts.PAYLOAD}: {error.message}") from error
    about = getattr(said.predicate, "federation", None)
    if about is not None and about.id != federation.founding.id:
        raise FedmedError("FM-ROS-08", f"{receipts.PAYLOAD}: {said.kind} of another federation")
    return _Proof(envelope, said, None)


def _own(workspace: Workspace, envelope: Envelope) -> Statement:
    if not workspace.owns(envelope.signature.public_key):
        raise FedmedError("FM-SIG-03", "a statement that this workspace did not sign")
    sshsig.verify(envelope.signature, envelope.raw)
    said = statement.decode(envelope.raw)
    agrees(said, envelope, None, statement.kind_of(envelope.signature.namespace) or "")
    return said


def _require_newest(workspace: Workspace, new: list[_Proof]) -> None:
    """A coordinator cannot go on from a model, or under a federation, of which it only knows that it signed it."""
    for kind in ("federation", "model"):
        held = workspace.record.newest(kind, sender=workspace.name)
        found = [(_place(each.said), each) for each in new if each.said.kind == kind]
        latest, proof = max(found, key=lambda pair: pair[0], default=((), None))
        if proof is not None and proof.path is None and (held is None or latest > _place_of(workspace, held)):
            raise FedmedError("FM-ROS-09", f"{sealing.file_name(proof.said)}: signed by this workspace and not here")


def _place(said: Statement) -> tuple[int, ...]:
    predicate = said.predicate
    if isinstance(predicate, predicates.FederationPredicate):
        return (predicate.federation.version,)
    return (getattr(predicate, "round", 0), getattr(predicate, "attempt", 0))


def _place_of(workspace: Workspace, known: Known) -> tuple[int, ...]:
    return _place(archived.read_archived(workspace, known.id))


def _take(workspace: Workspace, new: list[_Proof], proofs: dict[str, _Proof], now: datetime, answered: int) -> None:
    """Mask keys first, then files, then one line of the ledger: a command that is killed before it begins anew."""
    held = maskkeys.held(workspace.mask_keys)
    maskkeys.erase(workspace.mask_keys, max(held, default=0) + 1, ())
    for proof in new:
        if proof.path is not None:
            _archive(workspace, proof, proof.path)
    for proof in new:  # a store of privacy budgets that does not hold them is older than this workspace was
        body = proof.said.predicate.body
        if isinstance(body, bodies.Update) and body.reservation:
            facts = {"id": body.reservation, "update": proof.envelope.id}
            workspace.write_entry("recover", "note", now, what=RESERVED, **facts)
    _ask_about_the_same(workspace, new, now)
    statements = [facts_of(_known(workspace, proof)) for proof in new]
    resumes = 1 + max([workspace.record.resumes, *(each.said.predicate.resumes for each in proofs.values())])
    workspace.write_entry("recover", "recovered", now, statements=statements, resumes=resumes, answered=answered)


def _ask_about_the_same(workspace: Workspace, new: list[_Proof], now: datetime) -> None:
    """A coordinator that has asked about a set of sites asks about no other one in that attempt."""
    for predicate in (each.said.predicate for each in new):
        if not isinstance(predicate, predicates.UnmaskRequestPredicate):
            continue
        updates = {each.site: each.update for each in predicate.body.included}
        if attempts.included(workspace.record, predicate.round, predicate.attempt) != updates:
            rows = [{"site": site, "update": update} for site, update in updates.items()]
            facts = {"round": predicate.round, "attempt": predicate.attempt, "updates": rows, "without": []}
            workspace.write_entry("recover", "note", now, what=attempts.INCLUDED, **facts)


def _archive(workspace: Workspace, proof: _Proof, path: Path) -> None:
    target = workspace.archived(proof.envelope.id)
    if target.exists():
        return
    part = workspace.spool / f"{proof.envelope.id}.part"
    fd = files.open_regular(path)
    try:
        files.write_stream(part, reading.verified(fd, proof.envelope, proof.said, {}), mode=0o600)
    finally:
        os.close(fd)
    files.publish(part, target)


def _known(workspace: Workspace, proof: _Proof) -> Known:
    """The line of one that is here whole has the digest of its plaintext, as when it was said."""
    if proof.path is None:
        return intake.to_known(proof.envelope.id, proof.said, LOST, workspace.name)
    plain = archived.plain_digest(workspace, proof.envelope.id)
    return intake.to_known(proof.envelope.id, proof.said, "said", workspace.name, plain)
