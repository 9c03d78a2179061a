"""Saying something once, whatever was interrupted; and what an archive can still prove."""

from __future__ import annotations

import hashlib
import shutil
import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from fedmed.exchange import (
    archived,
    artifact,
    bodies_roster,
    certificates,
    keys,
    predicates,
    sealing,
    statement,
    workspace,
)
from fedmed.site import desk, join, train
from tests.coded import code_of
from tests.federation import simulator
from tests.federation.simulator import START, statement_id
from tests.vectors import samples

if TYPE_CHECKING:
    from pathlib import Path

    from fedmed.exchange.record import Known
    from fedmed.exchange.workspace import Workspace
    from tests.federation.simulator import Simulation

NOW = datetime(2031, 3, 1, 8, tzinfo=UTC)
LATER = NOW + timedelta(days=3)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    with workspace.founded(tmp_path / "aa", "site", "aa", NOW):
        return tmp_path / "aa"


def opened(root: Path) -> Workspace:
    return workspace.load(root, "site", "aa", "inbox", "outbox")


def say(found: Workspace, now: datetime = NOW) -> Known:
    return join._say_join(found, "radiology", now)


def test_numbers_and_links_follow_each_other(root: Path) -> None:
    found = opened(root)
    first, second = say(found), say(found, LATER)
    assert [(known.seq, known.prev) for known in (first, second)] == [(1, None), (2, first.id)]
    assert opened(root).record.said == [first, second]
    assert [entry.event for entry in found.ledger.entries] == ["founded", *["intent", "said"] * 2]


def test_the_ledgers_head_stands_in_the_statement(root: Path) -> None:
    found = opened(root)
    say(found)
    length, head = found.ledger.length, found.ledger.head
    said = archived.read_archived(found, say(found).id).predicate.ledger
    assert (said.length, length) == (length + 1, 3), "after the intent, before the entry about itself"
    assert said.head != head


def intent(found: Workspace, seq: int = 1) -> None:
    created = statement.to_time(NOW)
    found.write_entry("init", "intent", NOW, kind="join", round=None, seq=seq, created=created)


def test_killed_before_the_archive_nothing_was_said(root: Path) -> None:
    """The rerun seals again, with the number and the time of the first attempt."""
    intent(opened(root))
    found = opened(root)
    sealing.complete_intent(found, LATER)
    assert found.record.said == []
    known = say(found, LATER)
    assert (known.seq, known.created) == (1, statement.to_time(NOW))
    assert sum(entry.event == "intent" for entry in found.ledger.entries) == 1


def test_killed_after_the_archive_it_was_said(root: Path, tmp_path: Path) -> None:
    """The rerun adds the line of the ledger and says nothing again."""
    known = say(opened(root))
    ledger = root / "state" / "ledger.jsonl"
    lines = ledger.read_bytes().splitlines(keepends=True)
    ledger.write_bytes(b"".join(lines[:-1]))
    found = opened(root)
    assert (found.record.said, found.record.intent is not None) == ([], True)
    sealing.complete_intent(found, LATER)
    assert opened(root).record.said == [known]
    assert opened(root).record.intent is None
    sealing.complete_intent(found, LATER)
    assert len(opened(root).record.said) == 1


def test_a_strangers_file_in_the_archive_completes_no_intent(root: Path) -> None:
    """What was received and not yet recorded may lie there too, even with the same number."""
    data = samples.sample("join")
    (root / "archive" / f"{statement_id(data)}.fedmed").write_bytes(data)
    intent(opened(root))
    found = opened(root)
    sealing.complete_intent(found, LATER)
    assert found.record.said == []


def test_another_command_does_not_take_over_an_intent(root: Path) -> None:
    found = opened(root)
    found.write_entry("evaluate", "intent", NOW, kind="report", round=3, seq=1, created="2030-01-01T00:00:00Z")
    assert say(found, LATER).created == statement.to_time(LATER)


def test_posting_makes_a_missing_or_damaged_copy_again(root: Path) -> None:
    found = opened(root)
    known = say(found)
    path = sealing.post(found, known)
    whole = found.archived(known.id).read_bytes()
    assert (path.name, path.read_bytes()) == ("join-aa.fedmed", whole)
    path.unlink()
    assert sealing.post(found, known).read_bytes() == whole
    for damage in (b"", whole[:1000], whole + b"x", b"\0" * len(whole), samples.sample("join")):
        path.write_bytes(damage)
        assert sealing.post(found, known).read_bytes() == whole
    before = path.stat().st_mtime_ns
    assert sealing.post(found, known).stat().st_mtime_ns == before, "a good copy is left alone"
    assert [each.name for each in (root / "outbox").iterdir()] == ["join-aa.fedmed"]


def test_posting_replaces_a_link_and_follows_none(root: Path, tmp_path: Path) -> None:
    found = opened(root)
    known = say(found)
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    (root / "outbox" / "join-aa.fedmed").symlink_to(victim)
    path = sealing.post(found, known)
    assert not path.is_symlink()
    (root / "outbox" / "join-aa.fedmed").unlink()
    (root / "outbox" / "join-aa.fedmed.part").symlink_to(victim)
    assert code_of(lambda: sealing.post(found, known)) == "FM-RES-02"
    assert victim.read_bytes() == b"precious"


def test_a_missing_archive_is_a_code(root: Path) -> None:
    found = opened(root)
    known = say(found)
    found.archived(known.id).unlink()
    for call in (sealing.post, lambda f, k: archived.read_archived(f, k.id)):
        assert code_of(lambda call=call: call(found, known)) == "FM-TRU-11"


def test_a_damaged_archive_is_a_code(simulation: Simulation) -> None:
    found = simulation.coordinator.workspace()
    known = found.record.newest("model")
    assert known is not None
    path = found.archived(known.id)
    whole = path.read_bytes()
    place = whole.index(samples.MODEL) + len(samples.MODEL) - 1
    for damaged in (
        whole[:100],
        bytes(len(whole)),
        whole.replace(b'"kind":"model"', b'"kind":"modal"'),
        whole[:place] + b"\1" + whole[place + 1 :],
        simulation.coordinator.posted("federation-v0001"),
        whole[: place - 3],
    ):
        path.write_bytes(damaged)
        assert code_of(lambda: archived.read_payload(found, known.id, "model.safetensors")) == "FM-TRU-11"
    path.write_bytes(whole)
    assert archived.read_payload(found, known.id, "model.safetensors") == samples.MODEL


def test_a_statement_that_its_schema_refuses_is_never_sealed(root: Path) -> None:
    found = opened(root)

    def build(opening: sealing.Opening, payload: list, _: list) -> statement.Statement:
        mask = certificates.create(found.key, "aa", None, 1).certificate
        body = bodies_roster.Join(
            name="aa",
            key=keys.public_line(found.public_key),
            age=samples.age("aa"),
            contact="x",
            mask=mask,
            nonce="ab" * 16,
            versions=[],
        )
        predicate = predicates.JoinPredicate(**opening.fields(), kind="join", payload=payload, body=body)
        return statement.Statement.model_construct(
            type=statement.STATEMENT_TYPE,
            subject=statement.about("join", "f" * 64),
            predicate_type=statement.predicate_type("join"),
            predicate=predicate,
        )

    assert code_of(lambda: sealing.say(found, "init", "join", None, [], build, NOW)) == "FM-FRM-03"
    assert list((root / "archive").iterdir()) == []


LARGE = bytes(range(256)) * (5 << 12)  # 5 MB: written by another thread


def say_large(root: Path, sha256: str | None, size: int = len(LARGE)) -> Known:
    """An update with some bytes for a payload: what they mean is for its receiver to look at."""
    name = train.PAYLOAD
    content = artifact.Content(name, artifact.SAFETENSORS, size, sha256, lambda: [LARGE[:7], memoryview(LARGE)[7:]])
    with desk.opened(root, START) as site:
        consent, model = desk.require_approved(site), desk.newest_model(site, [])
        return train._say(site, consent, model, simulator._update_body(1, 1, 1), [content], START)


def test_a_digest_that_was_made_while_writing_gives_the_same_file(
    simulation: Simulation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fedmed.exchange.ledger.secrets.token_hex", lambda size: "0" * 2 * size)
    simulation.carry_down()
    simulation.sites["aa"].look(START)
    roots = simulation.sites["aa"].root, tmp_path / "again"
    shutil.copytree(*roots)
    one, two = (say_large(*said) for said in zip(roots, (None, hashlib.sha256(LARGE).hexdigest()), strict=True))
    assert one == two
    made = desk.peek(roots[0]).workspace
    assert made.archived(one.id).read_bytes() == desk.peek(roots[1]).workspace.archived(two.id).read_bytes()
    assert archived.read_payload(made, one.id, train.PAYLOAD) == LARGE


def test_a_payload_that_is_not_what_it_says_is_never_archived(simulation: Simulation) -> None:
    simulation.carry_down()
    simulation.sites["aa"].look(START)
    root, before = simulation.sites["aa"].root, threading.active_count()
    archived = set((root / "archive").iterdir())
    with pytest.raises(ValueError, match="instead of"):
        say_large(root, None, len(LARGE) + 1)
    assert set((root / "archive").iterdir()) == archived
    assert threading.active_count() == before


# --- the workspace ---------------------------------------------------------------------------------------------------


def test_a_new_workspace_is_private(root: Path) -> None:
    for name in workspace.PRIVATE:
        assert (root / name).stat().st_mode & 0o077 == 0, name


def test_a_workspace_is_founded_once(root: Path) -> None:
    def again(name: str) -> None:
        with workspace.founded(root, "site", name, NOW):
            pass

    before = sorted(path.name for path in root.iterdir())
    assert code_of(lambda: again("bb")) == "FM-SET-04", "begun as another"
    (root / "fedmed.yaml").touch()
    assert code_of(lambda: again("aa")) == "FM-SET-04", "finished"
    assert sorted(path.name for path in root.iterdir()) == [*before[:2], "fedmed.yaml", *before[2:]]


def test_a_lost_or_foreign_ledger_begins_nothing_anew(root: Path) -> None:
    ledger = root / "state" / "ledger.jsonl"
    assert code_of(lambda: opened(root)) == "ok"
    assert code_of(lambda: workspace.load(root, "site", "oslo", "inbox", "outbox")) == "FM-SET-03"
    assert code_of(lambda: workspace.load(root, "coordinator", "aa", "inbox", "outbox")) == "FM-SET-03"
    keys.create(root / "keys" / "signing.key")
    assert code_of(lambda: opened(root)) == "FM-KEY-02"
    ledger.unlink()
    assert code_of(lambda: opened(root)) == "FM-TRU-08"


def test_a_ledger_that_forgot_what_the_archive_holds_stops_everything(root: Path) -> None:
    """The numbers it would use again were used: the others would see two files with one number."""
    found = opened(root)
    say(found)
    ledger = root / "state" / "ledger.jsonl"
    whole = ledger.read_bytes()
    say(found, LATER)
    ledger.write_bytes(whole)
    assert code_of(lambda: sealing.complete_intent(opened(root), LATER)) == "FM-TRU-06"


def test_what_was_said_and_not_posted_is_posted_by_the_next_command(root: Path) -> None:
    found = opened(root)
    known = say(found)
    assert not (root / "outbox" / "join-aa.fedmed").exists()
    sealing.complete_intent(opened(root), LATER)
    path = root / "outbox" / "join-aa.fedmed"
    assert path.read_bytes() == found.archived(known.id).read_bytes()
    path.unlink()
    sealing.complete_intent(opened(root), LATER)
    assert not path.exists(), "carried away is not lost"


def test_a_rotten_archive_replaces_no_good_copy(root: Path) -> None:
    found = opened(root)
    known = say(found)
    path = sealing.post(found, known)
    good = path.read_bytes()
    rotten = bytearray(good)
    rotten[600] ^= 1
    found.archived(known.id).write_bytes(rotten)
    assert code_of(lambda: sealing.post(found, known)) == "FM-TRU-11"
    assert path.read_bytes() == good
    assert sorted(each.name for each in path.parent.iterdir()) == [path.name]


def test_one_command_at_a_time(root: Path) -> None:
    def second() -> None:
        with workspace.locked(root):
            pass

    with workspace.locked(root):
        assert code_of(second) == "FM-WAI-01"
    assert code_of(second) == "ok"


def test_a_folder_that_is_no_workspace(tmp_path: Path) -> None:
    def lock() -> None:
        with workspace.locked(tmp_path):
            pass

    assert code_of(lock) == "FM-SET-01"


def test_a_workspace_whose_key_others_may_read_does_not_open(root: Path) -> None:
    (root / "keys" / "signing.key").chmod(0o644)
    assert code_of(lambda: opened(root)) == "FM-KEY-01"
