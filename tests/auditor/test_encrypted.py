"""Auditing a federation whose payloads are encrypted: what everybody can check, and what only who has a key can."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pyrage
import pytest
from typer.testing import CliRunner

from fedmed.auditor import books, inspection, rounds
from fedmed.cli.app import app
from fedmed.errors import FedmedError
from fedmed.exchange import agekeys, archived, confidential, statement
from tests.coded import code_of
from tests.federation.simulator import Simulation, statement_id
from tests.vectors import samples

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from click.testing import Result

NAMES = ("aa", "bb", "cc")


def quiet(*_: Any) -> None:
    """No bar."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Simulation:
    """One round of three hospitals, by FedAdam, which remembers."""
    simulation = Simulation(tmp_path_factory.mktemp("audited") / "world", NAMES)
    strategy = {"name": "fedadam", "server_lr": 0.1}
    simulation.found(encryption="age", rounds=2, min_sites=2, strategy=strategy)
    for number, name in enumerate(NAMES):
        simulation.send_update(name, 1.0 + number, 10 + number)
    simulation.coordinator.aggregate(simulation.now)
    simulation.carry_down()
    for name in NAMES:
        simulation.coordinator.deliver(simulation.sites[name].report(simulation.now), simulation.now)
    simulation.coordinator.look(simulation.now)
    return simulation


@pytest.fixture
def archive(world: Simulation, tmp_path: Path) -> Path:
    """What a third party was given: the files, and nothing else."""
    return shutil.copytree(world.coordinator.root / "archive", tmp_path / "given")


def key_of(world: Simulation, who: str = "coordinator") -> Path:
    return world.root / who / "keys" / "age.key"


def ran(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(each) for each in arguments])


# --- ledger audit ---------------------------------------------------------------------------------------------------


def test_with_the_key_of_the_coordinator_the_model_comes_out(world: Simulation, archive: Path) -> None:
    found = rounds.audit(archive, 0, quiet, key_of(world))
    assert (found.sites, found.remembered, found.opened) == (list(NAMES), 2, 2 + 3)
    known, _ = world.coordinator.newest_model()
    assert (found.sha256, found.model) == (known.payload, known.id)
    done = ran("ledger", "audit", "--round", 0, "-w", archive, "--age-key", key_of(world))
    assert done.exit_code == 0
    assert "5 files were encrypted, and opened with the age key" in done.output


def test_a_workspace_has_its_key_itself(world: Simulation) -> None:
    done = ran("ledger", "audit", "--round", 0, "-w", world.coordinator.root, "--json")
    assert (done.exit_code, json.loads(done.stdout)["opened"]) == (0, 5)


@pytest.mark.parametrize(("who", "closed"), [("", 5), ("aa", 2)])
def test_without_it_is_said_what_could_be_checked(world: Simulation, archive: Path, who: str, closed: int) -> None:
    """A hospital opens both models and its own update, and none of the others'."""
    with pytest.raises(FedmedError) as refused:
        rounds.audit(archive, 0, quiet, key_of(world, who) if who else None)
    assert (refused.value.code, refused.value.exit_code) == ("FM-SHR-15", 5)
    assert refused.value.message.startswith(f"round 0: {closed} of 5 files are encrypted and were not opened")
    assert refused.value.next == (
        "give keys/age.key of the coordinator, which opens all of them: "
        "fedmed ledger audit --round 0 --age-key FILE -w HERE"
    )


def forged(world: Simulation, archive: Path, kind: str, sender: str, change: Any, plaintext: bytes = b"") -> None:
    """A file of the archive is another one, signed by its sender again; `plaintext`: and encrypted."""
    for path in archive.glob("*.fedmed"):
        data = path.read_bytes()
        said = samples.statement_in(data)["predicate"]
        if (said["kind"], said["sender"]["name"]) == (kind, sender) and said.get("round", 0) == (kind == "model"):
            break
    more = {}
    if plaintext:
        bound = confidential.binding(statement.decode(samples.members(data)[0][1]))
        readers = [agekeys.recipient(key_of(world, who)) for who in (sender, *NAMES)]
        recipients = [pyrage.x25519.Recipient.from_str(each) for each in readers]
        more = {"payload": pyrage.encrypt(bound + plaintext, recipients)}
    changed = world.change(data, sender, change, **more)
    path.unlink()
    (archive / f"{statement_id(changed)}.fedmed").write_bytes(changed)


def test_another_model_in_the_ciphertext_is_found_with_the_key_alone(world: Simulation, archive: Path) -> None:
    found = world.coordinator.workspace()
    known, _ = world.coordinator.newest_model()
    weights = archived.read_payload(found, known.id, "model.safetensors")
    forged(world, archive, "model", "coordinator", lambda _: None, weights[:-4] + np.float32(9).tobytes())
    assert code_of(lambda: rounds.audit(archive, 0, quiet)) == "FM-SHR-15"
    assert code_of(lambda: rounds.audit(archive, 0, quiet, key_of(world))) == "FM-SHR-14"


def test_updates_of_different_models_are_found_without_a_key(world: Simulation, archive: Path) -> None:
    def elsewhere(predicate: dict[str, Any]) -> None:
        predicate["base_model"] = samples.ZEROS

    before = {path.stem for path in archive.glob("*.fedmed")}
    forged(world, archive, "update", "cc", elsewhere)
    (now,) = {path.stem for path in archive.glob("*.fedmed")} - before
    forged(world, archive, "model", "coordinator", lambda p: p["body"]["parents"][2].update(update=now))
    assert code_of(lambda: rounds.audit(archive, 0, quiet)) == "FM-SHR-14"


# --- ledger verify --------------------------------------------------------------------------------------------------


def test_a_ledger_says_what_is_in_the_files(world: Simulation) -> None:
    root = world.coordinator.root
    closed, whole = books.verify(root, quiet), books.verify(root, quiet, key_of(world))
    assert (closed.encrypted, closed.opened) == (2 + 3 + 3, 0)
    assert (whole.encrypted, whole.opened) == (8, 8)
    assert books.verify(root, quiet, key_of(world, "bb")).opened == 2 + 1 + 1
    own = books.verify(world.sites["bb"].root, quiet, key_of(world, "bb"))
    assert (own.encrypted, own.opened) == (2 + 1 + 1, 4)
    assert (
        "8 of 8 encrypted files opened: what is in them is what the ledger says"
        in ran("ledger", "verify", "-w", root).output
    )


def test_without_a_key_the_ledger_is_verified_and_that_is_said(world: Simulation, tmp_path: Path) -> None:
    root = shutil.copytree(world.coordinator.root, tmp_path / "copy")
    (root / "keys" / "age.key").unlink()
    done = ran("ledger", "verify", "-w", root)
    assert done.exit_code == 0
    assert "8 encrypted files: no key (--age-key FILE), so what is in them was not looked at" in done.output


def test_a_key_of_another_says_what_it_did_not_open(world: Simulation) -> None:
    done = ran("ledger", "verify", "-w", world.coordinator.root, "--age-key", key_of(world, "bb"))
    assert done.exit_code == 0
    assert "4 of 8 encrypted files opened" in done.output
    assert "the other 4 are not encrypted to this key, and what is in them was not looked at" in done.output


def test_an_own_key_that_is_not_the_own_one_is_refused(world: Simulation, tmp_path: Path) -> None:
    """All that was taken in was opened with it. And a key that opens nothing is the wrong one, whosesoever it is."""
    root = shutil.copytree(world.coordinator.root, tmp_path / "copy")
    shutil.copy(key_of(world, "bb"), root / "keys" / "age.key")
    done = ran("ledger", "verify", "-w", root)
    assert isinstance(done.exception, FedmedError)
    assert done.exception.code == "FM-AGE-02"
    assert done.exception.message.startswith("4 of 8 encrypted files do not open with keys/age.key of this workspace")
    agekeys.create(tmp_path / "strange.key")
    with pytest.raises(FedmedError, match="8 of 8 encrypted files do not open with the age key given") as refused:
        books.verify(world.coordinator.root, quiet, tmp_path / "strange.key")
    assert refused.value.code == "FM-AGE-02"


@pytest.mark.parametrize("damage", [lambda path: path.unlink(), lambda path: path.write_bytes(b"x")])
def test_a_federation_that_is_gone_is_named_itself(
    damage: Callable[[Path], object], world: Simulation, tmp_path: Path
) -> None:
    """And not the first encrypted file that is held against it."""
    root = shutil.copytree(world.coordinator.root, tmp_path / "copy")
    known = world.coordinator.workspace().record.newest("federation")
    assert known is not None
    damage(root / "archive" / f"{known.id}.fedmed")
    with pytest.raises(FedmedError) as missing:
        books.verify(root, quiet, key_of(world))
    assert (missing.value.code, missing.value.message[:27]) == ("FM-TRU-11", f"archive: {known.id[:16]}..")


def test_a_file_that_rotted_is_named_by_the_audit(world: Simulation, archive: Path) -> None:
    known, _ = world.coordinator.newest_model()
    path = archive / f"{known.id}.fedmed"
    data = bytearray(path.read_bytes())
    data[data.index(b"age-encryption.org/v1") + 300] ^= 1
    path.write_bytes(data)
    with pytest.raises(FedmedError) as rotten:
        rounds.audit(archive, 0, quiet, key_of(world))
    assert (rotten.value.code, rotten.value.message.split(":")[0]) == ("FM-TRU-10", path.name)


def test_other_contents_than_the_ledger_noted_are_found(world: Simulation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inspection, "look_inside", lambda *_: (None, samples.ZEROS))
    assert code_of(lambda: books.verify(world.coordinator.root, quiet, key_of(world))) == "FM-TRU-11"


def test_contents_that_cannot_be_are_found(world: Simulation, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(*_: Any) -> None:
        raise FedmedError("FM-TEN-02", "a number is not finite")

    monkeypatch.setattr(inspection, "look_inside", refuses)
    with pytest.raises(FedmedError, match="a number is not finite") as damaged:
        books.verify(world.coordinator.root, quiet, key_of(world))
    assert damaged.value.code == "FM-TRU-11"


# --- verify ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def update(world: Simulation, tmp_path: Path) -> Path:
    path = tmp_path / "update.fedmed"
    path.write_bytes(world.sites["bb"].posted("update-r0000-bb"))
    return path


@pytest.mark.parametrize("by", ["-w", "--age-key"])
def test_who_has_a_key_verifies_what_is_in_a_file(world: Simulation, update: Path, by: str) -> None:
    federation = world.coordinator.root / "outbox" / "federation-v0001.fedmed"
    key = world.coordinator.root if by == "-w" else key_of(world)
    done = ran("verify", update, "-f", federation, by, key)
    assert done.exit_code == 0
    assert done.output.count("hashes of the encrypted payloads;") == 1
    assert "what is encrypted to this key; tensor table and finite numbers" in done.output
    bare = ran("verify", update, "-f", federation).output
    assert "what is in them only their recipients can check" in bare
    assert "finite" not in bare


def test_a_key_that_does_not_open_it_is_told(world: Simulation, update: Path) -> None:
    federation = world.coordinator.root / "outbox" / "federation-v0001.fedmed"
    assert code_of(lambda: inspection.verify(update, federation, key_of(world, "cc"))) == "FM-AGE-02"
    done = ran("verify", update, "--age-key", key_of(world))
    assert isinstance(done.exception, FedmedError)
    assert done.exception.code == "FM-USE-01", "held against nothing"


def test_a_key_file_that_is_not_there(world: Simulation, archive: Path, tmp_path: Path) -> None:
    (tmp_path / "open").write_bytes(key_of(world).read_bytes())
    (tmp_path / "open").chmod(0o644)
    codes = {}
    for name in ("nowhere", "open"):
        for words in (("audit", "--round", 0, "-w", archive), ("verify", "-w", world.coordinator.root)):
            done = ran("ledger", *words, "--age-key", tmp_path / name)
            assert isinstance(done.exception, FedmedError)
            codes[name, words[0]] = done.exception.code
    assert set(codes.values()) <= {"FM-KEY-01", "FM-KEY-02"}, codes


def refused(*words: object) -> FedmedError:
    done = ran(*words)
    assert isinstance(done.exception, FedmedError), done.output
    return done.exception


def test_what_somebody_named_is_what_the_advice_is_about(world: Simulation, update: Path, tmp_path: Path) -> None:
    """Not a workspace's own keys, nor the sender's file, where a path was mistyped."""
    outbox, signing = world.coordinator.root / "outbox", world.root / "aa" / "keys" / "signing.key"
    assert signing.exists()
    for words in (("inspect", update), ("verify", update, "-f", outbox / "federation-v0001.fedmed")):
        for path in (tmp_path / "nowhere", signing):
            error = refused(*words, "--age-key", path)
            assert (error.code, error.next) == ("FM-KEY-02", "give keys/age.key of a recipient: --age-key")
        error = refused(*words, "-w", tmp_path)
        assert error.code == "FM-SET-01"
        for by in (("--age-key", key_of(world, "cc")), ("-w", world.root / "cc")):
            error = refused(*words, *by)
            assert error.code == "FM-AGE-02"
            assert error.next.startswith("give the age key of one of bb, coordinator: ")
    key = tmp_path / "open key"
    key.write_bytes(key_of(world).read_bytes())
    key.chmod(0o644)
    assert refused("inspect", update, "--age-key", key).next == f"chmod 600 '{key}'"


def test_no_fact_is_told_twice(world: Simulation, update: Path) -> None:
    """Facts that stand in clear, and those that a key opened."""
    open_ = [ran("inspect", update, "--age-key", key_of(world)).output.splitlines()]
    open_ += [ran("inspect", path).output.splitlines() for path in (world.root / "aa" / "archive").glob("*.fedmed")]
    names = [[line.split(":")[0] for line in lines if line.startswith("  ")] for lines in open_]
    assert "  num_cases" in names[0]
    assert all(len(set(each)) == len(each) and "  facts" not in each for each in names)


def test_another_file_in_the_place_of_the_federation(world: Simulation, update: Path, tmp_path: Path) -> None:
    other = tmp_path / "notes.txt"
    other.write_text("no signed file\n" * 100)
    for path in (update, world.root / "aa" / "outbox" / "join-aa.fedmed", other, tmp_path / "nowhere"):
        for words in (("verify", update, "-f", path), ("keys", "allowed-signers", "-f", path)):
            assert refused(*words).next == f"{path}: give a federation file, such as federation-v0001.fedmed"
