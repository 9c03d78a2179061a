"""What people are told in masked rounds: by `status` at both ends, and by commands that wait or refuse."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from fedmed.auditor import inspection
from fedmed.cli import tables
from fedmed.cli.app import app
from fedmed.coordinator import aggregate, revoke, void
from fedmed.coordinator import recover as at_desk_recovery
from fedmed.coordinator import run as at_desk_run
from fedmed.coordinator import status as desk_status
from fedmed.coordinator import unmask as asking
from fedmed.errors import FedmedError
from fedmed.site import recover as at_site
from fedmed.site import run, train
from fedmed.site import status as bedside
from fedmed.site import unmask as answering
from tests.coded import code_of
from tests.federation import masked_world
from tests.federation.simulator import predicate_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.federation.simulator import Actor, Hospital, Simulation

TRIO = ("aa", "bb", "cc")


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Simulation:
    """Model r0 lies in every inbox."""
    return with_cases(masked_world.founded(tmp_path_factory.mktemp("told") / "world", TRIO))


@pytest.fixture(scope="module")
def played(begun: Simulation, tmp_path_factory: pytest.TempPathFactory) -> Simulation:
    """Round 0 is over, and model r1 lies in every inbox."""
    world = begun.copied_to(tmp_path_factory.mktemp("told") / "played")
    masked_world.play(world, dict.fromkeys(TRIO, 1.0))
    return world


@pytest.fixture
def world(begun: Simulation, tmp_path: Path) -> Simulation:
    return begun.copied_to(tmp_path / "world")


@pytest.fixture
def second(played: Simulation, tmp_path: Path) -> Simulation:
    return played.copied_to(tmp_path / "second")


def with_cases(world: Simulation) -> Simulation:
    """Partitioned, as far as `status` looks."""
    for site in world.sites.values():
        (site.root / "cases.json").write_text("{}")
    return world


def at(world: Simulation, site: Hospital) -> bedside.Status:
    return bedside.status(site.root, world.now)


def shown(actor: Actor) -> str:
    """What `status` prints."""
    return CliRunner().invoke(app, ["status", "-w", str(actor.root)]).output


def at_desk(world: Simulation) -> desk_status.Status:
    return desk_status.status(world.coordinator.root, world.now)


def refused(call: Callable[[], object]) -> FedmedError:
    with pytest.raises(FedmedError) as caught:
        call()
    return caught.value


# --- a request that does not count -----------------------------------------------------------------------------------


def test_an_older_request_does_not_stand_for_one_that_is_held(second: Simulation) -> None:
    """The coordinator goes on from a backup, and nobody here has told it where it was."""
    site = second.sites["aa"]
    masked_world.send(second, dict.fromkeys(TRIO, 1.0))
    asking.unmask(second.coordinator.root, second.now)
    request = masked_world.request_for(second, "aa", 1)
    site.deliver(masked_world.forged(second, request, lambda said, _: said.update(resumes=1)), second.now)
    error = refused(lambda: answering.unmask(site.root, second.now))
    assert (error.code, error.exit_code, error.next) == ("FM-ROS-05", 4, "fedmed recover --for coordinator")
    assert at(second, site).next == "fedmed recover --for coordinator"


def test_what_was_answered_is_posted_again_where_nothing_later_came(second: Simulation) -> None:
    site = second.sites["aa"]
    site.deliver(masked_world.request_for(second, "aa"), second.now)
    again = answering.unmask(site.root, second.now)
    assert (again.round, again.is_new) == (0, False)


# --- another attempt -------------------------------------------------------------------------------------------------


@pytest.fixture
def voided(world: Simulation) -> Simulation:
    """aa and bb had sent an update, and the second attempt of round 0 has begun."""
    masked_world.send(world, {"aa": 1.0, "bb": 1.0})
    void.void(world.coordinator.root, world.now, "cc saw another model")
    world.carry_down()
    return world


def test_the_coordinator_says_which_attempt_it_is(voided: Simulation) -> None:
    coordinator = voided.coordinator
    found = at_desk(voided)
    assert (found.round, found.attempt) == (0, 2)
    assert "round 0 of 3, attempt 2" in shown(coordinator)
    assert [each.reason for each in found.sites] == [
        "no update of attempt 2 has arrived; the one before is void",
        "no update of attempt 2 has arrived; the one before is void",
        "no update of attempt 2 has arrived",
    ]
    masked_world.send(voided, dict.fromkeys(TRIO, 1.0))
    masked_world.ask(voided)
    error = refused(lambda: coordinator.aggregate(voided.now))
    assert (error.code, error.message.split(":")[0]) == ("FM-MSK-07", "round 0, attempt 2")


def test_a_site_says_which_attempt_it_is(voided: Simulation) -> None:
    site = voided.sites["aa"]
    site.look(voided.now)
    assert at(voided, site).attempt == 2
    assert "round 0 of 3, attempt 2" in shown(site)
    done = train.train(site.root, voided.now, train.Options(), lambda *_: None)
    assert isinstance(done, train.Trained)
    words = "was trained before, and is masked again"
    assert (tables.named(done), tables.trained(done)) == ("round 0, attempt 2", words)
    masked_world.send(voided, dict.fromkeys(TRIO, 1.0))
    masked_world.ask(voided)
    assert at(voided, site).next == "fedmed unmask"
    told = answering.unmask(site.root, voided.now)
    words = "round 0, attempt 2: answered: shares for the sum of aa, bb, cc"
    assert tables.answered(told) == [words]
    assert tables.answered(replace(told, warning="dd: missing")) == [words, "warning: dd: missing"], "one line each"


def test_what_is_told_of_a_masked_update_is_what_was_sealed(voided: Simulation) -> None:
    """And what was trained is this site's own to see, beside it."""
    site = voided.sites["aa"]
    site.look(voided.now)
    done = train.train(site.root, voided.now, train.Options(), lambda *_: None)
    assert isinstance(done, train.Trained)
    assert done.posted is not None
    assert done.body == inspection.inspect(done.posted).statement.predicate.body
    assert done.body is not None
    assert done.body.facts is None
    assert done.body.masked is not None
    assert done.facts is not None
    assert done.facts.num_steps > 0
    told = tables.received(done.facts, is_masked=True)
    assert told == "the update is masked and tells none of that; the model received is scored by fedmed evaluate alone"
    again = train.train(site.root, voided.now, train.Options(), lambda *_: None)
    assert isinstance(again, train.Trained)
    assert (again.body, again.facts, again.is_new) == (done.body, None, False)


# --- the coordinator's command again ---------------------------------------------------------------------------------


def test_aggregate_behind_a_masked_model_waits_for_updates(second: Simulation) -> None:
    """As where nothing is masked: it names who has not answered the model, which is posted again."""
    coordinator = second.coordinator
    (coordinator.root / "outbox" / "model-r0001.fedmed").unlink()
    error = refused(lambda: coordinator.aggregate(second.now))
    assert (error.code, error.exit_code) == ("FM-WAI-03", 75)
    assert error.message.startswith("round 1: 0 of at least 3 sites are in; not in: aa (")
    assert (coordinator.root / "outbox" / "model-r0001.fedmed").exists()
    assert refused(lambda: coordinator.aggregate(second.now, close=True)).code == "FM-WAI-03"
    masked_world.send(second, dict.fromkeys(TRIO, 1.0))
    error = refused(lambda: coordinator.aggregate(second.now))
    assert (error.code, error.next) == ("FM-MSK-07", "fedmed unmask")


# --- a step that would be refused ------------------------------------------------------------------------------------


def test_a_site_that_was_revoked_is_told_so(world: Simulation) -> None:
    """Also before the file is taken in. Another one goes on."""
    said = revoke.revoke(world.coordinator.root, "aa", 1, "stolen", world.now).posted
    for name in ("aa", "bb"):
        world.sites[name].deliver(said.read_bytes(), world.now)
    site = world.sites["aa"]
    for _ in ("in the inbox", "taken in"):
        found = at(world, site)
        assert found.next == "call the coordinator, and keep this workspace as it is"
        assert found.refusal.startswith("FM-ROS-11 aa: ")
        site.look(world.now)
    assert "not possible now: FM-ROS-11 aa: the coordinator has revoked" in shown(site)
    assert refused(lambda: run.plan(site.root, world.now)).code == "FM-ROS-11"
    assert (at(world, world.sites["bb"]).next, at(world, world.sites["bb"]).refusal) == ("fedmed train-local", "")


def test_who_has_called_too_few_is_told_before_training(tmp_path: Path) -> None:
    world = with_cases(masked_world.founded(tmp_path / "world", TRIO, called=()))
    site = world.sites["aa"]
    for _ in ("in the inbox", "taken in"):
        found = at(world, site)
        assert (found.next, found.refusal[:9]) == (
            "call these hospitals, and then: fedmed keys pin bb cc -w HERE",
            "FM-MSK-02",
        )
        site.look(world.now)
    assert refused(lambda: run.plan(site.root, world.now)).code == "FM-MSK-02"
    masked_world.call(world, "aa", ["bb"])
    assert at(world, site).next == "fedmed train-local", "one may collude"


def test_the_request_that_is_awaited_has_the_name_of_its_attempt(voided: Simulation) -> None:
    site = voided.sites["aa"]
    masked_world.send(voided, {"aa": 1.0})
    assert at(voided, site).next == "wait for unmask-request-r0000-a2-aa.fedmed, or model-r0001.fedmed"


# --- a round that cannot close ---------------------------------------------------------------------------------------

FOUR = (*TRIO, "dd")


@pytest.fixture(scope="module")
def last(tmp_path_factory: pytest.TempPathFactory) -> Simulation:
    """The one round of four sites, of which three open a sum: aa and dd have sent their updates."""
    world = with_cases(masked_world.founded(tmp_path_factory.mktemp("told") / "last", FOUR, rounds=1))
    masked_world.send(world, {"aa": 1.0, "dd": 1.0})
    world.coordinator.look(world.now)
    return world


@pytest.fixture
def four(last: Simulation, tmp_path: Path) -> Simulation:
    return last.copied_to(tmp_path / "four")


def restored(world: Simulation, site: str) -> None:
    """It came from a backup, had a receipt, and the coordinator has its answer to that."""
    actor, coordinator = world.sites[site], world.coordinator
    receipt, *_ = at_desk_recovery.vouch(coordinator.root, site, world.now)
    actor.deliver(receipt.read_bytes(), world.now, receipt.name)
    found = at_site.recover(actor.root, world.now)
    assert found.posted is not None
    coordinator.deliver(found.posted.read_bytes(), world.now)
    coordinator.look(world.now)


def revoked(world: Simulation, site: str, last_seq: int = 2) -> None:
    """Join and approval are the first two that a site signs."""
    revoke.revoke(world.coordinator.root, site, last_seq, "stolen", world.now)


def test_nobody_waits_for_a_site_that_was_restored(tmp_path: Path) -> None:
    world = masked_world.founded(tmp_path / "world", FOUR)
    masked_world.send(world, {"aa": 1.0, "bb": 1.0})
    restored(world, "dd")
    found = at_desk(world)
    assert (found.next, found.refusal) == ("wait for cc", "")
    assert found.sites[3].reason == "it was restored from a backup, and sits this round out"
    masked_world.send(world, {"cc": 1.0})
    assert at_desk(world).next == "fedmed unmask"
    assert masked_world.ask(world, close=False).sites == list(TRIO)
    masked_world.answer(world, TRIO)
    assert world.coordinator.aggregate(world.now).round == 1
    world.carry_down()
    masked_world.play(world, dict.fromkeys(FOUR, 1.0))
    assert "restored" not in shown(world.coordinator), "it masks again in the next round"


def test_too_few_are_left_before_the_sum_is_decided(four: Simulation) -> None:
    """One was revoked and one restored, whose update is in the sum, but opens nothing."""
    coordinator = four.coordinator
    revoked(four, "cc")
    assert at_desk(four).next == "wait for bb"
    restored(four, "dd")
    words = (
        "round 0 cannot close: 3 sites are needed, 2 are left: aa, bb;"
        " not cc (revoked), dd (restored from a backup); another attempt would not help"
    )
    next_ = "found a new federation: in this one nothing was trained"
    assert at_desk(four).deadline == ""
    for command in (asking.unmask, aggregate.aggregate):
        error = refused(lambda command=command: command(coordinator.root, four.now))
        assert (error.code, error.message, error.next, error.exit_code) == ("FM-MSK-21", words, next_, 5)
    assert (at_desk(four).next, at_desk(four).refusal) == (next_, f"FM-MSK-21 {words}")
    assert f"not possible now: FM-MSK-21 {words}" in shown(coordinator)
    assert refused(lambda: at_desk_run.plan(coordinator.root, four.now)).code == "FM-MSK-21"


def test_too_few_are_left_to_open_the_sum(four: Simulation) -> None:
    """Whoever has answered counts, whatever became of it since."""
    masked_world.send(four, {"bb": 1.0, "cc": 1.0})
    assert masked_world.ask(four).sites == list(FOUR)
    masked_world.answer(four, ["aa"])
    restored(four, "dd")
    assert at_desk(four).refusal == ""
    reply = four.sites["cc"].unmask(four.now)
    revoked(four, "cc", predicate_of(reply)["seq"])
    assert "2 are left: aa, bb; not cc (revoked), dd" in at_desk(four).refusal
    four.coordinator.deliver(reply, four.now)
    assert (at_desk(four).refusal, at_desk(four).next) == ("", "wait for the unmask-reply of bb, dd")
    masked_world.answer(four, ["bb"])
    assert four.coordinator.aggregate(four.now).last


def test_another_attempt_helps_where_enough_are_left_for_it(four: Simulation) -> None:
    """cc was in the sum, and bb came late."""
    masked_world.send(four, {"cc": 1.0})
    masked_world.ask(four)
    revoked(four, "cc", 3)
    error = refused(lambda: asking.unmask(four.coordinator.root, four.now))
    assert (error.code, error.next) == ("FM-MSK-21", "fedmed aggregate --void REASON")
    assert error.message.endswith("2 are left: aa, dd; not cc (revoked); another attempt can, of aa, bb, dd")
    void.void(four.coordinator.root, four.now, "cc is revoked")
    four.carry_down()
    made = masked_world.play(four, dict.fromkeys(("aa", "bb", "dd"), 1.0))
    assert [parent.site for parent in made.parents] == ["aa", "bb", "dd"]


def test_a_restored_site_is_not_told_to_wait_for_what_may_never_come(four: Simulation) -> None:
    restored(four, "dd")
    site = four.sites["dd"]
    next_ = (
        "nothing more to send: this site sits round 0 out, which is the last;"
        " model-r0001.fedmed comes if the others can close it"
    )
    assert at(four, site).next == next_
    error = refused(lambda: train.train(site.root, four.now, train.Options(again=True), lambda *_: None))
    assert (error.code, error.next) == ("FM-ROS-07", next_)


def test_behind_a_round_the_newest_model_is_what_remains(second: Simulation) -> None:
    revoked(second, "cc")
    found = at_desk(second)
    assert found.refusal.startswith("FM-MSK-21 round 1 cannot close: 3 sites are needed, 2 are left: aa, bb; not cc")
    assert found.next == "take model r0001 as the result of this federation, or found a new one"


def test_a_key_that_was_revoked_from_its_approval_on_ends_masking(four: Simulation) -> None:
    revoked(four, "cc", 1)
    words = "0 are left: none; not cc (revoked); no approval of cc counts, and without it no site masks"
    assert words in at_desk(four).refusal


def test_a_later_request_that_does_not_count_is_told_each_time(second: Simulation) -> None:
    """The answer of before is not posted again as if nothing had come."""
    masked_world.send(second, dict.fromkeys(TRIO, 1.0))
    asking.unmask(second.coordinator.root, second.now)
    site = second.sites["aa"]
    good = masked_world.request_for(second, "aa", 1)
    bad = masked_world.forged(second, good, lambda predicate, _: predicate["body"].update(model="0" * 64))
    site.deliver(bad, second.now, "bad.fedmed")
    codes = [code_of(lambda: answering.unmask(site.root, second.now)) for _ in range(3)]
    assert codes == ["FM-MSK-10"] * 3
    site.deliver(good, second.now, "good.fedmed")
    assert answering.unmask(site.root, second.now).is_new
