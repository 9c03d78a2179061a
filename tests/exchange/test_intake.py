"""The inbox: what is looked at, what is left alone, and what may change while it is read."""

from __future__ import annotations

import json
import os
import shutil
from typing import TYPE_CHECKING

import pytest

from fedmed import files
from fedmed.coordinator import desk
from fedmed.exchange import artifact, examining, intake, reading, seen
from fedmed.exchange.container import Reader
from fedmed.exchange.verdict import Outcome, Verdict
from fedmed.learning.layout import Layout
from tests.coded import code_of
from tests.federation.simulator import statement_id
from tests.vectors import samples

if TYPE_CHECKING:
    from pathlib import Path

    from tests.federation.simulator import Coordinator, Simulation


@pytest.fixture
def update(simulation: Simulation) -> bytes:
    return simulation.update("cc", 1.0)


@pytest.fixture
def coordinator(simulation: Simulation) -> Coordinator:
    simulation.coordinator.look(simulation.now)
    return simulation.coordinator


def ends(simulation: Simulation) -> dict[str, tuple[str, str]]:
    """Outcome and code of everything in the coordinator's inbox, by name."""
    arrivals = simulation.coordinator.look(simulation.now)
    return {each.path.name: (each.verdict.outcome.value, each.verdict.code) for each in arrivals}


@pytest.mark.parametrize(
    "name", [".update.fedmed", "update.fedmed.part", "update.tmp", "update.fedmed.filepart", "a.FEDMED"]
)
def test_hidden_and_unfinished_files_are_not_looked_at(
    simulation: Simulation, coordinator: Coordinator, update: bytes, name: str
) -> None:
    coordinator.deliver(update, simulation.now, name)
    assert name not in ends(simulation)
    assert coordinator.workspace().record.newest("update") is None


def test_a_name_means_nothing(simulation: Simulation, coordinator: Coordinator, update: bytes) -> None:
    coordinator.deliver(update, simulation.now, "model-r0099-coordinator (1).fedmed")
    assert ends(simulation)["model-r0099-coordinator (1).fedmed"] == ("accepted", "")


def test_a_name_that_is_not_utf_8_stops_nobody(simulation: Simulation, coordinator: Coordinator, update: bytes) -> None:
    name = os.fsdecode(b"update-\xff\xfe.fedmed")
    coordinator.deliver(update, simulation.now, name)
    assert ends(simulation)[name] == ("accepted", "")
    coordinator.deliver(b"not a file of ours" * 100, simulation.now, os.fsdecode(b"\xff.fedmed"))
    assert ends(simulation)[os.fsdecode(b"\xff.fedmed")] == ("rejected", "FM-FRM-01")


def test_links_pipes_and_folders_are_refused_and_not_opened(
    simulation: Simulation, coordinator: Coordinator, update: bytes, tmp_path: Path
) -> None:
    inbox = coordinator.root / "inbox"
    (tmp_path / "elsewhere").write_bytes(update)
    (inbox / "link.fedmed").symlink_to(tmp_path / "elsewhere")
    (inbox / "dangling.fedmed").symlink_to(tmp_path / "nowhere")
    os.mkfifo(inbox / "pipe.fedmed")
    (inbox / "folder.fedmed").mkdir()
    (inbox / "device.fedmed").symlink_to("/dev/zero")
    found = ends(simulation)
    for name in ("link", "dangling", "pipe", "folder", "device"):
        assert found[f"{name}.fedmed"] == ("rejected", "FM-FRM-01"), name
    assert coordinator.workspace().record.newest("update") is None


def test_a_sector_that_cannot_be_read_ends_the_file_and_not_the_command() -> None:
    """Reading the first bytes of /proc/self/mem fails with EIO, as a worn stick does."""
    fd = os.open("/proc/self/mem", os.O_RDONLY)
    try:
        assert code_of(lambda: reading.reader(fd).exactly(512)) == "FM-WAI-04"
    finally:
        os.close(fd)


def test_an_inbox_that_is_not_there_is_not_an_empty_one(simulation: Simulation, coordinator: Coordinator) -> None:
    """An unmounted share must not let cron wait for ever."""
    shutil.rmtree(coordinator.root / "inbox")
    assert code_of(lambda: coordinator.look(simulation.now)) == "FM-RES-05"


@pytest.mark.parametrize("damage", [lambda d: d[:-1500] + bytes(1500), lambda d: bytes(len(d)), lambda d: d + b"\0"])
def test_a_young_file_that_does_not_verify_may_still_be_growing(
    simulation: Simulation, coordinator: Coordinator, update: bytes, damage: object
) -> None:
    data = damage(update)  # type: ignore[operator]
    first = coordinator.judge(data, simulation.now, age=0)
    assert first == (Outcome.INCOMPLETE, "FM-WAI-04", 75)
    assert coordinator.judge(data, simulation.now, age=59.5)[0] is Outcome.INCOMPLETE
    assert coordinator.judge(data, simulation.now, age=60.5)[0] is Outcome.REJECTED
    assert coordinator.judge(data, simulation.now, age=-3600)[0] is Outcome.REJECTED, "from a clock ahead of ours"


def test_a_short_file_is_incomplete_however_old(
    simulation: Simulation, coordinator: Coordinator, update: bytes
) -> None:
    for length in (0, 100, 512, 2000, len(update) - 1):
        assert coordinator.judge(update[:length], simulation.now, age=1e7) == (Outcome.INCOMPLETE, "FM-WAI-04", 75)


def test_a_copy_that_grows_is_taken_when_it_is_whole(
    simulation: Simulation, coordinator: Coordinator, update: bytes
) -> None:
    for length in (0, 700, 3000, len(update) - 512, len(update)):
        path = coordinator.deliver(update[:length], simulation.now, "growing.fedmed", age=0)
        outcome = ends(simulation)[path.name][0]
        assert outcome == ("accepted" if length == len(update) else "incomplete")


def test_a_good_file_is_taken_however_young(simulation: Simulation, coordinator: Coordinator, update: bytes) -> None:
    assert coordinator.judge(update, simulation.now, age=0) == (Outcome.ACCEPTED, "", 0)


def test_what_is_archived_is_what_was_sent_and_private(
    simulation: Simulation, coordinator: Coordinator, update: bytes
) -> None:
    coordinator.judge(update, simulation.now)
    kept = coordinator.workspace().archived(statement_id(update))
    assert kept.read_bytes() == update
    assert kept.stat().st_mode & 0o077 == 0
    assert list((coordinator.root / "state" / "spool").iterdir()) == []


def test_a_file_that_a_killed_run_archived_is_recorded_by_the_next(
    simulation: Simulation, coordinator: Coordinator, update: bytes
) -> None:
    coordinator.workspace().archived(statement_id(update)).write_bytes(update)
    coordinator.look(simulation.now)
    assert coordinator.workspace().record.newest("update", sender="cc") is not None
    assert coordinator.workspace().archived(statement_id(update)).read_bytes() == update


def test_looking_again_costs_no_reading(simulation: Simulation, coordinator: Coordinator, update: bytes) -> None:
    coordinator.deliver(update, simulation.now, "u2.fedmed")
    coordinator.deliver(update[:-1] + b"x", simulation.now, "u1.fedmed")
    first, again = ends(simulation), ends(simulation)
    assert (first["u1.fedmed"], first["u2.fedmed"]) == (("rejected", "FM-FRM-01"), ("accepted", ""))
    assert (again["u1.fedmed"], again["u2.fedmed"]) == (("rejected", "FM-FRM-01"), ("duplicate", ""))


def test_a_file_replaced_under_the_same_name_is_looked_at_again(
    simulation: Simulation, coordinator: Coordinator, update: bytes
) -> None:
    coordinator.deliver(update[:-1] + b"x", simulation.now, "u.fedmed")
    assert ends(simulation)["u.fedmed"][0] == "rejected"
    coordinator.deliver(update, simulation.now, "u.fedmed")
    assert ends(simulation)["u.fedmed"][0] == "accepted"


def test_status_looks_and_writes_nothing(simulation: Simulation, coordinator: Coordinator, update: bytes) -> None:
    coordinator.deliver(update, simulation.now)
    before = snapshot(coordinator.root)
    found = coordinator.workspace()
    arrivals = intake.look_at_all(found, desk.terms(desk.started(found)), simulation.now)
    assert [each.verdict.outcome.value for each in arrivals] == ["accepted"]
    assert snapshot(coordinator.root) == before


def snapshot(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


# --- between the look and the copy ----------------------------------------------------------------------------------


def taken_in(simulation: Simulation, path: Path, before_the_copy: object) -> str:
    """`receive`, with something happening to the file after it was examined."""
    with desk.opened(simulation.coordinator.root, simulation.now) as found:
        terms = desk.terms(desk.require_started(found))
        fd = files.open_regular(path)
        try:
            verdict, envelope = examining.examine(fd, intake.situate(found, terms, simulation.now), terms.limit)
            assert (verdict.outcome, envelope is not None) == (Outcome.ACCEPTED, True)
            before_the_copy()  # type: ignore[operator]
            assert envelope is not None
            return intake._take_in(found, fd, envelope, verdict, terms)[0].code
        finally:
            os.close(fd)


def test_a_file_that_changes_after_it_was_judged_is_not_taken(
    simulation: Simulation, coordinator: Coordinator, update: bytes
) -> None:
    other = simulation.update("bb", 1.0)
    number = update.index(samples.members(update)[2][1]) + len(samples.members(update)[2][1]) - 4
    path = coordinator.deliver(update, simulation.now)
    for change, code in [
        (lambda: path.write_bytes(other), "FM-FRM-01"),
        (lambda: path.write_bytes(update[:-1100] + b"\1" + update[-1099:]), "FM-FRM-01"),
        (lambda: path.write_bytes(update[:number] + b"\1\2" + update[number + 2 :]), "FM-TRU-10"),
        (lambda: path.write_bytes(update[:3000]), "FM-WAI-04"),
        (lambda: path.write_bytes(update + b"\0"), "FM-FRM-01"),
        (lambda: path.write_bytes(b""), "FM-WAI-04"),
    ]:
        path.write_bytes(update)
        assert taken_in(simulation, path, change) == code
        assert not coordinator.workspace().archived(statement_id(update)).exists()
        assert list((coordinator.root / "state" / "spool").iterdir()) == []


def test_a_file_that_is_replaced_or_deleted_is_taken_as_it_was_judged(
    simulation: Simulation, coordinator: Coordinator, update: bytes
) -> None:
    path = coordinator.deliver(update, simulation.now)
    other = path.with_name("other")
    other.write_bytes(b"something else")
    assert taken_in(simulation, path, lambda: other.replace(path)) == ""
    assert coordinator.workspace().archived(statement_id(update)).read_bytes() == update


def test_payload_bytes_pass_through_in_pieces() -> None:
    """What is verified is what is copied, whatever the size of a read."""
    data = samples.sample("update")
    for step in (1, 7, 512, 1 << 20):
        copy = bytearray()
        place = 0

        def source(size: int, step: int = step) -> bytes:
            nonlocal place
            piece = data[place : place + min(size, step)]
            place += len(piece)
            return piece

        reader = Reader(artifact.verified_copy(source, copy.extend))
        envelope = artifact.read_envelope(reader)
        said = intake.statement.decode(envelope.raw)
        for _ in artifact.read_payloads(reader, said, {}):
            pass
        assert bytes(copy) == data
        assert artifact.total_size(envelope, said) == len(data)
        offset = artifact.payload_offset(envelope, said, "update.safetensors")
        assert data[offset : offset + len(samples.UPDATE)] == samples.UPDATE


# --- quarantine ------------------------------------------------------------------------------------------------------


def test_a_refused_file_is_kept_with_its_reason(
    simulation: Simulation, coordinator: Coordinator, update: bytes
) -> None:
    data = update[:-1] + b"x"
    coordinator.deliver(data, simulation.now, "bad.fedmed")
    coordinator.look(simulation.now)
    coordinator.look(simulation.now)
    folder = coordinator.root / "quarantine"
    (reason,) = folder.glob("*.json")
    told = json.loads(reason.read_text())
    assert (told["code"], told["outcome"], told["name"]) == ("FM-FRM-01", "rejected", "bad.fedmed")
    (kept,) = folder.glob("*.fedmed")
    assert kept.read_bytes() == data
    assert kept.stat().st_mode & 0o077 == 0


def test_quarantine_is_capped_in_bytes_and_files(
    simulation: Simulation, coordinator: Coordinator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seen, "QUARANTINE_FILES", 3)
    coordinator.deliver(b"x" * (3 << 20), simulation.now)
    for number in range(6):
        coordinator.deliver(b"%d" % number * 600, simulation.now)
    coordinator.look(simulation.now)
    kept = list((coordinator.root / "quarantine").glob("*.fedmed"))
    assert len(kept) == 3
    assert max(path.stat().st_size for path in kept) == seen.QUARANTINE_BYTES


def test_a_memo_that_cannot_be_read_is_no_memo(simulation: Simulation, coordinator: Coordinator, update: bytes) -> None:
    coordinator.deliver(update[:-1] + b"x", simulation.now, "bad.fedmed")
    coordinator.look(simulation.now)
    for memo in (coordinator.root / "state" / "seen").iterdir():
        memo.write_bytes(b"{torn")
    assert ends(simulation)["bad.fedmed"] == ("rejected", "FM-FRM-01")


def test_a_memo_holds_under_one_version_of_the_federation_and_lies_in_one_place(coordinator: Coordinator) -> None:
    path = coordinator.root / "inbox" / "bad.fedmed"
    path.write_bytes(b"x" * 600)
    refused = Verdict(Outcome.REJECTED, "FM-SIG-03", "by a key that version 1 does not have")
    seen.Seen(coordinator.workspace(), path, "version 1").remember(refused)
    assert seen.Seen(coordinator.workspace(), path, "version 1").verdict == refused
    later = seen.Seen(coordinator.workspace(), path, "version 2")
    assert later.verdict is None
    before = list((coordinator.root / "state" / "seen").iterdir())
    later.remember(refused)
    assert (
        list((coordinator.root / "state" / "seen").iterdir()) == before
    )  # where a kill left a half, it is written anew
    assert seen.Seen(coordinator.workspace(), path, "version 2").verdict == refused


# --- joins and federations, taken by their own commands --------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "data", "expected"),
    [
        ("join", samples.sample("join"), "ok"),
        ("federation", samples.sample("federation"), "ok"),
        ("federation", samples.sample("join"), "FM-SIG-04"),
        ("join", samples.sample("approval"), "FM-SIG-04"),
        ("join", samples.sample("join")[:-1], "FM-WAI-04"),
        ("join", samples.sample("join") + b"\0", "FM-FRM-01"),
        ("join", bytes(2 << 20), "FM-FRM-01"),
        ("join", samples.resigned(samples.sample("join"), samples.key("riks")), "FM-SIG-05"),
    ],
    ids=range(8),
)
def test_a_self_signed_file_is_of_one_piece(tmp_path: Path, kind: str, data: bytes, expected: str) -> None:
    (tmp_path / "file.fedmed").write_bytes(data)
    assert code_of(lambda: examining.open_self_signed(tmp_path / "file.fedmed", kind)) == expected


def test_a_self_signed_file_that_is_a_link_or_missing_is_refused(tmp_path: Path) -> None:
    (tmp_path / "join.fedmed").write_bytes(samples.sample("join"))
    (tmp_path / "link.fedmed").symlink_to(tmp_path / "join.fedmed")
    for name in ("link.fedmed", "missing.fedmed"):
        assert code_of(lambda name=name: examining.open_self_signed(tmp_path / name, "join")) == "FM-FRM-01"


def test_the_limit_is_a_megabyte_until_there_is_a_federation() -> None:
    large = artifact.Expected("", 100 << 20, Layout(samples.TABLE).inspector)
    assert intake.Terms(None).limit == 1 << 20
    assert intake.Terms(None, {"model.safetensors": large}).limit == 1 << 20
