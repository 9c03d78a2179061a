"""What earlier looks at the inbox decided: memos in state/seen/, and capped copies of refused files in quarantine/."""

from __future__ import annotations

import hashlib
import json
import os
from typing import TYPE_CHECKING

from fedmed import files, logs
from fedmed.exchange.verdict import ARCHIVED, Outcome, Verdict

if TYPE_CHECKING:
    from pathlib import Path

    from fedmed.exchange.workspace import Workspace

QUARANTINE_FILES, QUARANTINE_BYTES = 256, 1 << 20


class Seen:
    """What an earlier look at the same file decided, so that a folder of old files costs nothing again.

    It holds under one federation statement, by its digest; under the next the file is judged anew, in the same place.
    """

    FINAL = (Outcome.REJECTED, Outcome.NOT_FOR_ME, Outcome.CONFLICT, Outcome.DUPLICATE, *ARCHIVED)

    def __init__(self, workspace: Workspace, path: Path, federation: str) -> None:
        self._workspace, self._path, self._federation = workspace, path, federation
        try:
            stat = path.lstat()
        except OSError:
            stamp = ""
        else:
            stamp = f"{path.name}|{stat.st_size}|{stat.st_mtime_ns}|{stat.st_ino}|{stat.st_ctime_ns}"
        name = hashlib.sha256(os.fsencode(stamp)).hexdigest()[:32]
        self._memo = workspace.root / "state" / "seen" / f"{name}.json"
        self.verdict = self._recall()

    def _recall(self) -> Verdict | None:
        try:
            memo = json.loads(files.read_bounded(self._memo, 1 << 16))
            verdict = Verdict(Outcome(memo["outcome"]), memo["code"], memo["message"])
            if memo["federation"] != self._federation:
                return None
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return Verdict(Outcome.DUPLICATE) if verdict.outcome in ARCHIVED else verdict

    def remember(self, verdict: Verdict) -> None:
        if verdict.outcome not in self.FINAL:
            return
        if verdict.outcome in (Outcome.REJECTED, Outcome.CONFLICT):
            self._quarantine(verdict)
            logs.shareable.info("%s %s: %s", verdict.code, verdict.outcome.value, verdict.message)
        memo = {
            "federation": self._federation,
            "outcome": verdict.outcome.value,
            "code": verdict.code,
            "message": verdict.message,
        }
        files.write_atomic(self._memo, json.dumps(memo).encode(), mode=0o600, durable=False)

    def _quarantine(self, verdict: Verdict) -> None:
        """A capped copy and the reason; a full quarantine keeps what it has."""
        folder = self._workspace.root / "quarantine"
        if sum(1 for _ in folder.glob("*.json")) >= QUARANTINE_FILES:
            return
        stem = folder / self._memo.stem
        try:
            fd = files.open_regular(self._path)
        except OSError:
            return
        try:
            files.write_atomic(stem.with_suffix(".fedmed"), files.read_chunks(fd, 0, QUARANTINE_BYTES), mode=0o600)
        finally:
            os.close(fd)
        reason = {
            "code": verdict.code,
            "outcome": verdict.outcome.value,
            "message": verdict.message,
            "name": self._path.name,
        }
        files.write_atomic(stem.with_suffix(".reason.json"), json.dumps(reason, indent=1).encode(), mode=0o600)
