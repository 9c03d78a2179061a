"""`ledger verify`: the chain of entries, and the archive against it."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fedmed import files
from fedmed.auditor import inspection, keyring, laps
from fedmed.errors import FedmedError
from fedmed.exchange import agekeys, artifact, bodies, reading, sshsig, statement
from fedmed.exchange.ledger import Ledger
from fedmed.exchange.record import Record

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from fedmed.auditor.inspection import Reference
    from fedmed.exchange.statement import Statement

FORGOTTEN = "fedmed recover, if this workspace came from a backup; else keep a copy of it, and find out what changed it"


@dataclass(frozen=True)
class Audit:
    """An unbroken ledger: its length, its head, and how many archived files were read and found whole.

    `laps` are those of which every update is here and goes on from the one before. Of the `encrypted` files so many
    were `opened` with an age key, held against the federation and against what the ledger says of them.
    """

    entries: int
    head: str
    archived: int
    laps: int = 0
    encrypted: int = 0
    opened: int = 0


def verify(root: Path, progress: Callable[[int, int], None], age_key: Path | None = None) -> Audit:
    """With an `age_key`, the workspace's own or another recipient's, also what is encrypted to it.

    Raises FedmedError FM-SET-01, FM-TRU-08 (ledger), FM-TRU-11 (archive), FM-STA-01 (a state that is named), FM-CYC-02,
    FM-CYC-04 (laps), FM-KEY-*, FM-AGE-02 (the own key does not open all that is encrypted, or another one nothing).
    """
    keyring.require_workspace(root)
    if age_key is not None:
        agekeys.load(age_key)  # what is wrong with it is not wrong with the archive
    ledger = Ledger(root / "state" / "ledger.jsonl")
    if not ledger.entries:
        raise FedmedError("FM-TRU-08", "the ledger is missing or empty")
    record = Record(ledger.entries)
    _nothing_forgotten(root, record)
    ids = sorted({known.id for known in (*record.said, *record.received)})
    of_rounds: dict[str, Statement] = {}
    encrypted, opened = 0, 0
    inside = _Inside(root, record, age_key)
    for number, statement_id in enumerate(ids, start=1):
        said = _check(root / "archive" / f"{statement_id}.fedmed", statement_id)
        if record.own_seq(statement_id) is not None:
            _remembered(said, record)
        if said.kind in ("model", "update"):
            of_rounds[statement_id] = said
        encrypted += said.is_encrypted
        opened += said.is_encrypted and inside.is_as_noted(statement_id)
        progress(number, len(ids))
    if age_key is not None:
        _require_opened(opened, encrypted, is_own=age_key.resolve() == (root / "keys" / "age.key").resolve())
    agreed = record.newest("federation")
    whole = laps.verify(of_rounds, inside.federation(agreed.id)) if agreed else 0
    return Audit(ledger.length, ledger.head, len(ids), whole, encrypted, opened)


@dataclass(frozen=True)
class _Inside:
    """What is encrypted in an archive, for who has a key."""

    root: Path
    record: Record
    age_key: Path | None
    federations: dict[str, Reference] = field(default_factory=dict)

    def federation(self, digest: str) -> Reference:
        """The version with this id: a file is held against the one that it names."""
        path = self.root / "archive" / f"{digest}.fedmed"
        if digest not in self.federations:
            try:
                self.federations[digest] = inspection.read_federation(path)
            except FedmedError as error:
                raise _damaged(digest, error.message if path.exists() else "it is missing") from error
        return self.federations[digest]

    def is_as_noted(self, statement_id: str) -> bool:
        """Whether the key opens it, and all in it is as it must be. Raises FedmedError FM-TRU-11 where it is not."""
        path = self.root / "archive" / f"{statement_id}.fedmed"
        if self.age_key is None:
            return False
        fd = files.open_regular(path)
        try:
            envelope = artifact.read_envelope(reading.reader(fd))
            said = statement.decode(envelope.raw)
            known = self.federation(getattr(getattr(said.predicate, "federation", None), "digest", ""))
            _, first = inspection.look_inside(path, self.age_key, envelope, said, known)
        except FedmedError as error:
            if error.code == "FM-AGE-02":
                return False
            if error.code == "FM-TRU-11":  # the federation that it names
                raise
            raise _damaged(statement_id, error.message) from error
        finally:
            os.close(fd)
        noted = {each.payload for each in (*self.record.said, *self.record.received) if each.id == statement_id}
        if noted != {first}:
            raise _damaged(statement_id, "the ledger says that something else is in it")
        return True


def _require_opened(opened: int, encrypted: int, *, is_own: bool) -> None:
    """A workspace opened everything that it took in and can open what it sealed; another key opens what is for it."""
    if opened == encrypted or (opened and not is_own):
        return
    whose = "keys/age.key of this workspace" if is_own else "the age key given"
    message = f"{encrypted - opened} of {encrypted} encrypted files do not open with {whose}"
    next_ = "restore the keys/age.key that joined from your own backup" if is_own else "give --age-key of a recipient"
    told = "the ledger is unbroken and every file whole, but what is in those was not looked at"
    raise FedmedError("FM-AGE-02", f"{message}: {told}", next=next_)


def _nothing_forgotten(root: Path, record: Record) -> None:
    """The archive holds no statement of this workspace that its ledger does not know, but for one being sealed."""
    known = record.ids()
    for path in sorted((root / "archive").glob("*.fedmed")):
        if path.stem in known:
            continue
        said = inspection.inspect(path)
        sealing = record.intent is not None and said.statement.predicate.seq == record.intent.seq
        if said.key in record.keys and not sealing:
            message = f"the archive holds number {said.statement.predicate.seq} of this workspace, the ledger does not"
            raise FedmedError("FM-TRU-08", message, next=FORGOTTEN)


def _remembered(said: Statement, record: Record) -> None:
    """A state that an own update or model names is here, of its round: that which was answered."""
    body = said.predicate.body
    if isinstance(body, bodies.Update | bodies.Model) and body.state is not None:
        round_ = getattr(said.predicate, "round", 0) - isinstance(body, bodies.Model)
        if body.state not in {known.id for known in record.said if (known.kind, known.round) == ("state", round_)}:
            raise FedmedError("FM-STA-01", f"state {body.state[:16]}...: this workspace has none of round {round_}")


def _check(path: Path, statement_id: str) -> Statement:
    """Signature and every payload hash of one archived file."""
    try:
        fd = files.open_regular(path)
        try:
            source = reading.reader(fd)
            envelope = artifact.read_envelope(source)
            if envelope.id != statement_id:
                raise FedmedError("FM-TRU-11", "it holds another statement")
            sshsig.verify(envelope.signature, envelope.raw)
            said = statement.decode(envelope.raw)
            for _ in artifact.read_payloads(source, said, {}):
                pass
            return said
        finally:
            os.close(fd)
    except (OSError, FedmedError) as error:
        why = error.message if isinstance(error, FedmedError) else "it is missing"
        raise _damaged(statement_id, why) from error


def _damaged(statement_id: str, why: str) -> FedmedError:
    return FedmedError("FM-TRU-11", f"archive: {statement_id[:16]}...: {why}")
