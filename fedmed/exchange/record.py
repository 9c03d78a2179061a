"""What an actor knows, derived from its ledger alone: what it said, what it received, how far its time has come."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fedmed.exchange.keys import fingerprint_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fedmed.exchange.ledger import Entry

SPARED = 1000  # numbers that a restored workspace leaves out: its files of before may still be on their way
ANSWERS = ("update", "unmask-reply")
LOST = "lost"  # the outcome of an own statement of which there is proof, and no file
KEY = "key"  # what the note is called from which on a workspace signs with its next key


@dataclass(frozen=True)
class Known:
    """One statement, accepted or said; `payload` is the digest of its first subject, a model's that of its tensors.

    `order` is that of the lap which a model opens; `last` says of a model that nobody trains on from it. `attempt`
    grows when a round was declared void. `version` and `federation` (its id) are of what the statement was made under.
    `previous` is the id of the model that a model names as the one before it.
    """

    id: str
    kind: str
    sender: str
    seq: int
    prev: str | None
    round: int | None
    outcome: str
    ack: str | None
    payload: str
    created: str
    order: tuple[str, ...] = ()
    last: bool = False
    last_seq: int | None = None
    resumes: int = 0
    attempt: int = 1
    key: str = ""
    version: int = 0
    federation: str = ""
    previous: str | None = None

    @property
    def round_number(self) -> int:
        """The round of a kind that has one."""
        if self.round is None:
            raise ValueError(f"a {self.kind} has no round")
        return self.round


@dataclass(frozen=True)
class Refusal:
    """An update about an open round that its sender signed and that was rejected, with the code of the first fault."""

    id: str
    sender: str
    round: int
    seq: int
    code: str


@dataclass(frozen=True)
class Intent:
    """A statement that was about to be sealed when the process ended, or is being sealed now."""

    command: str
    kind: str
    round: int | None
    seq: int
    created: str


class Record:
    """Views over ledger entries; cheap to rebuild, never stored.

    `refused` by sender and round: such a file was not received. Its number stays free and its bytes may come again,
    whole or corrected. `late` by sender: updates that came after their round, since this actor's newest model.
    `lost` are own statements that a backup did not hold and of which the other side has proof, and not the file;
    `answered` is the last round that was, or may have been, answered then, -1 if none, and `resumes` how often that
    happened. `dismissed` are senders who could not prove that this workspace signed what they acknowledged. `revoked`:
    up to which number the keys with these fingerprints count; what has a higher one stays here and is no longer found.
    `keys`: the fingerprints of those that this workspace has signed with, the one in force last.
    """

    def __init__(self, entries: Iterable[Entry]) -> None:
        self.said: list[Known] = []
        self.received: list[Known] = []
        self.conflicts: list[Known] = []
        self.refused: dict[tuple[str, int], Refusal] = {}
        self.late: dict[str, Known] = {}
        self.replaced: list[Known] = []
        self.posted: set[str] = set()
        self.notes: list[tuple[str, dict[str, Any]]] = []
        self.intent: Intent | None = None
        self.floor = ""
        self.lost: list[Known] = []
        self.resumes = 0
        self.answered = -1
        self.dismissed: set[str] = set()
        self.revoked: dict[str, int] = {}
        self.keys: list[str] = []
        self._free = 1
        for entry in entries:
            self.add(entry)

    def add(self, entry: Entry) -> None:
        facts = entry.facts
        self.keys += [facts["key"]] if entry.event == "founded" else []
        if entry.event == "intent":
            self.intent = Intent(entry.command, facts["kind"], facts["round"], facts["seq"], facts["created"])
        elif entry.event == "said":
            self._say(_known(facts, "said"))
        elif entry.event == "received" and facts["outcome"] == "rejected":
            self.refused.setdefault((facts["sender"], facts["round"]), _refusal(facts))
        elif entry.event == "received":
            self._receive(_known(facts, facts["outcome"]))
        elif entry.event == "recovered":
            self._recover(facts)
        elif entry.event == "posted":
            self.posted.add(facts["id"])
        elif entry.event == "note":
            self._note(entry.time, facts)
        self.floor = max(self.floor, facts.get("floor", ""))

    def _note(self, time: str, facts: dict[str, Any]) -> None:
        self.notes.append((time, facts))
        if facts.get("what") == "trust-clock":
            self.floor = time
        if facts.get("what") == KEY:
            self.keys.append(facts["key"])
        if facts.get("what") == "dismissed":
            self.dismissed.add(facts["sender"])

    def _say(self, known: Known) -> None:
        self.said.append(known)
        self.intent = None
        self._revoke(known)
        if known.kind == "model":  # it told the senders of late updates; what comes from here on is for the next
            self.late = {}

    def _revoke(self, known: Known) -> None:
        if known.last_seq is not None and known.outcome in ("said", "accepted", LOST):
            key = fingerprint_of(known.payload)
            self.revoked[key] = min(known.last_seq, self.revoked.get(key, known.last_seq))

    def _recover(self, facts: dict[str, Any]) -> None:
        """Own statements are known again; their numbers, and some behind them, are used: files may be on their way."""
        found = [_known(each, each["outcome"]) for each in facts["statements"]]
        self.said += [known for known in found if known.outcome == "said"]
        self.lost += [known for known in found if known.outcome != "said"]
        for known in found:
            self._revoke(known)
        self.resumes, self.intent = facts["resumes"], None
        self._free = self.next_seq + SPARED
        rounds = [known.round for known in found if known.kind in ANSWERS and known.round is not None]
        self.answered = max([self.answered, facts.get("answered", -1), *rounds])

    def _receive(self, known: Known) -> None:
        if known.kind == "join":  # a later join of a name was admitted in place of the one before
            self.replaced += [each for each in self.received if (each.kind, each.sender) == ("join", known.sender)]
            self.received = [each for each in self.received if each not in self.replaced]
        (self.conflicts if known.outcome == "conflict" else self.received).append(known)
        self._revoke(known)
        if (known.kind, known.outcome) == ("update", "late"):
            self.late[known.sender] = known

    @property
    def next_seq(self) -> int:
        return max([self._free, *(known.seq + 1 for known in (*self.said, *self.lost))])

    @property
    def last_said(self) -> str | None:
        newest = max((*self.said, *self.lost), key=lambda known: known.seq, default=None)
        return newest.id if newest else None

    def own_seq(self, statement_id: str) -> int | None:
        return next((known.seq for known in (*self.said, *self.lost) if known.id == statement_id), None)

    def counts(self, key: str, seq: int) -> bool:
        """Whether a statement with this number, of the key with this fingerprint, stands: the key was not taken back
        before.
        """
        return seq <= self.revoked.get(key, seq)

    def ids(self) -> set[str]:
        """Every statement that this ledger speaks of and that the archive, or the quarantine, holds for good."""
        return {known.id for known in (*self.said, *self.received, *self.conflicts, *self.replaced)}

    def of(
        self,
        kind: str,
        *,
        sender: str | None = None,
        round: int | None = None,  # noqa: A002
        attempt: int | None = None,
    ) -> list[Known]:
        """Accepted or said statements of a kind, in order of arrival.

        What was said stays said when this workspace's own key is revoked: a masked update is never made twice.
        """
        return [
            known
            for known in (*self.said, *self.received)
            if known.kind == kind
            and (sender is None or known.sender == sender)
            and (round is None or known.round == round)
            and (attempt is None or known.attempt == attempt)
            and (known.outcome == "said" or (known.outcome == "accepted" and self.counts(known.key, known.seq)))
        ]

    def newest(
        self,
        kind: str,
        *,
        sender: str | None = None,
        round: int | None = None,  # noqa: A002
        attempt: int | None = None,
    ) -> Known | None:
        """The one with the highest round and attempt, then the highest `seq` (a later one of a sender supersedes)."""
        return max(
            self.of(kind, sender=sender, round=round, attempt=attempt),
            key=lambda known: (known.round or 0, known.attempt, known.seq),
            default=None,
        )

    def model(self, round: int, attempt: int | None = None) -> Known | None:  # noqa: A002
        """The model of a round, also one that came after a later one; of its last attempt if none is given."""
        found = [each for each in self.models() if each.round == round and attempt in (None, each.attempt)]
        return found[-1] if found else None

    def models(self) -> list[Known]:
        """All that are here, also those that came after a later one, by round and attempt."""
        found = [each for each in (*self.said, *self.received) if each.kind == "model"]
        return sorted(found, key=lambda each: (each.round or 0, each.attempt))

    def last_from(self, sender: str) -> str | None:
        """The statement to acknowledge: the highest `seq` received from `sender`."""
        known = max(
            (known for known in self.received if known.sender == sender),
            key=lambda known: known.seq,
            default=None,
        )
        return known.id if known else None


def facts_of(known: Known) -> dict[str, Any]:
    """The ledger facts of a statement; `Record` reads them back."""
    return dict(vars(known))


def _refusal(facts: dict[str, Any]) -> Refusal:
    return Refusal(**{name: facts[name] for name in Refusal.__dataclass_fields__})


def _known(facts: dict[str, Any], outcome: str) -> Known:
    found = {name: facts[name] for name in Known.__dataclass_fields__}
    return Known(**{**found, "order": tuple(facts["order"]), "outcome": outcome})
