"""One row of the taxonomy, and the published exit codes."""

from __future__ import annotations

from dataclasses import dataclass

OK, BUG, USAGE, CONFIG, TRUST, PROTOCOL, DATA, PRIVACY, RESOURCES, WAITING = 0, 1, 2, 3, 4, 5, 6, 7, 8, 75


@dataclass(frozen=True)
class Code:
    """What a code means and what to do about it."""

    exit: int
    meaning: str
    remedy: str
