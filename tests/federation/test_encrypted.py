"""A federation whose payloads are encrypted: the same models, and nothing for who steals the stick."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import numpy as np
import pyrage
import pytest
from typer.testing import CliRunner

from fedmed.auditor import inspection
from fedmed.cli.app import app
from fedmed.coordinator import evaluate, status
from fedmed.coordinator import recover as at_coordinator
from fedmed.errors import FedmedError
from fedmed.exchange import agekeys, archived, canonical, confidential, predicates, statement
from fedmed.exchange.verdict import Outcome
from fedmed.site import recover as at_site
from fedmed.site import status as site_status
from tests.federation.simulator import INITIAL, Simulation, restore
from tests.vectors import samples

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NAMES = ("aa", "bb", "cc")
REJECTED = Outcome.REJECTED
CASES = 873  # a number to look for


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Simulation:
    simulation = Simulation(tmp_path_factory.mktemp("encrypted") / "world", NAMES)
    simulation.found(encryption="age", rounds=2, min_sites=2)
    for name in NAMES:
        simulation.sites[name].look(simulation.now)
    return simulation


@pytest.fixture
def world(begun: Simulation, tmp_path: Path) -> Simulation:
    return begun.copied_to(tmp_path / "world")


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Simulation:
    simulation = Simulation(tmp_path_factory.mktemp("plain") / "world", NAMES)
    return simulation.found(rounds=2, min_sites=2)


def run(world: Simulation) -> dict[str, np.ndarray]:
    """Two rounds, each site its own change, and reports."""
    for _ in range(2):
        for number, name in enumerate(NAMES):
            world.send_update(name, 1.0 + number, CASES + number)
        world.coordinator.aggregate(world.now)
        world.carry_down()
    for name in NAMES:
        world.coordinator.deliver(world.sites[name].report(world.now), world.now)
    world.coordinator.look(world.now)
    return dict(world.coordinator.newest_model()[1])


def test_the_models_are_those_of_a_plain_federation(world: Simulation, plain: Simulation, tmp_path: Path) -> None:
    encrypted, clear = run(world), run(plain.copied_to(tmp_path / "clear"))
    assert sorted(encrypted) == sorted(INITIAL)
    assert all(np.array_equal(encrypted[name], clear[name]) for name in clear)
    found = world.coordinator.workspace()
    model = found.record.model(1)
    assert model is not None
    said = archived.read_archived(found, model.id).predicate
    assert isinstance(said, predicates.ModelPredicate)
    assert [each.weight for each in said.body.parents] == [CASES, CASES + 1, CASES + 2]
    update = found.record.of("update", sender="bb", round=1)[0]
    assert statement.decode(archived.read_envelope(found, update.id).raw).predicate.base_model == model.payload
    digest = hashlib.sha256(archived.read_payload(found, model.id, "model.safetensors")).hexdigest()
    assert model.payload == digest, "of the plaintext"
    table = evaluate.evaluate(world.coordinator.root, world.now, "validation")
    assert [report.body.told.num_cases for report in table.reports] == [4, 4, 4]


def test_every_command_that_only_looks_works(world: Simulation) -> None:
    run(world)
    assert status.status(world.coordinator.root, world.now)
    assert site_status.status(world.sites["aa"].root, world.now)


def test_who_steals_the_stick_finds_no_count_metric_tensor_or_plain_digest(world: Simulation) -> None:
    run(world)
    found = world.coordinator.workspace()
    known = [*found.record.of("model"), *found.record.of("update"), *found.record.of("report")]
    assert len(known) == 3 + 6 + 3
    base = {each.payload for each in found.record.of("model")}
    for each in known:
        data = found.archived(each.id).read_bytes()
        said = statement.decode(archived.read_envelope(found, each.id).raw)
        assert {part.enc for part in said.predicate.payload} == {"age"}
        for part in said.predicate.payload:
            plaintext = archived.read_payload(found, each.id, part.name)
            digest = hashlib.sha256(plaintext).hexdigest()
            assert plaintext[-24:] not in data
            assert digest.encode() not in data or (digest in base and each.kind != "model")
        text = archived.read_envelope(found, each.id).raw.decode()
        assert not re.search(rf"\b{CASES}\b", text)
        assert "dice" not in text
        body = said.predicate.body
        assert getattr(body, "facts", None) is None
        assert not getattr(body, "pooled", [])
        assert [parent.weight for parent in getattr(body, "parents", []) if parent.weight] == []


def test_nothing_decrypted_stays_on_the_disk(world: Simulation) -> None:
    run(world)
    evaluate.evaluate(world.coordinator.root, world.now, "validation")
    for actor in (world.coordinator, *world.sites.values()):
        assert list((actor.root / "state" / "spool").iterdir()) == []


def lie(world: Simulation, change: Callable[[dict[str, Any]], object] = lambda _: None, **more: Any) -> tuple:
    """How an update of cc ends after a change that cc signs."""
    return world.coordinator.judge(world.change(world.update("cc", 1.0), "cc", change, **more), world.now)


def ciphertext(world: Simulation, plaintext: bytes, *names: str, head: bytes | None = None) -> bytes:
    """An age file as cc would make it, or with another binding, or for others."""
    bound = confidential.binding(statement.decode(samples.members(world.update("cc", 1.0))[0][1]))
    federation = world.coordinator.workspace()
    keys_ = [world.root / name / "keys" / "age.key" for name in names or ("coordinator", "cc")]
    assert federation
    readers = [pyrage.x25519.Recipient.from_str(agekeys.recipient(path)) for path in keys_]
    return pyrage.encrypt((bound if head is None else head) + plaintext, readers)


def payload_of(world: Simulation, name: str = "update.safetensors", sender: str = "cc") -> bytes:
    found = world.sites[sender].workspace()
    known = found.record.newest("update")
    assert known is not None
    return archived.read_payload(found, known.id, name)


def test_one_that_is_made_by_hand_is_taken(world: Simulation) -> None:
    world.update("cc", 1.0)
    data = ciphertext(world, payload_of(world))
    assert lie(world, payload=data) == (Outcome.ACCEPTED, "", 0)


def test_another_sites_ciphertext_is_not_passed_on(world: Simulation) -> None:
    foreign = samples.members(world.update("bb", 2.0))
    data = next(part for name, part in foreign if name == "update.safetensors")
    assert lie(world, payload=data) == (REJECTED, "FM-AGE-03", 4)


def test_a_payload_of_another_round_is_not_sent_again(world: Simulation) -> None:
    old = samples.members(world.update("cc", 2.0))
    for name in NAMES:
        world.send_update(name, 1.0)
    world.coordinator.aggregate(world.now)
    world.carry_down()
    data = next(part for name, part in old if name == "update.safetensors")
    assert lie(world, payload=data) == (REJECTED, "FM-AGE-03", 4)


@pytest.mark.parametrize(
    ("made", "code"),
    [
        (lambda w, p: ciphertext(w, p, head=bytes(32)), "FM-AGE-03"),
        (lambda w, _: ciphertext(w, b"", head=b"short"), "FM-AGE-04"),
        (lambda w, p: ciphertext(w, p[:-4]), "FM-AGE-04"),
        (lambda w, p: ciphertext(w, p + bytes(4)), "FM-AGE-04"),
        (lambda w, p: ciphertext(w, p[:-4] + np.float32("nan").tobytes()), "FM-TEN-02"),
        (lambda w, p: ciphertext(w, bytes(8) + p[8:]), "FM-TEN-01"),
        (lambda w, p: ciphertext(w, p, "aa", "cc"), "FM-AGE-02"),
        (lambda w, p: ciphertext(w, p, "coordinator", "cc", "aa"), "FM-AGE-04"),
        (lambda w, p: ciphertext(w, p)[:-1], "FM-AGE-04"),
        (lambda w, p: ciphertext(w, p)[:-1] + b"x", "FM-AGE-02"),
        (lambda _, p: p, "FM-AGE-04"),
        (lambda _, p: b"age-encryption.org/v1\n-> scrypt abc 18\nabc\n--- abc\n" + p, "FM-AGE-04"),
    ],
    ids=["binding", "no binding", "short", "long", "nan", "header", "others", "more", "cut", "flip", "clear", "scrypt"],
)
def test_a_false_ciphertext_is_refused(world: Simulation, made: Callable[..., bytes], code: str) -> None:
    world.update("cc", 1.0)
    assert lie(world, payload=made(world, payload_of(world)))[:2] == (REJECTED, code)


def test_a_flip_is_found_before_anything_is_decrypted(world: Simulation, monkeypatch: pytest.MonkeyPatch) -> None:
    data = bytearray(world.update("cc", 1.0))
    data[data.index(b"age-encryption.org/v1") + 300] ^= 1
    monkeypatch.setattr(confidential, "decrypt", lambda *_: pytest.fail("decrypted"))
    assert world.coordinator.judge(bytes(data), world.now)[:2] == (REJECTED, "FM-TRU-10")


def private(privacy: dict[str, Any] | None = None, **changed: Any) -> bytes:
    facts = {"num_cases": 10, "num_patients": 10, "num_steps": 4, "train_loss": "0.5", "base_metrics": []}
    return canonical.encode({"facts": {**facts, "exclusions": [], **changed}, "privacy": privacy})


@pytest.mark.parametrize(
    ("data", "end"),
    [
        (private(), (Outcome.ACCEPTED, "", 0)),
        (private(samples.PRIVACY, train_loss=None), (Outcome.ACCEPTED, "", 0)),
        (private(samples.PRIVACY), (REJECTED, "FM-FRM-03", 5)),
        (private(train_loss=None), (REJECTED, "FM-FRM-03", 5)),
        (private(num_cases=100_001), (REJECTED, "FM-TEN-03", 5)),
        (private(num_patients=11), (REJECTED, "FM-TEN-03", 5)),
        (private(num_cases=0), (REJECTED, "FM-FRM-03", 5)),
        (private(patient="x"), (REJECTED, "FM-FRM-03", 5)),
        (private() + b"\n", (REJECTED, "FM-FRM-02", 5)),
        (b"{}", (REJECTED, "FM-FRM-03", 5)),
        (b"x" * ((1 << 20) + 1), (REJECTED, "FM-AGE-04", 5)),
    ],
)
def test_what_is_said_in_private_is_held_to_the_same_rules(world: Simulation, data: bytes, end: tuple) -> None:
    charged = {"reservation": samples.RESERVATION if b'"privacy":{' in data else None}
    assert lie(world, lambda p: p["body"].update(charged), payload=ciphertext(world, data), place=1) == end


def test_what_was_spent_in_private_was_charged_in_clear(world: Simulation) -> None:
    """A hospital that was restored has no more of it than the statement."""
    data = private(samples.PRIVACY, train_loss=None)
    assert lie(world, payload=ciphertext(world, data), place=1) == (REJECTED, "FM-FRM-03", 5)
    charged = {"reservation": samples.RESERVATION}
    end = lie(world, lambda p: p["body"].update(charged), payload=ciphertext(world, private()), place=1)
    assert end == (REJECTED, "FM-FRM-03", 5)


def made_clear(world: Simulation) -> bytes:
    """The update of cc as in a plain federation."""
    said, payloads = samples.statement_in(world.update("cc", 1.0)), [("update.safetensors", payload_of(world))]
    said["predicate"]["payload"] = [said["predicate"]["payload"][0] | {"enc": "none", "bytes": len(payloads[0][1])}]
    said["predicate"]["body"]["facts"] = canonical.decode(private())["facts"]
    said["subject"] = [{"name": name, "digest": {"sha256": samples.sha256(data)}} for name, data in payloads]
    return samples.signed(said, payloads, by=world.sites["cc"].key)


def made_encrypted(world: Simulation) -> bytes:
    """The update of cc as in an encrypted federation."""
    said, old = samples.statement_in(world.update("cc", 1.0)), [("update.safetensors", payload_of(world))]
    payloads = [(name, ciphertext(world, data)) for name, data in (*old, ("body.json", private()))]
    said["predicate"]["payload"] = [
        said["predicate"]["payload"][0] | {"name": name, "enc": "age", "bytes": len(data)} for name, data in payloads
    ]
    said["predicate"]["body"]["facts"] = None
    said["subject"] = [{"name": name, "digest": {"sha256": samples.sha256(data)}} for name, data in payloads]
    return samples.signed(said, payloads, by=world.sites["cc"].key)


def test_clear_in_an_encrypted_federation_and_the_reverse(world: Simulation, plain: Simulation, tmp_path: Path) -> None:
    assert world.coordinator.judge(made_clear(world), world.now) == (REJECTED, "FM-AGE-01", 5)
    other = plain.copied_to(tmp_path / "clear")
    for name in NAMES:
        other.sites[name].look(other.now)
    assert other.coordinator.judge(made_encrypted(other), other.now) == (REJECTED, "FM-AGE-01", 5)


def test_partly_encrypted_is_nothing(world: Simulation) -> None:
    assert lie(world, lambda p: p["payload"][1].update(enc="none"))[:2] == (REJECTED, "FM-FRM-03")
    told = canonical.decode(private())["facts"]
    assert lie(world, lambda p: p["body"].update(facts=told))[:2] == (REJECTED, "FM-FRM-03")


@pytest.mark.skipif(shutil.which("age") is None, reason="the program age is not installed")
def test_the_stock_program_opens_what_is_for_it(world: Simulation, tmp_path: Path) -> None:
    """The auditor's commands in the README."""
    (tmp_path / "update.tar").write_bytes(world.update("bb", 2.0, CASES))
    subprocess.run(["tar", "-xf", "update.tar"], cwd=tmp_path, check=True)
    opened = {}
    for name in ("update.safetensors", "body.json"):
        for who in ("coordinator", "bb"):
            command = ["age", "-d", "-i", world.root / who / "keys" / "age.key", name]
            plaintext = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True).stdout
            opened[name] = plaintext[32:]
    assert opened["update.safetensors"] == payload_of(world, sender="bb")
    assert canonical.decode(opened["body.json"])["facts"]["num_cases"] == CASES
    stranger = ["age", "-d", "-i", world.root / "aa" / "keys" / "age.key", "body.json"]
    assert subprocess.run(stranger, cwd=tmp_path, check=False, capture_output=True).returncode != 0


@pytest.mark.skipif(shutil.which("age") is None, reason="the program age is not installed")
def test_what_the_stock_program_encrypts_is_taken(world: Simulation) -> None:
    world.update("cc", 1.0)
    bound = confidential.binding(statement.decode(samples.members(world.update("cc", 1.0))[0][1]))
    readers = [part for who in ("coordinator", "cc") for part in ("-r", recipient(world, who))]
    made = subprocess.run(["age", *readers], input=bound + payload_of(world), check=True, capture_output=True).stdout
    assert lie(world, payload=made) == (Outcome.ACCEPTED, "", 0)


def recipient(world: Simulation, who: str) -> str:
    return agekeys.recipient(world.root / who / "keys" / "age.key")


def test_who_has_a_key_sees_what_others_only_verify(world: Simulation, tmp_path: Path) -> None:
    path, federation = tmp_path / "update.fedmed", tmp_path / "federation.fedmed"
    path.write_bytes(world.update("bb", 2.0, CASES))
    federation.write_bytes(world.coordinator.posted("federation-v0001"))
    verified = inspection.verify(path, federation)
    assert verified.owner == "bb"
    assert "hashes of the encrypted payloads; what is in them only their recipients can check" in verified.checked
    assert not any("finite" in what for what in verified.checked)
    shown = CliRunner().invoke(app, ["inspect", str(path)]).output
    assert "what it tells is encrypted" in shown
    assert str(CASES) not in shown.replace("sha256", "")[: shown.index("payload")]
    told = CliRunner().invoke(app, ["inspect", str(path), "-w", str(world.coordinator.root)]).output
    assert f"num_cases: {CASES}\n" in told
    refused = CliRunner().invoke(app, ["inspect", str(path), "-w", str(world.sites["aa"].root)])
    assert isinstance(refused.exception, FedmedError)
    assert refused.exception.code == "FM-AGE-02"


def test_a_rotten_archive_says_so(world: Simulation) -> None:
    world.send_update("cc", 1.0)
    world.coordinator.look(world.now)
    found = world.coordinator.workspace()
    known = found.record.newest("update")
    assert known is not None
    path = found.archived(known.id)
    data = bytearray(path.read_bytes())
    path.chmod(0o600)
    places = {
        "update.safetensors": data.index(b"age-encryption.org/v1") + 300,
        "body.json": data.rindex(b"age-encryption.org/v1") + 30,
    }
    for name, at in places.items():
        path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        with pytest.raises(FedmedError) as rotten:
            archived.read_payload(found, known.id, name)
        assert rotten.value.code == "FM-TRU-11"


def test_a_restored_coordinator_goes_on_with_the_encrypted_file_that_a_site_has(world: Simulation) -> None:
    """What is answered is the digest of the tensors in it, which its ledger has again."""
    backup = world.copied_to(world.root.parent / "backup").coordinator
    for name in NAMES:
        world.send_update(name, 1.0)
    world.coordinator.aggregate(world.now)
    before = world.coordinator.workspace().record.model(1)
    world.carry_down()
    for name in NAMES:
        world.sites[name].look(world.now)
    restore(world.coordinator, backup.root)
    for path in at_site.vouch(world.sites["aa"].root, "coordinator", world.now):
        world.coordinator.deliver(path.read_bytes(), world.now)
    at_coordinator.recover(world.coordinator.root, world.now)
    after = world.coordinator.workspace().record.model(1)
    assert before is not None
    assert after is not None
    assert (after.id, after.payload) == (before.id, before.payload)
    for name in NAMES:
        world.send_update(name, 1.0)
    assert world.coordinator.aggregate(world.now).round == 2
