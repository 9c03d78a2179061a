"""Keys that their owners replace: the old one vouches for the new, and nobody else can."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fedmed.auditor import books, inspection, keyring, rounds
from fedmed.coordinator import desk as coordinator_desk
from fedmed.coordinator import recover as vouched
from fedmed.coordinator import revoke, rotate
from fedmed.coordinator import status as coordinator_status
from fedmed.exchange import canonical, certificates, keys, newkeys, pins, rotations, sshsig
from fedmed.exchange import workspace as workspaces
from fedmed.exchange.verdict import Outcome
from fedmed.site import desk, pin, recover, status
from fedmed.site import rotate as bedside
from tests.coded import code_of
from tests.vectors import samples

from .simulator import Simulation, predicate_of, statement_id

if TYPE_CHECKING:
    from pathlib import Path

    from fedmed.exchange.federation import Federation

    from .simulator import End, Hospital

ACCEPTED = (Outcome.ACCEPTED, "", 0)
REFUSED = (Outcome.REJECTED, "FM-ROS-12", 4)


def say(world: Simulation, name: str) -> bytes:
    """The rotation of an actor, carried to those whom it is for."""
    if name == "coordinator":
        return rotate.rotate(world.coordinator.root, world.now).posted.read_bytes()
    data = bedside.rotate(world.sites[name].root, world.now).posted.read_bytes()
    world.coordinator.deliver(data, world.now)
    return data


def play(world: Simulation, value: float = 1.0) -> None:
    """A whole round, and what came of it in every inbox."""
    for name in world.names:
        world.send_update(name, value)
    world.coordinator.aggregate(world.now)
    world.carry_down()
    for name in world.names:
        world.sites[name].look(world.now)


def agreed(site: Hospital) -> Federation:
    return desk.require_approved(desk.peek(site.root)).agreement.federation


def key_of(world: Simulation, name: str) -> str:
    actor = world.coordinator if name == "coordinator" else world.sites[name]
    return keys.fingerprint(actor.workspace().public_key)


def test_a_site_replaces_its_key_between_two_rounds(simulation: Simulation) -> None:
    site, root, old = simulation.sites["aa"], simulation.sites["aa"].root, key_of(simulation, "aa")
    first = bedside.rotate(root, simulation.now)
    assert (first.old, first.is_new) == (old, True)
    assert first.posted.name == "rotation-aa-0003.fedmed"
    again = bedside.rotate(root, simulation.now)
    assert (again.new, again.is_new) == (first.new, False)
    assert (root / "keys" / "next.key").stat().st_mode & 0o777 == 0o600
    simulation.coordinator.deliver(first.posted.read_bytes(), simulation.now)
    play(simulation)
    assert agreed(site).founding.version == 2
    assert key_of(simulation, "aa") == first.new == key_of_roster(agreed(simulation.sites["bb"]), "aa")
    assert not (root / "keys" / "next.key").exists()
    assert predicate_of(simulation.update("aa", 1.0))["sender"]["key"] == first.new
    play(simulation)
    done = simulation.coordinator.workspace().record.newest("model")
    assert done is not None
    assert done.last
    assert code_of(lambda: bedside.rotate(root, simulation.now)) == "FM-ROS-15"


def key_of_roster(federation: Federation, name: str) -> str:
    return keys.fingerprint(federation.key_of(name))


def test_a_second_rotation_follows_the_first(simulation: Simulation) -> None:
    first = say(simulation, "aa")
    play(simulation)
    second = say(simulation, "aa")
    assert predicate_of(second)["sender"]["key"] == key_of(simulation, "aa")
    assert simulation.coordinator.judge(second, simulation.now)[0] is Outcome.DUPLICATE, "its second copy"
    assert simulation.coordinator.judge(first, simulation.now) == (Outcome.DUPLICATE, "", 0)
    play(simulation)
    told = agreed(simulation.sites["bb"])
    assert [name for name, _ in told.former] == ["aa", "aa"]
    assert told.founding.version == 3


def test_the_coordinator_replaces_its_key_and_every_site_follows(simulation: Simulation) -> None:
    old = key_of(simulation, "coordinator")
    say(simulation, "coordinator")
    say(simulation, "bb")
    play(simulation)
    new = key_of(simulation, "coordinator")
    assert new != old
    assert predicate_of(simulation.coordinator.posted("federation-v0002"))["sender"]["key"] == old
    assert predicate_of(simulation.coordinator.posted("model-r0001"))["sender"]["key"] == new
    for site in simulation.sites.values():
        assert agreed(site).coordinator().key == new
        assert not list((site.root / "quarantine").iterdir())
    play(simulation)
    books.verify(simulation.coordinator.root, lambda *_: None)
    for number in (0, 1):
        rounds.audit(simulation.coordinator.root, number, lambda *_: None)


def test_status_says_who_rotates_and_reads_what_comes_with_a_version(simulation: Simulation) -> None:
    site, now = simulation.sites["aa"].root, simulation.now
    say(simulation, "aa")
    say(simulation, "coordinator")
    simulation.coordinator.look(now)
    assert coordinator_status.status(simulation.coordinator.root, now).rotating == ["aa", "coordinator"]
    assert status.status(site, now).rotating == ["aa"]
    found = keyring.fingerprints(site)
    assert found.next_key not in ("", found.key)
    for name in simulation.names:
        simulation.send_update(name, 1.0)
    simulation.coordinator.aggregate(now)
    simulation.carry_down()
    looked = status.status(site, now)
    assert {each.verdict.code for each in looked.waiting} == {""}
    assert looked.next == status.status(simulation.sites["bb"].root, now).next
    simulation.sites["aa"].look(now)
    assert (status.status(site, now).rotating, keyring.fingerprints(site).next_key) == ([], "")


def test_a_pin_goes_over_to_the_new_key(simulation: Simulation) -> None:
    site = simulation.sites["aa"]
    read = keyring.fingerprints(simulation.sites["bb"].root).join
    pin.pin(site.root, "bb", simulation.now, lambda: read)
    say(simulation, "bb")
    play(simulation)
    assert pins.confirmed(site.workspace().record, agreed(site)) == ["bb"]
    assert keyring.fingerprints(simulation.sites["bb"].root).join == read, "the join stays"


def test_approvals_of_before_count_after(simulation: Simulation) -> None:
    say(simulation, "aa")
    play(simulation)
    data = simulation.coordinator.posted("model-r0001")
    brought = json.loads(dict(samples.members(data)[2:])["approvals.json"])["approvals"]
    assert len(brought) == 3
    assert simulation.sites["cc"].workspace().record.model(1) is not None


# what a coordinator could try, and others


def next_version(world: Simulation, change: Any) -> bytes:
    """What the coordinator would seal behind version 1, after `change(body)`."""
    federation = world.coordinator.posted("federation-v0001")
    said, first = samples.statement_in(federation), statement_id(federation)
    predicate = said["predicate"]
    predicate |= {"seq": 30, "prev": samples.ZEROS}
    predicate["federation"] |= {"version": 2, "previous": first, "approved": first}
    change(predicate["body"])
    return samples.signed(said, samples.members(federation)[2:], by=world.coordinator.key)


def quote(data: bytes) -> dict[str, str]:
    (_, raw), (_, armour) = samples.members(data)[:2]
    return {"statement": raw.decode(), "signature": sshsig.to_line(armour)}


def swapped(world: Simulation, site: str, *, line: str = "", quotes: list[dict[str, str]] | None = None) -> End:
    """How version 2 ends at the site bb that gives `site` this key, with these rotations."""

    def change(body: dict[str, Any]) -> None:
        for member in body["roster"]:
            if member["name"] == site:
                member["key"] = line
        body["rotations"] = quotes or []

    return world.sites["bb"].judge(next_version(world, change), world.now)


def line_in(rotation: bytes) -> str:
    return str(predicate_of(rotation)["body"]["key"])


def test_a_key_without_its_owners_word_is_refused(simulation: Simulation) -> None:
    """A coordinator that swaps a key and forwards the approvals of before."""
    usurper = keys.public_line(samples.public("usurper"))
    assert swapped(simulation, "cc", line=usurper) == REFUSED
    assert agreed(simulation.sites["bb"]).founding.version == 1


def test_a_rotation_of_another_site_moves_nothing(simulation: Simulation) -> None:
    data = say(simulation, "aa")
    assert swapped(simulation, "cc", line=line_in(data), quotes=[quote(data)]) == REFUSED
    assert swapped(simulation, "aa", line=line_in(data), quotes=[quote(data)]) == ACCEPTED


def test_a_rotation_that_another_site_signed_in_its_name_is_refused(simulation: Simulation) -> None:
    data = say(simulation, "aa")
    by_cc = simulation.change(data, "cc", lambda p: p.update(sender={**simulation.sites["cc"].actor, "name": "aa"}))
    assert swapped(simulation, "aa", line=line_in(data), quotes=[quote(by_cc)]) == REFUSED


def test_a_rotation_to_a_key_that_its_sender_does_not_hold_is_refused(simulation: Simulation) -> None:
    data, stranger = say(simulation, "aa"), keys.public_line(samples.public("stranger"))

    statement = samples.statement_in(data)
    statement["predicate"]["body"]["key"] = stranger
    statement["predicate"] |= {"seq": 9, "prev": samples.ZEROS}
    statement["subject"][0]["digest"]["sha256"] = keys.digest_in(keys.fingerprint(samples.public("stranger")))
    false = samples.signed(statement, [], by=simulation.sites["aa"].key)
    assert simulation.coordinator.judge(false, simulation.now) == REFUSED
    assert swapped(simulation, "aa", line=stranger, quotes=[quote(false)]) == REFUSED


def test_a_rotation_of_before_is_not_replayed(simulation: Simulation) -> None:
    """Back from the newest key to the one before, with the statement that once led there."""
    first = say(simulation, "aa")
    play(simulation)
    second = say(simulation, "aa")
    simulation.coordinator.look(simulation.now)
    for name in simulation.names:
        simulation.send_update(name, 1.0)
    simulation.coordinator.aggregate(simulation.now)
    third = simulation.coordinator.posted("federation-v0003")
    said = samples.statement_in(third)
    quotes = said["predicate"]["body"]["rotations"]
    assert quotes == [quote(first), quote(second)]
    said["predicate"]["body"]["rotations"] = [*quotes, quotes[0]]
    member = next(each for each in said["predicate"]["body"]["roster"] if each["name"] == "aa")
    member["key"] = line_in(first)
    replayed = samples.signed(said, samples.members(third)[2:], by=simulation.coordinator.key)
    assert simulation.sites["bb"].judge(replayed, simulation.now) == REFUSED
    assert simulation.sites["bb"].judge(third, simulation.now) == ACCEPTED


def test_a_revoked_key_vouches_for_nobody(simulation: Simulation) -> None:
    data = say(simulation, "aa")
    root, now = simulation.coordinator.root, simulation.now
    revoked = revoke.revoke(root, "aa", 2, "stolen", now).posted.read_bytes()
    assert simulation.coordinator.judge(data, now) == (Outcome.REJECTED, "FM-ROS-04", 4)
    simulation.sites["bb"].judge(revoked, now)
    assert swapped(simulation, "aa", line=line_in(data), quotes=[quote(data)]) == REFUSED


def test_a_rotation_from_before_the_theft_counts_no_more(simulation: Simulation) -> None:
    """The laptop was stolen with both keys: that the number is the owner's does not bring the site back."""
    data = say(simulation, "aa")
    simulation.coordinator.look(simulation.now)
    revoked = revoke.revoke(simulation.coordinator.root, "aa", 3, "stolen", simulation.now).posted.read_bytes()
    assert predicate_of(data)["seq"] == 3
    assert coordinator_status.status(simulation.coordinator.root, simulation.now).rotating == []
    for name in ("bb", "cc"):
        simulation.send_update(name, 1.0)
    simulation.coordinator.aggregate(simulation.now)
    assert not (simulation.coordinator.root / "outbox" / "federation-v0002.fedmed").exists()
    simulation.sites["bb"].judge(revoked, simulation.now)
    assert swapped(simulation, "aa", line=line_in(data), quotes=[quote(data)]) == REFUSED


def test_an_old_key_takes_no_number_from_its_owner(simulation: Simulation) -> None:
    """An approval may come late, by the key of then; whoever has that key now cannot exclude the site with one."""
    thief, now = simulation.sites["aa"].key, simulation.now
    approval = (simulation.sites["aa"].root / "outbox" / "approval-v0001-aa.fedmed").read_bytes()
    say(simulation, "aa")
    play(simulation)
    update = simulation.send_update("aa", 1.0)
    simulation.coordinator.look(now)
    number = predicate_of(update)["seq"]
    for seq in (number, number + 1, 3):
        false = samples.resigned(approval, thief, lambda p, seq=seq: p.update(seq=seq))  # type: ignore[misc]
        assert simulation.coordinator.judge(false, now) == (Outcome.REJECTED, "FM-ROS-13", 4)
    assert simulation.coordinator.judge(approval, now)[0] is Outcome.DUPLICATE
    assert not simulation.coordinator.workspace().record.conflicts


def test_an_approval_by_the_key_of_then_may_come_late(tmp_path: Path) -> None:
    world = Simulation(tmp_path / "f", ("aa", "bb", "cc")).found(approved=["bb", "cc"], rounds=3)
    thief, approval = world.sites["aa"].key, world.sites["aa"].approve(world.now)
    say(world, "aa")
    for name in ("bb", "cc"):
        world.send_update(name, 1.0)
    world.coordinator.aggregate(world.now, close=True)
    false = samples.resigned(approval, thief, lambda p: p.update(seq=9))
    assert world.coordinator.judge(false, world.now) == (Outcome.REJECTED, "FM-ROS-13", 4)
    assert world.coordinator.judge(approval, world.now) == ACCEPTED
    again = samples.resigned(approval, thief, lambda p: p["body"].update(by="thief"))
    assert world.coordinator.judge(again, world.now) == (Outcome.REJECTED, "FM-ROS-13", 4)


def test_the_old_key_says_nothing_new_after_the_switch(simulation: Simulation) -> None:
    thief = simulation.sites["aa"].key
    say(simulation, "aa")
    data = simulation.update("aa", 1.0)
    simulation.coordinator.deliver(data, simulation.now)
    play(simulation)
    late = samples.resigned(data, thief, lambda p: p.update(seq=40))
    assert simulation.coordinator.judge(late, simulation.now) == (Outcome.REJECTED, "FM-ROS-13", 4)
    again = samples.resigned(
        (simulation.sites["aa"].root / "outbox" / "rotation-aa-0003.fedmed").read_bytes(),
        thief,
        lambda p: p.update(seq=41),
    )
    assert simulation.coordinator.judge(again, simulation.now) == (Outcome.REJECTED, "FM-ROS-13", 4)


def test_a_model_by_the_coordinators_old_key_is_refused_after_the_switch(simulation: Simulation) -> None:
    thief = simulation.coordinator.key
    say(simulation, "coordinator")
    play(simulation)
    model = simulation.coordinator.posted("model-r0001")
    old = {"name": "coordinator", "key": keys.fingerprint(thief.public_key().public_bytes_raw())}
    false = samples.resigned(model, thief, lambda p: p.update(seq=60, round=2, sender=old))
    assert simulation.sites["bb"].judge(false, simulation.now) == (Outcome.REJECTED, "FM-ROS-13", 4)
    version = simulation.coordinator.posted("federation-v0002")
    third = samples.statement_in(version)
    third["predicate"]["federation"] |= {"version": 3, "previous": statement_id(version)}
    by_old = samples.signed(third, samples.members(version)[2:], by=thief)
    assert simulation.sites["bb"].judge(by_old, simulation.now) == (Outcome.REJECTED, "FM-NRM-05", 4)


def test_one_key_is_replaced_by_one(simulation: Simulation) -> None:
    """Its owner may say so once more, with other mask keys; the later word counts."""
    data, now = say(simulation, "aa"), simulation.now
    simulation.coordinator.look(now)
    second = samples.resigned(data, simulation.sites["aa"].key, lambda p: p.update(seq=9, prev=samples.ZEROS))
    other = rotation_to(simulation, second, "aa", samples.key("other"))
    assert simulation.coordinator.judge(other, now) == REFUSED
    assert simulation.coordinator.judge(second, now) == ACCEPTED
    found = simulation.coordinator.workspace()
    federation = coordinator_desk.require_started(found).agreement.federation
    assert [each.seq for each in rotations.pending(found.record, federation)] == [9]


def rotation_to(world: Simulation, data: bytes, name: str, new: Ed25519PrivateKey, **changed: Any) -> bytes:
    """The rotation `data` of a site to another key that it holds, with mask keys of that one."""
    found = world.coordinator.workspace()
    federation = coordinator_desk.require_started(found).agreement.federation.founding.id
    old, public = world.sites[name].key, new.public_key().public_bytes_raw()
    statement = samples.statement_in(data)
    mask = certificates.create(new, name, federation, 1001).certificate.model_dump(mode="json") | changed
    signed = {field: value for field, value in mask.items() if field != "signature"}
    mask["signature"] = sshsig.to_line(sshsig.sign(new, certificates.NAMESPACE, canonical.encode(signed)))
    proof = rotations.proven(new, federation, name, old.public_key().public_bytes_raw())
    statement["predicate"] |= {"seq": 90, "prev": samples.ZEROS, "ack": None}  # beside what the site says
    statement["predicate"]["body"] |= {"key": keys.public_line(public), "proof": proof, "mask": mask}
    statement["subject"][0]["digest"]["sha256"] = keys.digest_in(keys.fingerprint(public))
    return samples.signed(statement, [], by=old)


def test_a_site_that_goes_back_to_its_first_key_stops_nobody(simulation: Simulation) -> None:
    """A version with such a key would be refused by every site."""
    first = simulation.sites["aa"].key
    say(simulation, "aa")
    play(simulation)
    second = bedside.rotate(simulation.sites["aa"].root, simulation.now).posted.read_bytes()
    assert simulation.coordinator.judge(rotation_to(simulation, second, "aa", first), simulation.now) == REFUSED
    play(simulation)
    assert agreed(simulation.sites["bb"]).founding.version == 2


def test_two_sites_do_not_get_one_key(simulation: Simulation) -> None:
    one, now = Ed25519PrivateKey.generate(), simulation.now
    told = {
        name: rotation_to(simulation, bedside.rotate(simulation.sites[name].root, now).posted.read_bytes(), name, one)
        for name in ("aa", "bb")
    }
    assert simulation.coordinator.judge(told["aa"], now) == ACCEPTED
    assert simulation.coordinator.judge(told["bb"], now) == REFUSED
    for name in simulation.names:
        simulation.send_update(name, 1.0)
    simulation.coordinator.aggregate(now)
    assert simulation.sites["cc"].judge(simulation.coordinator.posted("federation-v0002"), now) == ACCEPTED


def test_a_rotation_to_the_key_that_another_site_has_stops_nobody(simulation: Simulation) -> None:
    now, other = simulation.now, simulation.sites["bb"].key
    data = rotation_to(simulation, bedside.rotate(simulation.sites["aa"].root, now).posted.read_bytes(), "aa", other)
    assert simulation.coordinator.judge(data, now) == REFUSED
    play(simulation)
    assert agreed(simulation.sites["cc"]).founding.version == 1


# kills and backups


class Killed(Exception):
    """The power goes."""


PLACES = ["after the new key", "after the statement", "before the ledger says so", "before the old key goes"]


@pytest.mark.parametrize("where", PLACES)
def test_a_killed_rotation_goes_on(simulation: Simulation, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    site, now = simulation.sites["aa"], simulation.now

    def killed(*_: Any, **__: Any) -> Any:
        raise Killed

    targets = {
        "after the new key": (newkeys, "_say"),
        "after the statement": (newkeys.sealing, "post"),
        "before the ledger says so": (workspaces.Workspace, "write_entry"),
        "before the old key goes": (workspaces.keys, "replace"),
    }
    if where in PLACES[:2]:
        with monkeypatch.context() as patched:
            patched.setattr(*targets[where], killed)
            with pytest.raises(Killed):
                bedside.rotate(site.root, now)
        data = bedside.rotate(site.root, now).posted.read_bytes()
        simulation.coordinator.deliver(data, now)
    else:
        say(simulation, "aa")
    new = keys.fingerprint(keys.load(site.root / "keys" / "next.key").public_key().public_bytes_raw())
    for name in simulation.names:
        simulation.send_update(name, 1.0)
    simulation.coordinator.aggregate(now)
    simulation.carry_down()
    if where in PLACES[2:]:
        with monkeypatch.context() as patched:
            _kill_the_switch(patched, where, targets)
            with pytest.raises(Killed):
                site.look(now)
    site.look(now)
    assert key_of(simulation, "aa") == new
    assert keys.fingerprint(site.key.public_key().public_bytes_raw()) == new, "in its place"
    assert not (site.root / "keys" / "next.key").exists()
    books.verify(site.root, lambda *_: None)


def _kill_the_switch(patched: pytest.MonkeyPatch, where: str, targets: dict[str, Any]) -> None:
    owner, name = targets[where]
    real = getattr(owner, name)

    def killed(*arguments: Any, **facts: Any) -> Any:
        if where == "before the old key goes" or facts.get("what") == "key":
            raise Killed
        return real(*arguments, **facts)

    patched.setattr(owner, name, killed)


def restored(site: Hospital, backup: Path, *folders: str) -> None:
    for folder in folders:
        shutil.rmtree(site.root / folder)
        shutil.copytree(backup / folder, site.root / folder)


def test_a_backup_of_before_the_rotation_fails_closed(simulation: Simulation, tmp_path: Path) -> None:
    backup = simulation.copied_to(tmp_path / "backup").sites["aa"].root
    site, now = simulation.sites["aa"], simulation.now
    say(simulation, "aa")
    play(simulation)
    kept = tmp_path / "keys"
    shutil.copytree(site.root / "keys", kept)
    restored(site, backup, "archive", "state")
    assert code_of(lambda: site.look(now)) == "FM-KEY-02", "the key is newer than the ledger"
    restored(site, backup, "archive", "state", "keys")
    site.look(now)
    assert agreed(site).founding.version == 2
    assert simulation.sites["aa"].workspace().record.model(1) is None, "it is for the key that is lost"
    assert code_of(lambda: bedside.rotate(site.root, now)) == "FM-ROS-14"


def test_a_site_that_was_restored_finds_the_coordinators_new_key(simulation: Simulation, tmp_path: Path) -> None:
    """The receipt is signed with a key that the backup does not know: the version beside it does."""
    backup = simulation.copied_to(tmp_path / "backup").sites["aa"].root
    site, now = simulation.sites["aa"], simulation.now
    say(simulation, "coordinator")
    play(simulation)
    restored(site, backup, "archive", "state", "keys")
    (receipt,) = vouched.vouch(simulation.coordinator.root, "aa", now)
    site.deliver(receipt.read_bytes(), now)
    done = recover.recover(site.root, now)
    assert (done.is_new, done.statements, done.answered) == (True, 1, 0)
    assert agreed(site).founding.version == 2


def test_a_coordinator_that_was_restored_goes_on_with_its_next_key(simulation: Simulation, tmp_path: Path) -> None:
    """Receipts are for the new key, which a version says is its own that only the sites have."""
    now, coordinator = simulation.now, simulation.coordinator
    say(simulation, "coordinator")
    backup = simulation.copied_to(tmp_path / "backup").coordinator.root
    play(simulation)
    new = key_of(simulation, "coordinator")
    restored(coordinator, backup, "archive", "state", "keys")
    for name in simulation.names:
        for path in recover.vouch(simulation.sites[name].root, "coordinator", now):
            coordinator.deliver(path.read_bytes(), now)
    done = vouched.recover(coordinator.root, now)
    assert (done.is_new, done.statements, key_of(simulation, "coordinator")) == (True, 2, new)
    for name in simulation.names:
        simulation.send_update(name, 1.0)
    assert coordinator.aggregate(now).last


def test_a_backup_that_holds_the_next_key_goes_on_with_it(simulation: Simulation, tmp_path: Path) -> None:
    site, now = simulation.sites["aa"], simulation.now
    say(simulation, "aa")
    backup = simulation.copied_to(tmp_path / "backup").sites["aa"].root
    play(simulation)
    new = key_of(simulation, "aa")
    simulation.send_update("aa", 1.0)
    simulation.coordinator.look(now)
    restored(site, backup, "archive", "state", "keys")
    (receipt,) = vouched.vouch(simulation.coordinator.root, "aa", now)
    site.deliver(receipt.read_bytes(), now)
    done = recover.recover(site.root, now)
    assert (done.is_new, done.statements, done.answered) == (True, 2, 1), "one by the old key, one by the new"
    assert key_of(simulation, "aa") == new


def test_another_statement_of_a_version_before_is_a_conflict(simulation: Simulation) -> None:
    say(simulation, "aa")
    play(simulation)
    first = simulation.coordinator.posted("federation-v0001")
    assert simulation.sites["bb"].judge(first, simulation.now)[0] is Outcome.DUPLICATE
    another = simulation.change(first, "coordinator", lambda p: p.update(seq=70, prev=samples.ZEROS))
    assert simulation.sites["bb"].judge(another, simulation.now) == (Outcome.CONFLICT, "FM-TRU-03", 4)


def test_a_file_of_a_rotated_federation_is_verified_alone(simulation: Simulation) -> None:
    say(simulation, "coordinator")
    say(simulation, "aa")
    play(simulation)
    outbox = simulation.coordinator.root / "outbox"
    for name in ("federation-v0002", "model-r0001"):
        inspection.verify(outbox / f"{name}.fedmed", outbox / "federation-v0002.fedmed")
    inspection.verify(outbox / "federation-v0002.fedmed", outbox / "federation-v0001.fedmed")
    rotation = simulation.sites["aa"].root / "outbox" / "rotation-aa-0003.fedmed"
    for version in (1, 2):
        inspection.verify(rotation, outbox / f"federation-v000{version}.fedmed")
    lines = keyring.allowed_signers(simulation.coordinator.root, None)
    assert keys.public_line(simulation.sites["aa"].workspace().public_key) in lines
