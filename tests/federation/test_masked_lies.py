"""Lies about masks: what an active coordinator tries with a site's shares, and what sites do behind its back.

Each was once shown to open a single site's update.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import pytest

from fedmed.coordinator import revoke, void
from fedmed.errors import FedmedError
from fedmed.exchange import archived, bodies_masking
from fedmed.exchange.verdict import Outcome
from fedmed.site import train
from fedmed.site import unmask as answering
from tests.coded import code_of
from tests.federation import masked_world
from tests.federation.masked_world import NAMES, answer, answer_to, ask, forged, play, request_for, send
from tests.federation.simulator import predicate_of, restore, statement_id
from tests.vectors import samples

if TYPE_CHECKING:
    from pathlib import Path

    from tests.federation.simulator import Simulation

ALL = dict.fromkeys(NAMES, 1.0)
WITHOUT_EE = dict.fromkeys(NAMES[:4], 1.0)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Simulation:
    """All five have sent their updates of round 0, and nobody was asked yet."""
    world = masked_world.founded(tmp_path_factory.mktemp("lies") / "world")
    send(world, ALL)
    return world


@pytest.fixture
def world(template: Simulation, tmp_path: Path) -> Simulation:
    return template.copied_to(tmp_path / "world")


@pytest.fixture(scope="module")
def asked_template(template: Simulation, tmp_path_factory: pytest.TempPathFactory) -> Simulation:
    """The coordinator has asked all five."""
    world = template.copied_to(tmp_path_factory.mktemp("asked") / "world")
    masked_world.unmask.unmask(world.coordinator.root, world.now)
    return world


@pytest.fixture
def asked(asked_template: Simulation, tmp_path: Path) -> Simulation:
    return asked_template.copied_to(tmp_path / "world")


def refused(world: Simulation, site: str, request: bytes) -> str:
    """The code with which a site refuses, and that nothing left it."""
    before = len(world.sites[site].workspace().record.of("unmask-reply"))
    code = code_of(lambda: answer_to(world, site, request))
    assert len(world.sites[site].workspace().record.of("unmask-reply")) == before
    return code


def swap_slots(_: dict[str, Any], payload: dict[str, Any]) -> None:
    """The bundle that bb sealed for the recipient stands in the slot of cc, whose update stays."""
    one, other = payload["included"][1], payload["included"][2]
    one["bundle"], other["bundle"] = other["bundle"], one["bundle"]


def swap_rows(_: dict[str, Any], payload: dict[str, Any]) -> None:
    one, other = payload["included"][1], payload["included"][2]
    one["row"], other["row"] = other["row"], one["row"]


def duplicate_slot(_: dict[str, Any], payload: dict[str, Any]) -> None:
    """What bb sealed stands twice: in its own slot and in that of cc."""
    payload["included"][2] = payload["included"][1]


@pytest.mark.parametrize(
    ("lie", "code"), [(swap_slots, "FM-SHR-08"), (swap_rows, "FM-SHR-08"), (duplicate_slot, "FM-MSK-08")]
)
def test_shares_of_one_site_are_not_given_out_as_those_of_another(asked: Simulation, lie: Any, code: str) -> None:
    request = request_for(asked, "aa")
    assert refused(asked, "aa", forged(asked, request, lie)) == code
    assert answer_to(asked, "aa", forged(asked, request, lambda *_: None, seq=95)), "an honest request is answered"


def test_a_site_that_stands_twice_is_no_request(asked: Simulation) -> None:
    def twice(predicate: dict[str, Any], _: dict[str, Any]) -> None:
        predicate["body"]["included"][1] = predicate["body"]["included"][0]

    end = asked.sites["aa"].judge(forged(asked, request_for(asked, "aa"), twice), asked.now)
    assert end == (Outcome.REJECTED, "FM-FRM-03", 5)


def drop(world: Simulation, request: bytes, *sites: str, seq: int = 90) -> bytes:
    """A request about the same attempt without these sites."""

    def shrink(predicate: dict[str, Any], payload: dict[str, Any]) -> None:
        kept = [place for place, row in enumerate(predicate["body"]["included"]) if row["site"] not in sites]
        predicate["body"]["included"] = [predicate["body"]["included"][place] for place in kept]
        payload["included"] = [payload["included"][place] for place in kept]

    return forged(world, request, shrink, seq=seq)


def test_one_set_of_sites_is_answered_in_an_attempt_and_no_other(asked: Simulation) -> None:
    request = request_for(asked, "aa")
    said = answer_to(asked, "aa", request)
    end = asked.sites["aa"].judge(drop(asked, request, "ee"), asked.now)
    assert end == (Outcome.REJECTED, "FM-MSK-09", 4)
    assert answer_to(asked, "aa", request) == said, "the same bytes again"
    again = forged(asked, request, lambda *_: None, seq=95)
    assert answer_to(asked, "aa", again) == said, "another statement about the same set"


def test_an_answer_that_is_posted_again_names_the_sites_it_was_about(asked: Simulation) -> None:
    request = request_for(asked, "aa")
    answer_to(asked, "aa", request)

    def rename(predicate: dict[str, Any], _: dict[str, Any]) -> None:
        predicate["body"]["included"][4]["site"] = "zz"

    asked.sites["aa"].deliver(forged(asked, request, rename), asked.now)
    again = answering.unmask(asked.sites["aa"].root, asked.now)
    assert (again.is_new, again.sites) == (False, list(NAMES))


def test_an_update_by_a_revoked_key_is_in_no_sum(asked: Simulation) -> None:
    said = revoke.revoke(asked.coordinator.root, "ee", 2, "stolen", asked.now)
    asked.sites["aa"].deliver(said.posted.read_bytes(), asked.now)
    assert refused(asked, "aa", request_for(asked, "aa")) == "FM-MSK-08"
    assert answer_to(asked, "bb", request_for(asked, "bb")), "nothing else is wrong with what was asked"


def test_too_few_sites_are_no_sum(asked: Simulation) -> None:
    assert refused(asked, "aa", drop(asked, request_for(asked, "aa"), "dd", "ee")) == "FM-MSK-11"


def test_who_is_not_in_the_sum_reveals_nothing(asked: Simulation) -> None:
    assert refused(asked, "aa", drop(asked, request_for(asked, "aa"), "aa")) == "FM-MSK-11"


def test_an_update_under_another_name_is_foreign(asked: Simulation) -> None:
    """cc's slot says that it is the update of bb, which is left out."""

    def rename(predicate: dict[str, Any], payload: dict[str, Any]) -> None:
        predicate["body"]["included"].pop(1)
        payload["included"].pop(2)

    assert refused(asked, "aa", forged(asked, request_for(asked, "aa"), rename)) == "FM-MSK-08"


def test_an_update_that_its_site_did_not_sign_is_foreign(asked: Simulation) -> None:
    """The coordinator invents an update of ee, with a context that fits."""

    def invent(predicate: dict[str, Any], payload: dict[str, Any]) -> None:
        update = payload["included"][4]["update"]
        update["statement"] = update["statement"].replace('"data":"0', '"data":"1')
        predicate["body"]["included"][4]["update"] = masked_world.samples.sha256(update["statement"].encode())

    assert refused(asked, "aa", forged(asked, request_for(asked, "aa"), invent)) == "FM-MSK-08"


def test_a_request_about_another_model_is_none(asked: Simulation) -> None:
    def other(predicate: dict[str, Any], _: dict[str, Any]) -> None:
        predicate["body"]["model"] = "ab" * 32

    end = asked.sites["aa"].judge(forged(asked, request_for(asked, "aa"), other), asked.now)
    assert end == (Outcome.REJECTED, "FM-MSK-10", 5)


def begin_again(world: Simulation, reason: str = "ee is silent") -> void.Voided:
    """The attempt is void, and the next one lies in every inbox."""
    made = void.void(world.coordinator.root, world.now, reason)
    world.carry_down()
    return made


def test_void_then_shrink_is_refused(asked: Simulation) -> None:
    """The coordinator gets its sum, calls the attempt void, and asks again without the victim."""
    asked.carry_down()
    answer(asked, NAMES)
    begin_again(asked)
    send(asked, WITHOUT_EE)
    ask(asked)
    assert code_of(lambda: asked.sites["aa"].unmask(asked.now)) == "FM-MSK-12"
    with pytest.raises(FedmedError, match="aa, bb, cc, dd, ee") as caught:
        asked.sites["aa"].unmask(asked.now)
    assert "fedmed unmask --consent REASON" in caught.value.next


def test_an_operator_may_consent_to_another_set_and_it_stays_in_the_ledger(asked: Simulation) -> None:
    asked.carry_down()
    answer(asked, ["aa"])
    begin_again(asked)
    send(asked, WITHOUT_EE)
    ask(asked)
    assert asked.sites["aa"].unmask(asked.now, "ee has left for good; called")
    notes = [facts for _, facts in asked.sites["aa"].workspace().record.notes if facts.get("what") == "unmask-consent"]
    assert [facts["reason"] for facts in notes] == ["ee has left for good; called"]


def test_another_attempt_about_the_same_sites_is_answered_and_masks_what_was_trained(asked: Simulation) -> None:
    asked.carry_down()
    answer(asked, ["aa", "bb"])
    assert begin_again(asked).attempt == 2
    send(asked, dict.fromkeys(NAMES, 77.0))  # what was trained before is masked again: nobody trains anew
    ask(asked)
    answer(asked, NAMES[:4])
    made = asked.coordinator.aggregate(asked.now)
    assert len(made.parents) == 5
    body = archived.read_archived(asked.coordinator.workspace(), made.parents[0].update).predicate
    assert body.attempt == 2  # type: ignore[union-attr]
    _, weights = asked.coordinator.newest_model()
    assert float(weights["conv.bias"][0]) == pytest.approx(0.5, abs=1e-4), "-0.5 and the update of 1"


def test_a_site_that_answered_nothing_yet_may_answer_about_fewer(asked: Simulation) -> None:
    begin_again(asked)
    send(asked, WITHOUT_EE)
    ask(asked)
    answer(asked, NAMES[:4])
    assert len(asked.coordinator.aggregate(asked.now).parents) == 4


def test_a_request_for_a_closed_round_is_answered_only_as_before(asked: Simulation) -> None:
    asked.carry_down()
    answer(asked, NAMES[:4])
    asked.sites["ee"].look(asked.now)
    asked.coordinator.aggregate(asked.now)
    said = asked.sites["aa"].unmask(asked.now)
    asked.carry_down()
    assert code_of(lambda: asked.sites["ee"].unmask(asked.now)) == "FM-MSK-10"
    assert asked.sites["aa"].unmask(asked.now) == said


def test_a_site_is_not_asked_about_a_late_update_of_its_own(world: Simulation, tmp_path: Path) -> None:
    """An update that comes when the set is decided is in no sum, and nobody gets shares of its self mask."""
    other = masked_world.founded(tmp_path / "late")
    send(other, WITHOUT_EE)
    ask(other)
    send(other, {"ee": 1.0})
    answer(other, NAMES[:4])
    made = other.coordinator.aggregate(other.now)
    assert [parent.site for parent in made.parents] == list(NAMES[:4])
    assert {ack.site: ack.status for ack in made.acks}["ee"] == "late"
    assert not list((other.coordinator.root / "outbox").glob("unmask-request-*-ee.fedmed"))


def test_a_lost_update_locks_nobody_out(tmp_path: Path) -> None:
    """The coordinator lists the key that the lost update was masked with once more, and the site still has it."""
    world = masked_world.founded(tmp_path / "world")
    send(world, WITHOUT_EE)
    world.sites["ee"].masked_update(world.now, masked_world.filled(1.0))  # the stick is lost
    ask(world)
    answer(world, NAMES[:4])
    world.coordinator.aggregate(world.now)
    world.carry_down()
    made = play(world, ALL)
    assert len(made.parents) == 5


def test_a_restored_site_does_not_answer_twice(asked: Simulation, tmp_path: Path) -> None:
    """Its own reply is acknowledged by the coordinator's next request, and the restored ledger knows none."""
    site = asked.sites["aa"]
    site.deliver(request_for(asked, "aa"), asked.now)
    site.look(asked.now)
    backup = tmp_path / "backup"
    shutil.copytree(site.root, backup)
    asked.coordinator.deliver(site.unmask(asked.now), asked.now)
    asked.coordinator.look(asked.now)
    begin_again(asked, "try again")
    restore(site, backup)
    assert code_of(lambda: site.look(asked.now)) == "FM-TRU-06"


def test_a_site_masks_once_in_an_attempt(world: Simulation) -> None:
    first = world.sites["aa"].masked_update(world.now, masked_world.filled(5.0))
    assert predicate_of(first)["attempt"] == 1
    assert first == world.sites["aa"].posted("update-r0000-aa")
    site, again = world.sites["aa"].root, train.Options(again=True)
    assert code_of(lambda: train.train(site, world.now, again, lambda *_: None)) == "FM-MSK-04"


def test_a_second_masked_update_is_refused_at_the_door(world: Simulation) -> None:
    world.coordinator.look(world.now)
    data = world.sites["aa"].posted("update-r0000-aa")
    second = world.change(data, "aa", lambda predicate: predicate.update(seq=80, prev="0" * 64))
    assert world.coordinator.judge(second, world.now) == (Outcome.REJECTED, "FM-MSK-16", 5)


def test_a_reply_to_no_request_or_a_second_one_is_refused(asked: Simulation) -> None:
    said = answer_to(asked, "aa", request_for(asked, "aa"))
    other = asked.change(said, "aa", lambda predicate: predicate["body"].update(request="ab" * 32))
    assert asked.coordinator.judge(other, asked.now) == (Outcome.REJECTED, "FM-MSK-17", 5)
    assert asked.coordinator.judge(said, asked.now)[0] == Outcome.ACCEPTED
    again = asked.change(said, "aa", lambda predicate: predicate.update(seq=81, prev="0" * 64))
    assert asked.coordinator.judge(again, asked.now) == (Outcome.REJECTED, "FM-MSK-17", 5)


def test_the_digest_of_a_set_is_of_its_updates(asked: Simulation) -> None:
    body = predicate_of(request_for(asked, "aa"))["body"]
    digest = bodies_masking.included_digest([row["update"] for row in body["included"]])
    reply = answer_to(asked, "aa", request_for(asked, "aa"))
    shown = samples.sha256(samples.members(reply)[2][1])
    told = {"request": statement_id(request_for(asked, "aa")), "included": digest, "shown": shown}
    assert predicate_of(reply)["body"] == told
