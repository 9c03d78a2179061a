"""The ledger: durable line by line, and any change of an older line is noticed."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmed.exchange.ledger import FIRST, Ledger
from fedmed.exchange.record import Known, Record, facts_of
from tests.coded import code_of

if TYPE_CHECKING:
    from pathlib import Path

NOW = datetime(2031, 3, 1, 8, tzinfo=UTC)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "ledger.jsonl"
    ledger = Ledger(path)
    for number in range(5):
        ledger.append("init", "note", NOW, what=f"note {number}")
    return path


def test_each_line_names_the_one_before(path: Path) -> None:
    lines = path.read_bytes().splitlines()
    assert [json.loads(line)["n"] for line in lines] == [0, 1, 2, 3, 4]
    before = [FIRST, *(hashlib.sha256(line).hexdigest() for line in lines)]
    assert [json.loads(line)["prev"] for line in lines] == before[:-1]
    assert Ledger(path).head == before[-1]


def test_what_is_appended_is_read_back(path: Path) -> None:
    ledger = Ledger(path)
    entry = ledger.append("approve", "note", NOW, what="ø", count=3, inner={"a": [None, True]})
    again = Ledger(path)
    assert again.entries[-1] == entry
    assert (again.length, again.head) == (6, ledger.head)
    assert path.stat().st_mode & 0o077 == 0


def test_an_empty_ledger(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.jsonl")
    assert (ledger.length, ledger.head) == (0, FIRST)
    assert not (tmp_path / "ledger.jsonl").exists()


@pytest.mark.parametrize("torn", [b"{", b'{"command":"init"', b"\0" * 700])
def test_a_torn_last_line_is_written_over(path: Path, torn: bytes) -> None:
    """The power went while a line was written; nobody was told that it was."""
    head = Ledger(path).head
    path.write_bytes(path.read_bytes() + torn)
    ledger = Ledger(path)
    assert (ledger.length, ledger.head) == (5, head)
    ledger.append("init", "note", NOW, what="next")
    assert Ledger(path).length == 6
    assert [json.loads(line)["n"] for line in path.read_bytes().splitlines()] == list(range(6))


def test_a_line_cut_anywhere_is_as_if_never_written(path: Path) -> None:
    whole = path.read_bytes()
    start = whole.rindex(b"\n", 0, -1) + 1
    for length in range(start, len(whole)):
        path.write_bytes(whole[:length])
        assert Ledger(path).length == 4


CHANGES = {
    "a fact": lambda lines: [lines[0], lines[1].replace(b"note 1", b"note X"), *lines[2:]],
    "a time": lambda lines: [lines[0].replace(b"2031", b"2032"), *lines[1:]],
    "a line removed": lambda lines: [*lines[:2], *lines[3:]],
    "the first removed": lambda lines: lines[1:],
    "two lines swapped": lambda lines: [lines[0], lines[2], lines[1], *lines[3:]],
    "a line twice": lambda lines: [*lines[:3], *lines[2:]],
    "a line added": lambda lines: [*lines, lines[-1]],
    "an empty line": lambda lines: [*lines[:2], b"", *lines[2:]],
    "a blank": lambda lines: [lines[0].replace(b":", b": ", 1), *lines[1:]],
    "not JSON": lambda lines: [b"hello", *lines[1:]],
    "an unknown event": lambda lines: [*lines[:4], lines[4].replace(b'"note"', b'"nite"')],
    "another field": lambda lines: [*lines[:4], lines[4].replace(b'"time"', b'"tame":1,"time"')],
    "facts that are none": lambda lines: [*lines[:4], lines[4].replace(b'{"what":"note 4"}', b"[]")],
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_changed_ledger_is_refused(path: Path, change: Any) -> None:
    lines = path.read_bytes().splitlines()
    changed = change(lines)
    assert changed != lines
    path.write_bytes(b"".join(line + b"\n" for line in changed))
    assert code_of(lambda: Ledger(path)) == "FM-TRU-08"


@given(data=st.data())
def test_any_bit_of_an_older_line_matters(path: Path, data: st.DataObject) -> None:
    whole = path.read_bytes()
    end = whole.rindex(b"\n", 0, -1)
    bit = data.draw(st.integers(0, 8 * end - 1))
    changed = bytearray(whole)
    changed[bit // 8] ^= 1 << bit % 8
    path.write_bytes(changed)
    found = code_of(lambda: Ledger(path))
    path.write_bytes(whole)
    assert found == "FM-TRU-08"


@pytest.mark.parametrize("reason", ["two\nlines", "\x1b[2J", "e\u0301", "\u202ehidden", "\ud800", "\ue000"])
def test_a_reason_that_could_not_be_read_back_is_refused_before_it_is_written(path: Path, reason: str) -> None:
    before = path.read_bytes()
    ledger = Ledger(path)
    assert code_of(lambda: ledger.append("aggregate", "note", NOW, what="trust-clock", reason=reason)) == "FM-USE-01"
    assert path.read_bytes() == before
    ledger.append("aggregate", "note", NOW, what="trust-clock", reason="the clock was wrong")
    assert Ledger(path).length == 6


def test_an_unknown_event_is_a_fault_of_the_caller(path: Path) -> None:
    with pytest.raises(ValueError, match="sealed"):
        Ledger(path).append("init", "sealed", NOW)


def test_a_disk_that_refuses_is_a_code(tmp_path: Path) -> None:
    (tmp_path / "ledger").mkdir()
    ledger = Ledger(tmp_path / "missing" / "ledger.jsonl")
    assert code_of(lambda: ledger.append("init", "note", NOW)) == "FM-RES-02"


# --- the record, read out of the ledger -----------------------------------------------------------------------------


def known(sender: str, seq: int, kind: str = "update", outcome: str = "accepted", round_: int | None = 0) -> Known:
    name = f"{sender} {seq} {kind} {outcome}"
    digest = hashlib.sha256(name.encode()).hexdigest()
    return Known(digest, kind, sender, seq, None, round_, outcome, None, digest, "2031-03-01T08:00:00Z")


def record_of(path: Path, *events: tuple[str, dict[str, Any]]) -> Record:
    path.unlink()
    ledger = Ledger(path)
    for event, facts in events:
        ledger.append("test", event, NOW, **facts)
    return Record(Ledger(path).entries)


def test_the_record_sorts_what_was_said_and_received(path: Path) -> None:
    mine = [known("me", 1, "join", "said", None), known("me", 2, "approval", "said", None)]
    theirs = [known("aa", 4), known("aa", 3, outcome="superseded"), known("bb", 1, outcome="late")]
    conflict = known("aa", 9, outcome="conflict")
    events = [("said", facts_of(each)) for each in mine]
    events += [("received", facts_of(each)) for each in (*theirs, conflict)]
    record = record_of(path, *events)
    assert (record.said, record.received, record.conflicts) == (mine, theirs, [conflict])
    assert (record.next_seq, record.last_said) == (3, mine[1].id)
    assert record.own_seq(mine[0].id) == 1
    assert record.own_seq(theirs[0].id) is None
    assert record.ids() == {each.id for each in (*mine, *theirs, conflict)}
    assert record.of("update") == [theirs[0]], "superseded and late ones do not count"
    assert record.last_from("aa") == theirs[0].id, "the highest number, also when a lower one came later"
    assert record.last_from("cc") is None


def test_the_newest_has_the_highest_round_and_then_number(path: Path) -> None:
    sent = [known("aa", 5), known("aa", 7), known("aa", 6), known("aa", 2, round_=1)]
    record = record_of(path, *(("received", facts_of(each)) for each in sent))
    assert record.newest("update") == sent[3]
    assert record.newest("update", round=0) == sent[1]
    assert record.newest("update", sender="bb") is None
    with pytest.raises(ValueError, match="has no round"):
        _ = known("aa", 1, "join", round_=None).round_number


def test_an_intent_lasts_until_something_was_said(path: Path) -> None:
    intent = ("intent", {"kind": "update", "round": 0, "seq": 1, "created": "2031-03-01T08:00:00Z"})
    assert record_of(path, intent).intent is not None
    assert record_of(path, intent, ("said", facts_of(known("me", 1, outcome="said")))).intent is None


def test_the_floor_rises_and_only_an_operator_lowers_it(path: Path) -> None:
    def at(time: str) -> tuple[str, dict[str, Any]]:
        return "received", {**facts_of(known("coordinator", int(time[3]), "model")), "floor": time}

    later, earlier = "2035-01-01T00:00:00Z", "2033-01-01T00:00:00Z"
    assert record_of(path, at(later), at(earlier)).floor == later
    trusted = record_of(path, at(later), ("note", {"what": "trust-clock", "reason": "battery"}))
    assert trusted.floor == "2031-03-01T08:00:00Z"
