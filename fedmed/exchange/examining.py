"""A file as it lies there: may it count, by its size, its statement and its signature? Nothing is written."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from fedmed import files
from fedmed.errors import FedmedError
from fedmed.exchange import artifact, container, reading
from fedmed.exchange.admission import judge, judge_self_signed
from fedmed.exchange.verdict import ARCHIVED, Outcome, Verdict

if TYPE_CHECKING:
    from pathlib import Path

    from fedmed.exchange.artifact import Envelope
    from fedmed.exchange.statement import Statement
    from fedmed.exchange.verdict import Situation

UNAPPROVED_LIMIT = 1 << 20


def open_self_signed(path: Path, kind: str) -> tuple[bytes, Envelope, Statement]:
    """A complete, small, self-signed file (join, federation): its bytes, verified to be of one piece.

    Raises FedmedError FM-FRM-*, FM-SIG-*, FM-TRU-10, and Incomplete.
    """
    try:
        fd = files.open_regular(path)
    except OSError as error:
        raise FedmedError("FM-FRM-01", "cannot be opened as a file", local=str(error)) from error
    try:
        envelope = artifact.read_envelope(reading.reader(fd))
        said = judge_self_signed(envelope, kind)
        if os.fstat(fd).st_size > UNAPPROVED_LIMIT:
            raise FedmedError("FM-FRM-04", f"expected at most {UNAPPROVED_LIMIT} bytes, got {os.fstat(fd).st_size}")
        return b"".join(reading.verified(fd, envelope, said, {})), envelope, said
    finally:
        os.close(fd)


def unopened(error: OSError) -> Verdict:
    """What a file is that cannot be opened."""
    message = f"cannot be opened as a file: {os.strerror(error.errno or 0).lower()}"
    return Verdict(Outcome.REJECTED, "FM-FRM-01", message)


def examine(fd: int, situation: Situation, limit: int) -> tuple[Verdict, Envelope | None]:
    """Size, statement and signature, in place; nothing is written."""
    size = os.fstat(fd).st_size
    envelope, said = None, None
    try:
        envelope = artifact.read_envelope(reading.reader(fd))
        verdict = judge(envelope, situation)
        said = verdict.statement
        if verdict.outcome is Outcome.EARLY or verdict.outcome is Outcome.NOT_FOR_ME:
            return verdict, envelope
        if size > limit:
            raise FedmedError("FM-FRM-04", f"expected at most {limit} bytes, got {size}")
        if verdict.outcome in ARCHIVED and verdict.statement is not None:
            _check_length(size, artifact.total_size(envelope, verdict.statement))
    except FedmedError as error:
        return failed(error, said), envelope
    return verdict, envelope


def failed(error: FedmedError, said: Statement | None) -> Verdict:
    """What a file is that has this fault."""
    outcome = Outcome.INCOMPLETE if isinstance(error, container.Incomplete) else Outcome.REJECTED
    return Verdict(outcome, error.code, error.message, said)


def _check_length(size: int, expected: int) -> None:
    if size < expected:
        raise container.Incomplete(f"the file ends at {100 * size // expected} %: copy it again")
