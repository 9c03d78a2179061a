"""What ends soon in a workspace: told with every command from 60 days before; a federation is no quick thing."""

from __future__ import annotations

import math
import os
from datetime import timedelta
from typing import TYPE_CHECKING

from fedmed import files
from fedmed.exchange import artifact, reading, statement
from fedmed.exchange.ledger import Ledger
from fedmed.exchange.record import KEY, Record

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

AHEAD = timedelta(days=60)
KEY_LIFE = timedelta(days=365)  # NIST SP 800-57 part 1 rev. 5, table 1: a private signature key is used 1 to 3 years


def warnings(root: Path, now: datetime) -> list[str]:
    """About the federation in force, the model whose round is open, and this workspace's key, each with what to do;
    never raises.
    """
    try:
        entries = Ledger(root / "state" / "ledger.jsonl").entries
        record = Record(entries)
        agreed, model = record.newest("federation"), record.newest("model")
        found = []
        if agreed and (left := _left(root, agreed.id, now)):
            found.append(f"the federation expires {left}: the coordinator founds a new one before, if it is to go on")
        if model and not model.last and (left := _left(root, model.id, now)):
            found.append(f"model r{model.round_number:04d} expires {left}: its round has to close before")
        since = [each.time for each in entries if each.event == "founded" or each.facts.get("what") == KEY][-1]
        left = _words(statement.to_time(statement.from_time(since) + KEY_LIFE), now)
        if agreed and left and not (model and model.last):
            command = "fedmed keys rotate -w HERE"
            found.append(f"this workspace's key has been in use since {since}; replace it before {left}: {command}")
    except Exception:  # noqa: BLE001 - whatever is wrong here, the command itself says it, with its own words
        return []
    return found


def _left(root: Path, statement_id: str, now: datetime) -> str:
    """When a statement expires, in words; empty while that is far off."""
    fd = files.open_regular(root / "archive" / f"{statement_id}.fedmed")
    try:
        said = statement.decode(artifact.read_envelope(reading.reader(fd)).raw)
    finally:
        os.close(fd)
    return _words(getattr(said.predicate, "expires", ""), now)


def _words(expires: str, now: datetime) -> str:
    left = statement.from_time(expires) - now
    if left > AHEAD:
        return ""
    days = math.ceil(left / timedelta(days=1))
    return f"{expires} (in {days} day{'s' if days > 1 else ''})" if days > 0 else f"{expires} (over)"
