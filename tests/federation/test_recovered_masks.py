"""Backups that were put back where updates are masked: new mask keys, and no second answer about the same weights."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

from fedmed.cli.app import app
from fedmed.coordinator import desk as at_desk
from fedmed.coordinator import masks, void
from fedmed.coordinator import recover as at_coordinator
from fedmed.errors import FedmedError
from fedmed.exchange import maskkeys
from fedmed.exchange.record import SPARED
from fedmed.exchange.verdict import Outcome
from fedmed.site import masks as site_masks
from fedmed.site import recover as at_site
from fedmed.site import rotate as bedside
from fedmed.site import status
from tests.coded import code_of
from tests.vectors import samples

from . import masked_world, simulator
from .simulator import predicate_of, statement_id
from .test_recovered import ACCEPTED, bring_receipt, put_back, quoted
from .test_rotated import key_of, say
from .test_rotated_payloads import listed

if TYPE_CHECKING:
    from pathlib import Path

    from .simulator import Simulation

TRIO = ("aa", "bb", "cc")
FOUR = (*TRIO, "dd")
ALL = dict.fromkeys(masked_world.NAMES, 1.0)


def due(world: Simulation) -> str:
    """What `status` tells the restored site to do."""
    (world.sites["aa"].root / "cases.json").write_text("{}")
    return status.status(world.sites["aa"].root, world.now).next


def sitting_out(round_: int) -> str:
    then = f"model-r{round_ + 1:04d}.fedmed comes if the others can close it"
    return f"send what is new in outbox/: this site sits round {round_} out, and masks again in the next; {then}"


def with_receipt(tmp_path: Path) -> Simulation:
    """aa sealed an update, and the receipt of the coordinator lies in its inbox."""
    world = masked_world.founded(tmp_path / "world", TRIO)
    masked_world.send(world, {"aa": 1.0})
    world.coordinator.look(world.now)
    bring_receipt(world)
    return world


def recovered(world: Simulation) -> bytes:
    """aa goes on, and the receipt that brings its new mask keys."""
    bring_receipt(world)
    found = at_site.recover(world.sites["aa"].root, world.now)
    assert found.posted is not None
    return found.posted.read_bytes()


@pytest.mark.parametrize(("keys", "told"), [("lost", "a report"), ("kept", "nothing new")])
def test_a_restored_site_answers_no_second_set(tmp_path: Path, keys: str, told: str) -> None:
    """aa answered about all, and was restored to before that; the receipt of the coordinator holds what it likes, and
    not the answer. Then it calls the round void, to ask about others on the same model.
    """
    world = masked_world.founded(tmp_path / "world", TRIO)
    masked_world.send(world, dict.fromkeys(TRIO, 1.0))
    site, coordinator = world.sites["aa"], world.coordinator
    backup = world.copied_to(tmp_path / "backup").sites["aa"].root
    masked_world.ask(world)
    site.unmask(world.now)
    if told == "a report":
        coordinator.deliver(site.report(world.now), world.now)
    put_back(site, backup)
    if keys == "lost":
        shutil.rmtree(site.root / "keys" / "mask")
    for path in (site.root / "inbox").iterdir():
        path.unlink()
    coordinator.look(world.now)
    bring_receipt(world)
    found = at_site.recover(site.root, world.now)
    assert (found.is_new, found.answered, site.workspace().record.resumes) == (True, 0, 1)
    assert found.statements == (1 if told == "a report" else 0)
    assert maskkeys.held(site.workspace().mask_keys) == [1 + 2 * SPARED]
    assert list((site.root / "state" / "masked").iterdir()) == []
    assert found.posted is not None
    assert coordinator.judge(found.posted.read_bytes(), world.now) == ACCEPTED
    world.carry_down()
    assert code_of(lambda: site.unmask(world.now)) == "FM-MSK-10"
    assert due(world) == sitting_out(0)
    void.void(coordinator.root, world.now, "x")
    world.carry_down()
    assert code_of(lambda: masked_world.send(world, {"aa": 1.0})) == "FM-ROS-07"


def test_a_round_that_a_backup_has_not_heard_of_is_not_answered_again(tmp_path: Path) -> None:
    """Its second attempt lists the new keys; the first one listed those that may have answered it."""
    world = masked_world.founded(tmp_path / "world", TRIO)
    site, coordinator = world.sites["aa"], world.coordinator
    backup = world.copied_to(tmp_path / "backup").sites["aa"].root
    masked_world.play(world, dict.fromkeys(TRIO, 1.0))
    site.masked_update(world.now, simulator.filled(1.0))
    put_back(site, backup)
    for path in (site.root / "inbox").glob("model-r0001*"):
        path.unlink()
    bring_receipt(world)
    found = at_site.recover(site.root, world.now)
    assert found.posted is not None
    assert coordinator.judge(found.posted.read_bytes(), world.now) == ACCEPTED
    void.void(coordinator.root, world.now, "x")
    world.carry_down()
    assert code_of(lambda: masked_world.send(world, {"aa": 1.0})) == "FM-ROS-07"


def test_a_restored_site_masks_again_from_the_next_round(tmp_path: Path) -> None:
    """Its old keys are thrown away; the round that lists them goes on without it, and the next one lists the new."""
    names = FOUR
    world = masked_world.founded(tmp_path / "world", names)
    site, coordinator = world.sites["aa"], world.coordinator
    backup = world.copied_to(tmp_path / "backup").sites["aa"].root
    masked_world.send(world, dict.fromkeys(names, 1.0))
    put_back(site, backup)
    coordinator.look(world.now)
    bring_receipt(world)
    found = at_site.recover(site.root, world.now)
    assert found.posted is not None
    assert (found.answered, maskkeys.held(site.workspace().mask_keys)) == (0, [1 + 2 * SPARED])
    assert code_of(lambda: site.masked_update(world.now, simulator.filled(1.0))) == "FM-ROS-07"
    data = found.posted.read_bytes()
    fields = {"resumes": 0, "seq": 50, "prev": "0" * 64, "ack": coordinator.workspace().record.last_said}
    lie = world.change(data, "bb", lambda p: p.update(sender=world.sites["bb"].actor, **fields))
    assert coordinator.judge(lie, world.now)[:2] == (Outcome.REJECTED, "FM-SHR-01"), "not another site's certificate"
    assert coordinator.judge(data, world.now) == ACCEPTED
    masked_world.ask(world)
    masked_world.answer(world, names[1:])
    coordinator.aggregate(world.now)
    world.carry_down()
    listed = masks.listed(coordinator.workspace(), at_desk.require_started(coordinator.workspace()))
    assert [(each.site, each.index) for each in listed] == [("aa", 1 + 2 * SPARED), *((name, 2) for name in names[1:])]
    made = masked_world.play(world, dict.fromkeys(names, 1.0))
    assert (made.round, sorted(each.site for each in made.parents)) == (2, sorted(names))


def test_each_recovery_of_a_site_that_masks_counts(tmp_path: Path) -> None:
    """A backup may be older than the recovery before: nobody can tell, so keys are never taken up again."""
    world = with_receipt(tmp_path)
    site = world.sites["aa"]
    for resumes, index in ((1, 1 + 2 * SPARED), (2, 1 + 6 * SPARED)):
        assert at_site.recover(site.root, world.now).answered == 0
        assert site.workspace().record.resumes == resumes
        assert maskkeys.held(site.workspace().mask_keys) == [index]


def test_a_recovery_that_was_made_is_made_again_only_when_asked_for(tmp_path: Path) -> None:
    """Not by a command that is typed twice: the keys that are on their way to the coordinator would be gone."""
    world = with_receipt(tmp_path)
    site = world.sites["aa"]

    def ran(*more: str) -> str:
        done = CliRunner().invoke(app, ["recover", "-w", str(site.root), *more])
        return done.exception.code if isinstance(done.exception, FedmedError) else done.output.split(":")[0]

    backup = world.copied_to(tmp_path / "backup").sites["aa"].root
    assert ran() == "found again"
    held, posted = maskkeys.held(site.workspace().mask_keys), site.posted("receipt-coordinator-by-aa")
    assert ran() == "FM-USE-01"
    assert (maskkeys.held(site.workspace().mask_keys), site.posted("receipt-coordinator-by-aa")) == (held, posted)
    assert ran("--again") == "found again"
    assert maskkeys.held(site.workspace().mask_keys) > held
    put_back(site, backup)
    assert ran() == "found again", "to before the first one: nothing here was recovered yet"


def test_a_recovery_that_was_killed_needs_no_asking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the one before it had brought to its end."""
    world = masked_world.founded(tmp_path / "world", TRIO)
    site = world.sites["aa"]
    masked_world.send(world, {"aa": 1.0})
    world.coordinator.look(world.now)
    recovered(world)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(site_masks, "renew", killed)
    with pytest.raises(KeyboardInterrupt):
        at_site.recover(site.root, world.now)
    at_site.require_first(site.root)


def test_a_first_attempt_shown_to_a_restored_site_alone_opens_nothing(tmp_path: Path) -> None:
    """aa answered about {aa, bb, dd}, and was restored to before that round. The coordinator keeps the proofs back and
    signs the first attempt again, for aa alone, with its new mask keys; dd helps. With an answer of aa in the second
    attempt, about all four, the update of cc would be the difference of two sums.
    """
    world = masked_world.founded(tmp_path / "world", FOUR)
    masked_world.play(world, dict.fromkeys(FOUR, 0.5))
    site, coordinator = world.sites["aa"], world.coordinator
    backup = world.copied_to(tmp_path / "backup").sites["aa"].root
    before, first = site.posted("update-r0000-aa"), coordinator.posted("model-r0001")
    masked_world.send(world, dict.fromkeys(("aa", "bb", "dd"), 1.0))
    masked_world.answer(world, masked_world.ask(world).sites)
    coordinator.look(world.now)
    put_back(site, backup)
    for path in (site.root / "inbox").glob("*r0001*"):
        path.unlink()
    (path,) = at_coordinator.vouch(coordinator.root, "aa", world.now)
    seq = predicate_of(first)["seq"]
    older = {"seq": seq + 2, "prev": "cd" * 32, "ack": statement_id(before)}

    def without_the_later(said: dict[str, Any]) -> None:
        said.update(older, body={**said["body"], "seq": predicate_of(before)["seq"]})

    receipt = samples.resigned(path.read_bytes(), coordinator.key, without_the_later, payload=quoted(before))
    site.deliver(receipt, world.now)
    found = at_site.recover(site.root, world.now)
    assert (found.answered, found.posted is not None) == (0, True)
    new = found.posted.read_bytes() if found.posted else b""
    assert coordinator.judge(new, world.now) == ACCEPTED
    mine = predicate_of(new)["body"]["mask"]

    def lie(said: dict[str, Any]) -> None:
        said["body"]["masks"] = [mine if each["site"] == "aa" else each for each in said["body"]["masks"]]
        next(each for each in said["ack"] if each["site"] == "aa")["id"] = statement_id(before)

    assert site.judge(samples.resigned(first, coordinator.key, lie), world.now) == ACCEPTED
    void.void(coordinator.root, world.now, "two did not answer")
    site.deliver(coordinator.posted("model-r0001-a2"), world.now)
    assert due(world) == sitting_out(1)
    assert code_of(lambda: masked_world.send(world, {"aa": 1.0})) == "FM-ROS-07"
    assert due(world) == sitting_out(1)


@pytest.fixture(scope="module")
def again(tmp_path_factory: pytest.TempPathFactory) -> Simulation:
    """aa was restored in round 0; model 1 lists its new mask keys, and all have masked in that first attempt."""
    root = tmp_path_factory.mktemp("again")
    world = masked_world.founded(root / "world", FOUR)
    backup = world.copied_to(root / "backup").sites["aa"].root
    masked_world.send(world, dict.fromkeys(FOUR, 1.0))
    put_back(world.sites["aa"], backup)
    world.coordinator.look(world.now)
    assert world.coordinator.judge(recovered(world), world.now) == ACCEPTED
    masked_world.ask(world)
    masked_world.answer(world, FOUR[1:])
    world.coordinator.aggregate(world.now)
    world.carry_down()
    masked_world.send(world, dict.fromkeys(FOUR, 1.0))
    return world


@pytest.mark.slow
@pytest.mark.parametrize("answered", [True, False], ids=["answered", "not answered"])
def test_a_restored_site_follows_into_the_attempts_of_a_round_that_it_answered(
    again: Simulation, tmp_path: Path, *, answered: bool
) -> None:
    """That it did not answer the first one before the restore is shown by updates of others that it answered about."""
    world = again.copied_to(tmp_path / "world")
    asked = masked_world.ask(world)
    if answered:
        masked_world.answer(world, ["aa"])
    void.void(world.coordinator.root, world.now, "two did not answer")
    world.carry_down()
    assert due(world) == ("fedmed train-local" if answered else sitting_out(1))
    if not answered:
        assert code_of(lambda: masked_world.send(world, {"aa": 1.0})) == "FM-ROS-07"
    taking = [name for name in asked.sites if answered or name != "aa"]
    assert [each.site for each in masked_world.play(world, dict.fromkeys(taking, 1.0)).parents] == taking
    assert len(masked_world.play(world, dict.fromkeys(FOUR, 1.0)).parents) == 4, "the next round is as any other"


@pytest.mark.parametrize("index", [2, 2**31], ids=["as it was", "made up"])
def test_a_site_that_was_killed_before_it_had_new_mask_keys_recovers_again(tmp_path: Path, index: int) -> None:
    """Whatever the coordinator lists under its name meanwhile: above the highest index nobody could certify one."""
    world = masked_world.founded(tmp_path / "world", TRIO)
    site = world.sites["aa"]
    backup = world.copied_to(tmp_path / "backup").sites["aa"].root
    masked_world.play(world, dict.fromkeys(TRIO, 1.0))
    put_back(site, backup)
    (path,) = (site.root / "inbox").glob("model-r0001*")
    model = world.change(path.read_bytes(), "coordinator", lambda p: p["body"]["masks"][0].update(index=index))
    path.unlink()
    bring_receipt(world)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(maskkeys, "make", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            at_site.recover(site.root, world.now)
    assert site.judge(model, world.now) == ACCEPTED
    with pytest.raises(FedmedError, match="are not here") as raised:
        site.masked_update(world.now, simulator.filled(1.0))
    assert "fedmed recover" in raised.value.next
    at_site.recover(site.root, world.now)
    assert maskkeys.held(site.workspace().mask_keys) == [1 + 6 * SPARED]
    assert code_of(lambda: site.masked_update(world.now, simulator.filled(1.0))) == "FM-ROS-07"


# --- and a signing key that is replaced ------------------------------------------------------------------------------


@pytest.fixture
def rotating(tmp_path: Path) -> tuple[Simulation, Path]:
    """A federation in which aa has said its next key, with mask keys of index 1001, and a backup of aa from then."""
    world = masked_world.founded(tmp_path / "world", FOUR)
    say(world, "aa")
    return world, world.copied_to(tmp_path / "backup").sites["aa"].root


@pytest.mark.slow
def test_a_backup_of_before_the_switch_does_not_take_the_index_of_the_rotation(
    rotating: tuple[Simulation, Path],
) -> None:
    """The version behind the rotation is here; the model that listed its mask keys is not."""
    world, backup = rotating
    masked_world.play(world, dict.fromkeys(FOUR, 1.0))
    site = world.sites["aa"]
    put_back(site, backup)
    for path in (site.root / "inbox").glob("model-r0001*"):
        path.unlink()
    world.coordinator.look(world.now)
    assert world.coordinator.judge(recovered(world), world.now) == ACCEPTED
    masked_world.play(world, dict.fromkeys(FOUR[1:], 1.0))
    site.look(world.now)
    assert listed(world, "aa") == (1 + 3 * SPARED, key_of(world, "aa"))
    assert len(masked_world.play(world, dict.fromkeys(FOUR, 1.0)).parents) == 4


def test_mask_keys_of_after_a_restore_are_certified_by_the_next_key_too(rotating: tuple[Simulation, Path]) -> None:
    """The rotation waits meanwhile: what it named is erased, and the model behind it lists that."""
    world, backup = rotating
    site, old = world.sites["aa"], key_of(world, "aa")
    masked_world.send(world, dict.fromkeys(FOUR, 1.0))
    world.coordinator.look(world.now)
    put_back(site, backup)
    first = recovered(world)
    assert world.coordinator.judge(first, world.now) == ACCEPTED
    masked_world.ask(world)
    masked_world.answer(world, FOUR[1:])
    world.coordinator.aggregate(world.now)
    world.carry_down()
    for _ in range(2):
        site.look(world.now)
    assert key_of(world, "aa") != old
    assert listed(world, "aa") == (1 + SPARED, key_of(world, "aa"))
    assert due(world) == sitting_out(1)
    assert code_of(lambda: masked_world.send(world, {"aa": 1.0})) == "FM-ROS-07"
    second = site.posted("receipt-coordinator-by-aa")
    masks_ = [predicate_of(each)["body"]["mask"] for each in (first, second)]
    assert [(each["index"], each["key"]) for each in masks_] == [(3001, old), (3001, key_of(world, "aa"))]
    assert len(site.workspace().record.of("receipt", sender="aa")) == 2, "once each"
    assert world.coordinator.judge(second, world.now) == ACCEPTED
    masked_world.play(world, dict.fromkeys(FOUR[1:], 1.0))
    site.look(world.now)
    assert listed(world, "aa") == (1 + 3 * SPARED, key_of(world, "aa"))
    assert len(masked_world.play(world, dict.fromkeys(FOUR, 1.0)).parents) == 4
    assert len(site.workspace().record.of("receipt", sender="aa")) == 2


@pytest.mark.slow
def test_a_rotation_of_before_a_restore_is_said_again_with_new_mask_keys(tmp_path: Path) -> None:
    """It reaches the coordinator when the renewed mask keys are listed already: those that it names are older."""
    world = masked_world.founded(tmp_path / "world")
    site = world.sites["aa"]
    old = key_of(world, "aa")
    rotation = bedside.rotate(site.root, world.now).posted.read_bytes()
    backup = world.copied_to(tmp_path / "backup").sites["aa"].root
    masked_world.send(world, ALL)
    world.coordinator.look(world.now)
    put_back(site, backup)
    assert world.coordinator.judge(recovered(world), world.now) == ACCEPTED
    masked_world.answer(world, [name for name in masked_world.ask(world).sites if name != "aa"])
    world.coordinator.aggregate(world.now)
    world.carry_down()
    assert world.coordinator.judge(rotation, world.now) == ACCEPTED
    masked_world.play(world, ALL)
    site.look(world.now)
    assert key_of(world, "aa") == old, "no model can list what it names"
    again = bedside.rotate(site.root, world.now)
    assert (again.is_new, bedside.rotate(site.root, world.now).is_new) == (True, False)
    assert world.coordinator.judge(again.posted.read_bytes(), world.now) == ACCEPTED
    masked_world.play(world, ALL)
    site.look(world.now)
    assert key_of(world, "aa") == again.new
