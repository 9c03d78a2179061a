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
        found = [path.stat().st_size for path in (root / workspace.CACHE).glob("*")]
    except OSError as error:
        raise files.disk_error(error, root) from error
    return Size(len(found), sum(found), site.settings.cache_bytes)


def wipe(root: Path, now: datetime) -> Size:
    """Delete them all; what they took. The next round prepares its cases again.

    Raises FedmedError FM-SET-*, FM-WAI-01 while another command works here, FM-RES-02 where the disk refuses.
    """
    with desk.opened(root, now):
        found = size(root)
        try:
            files.empty(root / workspace.CACHE)
        except OSError as error:
            raise files.disk_error(error, root) from error
        return found
