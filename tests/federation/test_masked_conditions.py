"""When a site masks, when the coordinator waits, and what else a masked federation is refused for."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import yaml

from fedmed.coordinator import aggregate, revoke, status, unmask, void
from fedmed.coordinator import run as desk
from fedmed.errors import FedmedError
from fedmed.exchange import approvals, artifact
from fedmed.exchange.bodies_roster import Quoted
from fedmed.exchange.verdict import Outcome
from fedmed.learning import masking
from fedmed.site import run as bedside
from fedmed.site import status as ward
from fedmed.site import unmask as answering
from tests.coded import code_of
from tests.federation import masked_world
from tests.federation.masked_world import MASKED, NAMES, answer, ask, call, play, send
from tests.federation.simulator import INITIAL, Simulation, filled, predicate_of
from tests.vectors import samples

if TYPE_CHECKING:
    from pathlib import Path

ALL = dict.fromkeys(NAMES, 1.0)
FEW = NAMES[:3]  # as few as may mask
LIMITS: dict[str, Any] = {"rounds": 3, "min_sites": 3, "max_num_cases": 100}


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Simulation:
    return masked_world.founded(tmp_path_factory.mktemp("conditions") / "world")


@pytest.fixture
def world(template: Simulation, tmp_path: Path) -> Simulation:
    return template.copied_to(tmp_path / "world")


def masks(world: Simulation, name: str) -> str:
    return code_of(lambda: world.sites[name].masked_update(world.now, filled(1.0)))


# --- before the first model -----------------------------------------------------------------------------------------


def test_the_first_model_waits_for_the_approvals_of_all(tmp_path: Path) -> None:
    world = Simulation(tmp_path / "world", NAMES).found(aggregation=MASKED, approved=NAMES[:4], **LIMITS)
    coordinator = world.coordinator
    assert not list((coordinator.root / "outbox").glob("model-*"))
    with pytest.raises(FedmedError, match=r"approvals.*not in: ee") as caught:
        coordinator.aggregate(world.now, close=True)
    assert caught.value.code == "FM-WAI-03"
    seen = status.status(coordinator.root, world.now)
    assert (seen.awaits, seen.next) == ("approvals", "wait for the approvals of ee")
    coordinator.deliver(world.sites["ee"].approve(world.now), world.now)
    assert status.status(coordinator.root, world.now).next == "fedmed aggregate"
    made = coordinator.aggregate(world.now)
    assert (made.round, made.is_new, made.federations) == (0, True, [])


def test_two_sites_cannot_mask(tmp_path: Path) -> None:
    world = Simulation(tmp_path / "world", ("aa", "bb"))
    with pytest.raises(FedmedError, match="3 or more, got 2") as caught:
        world.found(aggregation=MASKED, rounds=3, min_sites=2)
    assert caught.value.code == "FM-SHR-06"


@pytest.fixture(scope="module")
def sealed_template(tmp_path_factory: pytest.TempPathFactory) -> Simulation:
    """Model r0 is sealed and has reached nobody, and nobody has called anybody."""
    world = Simulation(tmp_path_factory.mktemp("sealed") / "world", NAMES).found(aggregation=MASKED, **LIMITS)
    world.coordinator.aggregate(world.now)
    return world


@pytest.fixture
def sealed(sealed_template: Simulation, tmp_path: Path) -> Simulation:
    return sealed_template.copied_to(tmp_path / "world")


# --- a site that masks ----------------------------------------------------------------------------------------------


def without_ee(world: Simulation) -> bytes:
    """Model r0 as the coordinator would seal it with the approvals of four sites."""
    data = world.coordinator.posted("model-r0000")
    statement, payloads = samples.statement_in(data), samples.members(data)[2:]
    kept = quoted_without(payloads[1][1], world.sites["ee"].actor["key"])
    payloads[1] = ("approvals.json", kept)
    statement["subject"][1]["digest"]["sha256"] = artifact.sha256(kept)
    statement["predicate"]["payload"][1]["bytes"] = len(kept)
    return samples.signed(statement, payloads, by=world.coordinator.key)


def quoted_without(payload: bytes, key: str) -> bytes:
    rows = [Quoted(**row) for row in json.loads(payload)["approvals"]]
    return approvals.to_bytes(row for row in rows if key not in row.statement)


def test_a_site_masks_only_when_all_have_approved(sealed: Simulation) -> None:
    site = sealed.sites["aa"]
    call(sealed, "aa", NAMES)
    site.deliver(without_ee(sealed), sealed.now)
    with pytest.raises(FedmedError, match="no approval of ee") as caught:
        site.masked_update(sealed.now, filled(1.0))
    assert caught.value.code == "FM-MSK-01"


def test_an_approval_by_a_key_that_was_revoked_does_not_count(sealed: Simulation) -> None:
    """The model that brings it was sealed before, and is taken in."""
    site = sealed.sites["aa"]
    call(sealed, "aa", NAMES)
    said = revoke.revoke(sealed.coordinator.root, "ee", 1, "stolen", sealed.now)
    site.deliver(said.posted.read_bytes(), sealed.now)
    site.deliver(sealed.coordinator.posted("model-r0000"), sealed.now)
    with pytest.raises(FedmedError, match="no approval of ee") as caught:
        site.masked_update(sealed.now, filled(1.0))
    assert caught.value.code == "FM-MSK-01"
    assert ward.status(site.root, sealed.now).approved == list(NAMES[:4])


def test_a_site_masks_only_among_those_that_it_has_called(sealed: Simulation) -> None:
    sealed.carry_down()
    call(sealed, "aa", ["bb", "cc"])
    with pytest.raises(FedmedError, match=r"at most 1 .* got dd, ee") as caught:
        sealed.sites["aa"].masked_update(sealed.now, filled(1.0))
    assert caught.value.code == "FM-MSK-02"
    assert "fedmed keys pin dd ee" in caught.value.next
    call(sealed, "aa", ["dd"])
    assert masks(sealed, "aa") == "ok", "one that nobody called may be a colluder"


def taken_back(world: Simulation, name: str, last_seq: int) -> None:
    """The coordinator revokes the key of a site, and aa hears of it."""
    said = revoke.revoke(world.coordinator.root, name, last_seq, "stolen", world.now)
    world.sites["aa"].deliver(said.posted.read_bytes(), world.now)
    world.sites["aa"].look(world.now)


def test_a_site_whose_key_was_revoked_counts_among_those_that_may_collude(sealed: Simulation) -> None:
    """Whoever has its key makes mask certificates in its name: that it was called says nothing any more."""
    sealed.carry_down()
    site = sealed.sites["aa"]
    call(sealed, "aa", ["bb", "cc", "dd"])
    taken_back(sealed, "dd", 2)
    told = ward.status(site.root, sealed.now)
    assert (told.unpinned, told.revoked) == (["ee"], ["dd"])
    (site.root / "cases.json").write_text("{}")
    told = ward.status(site.root, sealed.now)
    assert (told.next, told.refusal[:9]) == ("call these hospitals, and then: fedmed keys pin ee -w HERE", "FM-MSK-02")
    with pytest.raises(FedmedError, match=r"at most 1 .* got dd, ee") as caught:
        site.masked_update(sealed.now, filled(1.0))
    assert caught.value.code == "FM-MSK-02"
    assert caught.value.next == "call these hospitals, and then: fedmed keys pin ee -w HERE"
    assert code_of(lambda: call(sealed, "aa", ["dd"])) == "FM-ROS-04"
    call(sealed, "aa", ["ee"])
    assert ward.status(site.root, sealed.now).next == "fedmed train-local"
    assert masks(sealed, "aa") == "ok", "one may collude"


def test_nobody_masks_among_more_revoked_sites_than_may_collude(world: Simulation) -> None:
    for name in ("dd", "ee"):
        taken_back(world, name, 2)
    with pytest.raises(FedmedError, match=r"at most 1 .* got dd, ee") as caught:
        world.sites["aa"].masked_update(world.now, filled(1.0))
    assert (caught.value.code, caught.value.next) == ("FM-MSK-02", "dd, ee: revoked; call the coordinator")


def test_nor_are_shares_revealed_where_a_key_was_revoked_since(world: Simulation) -> None:
    send(world, ALL)
    ask(world)
    for name in ("dd", "ee"):
        taken_back(world, name, 9)
    assert code_of(lambda: world.sites["aa"].unmask(world.now)) == "FM-MSK-02"


def test_a_mask_key_that_came_with_a_number_beyond_the_revocation_is_not_listed(world: Simulation) -> None:
    """A thief with the key of ee sent an update before anybody knew; it is taken in, and its mask key with it."""
    send(world, ALL)
    world.coordinator.look(world.now)
    own = predicate_of(world.sites["ee"].posted("update-r0000-ee"))
    revoke.revoke(world.coordinator.root, "ee", own["seq"] - 1, "stolen", world.now)
    send(world, {})
    ask(world)
    answer(world, NAMES[:4])
    world.coordinator.aggregate(world.now)
    listed = predicate_of(world.coordinator.posted("model-r0001"))["body"]["masks"]
    assert {each["site"]: each["index"] for each in listed} == {"aa": 2, "bb": 2, "cc": 2, "dd": 2, "ee": 1}


def test_a_site_that_leaves_classes_out_cannot_mask(world: Simulation) -> None:
    path = world.sites["aa"].root / "fedmed.yaml"
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), "absent": ["ball"]}))
    assert masks(world, "aa") == "FM-MSK-06"


def lists_nothing(body: dict[str, Any]) -> None:
    body |= {"masks": [], "clip": None}


def lists_one_too_few(body: dict[str, Any]) -> None:
    body["masks"].pop()


@pytest.mark.parametrize("lie", [lists_nothing, lists_one_too_few])
def test_a_model_lists_the_masks_of_all_or_is_refused(sealed: Simulation, lie: Any) -> None:
    model = sealed.coordinator.posted("model-r0000")
    data = sealed.change(model, "coordinator", lambda predicate: lie(predicate["body"]))
    assert sealed.sites["aa"].judge(data, sealed.now) == (Outcome.REJECTED, "FM-MSK-03", 5)


@pytest.mark.parametrize("clip", ["1000", "0.5"])
def test_the_clip_is_the_agreed_one(sealed: Simulation, clip: str) -> None:
    """The recipe's is 10 and follows nothing."""
    model = sealed.coordinator.posted("model-r0000")
    data = sealed.change(model, "coordinator", lambda predicate: predicate["body"].update(clip=clip))
    call(sealed, "aa", NAMES)
    sealed.sites["aa"].deliver(data, sealed.now)
    assert masks(sealed, "aa") == "FM-MSK-03"


def test_another_attempt_has_the_clip_of_the_one_before(tmp_path: Path) -> None:
    """With another one the site would train again, and spend its budget again."""
    world = masked_world.founded(tmp_path / "world", clip={"norm": 10.0, "times_last": 2.0})
    assert masks(world, "aa") == "ok"
    model = void.void(world.coordinator.root, world.now, "why not").posted.read_bytes()
    data = world.change(model, "coordinator", lambda predicate: predicate["body"].update(clip="5"))
    world.sites["aa"].deliver(data, world.now)
    assert masks(world, "aa") == "FM-MSK-20"
    world.sites["bb"].deliver(model, world.now)
    assert masks(world, "bb") == "ok"


def another_key_of_ee(masks_: list[dict[str, Any]]) -> None:
    masks_[4]["dh"] = "ab" * 32


def a_key_that_the_coordinator_made(masks_: list[dict[str, Any]]) -> None:
    masks_[4] = samples.mask_key("ee").certificate.model_dump()


def the_key_of_another(masks_: list[dict[str, Any]]) -> None:
    masks_[4] |= {name: masks_[3][name] for name in ("dh", "kem")}


@pytest.mark.parametrize("lie", [another_key_of_ee, a_key_that_the_coordinator_made, the_key_of_another])
def test_a_mask_key_that_its_site_did_not_sign_is_found_before_training(sealed: Simulation, lie: Any) -> None:
    model = sealed.coordinator.posted("model-r0000")
    data = sealed.change(model, "coordinator", lambda predicate: lie(predicate["body"]["masks"]))
    call(sealed, "aa", NAMES)
    sealed.sites["aa"].deliver(data, sealed.now)
    assert masks(sealed, "aa") == "FM-SHR-01"


def test_an_update_that_is_not_masked_is_refused(world: Simulation) -> None:
    data = masked_of(world, "aa")
    plain = world.change(data, "aa", lambda predicate: predicate["body"]["masked"].update(context="ab" * 32))
    assert world.coordinator.judge(plain, world.now) == (Outcome.REJECTED, "FM-MSK-05", 5)


def test_an_update_with_shares_for_fewer_sites_is_refused(world: Simulation) -> None:
    data = masked_of(world, "aa")
    fewer = world.change(data, "aa", lambda predicate: predicate["body"]["masked"]["dealt"].pop())
    assert world.coordinator.judge(fewer, world.now) == (Outcome.REJECTED, "FM-MSK-05", 5)


def test_an_update_whose_next_key_another_site_signed_is_refused(world: Simulation) -> None:
    data, other = masked_of(world, "aa"), predicate_of(masked_of(world, "bb"))
    stolen = world.change(
        data, "aa", lambda predicate: predicate["body"]["masked"].update(next=other["body"]["masked"]["next"])
    )
    assert world.coordinator.judge(stolen, world.now) == (Outcome.REJECTED, "FM-SHR-01", 4)


def masked_of(world: Simulation, name: str) -> bytes:
    return world.sites[name].masked_update(world.now, filled(1.0))


def test_a_masked_update_tells_nothing_about_its_site(world: Simulation) -> None:
    one, other = (
        world.copied_to(world.root.with_name(name)).sites["aa"].masked_update(world.now, filled(value), cases)
        for name, value, cases in (("few", 0.1, 1), ("many", -3.0, 99))
    )
    assert len(one) == len(other)
    assert predicate_of(one)["body"]["facts"] is None
    numbers = [np.frombuffer(samples.members(data)[2][1][-40:], "<u4") for data in (one, other)]
    assert not set(map(int, numbers[0])) & set(map(int, numbers[1]))


# --- the coordinator ------------------------------------------------------------------------------------------------


def test_masks_stay_on_until_enough_have_answered(world: Simulation) -> None:
    coordinator = world.coordinator
    send(world, ALL)
    with pytest.raises(FedmedError, match="have not been asked") as caught:
        coordinator.aggregate(world.now)
    assert (caught.value.code, caught.value.next) == ("FM-MSK-07", "fedmed unmask")
    with pytest.raises(FedmedError) as caught:
        coordinator.aggregate(world.now, close=True)
    assert (caught.value.code, caught.value.next) == ("FM-MSK-07", "fedmed unmask --close")
    assert code_of(lambda: coordinator.aggregate(world.now, include=["ee"])) == "FM-SCR-03"
    ask(world)
    answer(world, NAMES[:3])
    with pytest.raises(FedmedError, match=r"3 of 4 answers .* missing: dd, ee") as caught:
        coordinator.aggregate(world.now)
    assert caught.value.code == "FM-MSK-07"
    assert status.status(coordinator.root, world.now).next == "wait for the unmask-reply of dd, ee"
    answer(world, ["dd"])
    assert status.status(coordinator.root, world.now).next == "fedmed aggregate"


def test_the_set_is_decided_once(world: Simulation) -> None:
    send(world, dict.fromkeys(NAMES[:4], 1.0))
    with pytest.raises(FedmedError, match="4 of 5 sites are in") as caught:
        unmask.unmask(world.coordinator.root, world.now)
    assert caught.value.code == "FM-WAI-03"
    first = unmask.unmask(world.coordinator.root, world.now, close=True)
    send(world, {"ee": 1.0})
    again = unmask.unmask(world.coordinator.root, world.now)
    assert (first.is_new, again.is_new) == (True, False)
    assert first.sites == again.sites == list(NAMES[:4])
    assert [path.name for path in again.posted] == [f"unmask-request-r0000-{name}.fedmed" for name in NAMES[:4]]


def test_fewer_than_a_sum_needs_cannot_be_closed(world: Simulation) -> None:
    send(world, dict.fromkeys(NAMES[:3], 1.0))
    with pytest.raises(FedmedError, match="3 of at least 4 sites that a masked sum needs"):
        unmask.unmask(world.coordinator.root, world.now, close=True)


def test_there_is_nothing_to_declare_void_without_masks_or_behind_the_last_model(tmp_path: Path) -> None:
    world = Simulation(tmp_path / "world", ("aa", "bb")).found(rounds=3)
    assert code_of(lambda: void.void(world.coordinator.root, world.now, "why")) == "FM-MSK-15"
    assert code_of(lambda: unmask.unmask(world.coordinator.root, world.now)) == "FM-MSK-15"


def test_a_clock_that_is_behind_signs_no_attempt_and_no_request(world: Simulation) -> None:
    """Sites would find them expired, and what is asked is asked once."""
    send(world, ALL)
    world.coordinator.look(world.now)
    root, late = world.coordinator.root, world.now - timedelta(days=200)
    assert code_of(lambda: void.void(root, late, "why")) == "FM-TIM-02"
    assert code_of(lambda: unmask.unmask(root, late)) == "FM-TIM-02"
    assert [each.attempt for each in world.coordinator.workspace().record.models()] == [1]
    assert code_of(lambda: aggregate.aggregate(root, late, trust_clock="it ran ahead")) == "FM-MSK-07"
    assert void.void(root, late, "why").attempt == 2


def test_the_same_void_finds_its_attempt_until_somebody_answers_it(world: Simulation) -> None:
    """A killed one runs again; a second one is meant when something came, or for another reason."""

    def begun(reason: str) -> tuple[int, bool]:
        found = void.void(world.coordinator.root, world.now, reason)
        return found.attempt, found.is_new

    assert [begun("the line broke"), begun("the line broke")] == [(2, True), (2, False)]
    world.carry_down()
    send(world, {"aa": 1.0})
    assert begun("the line broke") == (3, True)
    assert [begun("again"), begun("again")] == [(4, True), (4, False)]


def test_a_spoiled_table_of_shares_counts_as_no_update(world: Simulation) -> None:
    data = masked_of(world, "ee")
    send(world, dict.fromkeys(NAMES[:4], 1.0))
    payload = samples.members(data)[2][1]
    short = world.change(data, "ee", lambda predicate: predicate["body"]["masked"]["dealt"].reverse(), payload=payload)
    world.coordinator.deliver(short, world.now)
    world.coordinator.look(world.now)
    refused = {each.site: each for each in status.status(world.coordinator.root, world.now).sites}["ee"]
    assert (refused.status, refused.reason[:9]) == ("refused", "FM-SHR-07")
    assert ask(world).sites == list(NAMES[:4])


# --- cron -----------------------------------------------------------------------------------------------------------


def test_run_asks_answers_and_opens(world: Simulation) -> None:
    coordinator, told = world.coordinator, list[str]()
    for name in NAMES:
        masked_of(world, name)
        coordinator.deliver(world.sites[name].posted(f"update-r0000-{name}"), world.now)

    def cron() -> None:
        desk.run(coordinator.root, lambda: world.now, lambda *_: None, lambda done: told.append(done.step))

    cron()
    assert told == ["unmask"]
    world.carry_down()
    for name in NAMES:
        (world.sites[name].root / "cases.json").touch()
        assert ward.status(world.sites[name].root, world.now).next == "fedmed unmask"
        bedside.run(world.sites[name].root, lambda: world.now, "", lambda *_: None, lambda done: told.append(done.step))
        coordinator.deliver(world.sites[name].posted(f"unmask-reply-r0000-{name}"), world.now)
    cron()
    assert told == ["unmask", *["unmask"] * 5, "aggregate"]
    assert coordinator.newest_model()[0].round == 1


# --- what comes of it -----------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("name", ["fedavgm", "fedadam", "fedyogi", "fedadagrad"])
def test_strategies_get_the_mean_as_one_update(tmp_path: Path, name: str) -> None:
    rate = {"server_lr": 0.5, "momentum": 0.5} if name == "fedavgm" else {"server_lr": 0.1, "tau": 0.1}
    world = masked_world.founded(tmp_path / "world", FEW, strategy={"name": name, **rate})
    play(world, dict.fromkeys(FEW, 1.0))
    play(world, dict.fromkeys(FEW, 1.0))
    _, weights = world.coordinator.newest_model()
    moved = float(weights["conv.bias"][0] - INITIAL["conv.bias"][0])
    expected = {
        "fedavgm": 0.5 * 1 + 0.5 * 1.5,
        "fedadam": sum(0.1 * m / (v**0.5 + 0.1) for m, v in ((0.1, 0.01), (0.19, 0.0199))),
        "fedyogi": sum(0.1 * m / (v**0.5 + 0.1) for m, v in ((0.1, 0.01), (0.19, 0.02))),
        "fedadagrad": sum(0.1 / (v**0.5 + 0.1) for v in (1, 2)),
    }[name]
    assert moved == pytest.approx(expected, abs=1e-5)


def test_the_clip_follows_the_last_mean_update(tmp_path: Path) -> None:
    world = masked_world.founded(tmp_path / "world", FEW, clip={"norm": 10.0, "times_last": 2.0})
    assert clip_of(world) == "10"
    play(world, dict.fromkeys(FEW, 0.5))
    assert float(clip_of(world)) == pytest.approx(2 * 0.5 * 3, abs=1e-4), "nine numbers of 0.5 have the length 1.5"
    play(world, dict.fromkeys(FEW, 50.0))
    assert float(clip_of(world)) == pytest.approx(6, abs=1e-3), "all were shortened to 3"


def clip_of(world: Simulation) -> str:
    round_ = world.coordinator.newest_model()[0].round_number
    return str(predicate_of(world.coordinator.posted(f"model-r{round_:04d}"))["body"]["clip"])


def test_sites_that_count_equally(tmp_path: Path) -> None:
    world = masked_world.founded(tmp_path / "world", strategy={"name": "fedavg", "weight": "equal"})
    values, cases = dict(zip(NAMES, (0.1, 0.2, 0.3, 0.4, 0.5), strict=True)), dict(zip(NAMES, range(1, 6), strict=True))
    made = play(world, values, {**cases, "ee": 99})
    _, weights = world.coordinator.newest_model()
    assert float(weights["conv.bias"][0]) == pytest.approx(-0.5 + 0.3, abs=1e-6)
    assert "5 sites, counted equally" in made.told


def test_what_sites_send_beyond_their_clip_is_no_sum(world: Simulation) -> None:
    with pytest.MonkeyPatch.context() as patch:
        honest = masking.Quantiser.quantise
        patch.setattr(masking.Quantiser, "quantise", lambda self, *rest: too_much(honest(self, *rest)))
        send(world, {"ee": 1.0})
    send(world, dict.fromkeys(NAMES[:4], 1.0))
    answer(world, ask(world).sites)
    assert code_of(lambda: world.coordinator.aggregate(world.now)) == "FM-SHR-12"


def too_much(found: masking.Quantised) -> masking.Quantised:
    found.vector[:-1] += np.uint32(2**27)
    return found


@pytest.mark.parametrize("rule", ["warn", "refuse"])
def test_a_site_that_comes_or_goes_between_two_sums_is_told_of(tmp_path: Path, rule: str) -> None:
    world = masked_world.founded(tmp_path / "world", set_change=rule)
    play(world, ALL)
    send(world, dict.fromkeys(NAMES[:4], 1.0))
    ask(world)
    if rule == "refuse":
        assert code_of(lambda: world.sites["aa"].unmask(world.now)) == "FM-MSK-13"
        assert not world.sites["aa"].workspace().record.of("unmask-reply", round=1)
    else:
        assert answering.unmask(world.sites["aa"].root, world.now).warning.startswith("ee: in this sum or")


def test_a_site_whose_key_was_revoked_masks_no_second_update_and_answers_nothing(world: Simulation) -> None:
    """The revocation lies in the inbox beside the request: what the site signed it still knows."""
    send(world, ALL)
    ask(world)
    first = world.sites["aa"].masked_update(world.now, filled(1.0))
    gone = revoke.revoke(world.coordinator.root, "aa", 2, "stolen", world.now).posted
    world.sites["aa"].deliver(gone.read_bytes(), world.now)
    assert code_of(lambda: world.sites["aa"].unmask(world.now)) == "FM-ROS-11"
    assert world.sites["aa"].masked_update(world.now, filled(1.0)) == first
    said = world.sites["aa"].workspace().record.said
    assert [each.kind for each in said] == ["join", "approval", "update"]
