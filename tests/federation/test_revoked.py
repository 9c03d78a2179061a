"""A stolen key: what it signs from a number on counts nowhere, and rounds go on without its site."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from fedmed.auditor import keyring, rounds
from fedmed.coordinator import desk as coordinator_desk
from fedmed.coordinator import recover as at_coordinator
from fedmed.coordinator import revoke, screening, status
from fedmed.exchange.verdict import Outcome
from fedmed.site import recover as at_site
from tests.coded import code_of
from tests.vectors import samples

from .simulator import Simulation, predicate_of
from .test_recovered import put_back

if TYPE_CHECKING:
    from pathlib import Path

ACCEPTED = (Outcome.ACCEPTED, "", 0)


def revoked(simulation: Simulation, last_seq: int, site: str = "cc") -> revoke.Revoked:
    return revoke.revoke(simulation.coordinator.root, site, last_seq, "laptop stolen", simulation.now)


def test_a_round_goes_on_without_a_revoked_site(simulation: Simulation) -> None:
    coordinator, now = simulation.coordinator, simulation.now
    for name in ("aa", "bb"):
        simulation.send_update(name, 1.0)
    assert code_of(lambda: coordinator.aggregate(now)) == "FM-WAI-03"
    done = revoked(simulation, 2)
    assert (done.is_new, done.last_seq, done.undone) == (True, 2, 0)
    stolen = simulation.update("cc", 9.0)
    assert predicate_of(stolen)["seq"] == 3
    assert coordinator.judge(stolen, now) == (Outcome.REJECTED, "FM-ROS-04", 4)
    assert status.status(coordinator.root, now).next == "fedmed aggregate"
    made = coordinator.aggregate(now)
    assert [(ack.site, ack.status) for ack in made.acks] == [("aa", "used"), ("bb", "used"), ("cc", "revoked")]


def test_what_the_owner_signed_before_stays_valid(simulation: Simulation) -> None:
    for name in simulation.names:
        simulation.send_update(name, 1.0)
    assert revoked(simulation, 3).undone == 0
    made = simulation.coordinator.aggregate(simulation.now)
    assert [parent.site for parent in made.parents] == ["aa", "bb", "cc"]


def test_what_was_taken_in_and_is_beyond_the_number_counts_no_more(simulation: Simulation) -> None:
    """The thief's correction superseded the hospital's own update: that one counts again."""
    for name, value in (("aa", 1.0), ("bb", 1.0), ("cc", 1.0), ("cc", 9.0)):
        simulation.send_update(name, value)
    simulation.coordinator.look(simulation.now)
    assert revoked(simulation, 3).undone == 1
    made = simulation.coordinator.aggregate(simulation.now)
    assert [parent.site for parent in made.parents] == ["aa", "bb", "cc"]
    _, weights = simulation.coordinator.newest_model()
    assert weights["conv.bias"].tolist() == [0.5, 1.25], "each added 1"


def test_too_few_sites_are_left(tmp_path: Path) -> None:
    simulation = Simulation(tmp_path / "f", ("aa", "bb")).found(rounds=1, min_sites=2)
    simulation.send_update("aa", 1.0)
    revoked(simulation, 2, "bb")
    found = coordinator_desk.peek(simulation.coordinator.root)
    running = coordinator_desk.require_started(found)
    assert code_of(lambda: simulation.coordinator.aggregate(simulation.now)) == "FM-WAI-03"
    assert screening.standings(found, running)[1].reason == "FM-ROS-04: its key counts up to number 2"


def test_every_site_hears_of_it_at_once(simulation: Simulation) -> None:
    """The site whose key it is sends nothing more; another one refuses what that key signs, in a lap too."""
    done = revoked(simulation, 2)
    data = done.posted.read_bytes()
    assert done.posted.name == "revocation-cc.fedmed"
    for name in simulation.names:
        assert simulation.sites[name].judge(data, simulation.now) == ACCEPTED
        assert simulation.sites[name].workspace().record.revoked == {simulation.sites["cc"].actor["key"]: 2}
    by_thief = simulation.change(
        simulation.sites["cc"].posted("approval-v0001-cc"),
        "cc",
        lambda p: p.update(seq=7, recipients=[simulation.sites["aa"].actor]),
    )
    assert simulation.sites["aa"].judge(by_thief, simulation.now) == (Outcome.REJECTED, "FM-ROS-04", 4)


def test_a_revoked_site_sends_nothing_more(simulation: Simulation) -> None:
    from fedmed.site import train  # noqa: PLC0415 - the one test that needs it

    site = simulation.sites["cc"]
    site.deliver(revoked(simulation, 2).posted.read_bytes(), simulation.now)
    site.look(simulation.now)
    assert code_of(lambda: train.train(site.root, simulation.now, train.Options(), lambda *_: None)) == "FM-ROS-11"


def test_it_is_safe_to_repeat_and_only_ever_falls(simulation: Simulation) -> None:
    first = revoked(simulation, 5)
    assert [revoked(simulation, number).is_new for number in (5, 7, 4)] == [False, False, True]
    again = revoked(simulation, 9)
    assert (again.last_seq, again.is_new, first.last_seq) == (4, False, 5)
    assert predicate_of(again.posted.read_bytes())["body"]["last_seq"] == 4


def test_only_the_coordinator_takes_keys_back_and_only_those_of_the_roster(simulation: Simulation) -> None:
    data, now = revoked(simulation, 2).posted.read_bytes(), simulation.now
    site = simulation.sites["aa"]
    by_a_site = simulation.change(data, "bb", lambda p: p.update(sender=simulation.sites["bb"].actor))
    assert site.judge(by_a_site, now) == (Outcome.REJECTED, "FM-SIG-04", 4)
    key = samples.actor("stranger")["key"]
    statement = samples.statement_in(data)
    statement["predicate"]["body"]["key"] = key
    statement["subject"][0]["digest"]["sha256"] = samples.keys.digest_in(key)
    stranger = samples.signed(statement, [], by=simulation.coordinator.key)
    assert site.judge(stranger, now)[1] == "FM-ROS-03"
    assert code_of(lambda: revoked(simulation, 2, "dd")) == "FM-ROS-03"
    root = simulation.coordinator.root
    assert code_of(lambda: revoke.revoke(root, "cc", 2, " ", now)) == "FM-USE-01"
    assert code_of(lambda: revoke.revoke(site.root, "cc", 2, "why", now)) == "FM-SET-05"


def test_the_roster_for_ssh_keygen_says_until_when(simulation: Simulation) -> None:
    simulation.pass_time(days=3)
    revoked(simulation, 2)
    lines = keyring.allowed_signers(simulation.coordinator.root, None).splitlines()
    until = {line.split()[0]: line.split('valid-before="')[1].split('"')[0] for line in lines}
    assert until["cc"] == "20310304080000Z"
    assert until["aa"] == until["coordinator"] != until["cc"]


@pytest.mark.parametrize("order", ["before", "after"])
def test_an_approval_that_a_thief_signed_counts_in_no_order(tmp_path: Path, order: str) -> None:
    simulation = Simulation(tmp_path / "f", ("aa", "bb", "cc")).found(approved=("aa", "bb"), rounds=1, min_sites=2)
    approval = simulation.sites["cc"].approve(simulation.now)
    if order == "before":
        assert simulation.coordinator.judge(approval, simulation.now) == ACCEPTED
    revoked(simulation, 1)
    assert simulation.coordinator.judge(approval, simulation.now) == (Outcome.REJECTED, "FM-ROS-04", 4)
    assert simulation.coordinator.workspace().record.of("approval", sender="cc") == []


def test_a_coordinator_that_came_from_a_backup_knows_what_it_revoked(simulation: Simulation, tmp_path: Path) -> None:
    """Of the revocation it has proof, in the receipt of a site, and not the file."""
    coordinator, now = simulation.coordinator, simulation.now
    backup = simulation.copied_to(tmp_path / "backup").coordinator
    done = revoked(simulation, 2)
    simulation.sites["aa"].judge(done.posted.read_bytes(), now)
    put_back(coordinator, backup.root)
    done.posted.unlink()
    for path in at_site.vouch(simulation.sites["aa"].root, "coordinator", now):
        if path.name.startswith("receipt"):
            coordinator.deliver(path.read_bytes(), now)
    at_coordinator.recover(coordinator.root, now)
    assert coordinator.workspace().record.revoked == {simulation.sites["cc"].actor["key"]: 2}
    assert coordinator.judge(simulation.update("cc", 9.0), now) == (Outcome.REJECTED, "FM-ROS-04", 4)
    again = revoked(simulation, 100)
    assert (again.is_new, again.last_seq) == (False, 2)
    assert simulation.sites["aa"].judge(again.posted.read_bytes(), now) == ACCEPTED, "said anew, the file was lost"


def test_an_audit_names_who_signed_beyond_the_number(simulation: Simulation) -> None:
    """The model was made before; it stands, and says what is in it."""
    for name in simulation.names:
        simulation.send_update(name, 1.0)
    simulation.coordinator.aggregate(simulation.now)
    root = simulation.coordinator.root
    assert rounds.audit(root, 0, lambda *_: None).revoked == []
    revoked(simulation, 3)
    assert rounds.audit(root, 0, lambda *_: None).revoked == []
    revoked(simulation, 2)
    assert rounds.audit(root, 0, lambda *_: None).revoked == ["cc"]


def test_a_key_that_no_site_has_any_more_needs_no_new_word(simulation: Simulation) -> None:
    """Behind a restore a revocation may come back of a key that was replaced before it came."""
    revoked(simulation, 2)
    with coordinator_desk.opened(simulation.coordinator.root, simulation.now) as found:
        federation = coordinator_desk.require_started(found).agreement.federation
        assert [each.last_seq for each in revoke.stand(found, federation, simulation.now)] == [2]
        roster = [each for each in federation.body.roster if each.name != "cc"]
        without = replace(federation, body=federation.body.model_copy(update={"roster": roster}))
        assert revoke.stand(found, without, simulation.now) == []


def test_a_restored_site_hears_of_revocations_with_its_receipt(simulation: Simulation) -> None:
    revoked(simulation, 2)
    (simulation.coordinator.root / "outbox" / "revocation-cc.fedmed").unlink()
    posted = at_coordinator.vouch(simulation.coordinator.root, "aa", simulation.now)
    assert [path.name for path in posted] == ["receipt-aa-by-coordinator.fedmed", "revocation-cc.fedmed"]
    assert posted[1].exists()
