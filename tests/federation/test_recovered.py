"""Backups that were put back: what was signed since is found again by proof, and nobody signs one number twice."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from fedmed.coordinator import recover as at_coordinator
from fedmed.errors import FedmedError
from fedmed.exchange import ledger, maskkeys
from fedmed.exchange.record import SPARED
from fedmed.exchange.verdict import Outcome
from fedmed.site import recover as at_site
from fedmed.site import status, train
from tests.coded import code_of
from tests.vectors import samples

from . import simulator
from .simulator import end, predicate_of, statement_id

if TYPE_CHECKING:
    from pathlib import Path

    from .simulator import Actor, Simulation

ACCEPTED = (Outcome.ACCEPTED, "", 0)


def put_back(actor: Actor, backup: Path) -> None:
    """The whole folder, but for the doors."""
    for name in ("archive", "state", "keys", "cache"):
        shutil.rmtree(actor.root / name)
        shutil.copytree(backup / name, actor.root / name)


def played(simulation: Simulation) -> None:
    """One round that all answer."""
    for name in simulation.names:
        simulation.send_update(name, 1.0)
    simulation.coordinator.aggregate(simulation.now)


@pytest.fixture
def restored(simulation: Simulation, tmp_path: Path) -> Simulation:
    """aa answered round 0, and then a backup from before that was put back; model 1 lies in its inbox."""
    backup = simulation.copied_to(tmp_path / "backup").sites["aa"].root
    played(simulation)
    put_back(simulation.sites["aa"], backup)
    simulation.carry_down()
    return simulation


def bring_receipt(simulation: Simulation) -> None:
    (path,) = at_coordinator.vouch(simulation.coordinator.root, "aa", simulation.now)
    simulation.sites["aa"].deliver(path.read_bytes(), simulation.now, path.name)


def test_a_restored_site_goes_on_by_its_own_signatures(restored: Simulation) -> None:
    site, now = restored.sites["aa"], restored.now
    lost = statement_id(site.posted("update-r0000-aa"))
    (site.root / "outbox" / "update-r0000-aa.fedmed").unlink()
    assert code_of(lambda: site.look(now)) == "FM-TRU-06"
    assert code_of(lambda: at_site.recover(site.root, now)) == "FM-WAI-02", "a claim alone moves nothing"
    bring_receipt(restored)
    assert code_of(lambda: site.look(now)) == "FM-TRU-06", "only a person goes on"
    found = at_site.recover(site.root, now)
    record = site.workspace().record
    assert (found.is_new, found.statements, found.answered) == (True, 1, 0)
    assert [known.id for known in record.lost] == [lost]
    assert found.next_seq == record.next_seq == record.lost[0].seq + 1 + SPARED
    again = at_site.recover(site.root, now)
    assert (again.is_new, again.next_seq) == (False, found.next_seq)
    assert {each.verdict.outcome for each in site.look(now)} == {Outcome.ACCEPTED, Outcome.DUPLICATE}
    update = restored.update("aa", 2.0)
    said = predicate_of(update)
    assert (said["round"], said["seq"], said["prev"], said["resumes"]) == (1, found.next_seq, lost, 1)
    assert restored.coordinator.judge(update, now) == ACCEPTED
    for name in ("bb", "cc"):
        restored.send_update(name, 1.0)
    assert restored.coordinator.aggregate(now).last


def test_an_answered_round_is_not_answered_again(restored: Simulation) -> None:
    """Model 1 is not here: round 0 looks open to the restored site."""
    site, now = restored.sites["aa"], restored.now
    for path in (site.root / "inbox").glob("model-r0001*"):
        path.unlink()
    (site.root / "outbox" / "update-r0000-aa.fedmed").unlink()
    bring_receipt(restored)
    at_site.recover(site.root, now)
    for again in (False, True):
        options = train.Options(again=again)
        assert code_of(lambda o=options: train.train(site.root, now, o, lambda *_: None)) == "FM-ROS-07"
    (site.root / "cases.json").write_text("{}")
    assert status.status(site.root, now).next == "wait for model-r0001.fedmed"


def test_a_whole_copy_of_what_was_lost_comes_back_too(restored: Simulation) -> None:
    """The update is still in the outbox; put into the inbox it is proof and file at once."""
    site, now = restored.sites["aa"], restored.now
    data = site.posted("update-r0000-aa")
    site.deliver(data, now)
    found = at_site.recover(site.root, now)
    assert (found.statements, found.answered) == (1, 0)
    assert site.workspace().archived(statement_id(data)).read_bytes() == data
    assert code_of(lambda: site.look(now)) == "ok"


def test_an_archive_that_is_newer_than_the_ledger_is_proof(simulation: Simulation, tmp_path: Path) -> None:
    site = simulation.sites["aa"]
    backup = simulation.copied_to(tmp_path / "backup").sites["aa"].root
    played(simulation)
    shutil.copy(backup / "state" / "ledger.jsonl", site.root / "state" / "ledger.jsonl")
    assert code_of(lambda: site.look(simulation.now)) == "FM-TRU-06"
    assert at_site.recover(site.root, simulation.now).statements == 1
    assert code_of(lambda: site.look(simulation.now)) == "ok"


def test_mask_keys_of_before_are_thrown_away(restored: Simulation) -> None:
    site = restored.sites["aa"]
    found = site.workspace()
    maskkeys.make(found.mask_keys, site.key, "aa", None, 1)
    bring_receipt(restored)
    at_site.recover(site.root, restored.now)
    assert maskkeys.held(found.mask_keys) == []


def test_a_file_that_was_on_its_way_is_no_equivocation(simulation: Simulation, tmp_path: Path) -> None:
    """Sealed before the restore, carried after it: its number was left out by the restored site."""
    backup = simulation.copied_to(tmp_path / "backup").sites["aa"].root
    late = simulation.sites["aa"].update(simulation.now, simulator.filled(1.0))
    put_back(simulation.sites["aa"], backup)
    site, now = simulation.sites["aa"], simulation.now
    site.deliver(late, now)
    at_site.recover(site.root, now)
    assert simulation.coordinator.judge(late, now) == ACCEPTED
    for name in ("bb", "cc"):
        simulation.send_update(name, 1.0)
    simulation.coordinator.aggregate(now)
    simulation.carry_down()
    assert simulation.coordinator.judge(site.update(now, simulator.filled(1.0)), now)[1] == "FM-ROS-05"
    at_coordinator.vouch(simulation.coordinator.root, "aa", now)
    ends = {each.path: end(each.verdict) for each in simulation.coordinator.look(now)}
    assert ACCEPTED in ends.values()


def test_going_on_needs_an_operator_at_both_ends(restored: Simulation) -> None:
    """A site that says that it was restored is not believed before somebody here has called it."""
    restored.sites["bb"].look(restored.now)
    update = restored.update("bb", 1.0)
    lie = restored.change(update, "bb", lambda p: p.update(resumes=1, seq=2000))
    assert restored.coordinator.judge(lie, restored.now) == (Outcome.ROLLBACK, "FM-ROS-05", 4)
    at_coordinator.vouch(restored.coordinator.root, "bb", restored.now)
    assert ACCEPTED in [end(each.verdict) for each in restored.coordinator.look(restored.now)]


def test_a_receipt_is_written_once_for_what_it_says(restored: Simulation) -> None:
    root, now = restored.coordinator.root, restored.now
    first = at_coordinator.vouch(root, "aa", now)
    data = first[0].read_bytes()
    assert at_coordinator.vouch(root, "aa", now) == first
    assert first[0].read_bytes() == data
    for name in ("coordinator", "dd"):
        assert code_of(lambda n=name: at_coordinator.vouch(root, n, now)) == "FM-ROS-10"
    site = restored.sites["bb"]
    assert code_of(lambda: at_site.vouch(site.root, "cc", now)) == "FM-ROS-10"
    assert restored.sites["bb"].judge(data, now)[0] is Outcome.NOT_FOR_ME


def receipt(simulation: Simulation, answered: bytes) -> bytes:
    (path,) = at_coordinator.vouch(simulation.coordinator.root, "aa", simulation.now)
    return samples.resigned(path.read_bytes(), simulation.coordinator.key, payload=answered)


def quoted(*files: bytes) -> bytes:
    members = [samples.members(each)[:2] for each in files]
    quotes = [
        {"statement": raw.decode(), "signature": b"".join(armour.split(b"\n")[1:-2]).decode()}
        for (_, raw), (_, armour) in members
    ]
    return samples.canonical.encode({"answered": quotes})


def test_a_receipt_proves_nothing_that_this_workspace_did_not_sign(restored: Simulation) -> None:
    site, now = restored.sites["aa"], restored.now
    true, other = (restored.sites[name].posted(f"update-r0000-{name}") for name in ("aa", "bb"))
    forged = samples.resigned(true, samples.key("x"))
    renamed = samples.packed([*samples.members(true)[:1], samples.members(other)[1]])
    for answered in (quoted(other), quoted(forged), quoted(true, renamed), b"{}", quoted(true) + b" "):
        path = site.deliver(receipt(restored, answered), now, "receipt.fedmed")
        assert code_of(lambda: at_site.recover(site.root, now)) == "FM-ROS-08"
        path.unlink()
    by_a_site = restored.change(
        receipt(restored, quoted(true)), "bb", lambda p: p.update(sender=restored.sites["bb"].actor)
    )
    site.deliver(by_a_site, now, "receipt.fedmed")
    found = at_site.recover(site.root, now)
    assert found.statements == 1, "whoever brings it: it is this workspace's own signature"


def test_a_receipt_to_somebody_else_is_no_proof(restored: Simulation) -> None:
    site, now = restored.sites["aa"], restored.now
    (path,) = at_coordinator.vouch(restored.coordinator.root, "bb", now)
    site.deliver(path.read_bytes(), now)
    assert code_of(lambda: at_site.recover(site.root, now)) == "FM-WAI-02"


def test_recovery_is_one_line_of_the_ledger(restored: Simulation, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed just before it, it begins anew; nothing is half known."""
    site = restored.sites["aa"]
    bring_receipt(restored)
    with monkeypatch.context() as patched:

        def fails(*_: object, **__: object) -> None:
            raise FedmedError("FM-RES-01", "disk full")

        patched.setattr(ledger.Ledger, "append", fails)
        assert code_of(lambda: at_site.recover(site.root, restored.now)) == "FM-RES-01"
    assert site.workspace().record.lost == []
    assert at_site.recover(site.root, restored.now).statements == 1


# --- the coordinator -------------------------------------------------------------------------------------------------


@pytest.fixture
def lost_model(simulation: Simulation, tmp_path: Path) -> Simulation:
    """The coordinator sealed model 1, all sites have it, and then it was restored."""
    backup = simulation.copied_to(tmp_path / "backup").coordinator.root
    played(simulation)
    simulation.carry_down()
    for site in simulation.sites.values():
        site.look(simulation.now)
    put_back(simulation.coordinator, backup)
    (simulation.coordinator.root / "outbox" / "model-r0001.fedmed").unlink()
    return simulation


def test_a_restored_coordinator_goes_on_with_the_file_that_a_site_has(lost_model: Simulation) -> None:
    coordinator, now = lost_model.coordinator, lost_model.now
    coordinator.deliver(lost_model.update("aa", 2.0), now)
    assert code_of(lambda: coordinator.look(now)) == "FM-TRU-06"
    receipt_, model = at_site.vouch(lost_model.sites["aa"].root, "coordinator", now)
    assert (receipt_.name, model.name) == ("receipt-coordinator-by-aa.fedmed", "model-r0001.fedmed")
    coordinator.deliver(receipt_.read_bytes(), now)
    assert code_of(lambda: at_coordinator.recover(coordinator.root, now)) == "FM-ROS-09"
    coordinator.deliver(model.read_bytes(), now)
    assert at_coordinator.recover(coordinator.root, now).is_new
    for name in ("bb", "cc"):
        lost_model.send_update(name, 1.0)
    made = coordinator.aggregate(now)
    assert (made.round, made.last) == (2, True)
    last = coordinator.posted("model-r0002")
    assert predicate_of(last)["resumes"] == 1
    assert lost_model.sites["aa"].judge(last, now) == ACCEPTED
    held = lost_model.sites["bb"].judge(last, now)
    assert held == (Outcome.ROLLBACK, "FM-ROS-05", 4), "its operator has not heard of it"
    at_site.vouch(lost_model.sites["bb"].root, "coordinator", now)
    assert ACCEPTED in [end(each.verdict) for each in lost_model.sites["bb"].look(now)]


def test_an_invented_acknowledgement_stops_and_a_person_ends_it(simulation: Simulation) -> None:
    """A site says that it has a file of the coordinator which nobody signed: it cannot prove it."""
    coordinator, now = simulation.coordinator, simulation.now
    for name in ("bb", "cc"):
        simulation.send_update(name, 1.0)
    lie = simulation.change(simulation.update("aa", 1.0), "aa", lambda p: p.update(ack="f" * 64))
    coordinator.deliver(lie, now, "a-lie.fedmed")
    assert code_of(lambda: coordinator.look(now)) == "FM-TRU-06"
    assert code_of(lambda: at_coordinator.recover(coordinator.root, now)) == "FM-WAI-02"
    at_coordinator.dismiss(coordinator.root, "aa", "no such file there", now)
    ends = {each.path.name: end(each.verdict) for each in coordinator.look(now)}
    assert ends["a-lie.fedmed"] == (Outcome.REJECTED, "FM-ROS-06", 4)
    assert coordinator.aggregate(now, close=True).round == 1
    assert code_of(lambda: at_coordinator.dismiss(coordinator.root, "dd", "why", now)) == "FM-ROS-10"
