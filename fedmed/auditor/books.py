"""`ledger verify`: the chain of entries, and the archive against it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedmed import files
from fedmed.auditor import inspection, laps
from fedmed.errors import FedmedError
from fedmed.exchange import artifact, bodies, reading, sshsig, statement
from fedmed.exchange.ledger import Ledger
from fedmed.exchange.record import Record

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from fedmed.exchange.statement import Statement


@dataclass(frozen=True)
class Audit:
    """An unbroken ledger: its length, its head, and how many archived files were read and found whole.

    `laps` are those of which every update is here and goes on from the one before.
    """

    entries: int
    head: str
    archived: int
    laps: int = 0


def verify(root: Path, progress: Callable[[int, int], None]) -> Audit:
    """Raises FedmedError FM-SET-01, FM-TRU-08 (ledger), FM-TRU-11 (archive), FM-STA-01 (a state that is named),
    FM-CYC-02, FM-CYC-04 (laps).
    """
    if not (root / "state").is_dir():
        raise FedmedError("FM-SET-01", "expected a workspace here, found none")
    ledger = Ledger(root / "state" / "ledger.jsonl")
    if not ledger.entries:
        raise FedmedError("FM-TRU-08", "the ledger is missing or empty")
    record = Record(ledger.entries)
    _nothing_forgotten(root, record)
    ids = sorted({known.id for known in (*record.said, *record.received)})
    of_rounds: dict[str, Statement] = {}
    for number, statement_id in enumerate(ids, start=1):
        said = _check(root / "archive" / f"{statement_id}.fedmed", statement_id)
        if record.own_seq(statement_id) is not None:
            _remembered(said, record)
        if said.kind in ("model", "update"):
            of_rounds[statement_id] = said
        progress(number, len(ids))
    agreed = record.newest("federation")
    known = inspection.read_federation(root / "archive" / f"{agreed.id}.fedmed") if agreed else None
    return Audit(ledger.length, ledger.head, len(ids), laps.verify(of_rounds, known) if known else 0)


def _nothing_forgotten(root: Path, record: Record) -> None:
    """The archive holds no statement of this workspace that its ledger does not know, but for one being sealed."""
    known = record.ids()
    for path in sorted((root / "archive").glob("*.fedmed")):
        if path.stem in known:
            continue
        said = inspection.inspect(path)
        sealing = record.intent is not None and said.statement.predicate.seq == record.intent.seq
        if said.key in record.keys and not sealing:
            number = said.statement.predicate.seq
            raise FedmedError("FM-TRU-08", f"the archive holds number {number} of this workspace, the ledger does not")


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
        raise FedmedError("FM-TRU-11", f"archive: {statement_id[:16]}...: {why}") from error
