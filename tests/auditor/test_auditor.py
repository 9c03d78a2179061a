"""What anyone can do with the files, without a workspace of the federation; and with one, the books."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from fedmed.auditor import books, inspection, keyring
from fedmed.cli.app import app
from fedmed.errors import FedmedError
from fedmed.exchange import keys
from tests.coded import code_of
from tests.federation import simulator
from tests.federation.simulator import statement_id
from tests.vectors import samples

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.federation.simulator import Simulation


def quiet(done: int, total: int) -> None:
    assert 0 < done <= total


@pytest.fixture
def file_of(tmp_path: Path) -> Callable[[str], Path]:
    def write(kind: str) -> Path:
        path = tmp_path / f"{kind}.fedmed"
        path.write_bytes(samples.sample(kind))
        return path

    return write


@pytest.mark.parametrize("kind", samples.KINDS)
def test_inspecting_shows_what_a_file_says(file_of: Callable[[str], Path], kind: str) -> None:
    data = samples.sample(kind)
    found = inspection.inspect(file_of(kind))
    sender = "coordinator" if kind in samples.OF_COORDINATOR else "st-olav"
    assert (found.kind, found.sender, found.id) == (kind, sender, statement_id(data))
    assert found.spoken.replace(" ", "") == statement_id(data)[:32]
    assert found.key == keys.fingerprint(samples.public(sender))
    assert found.file_bytes == found.expected_bytes == len(data)
    in_round = ("model", "update", "unmask-request", "unmask-reply", "report", "state")
    assert (found.round, found.attempt) == ((0, 1) if kind in in_round else (None, None))


def test_inspecting_writes_lists_as_people_do(file_of: Callable[[str], Path]) -> None:
    shown = {kind: CliRunner().invoke(app, ["inspect", str(file_of(kind))]).output for kind in samples.KINDS}
    assert [kind for kind, text in shown.items() if re.search(r"[\[\]{}']|None|True|False", text)] == []
    assert "\n  base_metrics: metric dice, label ball, n 5, mean 0.5, sd 0.1\n" in shown["update"]
    assert re.search(r"\n  roster: name riks, .*; name st-olav, ", shown["federation"])
    assert "\n  parents: -\n" in shown["model"]
    assert "\n  last: no\n" in shown["model"]


def test_inspecting_reads_no_payload_and_tells_that_it_is_cut(tmp_path: Path) -> None:
    data = samples.sample("update")
    (tmp_path / "cut.fedmed").write_bytes(data[:-2000])
    found = inspection.inspect(tmp_path / "cut.fedmed")
    assert (found.file_bytes, found.expected_bytes) == (len(data) - 2000, len(data))


@pytest.mark.parametrize("kind", samples.KINDS)
def test_verifying_names_the_owner_only_with_a_federation(file_of: Callable[[str], Path], kind: str) -> None:
    alone = inspection.verify(file_of(kind), None)
    held = inspection.verify(file_of(kind), file_of("federation"))
    assert alone.owner == ""
    assert held.owner == held.inspected.sender
    assert set(alone.checked) < set(held.checked)
    assert [(name, size) for name, size, _ in held.payloads] == [
        (name, len(data)) for name, data in samples.of_kind(kind)[1]
    ]
    assert ("tensor table and finite numbers" in held.checked) == (kind in ("model", "update", "state"))


def test_without_a_federation_a_stranger_is_only_a_key(tmp_path: Path) -> None:
    data = samples.resigned(
        samples.sample("update"), samples.key("x"), lambda predicate: predicate.update(sender=samples.actor("xx"))
    )
    path = tmp_path / "u.fedmed"
    data = samples.resigned(data, samples.key("xx"))
    path.write_bytes(data)
    (tmp_path / "f.fedmed").write_bytes(samples.sample("federation"))
    assert inspection.verify(path, None).owner == ""
    assert code_of(lambda: inspection.verify(path, tmp_path / "f.fedmed")) == "FM-SIG-03"


def test_what_cannot_be_opened_is_a_code(tmp_path: Path, file_of: Callable[[str], Path]) -> None:
    (tmp_path / "link.fedmed").symlink_to(file_of("join"))
    for path in (tmp_path / "link.fedmed", tmp_path, tmp_path / "missing.fedmed"):
        for call in (inspection.inspect, lambda p: inspection.verify(p, None)):
            assert code_of(lambda call=call, path=path: call(path)) == "FM-FRM-01"


def test_the_reference_must_be_a_federation(file_of: Callable[[str], Path]) -> None:
    assert code_of(lambda: inspection.verify(file_of("update"), file_of("model"))) == "FM-SIG-04"


def test_all_files_of_a_round_hold_against_the_federation(simulation: Simulation) -> None:
    for name in simulation.names:
        simulation.send_update(name, 1.0)
    simulation.coordinator.aggregate(simulation.now)
    reference = simulation.coordinator.root / "outbox" / "federation-v0001.fedmed"
    outboxes = [simulation.coordinator.root / "outbox", *(site.root / "outbox" for site in simulation.sites.values())]
    owners = {
        path.stem: inspection.verify(path, reference).owner for outbox in outboxes for path in sorted(outbox.iterdir())
    }
    assert len(owners) == 3 + 3 * 3
    for stem, owner in owners.items():
        last = stem.split("-")[-1]
        assert owner == (last if last in simulation.names else "coordinator"), stem


# --- the books -------------------------------------------------------------------------------------------------------


def test_unbroken_books(simulation: Simulation) -> None:
    simulation.coordinator.look(simulation.now)
    audit = books.verify(simulation.coordinator.root, quiet)
    found = simulation.coordinator.workspace()
    assert (audit.entries, audit.head) == (found.ledger.length, found.ledger.head)
    assert audit.archived == 3 + 2 + 3, "joins, federation and model 0, approvals"


def test_a_changed_ledger(simulation: Simulation) -> None:
    path = simulation.coordinator.root / "state" / "ledger.jsonl"
    path.write_bytes(path.read_bytes().replace(b"2031", b"2030", 1))
    assert code_of(lambda: books.verify(simulation.coordinator.root, quiet)) == "FM-TRU-08"


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.unlink(),
        lambda path: path.write_bytes(path.read_bytes()[:-1]),
        lambda path: path.write_bytes(path.read_bytes() + b"\0"),
        lambda path: path.write_bytes(path.read_bytes().replace(b"safetensors\x00", b"safetensorz\x00")),
        lambda path: path.write_bytes(path.read_bytes().replace(b'"kind":"model"', b'"kind":"medal"')),
        lambda path: path.write_bytes(path.read_bytes().replace(samples.MODEL[-4:] + b"\0" * 8, b"\1" * 12)),
        lambda path: path.write_bytes(samples.sample("join")),
    ],
    ids=range(7),
)
def test_a_damaged_archive(simulation: Simulation, damage: Callable[[Path], object]) -> None:
    found = simulation.coordinator.workspace()
    known = found.record.newest("model")
    assert known is not None
    path = found.archived(known.id)
    before = path.read_bytes()
    damage(path)
    assert not path.exists() or path.read_bytes() != before
    assert code_of(lambda: books.verify(simulation.coordinator.root, quiet)) == "FM-TRU-11"


def test_a_ledger_that_was_cut(simulation: Simulation) -> None:
    """Each line left follows from the one before; the archive knows better."""
    site = simulation.sites["aa"]
    ledger = site.root / "state" / "ledger.jsonl"
    lines = ledger.read_bytes().splitlines(keepends=True)
    ledger.write_bytes(b"".join(lines[:2]))
    with pytest.raises(FedmedError, match="the ledger does not") as caught:
        books.verify(site.root, lambda _done, _total: None)
    assert (caught.value.code, caught.value.next.split(",")[0]) == ("FM-TRU-08", "fedmed recover")
    ledger.unlink()
    assert code_of(lambda: books.verify(site.root, lambda _done, _total: None)) == "FM-TRU-08"


def test_a_state_that_is_named_and_is_not_there(simulation: Simulation) -> None:
    data = simulation.sites["aa"].update(simulation.now, simulator.filled(1.0), state="0" * 64)
    simulation.coordinator.deliver(data, simulation.now)
    assert code_of(lambda: books.verify(simulation.sites["aa"].root, quiet)) == "FM-STA-01"
    for name in ("bb", "cc"):
        simulation.send_update(name, 1.0)
    assert len(simulation.coordinator.aggregate(simulation.now).parents) == 3, "it is its sender's alone"
    assert books.verify(simulation.coordinator.root, quiet).archived > 0


def test_books_of_no_workspace(tmp_path: Path) -> None:
    assert code_of(lambda: books.verify(tmp_path, quiet)) == "FM-SET-01"


# --- keys ------------------------------------------------------------------------------------------------------------


def test_fingerprints_of_a_workspace(simulation: Simulation) -> None:
    site = simulation.sites["aa"]
    found = keyring.fingerprints(site.root)
    assert found.key == site.actor["key"]
    assert found.join == keys.spoken(statement_id(site.posted("join-aa")))
    assert found.federation == keys.spoken(statement_id(simulation.coordinator.posted("federation-v0001")))
    assert keyring.fingerprints(simulation.coordinator.root).join == ""


def test_the_roster_from_a_file_and_from_a_workspace_are_the_same(simulation: Simulation) -> None:
    path = simulation.coordinator.root / "outbox" / "federation-v0001.fedmed"
    text = keyring.allowed_signers(simulation.root, path)
    assert text == keyring.allowed_signers(simulation.sites["aa"].root, None)
    assert [line.split()[0] for line in text.splitlines()] == ["coordinator", "aa", "bb", "cc"]


def test_ssh_keygen_verifies_a_round_with_the_roster(simulation: Simulation, tmp_path: Path) -> None:
    """The auditor's three commands, on what a federation really wrote."""
    tools = {name: shutil.which(name) for name in ("tar", "ssh-keygen", "sha256sum")}
    assert all(tools.values()), f"install the auditor's tools: {tools}"
    (tmp_path / "u.fedmed").write_bytes(simulation.update("bb", 1.0))
    path = simulation.coordinator.root / "outbox" / "federation-v0001.fedmed"
    (tmp_path / "allowed_signers").write_text(keyring.allowed_signers(simulation.root, path))
    script = (
        "tar -xf u.fedmed && sha256sum update.safetensors && ssh-keygen -Y verify -f allowed_signers -I bb"
        " -n update@fedmed.v1 -O verify-time=20310302000000Z -s statement.json.sig < statement.json"
    )
    done = subprocess.run(["sh", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    digest = samples.statement_in((tmp_path / "u.fedmed").read_bytes())["subject"][0]["digest"]["sha256"]
    assert done.stdout.split()[0] == digest
    assert "Good" in done.stdout


def test_keys_of_no_workspace_or_no_federation(simulation: Simulation, tmp_path: Path) -> None:
    assert code_of(lambda: keyring.fingerprints(tmp_path)) == "FM-SET-01"
    (tmp_path / "state").mkdir()
    assert code_of(lambda: keyring.allowed_signers(tmp_path, None)) == "FM-FED-03"
