"""`ledger verify`: the chain of entries, and the archive against it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedmed import files
from fedmed.errors import FedmedError
from fedmed.exchange import artifact, intake, sshsig, statement
from fedmed.exchange.ledger import Ledger
from fedmed.exchange.record import Record

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@dataclass(frozen=True)
class Audit:
    """An unbroken ledger: its length, its head, and how many archived files were read and found whole."""

    entries: int
    head: str
    archived: int


def verify(root: Path, progress: Callable[[int, int], None]) -> Audit:
    """Raises FedmedError FM-SET-01, FM-TRU-08 (ledger), FM-TRU-11 (archive)."""
    path = root / "state" / "ledger.jsonl"
    if not path.exists():
        raise FedmedError("FM-SET-01", "expected a workspace here, found none")
    ledger = Ledger(path)
    record = Record(ledger.entries)
    ids = sorted({known.id for known in (*record.said, *record.received)})
    for number, statement_id in enumerate(ids, start=1):
        _check(root / "archive" / f"{statement_id}.fedmed", statement_id)
        progress(number, len(ids))
    return Audit(ledger.length, ledger.head, len(ids))


def _check(path: Path, statement_id: str) -> None:
    """Signature and every payload hash of one archived file."""
    try:
        fd = files.open_regular(path)
        try:
            source = intake.reader(fd)
            envelope = artifact.read_envelope(source)
            if envelope.id != statement_id:
                raise FedmedError("FM-TRU-11", "it holds another statement")
            sshsig.verify(envelope.signature, envelope.raw)
            for _ in artifact.read_payloads(source, statement.decode(envelope.raw), {}):
                pass
        finally:
            os.close(fd)
    except (OSError, FedmedError) as error:
        why = error.message if isinstance(error, FedmedError) else "it is missing"
        raise FedmedError("FM-TRU-11", f"archive: {statement_id[:16]}...: {why}") from error
