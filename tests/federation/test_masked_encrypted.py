"""Masks inside of encrypted files: the same sums, nothing for who steals the sticks, and what is proven stays so."""

from __future__ import annotations

import re
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pyrage
import pytest

from fedmed import files
from fedmed.auditor import rounds
from fedmed.coordinator import desk, status, void
from fedmed.errors import FedmedError
from fedmed.exchange import agekeys, archived, bodies, bundles, canonical, confidential, maskkeys, statement
from fedmed.exchange.bodies_privacy import PrivacyBlock
from fedmed.exchange.verdict import Outcome
from fedmed.learning import masking, params, shapes
from fedmed.site import status as site_status
from fedmed.site import unmask
from tests import small
from tests.coded import code_of
from tests.federation import masked_world
from tests.federation.masked_world import NAMES, answer, ask, play, request_for, send
from tests.federation.simulator import filled
from tests.federation.test_masked_culprits import HONEST, send_spoiled
from tests.vectors import samples

if TYPE_CHECKING:
    from pathlib import Path

    from tests.federation.simulator import Actor, Simulation

VALUES, CASES = {"aa": 1.0, "bb": -0.5, "cc": 0.25, "dd": 2.0}, {"aa": 10, "bb": 20, "cc": 40, "dd": 5}  # not ee


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Simulation:
    return masked_world.founded(tmp_path_factory.mktemp("both") / "world", encryption="age")


@pytest.fixture
def world(template: Simulation, tmp_path: Path) -> Simulation:
    return template.copied_to(tmp_path / "world")


@pytest.fixture(scope="module")
def over(template: Simulation, tmp_path_factory: pytest.TempPathFactory) -> Simulation:
    """Two rounds behind it: one without ee, and one of all; of those asked, as many answer as are needed."""
    world = template.copied_to(tmp_path_factory.mktemp("over") / "world")
    for values in (VALUES, {**VALUES, "ee": 0.5}):
        send(world, values, CASES)
        answer(world, ask(world).sites[:4])
        world.coordinator.aggregate(world.now)
        world.carry_down()
    return world


@pytest.mark.slow
def test_the_models_are_those_of_a_federation_in_clear(over: Simulation, tmp_path: Path) -> None:
    """One site drops out of the first sum, and one of the sum does not answer about the second: to the last bit."""
    clear = masked_world.founded(tmp_path / "clear")
    for values in (VALUES, {**VALUES, "ee": 0.5}):
        play(clear, values, CASES)
    known, weights = over.coordinator.newest_model()
    assert known.round == 2
    expected = clear.coordinator.newest_model()[1]
    assert all(np.array_equal(weights[name], expected[name]) for name in expected)


def test_the_sum_is_that_of_the_updates(over: Simulation) -> None:
    """The first model is the one before it and the mean of what four hospitals would have sent in whole numbers."""
    running = desk.require_started(over.coordinator.workspace())
    quantiser, rows = running.terms.quantiser(masked_world.CLIP), shapes.in_wire_order(running.travelling)
    elements = shapes.elements(running.travelling)
    plain = [quantiser.quantise(np.full(elements, VALUES[name], np.float32), CASES[name]).vector for name in VALUES]
    reads = [lambda first, count, vector=vector: vector[first : first + count] for vector in plain]
    pooled = masking.pooled(quantiser, reads, elements, (), (), lambda _: pytest.fail("a mask"))
    mean = np.concatenate(list(pooled.pieces)).astype(np.float32)
    found = over.coordinator.workspace()
    known = found.record.model(1)
    assert known is not None
    data = archived.read_payload(found, known.id, "model.safetensors")
    flat = np.concatenate([params.from_payload(data, running.travelling)[row.name].reshape(-1) for row in rows])
    before = np.concatenate([samples.WEIGHTS[row.name].reshape(-1) for row in rows])
    assert np.array_equal(flat, before + mean)
    assert abs(float(mean[0]) - sum(VALUES[name] * CASES[name] for name in VALUES) / sum(CASES.values())) < 1e-5


def test_an_auditor_with_the_key_of_the_coordinator_computes_both_rounds(over: Simulation, tmp_path: Path) -> None:
    given = shutil.copytree(over.coordinator.root / "archive", tmp_path / "given")
    key = over.coordinator.root / "keys" / "age.key"
    for round_, sites in ((0, list(VALUES)), (1, list(NAMES))):
        found = rounds.audit(given, round_, lambda *_: None, key)
        assert (found.sites, found.opened) == (sites, 2 + len(sites))
    assert code_of(lambda: rounds.audit(given, 0, lambda *_: None)) == "FM-SHR-15"


def everything(world: Simulation) -> list[tuple[Actor, str]]:
    """What the coordinator and the sites hold of each other."""
    found = []
    for actor in (world.coordinator, *world.sites.values()):
        record = actor.workspace().record  # type: ignore[attr-defined]
        found += [(actor, each.id) for each in (*record.said, *record.received)]
    return found


def test_who_steals_the_sticks_opens_no_sum(over: Simulation) -> None:
    """Replies and masked vectors together are the sum; the next model reveals the seeds; `clip` tells of its norm."""
    kinds = set()
    for actor, id_ in everything(over):
        found = actor.workspace()  # type: ignore[attr-defined]
        said = statement.decode(archived.read_envelope(found, id_).raw)
        if said.kind not in statement.ENCRYPTED:
            continue
        kinds.add(said.kind)
        data = found.archived(id_).read_bytes()
        assert {part.enc for part in said.predicate.payload} == {"age"}
        for part in said.predicate.payload:
            assert archived.read_payload(found, id_, part.name)[-24:] not in data
        assert getattr(said.predicate.body, "clip", None) is None
        assert not re.search(r"10\.0|\b75\b", archived.read_envelope(found, id_).raw.decode())
    assert kinds == {"model", "update", "unmask-request", "unmask-reply"}


def test_every_command_that_only_looks_works(over: Simulation) -> None:
    assert status.status(over.coordinator.root, over.now)
    assert site_status.status(over.sites["aa"].root, over.now)


def test_nothing_decrypted_stays_on_the_disk(over: Simulation) -> None:
    for actor in (over.coordinator, *over.sites.values()):
        assert list((actor.root / "state" / "spool").iterdir()) == []


@pytest.mark.parametrize("reader", ["aa", "coordinator", "bb"])
def test_a_request_is_for_one_site(over: Simulation, reader: str) -> None:
    data = request_for(over, "aa")
    payload = samples.members(data)[2][1]
    identity = agekeys.load(over.root / reader / "keys" / "age.key")
    if reader == "bb":
        with pytest.raises(pyrage.DecryptError):
            pyrage.decrypt(payload, [identity])
    else:
        canonical.decode(pyrage.decrypt(payload, [identity])[32:])


# --- stages ---------------------------------------------------------------------------------------------------------


def seal_killed(world: Simulation, monkeypatch: pytest.MonkeyPatch, at: str) -> None:
    """aa is killed before a file gets its name: the committed one in the `spool`, or that in the `archive`. Between
    them stands the line of the ledger.
    """
    real = files.publish

    def publish(part: Path, target: Path, **more: Any) -> None:
        if target.parent.name == at and (part.name == "update.part" or part.suffix == ".said"):
            raise KeyboardInterrupt
        real(part, target, **more)

    with monkeypatch.context() as patched:
        patched.setattr(files, "publish", publish)
        with pytest.raises(KeyboardInterrupt):
            world.sites["aa"].masked_update(world.now, filled(1.0))


def updates_of(world: Simulation, name: str) -> list[bytes]:
    folder = world.sites[name].root / "archive"
    found = [path.read_bytes() for path in sorted(folder.glob("*.fedmed"))]
    return [data for data in found if samples.statement_in(data)["predicate"]["kind"] == "update"]


def test_killed_before_the_commit_all_is_drawn_and_encrypted_afresh(
    world: Simulation, monkeypatch: pytest.MonkeyPatch
) -> None:
    seal_killed(world, monkeypatch, "spool")
    draft = (world.sites["aa"].root / "state" / "spool" / "update.part").read_bytes()
    data = world.sites["aa"].masked_update(world.now, filled(1.0))
    assert updates_of(world, "aa") == [data]
    assert samples.members(data)[2] != samples.members(draft)[2]
    assert samples.statement_in(data)["predicate"]["seq"] == samples.statement_in(draft)["predicate"]["seq"]
    assert list((world.sites["aa"].root / "state" / "spool").iterdir()) == []


def test_killed_behind_the_commit_the_same_bytes_are_posted_for_ever(
    world: Simulation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ciphertexts too are made once: another encryption of the same update would be a second statement."""
    seal_killed(world, monkeypatch, "archive")
    (committed,) = (world.sites["aa"].root / "state" / "spool").glob("*.said")
    before = committed.read_bytes()
    posted = world.sites["aa"].root / "outbox" / "update-r0000-aa.fedmed"
    assert world.sites["aa"].masked_update(world.now, filled(1.0)) == before
    posted.unlink()
    assert world.sites["aa"].masked_update(world.now, filled(2.0)) == before
    assert updates_of(world, "aa") == [before]
    assert world.coordinator.judge(before, world.now) == (Outcome.ACCEPTED, "", 0)


def test_killed_while_it_is_encrypted_nothing_of_it_stays(world: Simulation, monkeypatch: pytest.MonkeyPatch) -> None:
    real = confidential.encrypt

    def encrypt(part: Any, *rest: Any) -> Any:
        if part.name == bundles.SHARES:
            raise KeyboardInterrupt
        return real(part, *rest)

    with monkeypatch.context() as patched:
        patched.setattr(confidential, "encrypt", encrypt)
        with pytest.raises(KeyboardInterrupt):
            world.sites["aa"].masked_update(world.now, filled(1.0))
    data = world.sites["aa"].masked_update(world.now, filled(1.0))
    assert updates_of(world, "aa") == [data]
    assert list((world.sites["aa"].root / "state" / "spool").iterdir()) == []
    assert maskkeys.held(world.sites["aa"].workspace().mask_keys) == [1, 2], "of the killed one the same key"


def test_a_killed_answer_is_one_answer(world: Simulation, monkeypatch: pytest.MonkeyPatch) -> None:
    """The set that is answered stands in the ledger; a reply that nobody saw may be encrypted again."""
    send(world, VALUES)
    ask(world)
    with monkeypatch.context() as patched:
        patched.setattr(unmask.sealing, "say", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            world.sites["aa"].unmask(world.now)
    data = world.sites["aa"].unmask(world.now)
    assert world.sites["aa"].unmask(world.now) == data
    assert len(world.sites["aa"].workspace().record.of("unmask-reply")) == 1


# --- attempts and culprits ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def spoiled(template: Simulation, tmp_path_factory: pytest.TempPathFactory) -> Simulation:
    """ee spoiled the first attempt, and the second one waits for answers."""
    world = template.copied_to(tmp_path_factory.mktemp("spoiled") / "world")
    send(world, HONEST)
    send_spoiled(world, "ee")
    ask(world)
    answer(world, NAMES)
    assert code_of(lambda: world.coordinator.aggregate(world.now)) == "FM-MSK-14"
    assert void.void(world.coordinator.root, world.now, "ee spoiled it").without == ["ee"]
    world.carry_down()
    send(world, {**HONEST, "ee": 1.0})
    ask(world)
    return world


def test_who_spoiled_a_sum_is_proven_to_those_who_cannot_open_its_files(spoiled: Simulation, tmp_path: Path) -> None:
    world = spoiled.copied_to(tmp_path / "world")
    answer(world, NAMES[:4])
    made = world.coordinator.aggregate(world.now)
    assert [parent.site for parent in made.parents] == list(NAMES[:4])


def test_another_attempt_has_the_same_weights_in_other_ciphertexts(spoiled: Simulation) -> None:
    found = spoiled.sites["aa"].workspace()
    one, two = found.record.models()
    assert (one.attempt, two.attempt, one.payload) == (1, 2, two.payload)
    assert archived.read_payload(found, one.id, "model.safetensors") == archived.read_payload(
        found, two.id, "model.safetensors"
    )
    said = [samples.statement_in(found.archived(each.id).read_bytes()) for each in (one, two)]
    assert said[0]["subject"][0] != said[1]["subject"][0]


def encrypted_by_hand(world: Simulation, data: bytes, sender: str, plaintext: bytes, *names: str) -> bytes:
    bound = confidential.binding(statement.decode(samples.members(data)[0][1]))
    paths = [world.root / name / "keys" / "age.key" for name in (sender, *names)]
    return pyrage.encrypt(bound + plaintext, [pyrage.x25519.Recipient.from_str(agekeys.recipient(p)) for p in paths])


def test_another_attempt_with_other_weights_is_refused(world: Simulation) -> None:
    """Only what is in the ciphertext differs, so only who opens it sees that."""
    for name in ("aa", "bb"):
        world.sites[name].look(world.now)
    void.void(world.coordinator.root, world.now, "why")
    data = world.coordinator.posted("model-r0000-a2")
    weights = archived.read_payload(world.coordinator.workspace(), _id(data), "model.safetensors")
    other = weights[:-4] + np.float32(8).tobytes()
    forged = encrypted_by_hand(world, data, "coordinator", other, *NAMES)
    changed = world.change(data, "coordinator", lambda p: p.update(seq=90), payload=forged)
    assert world.sites["aa"].judge(changed, world.now)[:2] == (Outcome.REJECTED, "FM-RND-02")
    assert world.sites["bb"].judge(data, world.now)[:2] == (Outcome.ACCEPTED, "")


def _id(data: bytes) -> str:
    return samples.sha256(samples.members(data)[0][1])


# --- what is said in private ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "said", "code"),
    [
        ("facts", {"facts": {"num_cases": 10}}, "FM-FRM-03"),
        ("charged to nothing", {"privacy": samples.PRIVACY | {"noise_multiplier": None}}, "FM-FRM-03"),
        ("with its noise", {"privacy": samples.PRIVACY}, "FM-FRM-03"),
        ("nothing", {}, ""),
    ],
)
def test_a_masked_update_tells_nothing_in_private_either(world: Simulation, name: str, said: Any, code: str) -> None:
    data = world.sites["ee"].masked_update(world.now, filled(1.0))
    private = canonical.encode({"facts": None, "privacy": None, **said})
    forged = encrypted_by_hand(world, data, "ee", private, "coordinator")
    changed = world.change(data, "ee", lambda _: None, payload=forged, place=3)
    assert world.coordinator.judge(changed, world.now)[1] == code, name


def test_what_patients_spent_is_told_in_private(world: Simulation, monkeypatch: pytest.MonkeyPatch) -> None:
    """All three together: noise at the hospital, masks and encryption. Its reservation is in clear, for a restore."""
    block = PrivacyBlock(unit="patient", epsilon="3.1", delta="0.00001", noise_multiplier="1.5")
    trained = small.update_body(10)
    facts = trained.told.model_copy(update={"train_loss": None})
    told = {"facts": facts, "privacy": block, "reservation": small.RESERVATION}
    monkeypatch.setattr(small, "update_body", lambda _: trained.model_copy(update=told))
    data = world.sites["ee"].masked_update(world.now, filled(1.0))
    said = samples.statement_in(data)["predicate"]["body"]
    assert (said["privacy"], said["facts"], said["reservation"]) == (None, None, small.RESERVATION)
    assert world.coordinator.judge(data, world.now)[0] == Outcome.ACCEPTED
    body = archived.read_archived(world.coordinator.workspace(), _id(data)).predicate.body
    assert isinstance(body, bodies.Update)
    assert body.privacy == block.model_copy(update={"noise_multiplier": None})


def test_a_reply_in_clear_is_refused(world: Simulation) -> None:
    send(world, VALUES)
    ask(world)
    data = world.sites["aa"].unmask(world.now)
    plain = archived.read_payload(world.sites["aa"].workspace(), _id(data), "reply.json")
    clear = world.change(data, "aa", lambda p: p["payload"][0].update(enc="none"), payload=plain)
    assert world.coordinator.judge(clear, world.now) == (Outcome.REJECTED, "FM-AGE-01", 5)
    assert world.coordinator.judge(data, world.now) == (Outcome.ACCEPTED, "", 0)


@pytest.mark.parametrize("private", [{"weights": [1] * 4, "shares": ["0.25"] * 4}, {"clip": None}])
def test_a_model_of_masked_updates_tells_no_weights_and_its_clip(over: Simulation, private: Any) -> None:
    found = over.coordinator.workspace()
    known = found.record.model(1)
    assert known is not None
    data = canonical.decode(archived.read_payload(found, known.id, "body.json"))
    said = statement.decode(archived.read_envelope(found, known.id).raw)
    assert (
        archived.private_facts.show(said, canonical.encode(data)).predicate
        == archived.read_archived(found, known.id).predicate
    )
    with pytest.raises(FedmedError) as refused:
        archived.private_facts.show(said, canonical.encode({**data, **private}))
    assert refused.value.code == "FM-FRM-03"


def test_a_model_that_leaves_out_the_seeds_is_refused(over: Simulation, tmp_path: Path) -> None:
    world = over.copied_to(tmp_path / "world")
    data = world.coordinator.posted("model-r0002")
    said, payloads = samples.statement_in(data), samples.members(data)[2:]
    place = [name for name, _ in payloads].index("unmask.json")
    for part in (said["predicate"]["payload"], said["subject"], payloads):
        del part[place]
    said["predicate"] |= {"seq": 90}
    bare = samples.signed(said, payloads, by=world.coordinator.key)
    assert world.sites["bb"].judge(bare, world.now)[1] == "FM-MSK-03"


def test_a_reply_that_is_not_what_its_statement_tells_opens_nothing(world: Simulation) -> None:
    send(world, VALUES)
    ask(world)
    answer(world, ["bb", "cc", "dd"])
    data = world.sites["aa"].unmask(world.now)
    lie = world.change(data, "aa", lambda p: p["body"].update(shown=samples.ZEROS))
    world.coordinator.deliver(lie, world.now)
    with pytest.raises(FedmedError, match="3 of 4 answers") as waits:
        world.coordinator.aggregate(world.now)
    assert waits.value.code == "FM-MSK-07"
