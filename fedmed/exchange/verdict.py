"""What a receiver knows, and what it can decide about one file. No rule stands here: those are in `admission`."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from fedmed.errors import CODES, FedmedError
from fedmed.exchange import keys, statement

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from fedmed.exchange.federation import Federation
    from fedmed.exchange.record import Record
    from fedmed.exchange.statement import Statement


class Outcome(StrEnum):
    """What becomes of a file; FORMAT.md section 6."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    NOT_FOR_ME = "not-for-me"
    INCOMPLETE = "incomplete"
    EARLY = "early"
    SUPERSEDED = "superseded"
    LATE = "late"
    CONFLICT = "conflict"
    REJECTED = "rejected"
    EXPIRED = "expired"
    FUTURE = "future"
    ROLLBACK = "rollback"


ARCHIVED = (Outcome.ACCEPTED, Outcome.SUPERSEDED, Outcome.LATE)


@dataclass(frozen=True)
class Verdict:
    """The outcome for one file, with the words for a person; `statement` is set once it is certain who signed it, and
    `restored` is who goes on from a backup: its sender, or this workspace.
    """

    outcome: Outcome
    code: str = ""
    message: str = ""
    statement: Statement | None = None
    restored: str = ""

    @property
    def exit_code(self) -> int:
        return CODES[self.code].exit if self.code else 0

    @property
    def remedy(self) -> str:
        """What its code asks for, about whom it is."""
        return CODES[self.code].remedy.replace("NAME", self.restored or "NAME")

    def error(self) -> FedmedError:
        return FedmedError(self.code, self.message, next=self.remedy)


@dataclass(frozen=True)
class Situation:
    """What the receiver knows. `round` is the open round (coordinator) or the newest model's (site; -1 before).

    `pools`: the recipe has images normalised by numbers of all sites, so fingerprints and a second version are awaited.
    `lap_seed`: what the orders of laps are drawn from, where weights go from site to site; `order` is the open lap's.
    `stops`: the recipe lets the federation end before its last round. `masks`: it asks for masked updates.
    `other_keys`: the fingerprints of keys that this actor has replaced, or named to come next.
    """

    role: str
    name: str
    public_key: bytes
    federation: Federation | None
    record: Record
    round: int
    now: datetime
    tables: Mapping[str, str] = field(default_factory=dict)
    accept_expired: bool = False
    trust_clock: bool = False
    pools: bool = False
    lap_seed: int | None = None
    stops: bool = False
    masks: bool = False
    other_keys: tuple[str, ...] = ()

    @property
    def own_keys(self) -> tuple[str, ...]:
        """The fingerprints of all keys of this actor."""
        return (keys.fingerprint(self.public_key), *self.other_keys)

    @property
    def order(self) -> tuple[str, ...]:
        """Who trains when in the open round; empty where all train at once."""
        newest = self.record.newest("model")
        return newest.order if newest else ()

    @property
    def attempt(self) -> int:
        """That of the newest model."""
        newest = self.record.newest("model")
        return newest.attempt if newest else 1

    @property
    def effective_now(self) -> datetime:
        """Never earlier than signed time that was already seen, so that a clock set back revives no expired file."""
        floor = self.record.floor
        return max(self.now, statement.from_time(floor)) if floor else self.now


class Decided(Exception):  # noqa: N818 - carries a verdict out of the first rule that decides
    def __init__(self, outcome: Outcome, code: str = "", message: str = "", restored: str = "") -> None:
        super().__init__(message)
        self.verdict, self.restored = (outcome, code, message), restored
