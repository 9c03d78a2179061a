"""`cache`: how much room prepared cases take in this workspace, and how to be rid of them. They are patient data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedmed import files
from fedmed.exchange import workspace
from fedmed.site import desk

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path


OURS = (
    "*.safetensors",
    "*.part",
    "check.jsonl",
)  # what fedmed writes there: a link may lead to a disk with other files


@dataclass(frozen=True)
class Size:
    """How many prepared cases there are, the bytes they take, and the most that fedmed.yaml lets them take."""

    cases: int
    bytes: int
    limit: int


def size(root: Path) -> Size:
    """Raises FedmedError FM-SET-*, FM-RES-02 where the folder cannot be read."""
    site = desk.peek(root)
    try:
        found = {path: path.stat().st_size for pattern in OURS for path in (root / workspace.CACHE).glob(pattern)}
    except OSError as error:
        raise files.disk_error(error, root) from error
    cases = sum(path.suffix == ".safetensors" for path in found)
    return Size(cases, sum(found.values()), site.settings.cache_bytes)


def wipe(root: Path, now: datetime) -> Size:
    """Delete them all, and what `check` remembers; what they took. The next round prepares its cases again.

    Raises FedmedError FM-SET-*, FM-WAI-01 while another command works here, FM-RES-02 where the disk refuses.
    """
    with desk.opened(root, now):
        found = size(root)
        try:
            for pattern in OURS:
                files.empty(root / workspace.CACHE, pattern)
        except OSError as error:
            raise files.disk_error(error, root) from error
        return found
