"""The ledger: an actor's own append-only record, each line naming the SHA-256 of the line before.

Its length and head travel in every statement, so an entry that is later removed or changed is noticed by the others.
128 random bits in each line keep them from guessing what it says and comparing heads.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from fedmed import files
from fedmed.errors import FedmedError
from fedmed.exchange import canonical

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

FIRST = "0" * 64
MAX_BYTES = 1 << 30
EVENTS = ("founded", "intent", "said", "posted", "received", "recovered", "note")


@dataclass(frozen=True)
class Entry:
    """One line. `facts` holds what the event is about: ids, kinds, rounds, outcome codes; never a path or a patient."""

    number: int
    time: str
    command: str
    event: str
    facts: dict[str, Any] = field(hash=False)


class Ledger:
    """An open ledger file. Raises FedmedError FM-TRU-08 when a line does not follow from the one before."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.entries: list[Entry] = []
        self.head = FIRST
        self._size = 0
        if path.exists():
            self._read()

    @property
    def length(self) -> int:
        return len(self.entries)

    def append(self, command: str, event: str, now: datetime, **facts: Any) -> Entry:
        """Add one line and make it durable before returning. A line torn by a power cut is written over.

        Raises FedmedError FM-USE-01 for a fact that could not be read back, FM-RES-*; nothing is written then.
        """
        if event not in EVENTS:
            raise ValueError(event)
        entry = Entry(self.length, now.strftime("%Y-%m-%dT%H:%M:%SZ"), command, event, facts)
        line = _encoded(
            {
                "n": entry.number,
                "prev": self.head,
                "time": entry.time,
                "command": command,
                "event": event,
                "facts": facts,
                "nonce": secrets.token_hex(16),
            }
        )
        try:
            fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o600)
            try:
                os.lseek(fd, self._size, os.SEEK_SET)
                files.write_all(fd, line + b"\n")
                os.ftruncate(fd, self._size + len(line) + 1)
                files.sync(fd)
            finally:
                os.close(fd)
            if not self.entries:
                files.fsync_folder(self._path.parent)
        except OSError as error:
            raise files.disk_error(error, self._path) from error
        self._accept(entry, line)
        return entry

    def _accept(self, entry: Entry, line: bytes) -> None:
        self.entries.append(entry)
        self.head = hashlib.sha256(line).hexdigest()
        self._size += len(line) + 1

    def _read(self) -> None:
        data = files.read_bounded(self._path, MAX_BYTES)
        for line in data.split(b"\n")[:-1]:  # what follows the last newline is a torn line: it was never acknowledged
            try:
                row = canonical.decode(line)
                entry = Entry(row["n"], row["time"], row["command"], row["event"], row["facts"])
            except (FedmedError, KeyError) as error:
                raise FedmedError("FM-TRU-08", f"ledger line {self.length + 1}: not an entry") from error
            follows = row.get("prev") == self.head and entry.number == self.length and "nonce" in row
            if len(row) != 7 or not follows or entry.event not in EVENTS or not isinstance(entry.facts, dict):
                raise FedmedError("FM-TRU-08", f"ledger line {self.length + 1}: does not follow from the line before")
            self._accept(entry, line)


def _encoded(row: dict[str, Any]) -> bytes:
    """A line that can be read back: a reason that an operator pasted must not close the ledger for ever."""
    try:
        line = canonical.encode(row)
        canonical.decode(line)
    except (FedmedError, UnicodeEncodeError) as error:
        raise FedmedError("FM-USE-01", f"{row['event']}: expected plain text without control characters") from error
    return line
