"""Who spoiled a sum is named by signed files, and the next attempt goes without that site; nobody is named falsely."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from fedmed.coordinator import void
from fedmed.errors import FedmedError
from fedmed.exchange import bundles, maskkeys, seeds, shamir, unmasking
from tests.coded import code_of
from tests.federation import masked_world
from tests.federation.masked_world import NAMES, answer, answer_to, ask, forged, request_for, send

if TYPE_CHECKING:
    from pathlib import Path

    from tests.federation.simulator import Simulation

HONEST = dict.fromkeys(NAMES[:4], 1.0)


def send_spoiled(world: Simulation, name: str) -> None:
    """An update whose shares are of another self seed than the one that is committed to."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bundles.shamir, "split", lambda _, *rest: shamir_split(bytes(31), *rest))
        send(world, {name: 1.0})


shamir_split = shamir.split


@pytest.fixture(scope="module")
def spoiled(tmp_path_factory: pytest.TempPathFactory) -> Simulation:
    """All five have answered about a sum that ee spoiled, and the coordinator knows."""
    world = masked_world.founded(tmp_path_factory.mktemp("culprits") / "world")
    send(world, HONEST)
    send_spoiled(world, "ee")
    ask(world)
    answer(world, NAMES)
    with pytest.raises(FedmedError, match="ee dealt shares") as caught:
        world.coordinator.aggregate(world.now)
    assert caught.value.code == "FM-MSK-14"
    return world


@pytest.fixture(scope="module")
def template(spoiled: Simulation, tmp_path_factory: pytest.TempPathFactory) -> Simulation:
    """Behind it the attempt is void, and all five are in the next one; the coordinator has asked."""
    world = spoiled.copied_to(tmp_path_factory.mktemp("again") / "world")
    made = void.void(world.coordinator.root, world.now, "ee spoiled it")
    assert (made.attempt, made.without) == (2, ["ee"])
    world.carry_down()
    send(world, {**HONEST, "ee": 1.0})
    masked_world.unmask.unmask(world.coordinator.root, world.now, close=True)
    return world


@pytest.fixture
def again(template: Simulation, tmp_path: Path) -> Simulation:
    return template.copied_to(tmp_path / "world")


def test_the_next_attempt_goes_without_a_proven_culprit_and_needs_no_consent(again: Simulation) -> None:
    again.carry_down()
    answer(again, NAMES[:4])
    made = again.coordinator.aggregate(again.now)
    assert [parent.site for parent in made.parents] == list(NAMES[:4])
    assert {ack.site: ack.reason[:9] for ack in made.acks}["ee"] == "FM-MSK-14"


def test_without_the_proof_a_smaller_set_is_refused(again: Simulation) -> None:
    def hide(predicate: dict[str, Any], payload: dict[str, Any]) -> None:
        predicate["body"]["culprits"], payload["evidence"] = [], []

    request = forged(again, request_for(again, "aa", attempt=2), hide)
    assert code_of(lambda: answer_to(again, "aa", request)) == "FM-MSK-12"


def of_another(payload: dict[str, Any]) -> None:
    payload["evidence"][0]["proof"] |= {"site": "dd", "dealer": "dd", "secret": "dd"}


def with_other_commitments(payload: dict[str, Any]) -> None:
    """Good shares that do not give a seed which the coordinator says was committed to: so it could frame anybody."""
    payload["evidence"][0]["table"]["seeds"][4] = "ab" * 32


def with_another_row(payload: dict[str, Any]) -> None:
    payload["evidence"][0]["table"]["rows"][0]["shares"][0] = "ab" * 32


def with_another_share(payload: dict[str, Any]) -> None:
    payload["evidence"][0]["answers"][0]["shown"]["shown"][4]["own"] = "0" * 64


def with_a_reply_too_few(payload: dict[str, Any]) -> None:
    payload["evidence"][0]["answers"].pop()


def of_a_secret_that_nobody_revealed(payload: dict[str, Any]) -> None:
    payload["evidence"][0]["proof"]["secret"] = "aa"


def of_a_site_that_does_not_exist(payload: dict[str, Any]) -> None:
    payload["evidence"][0]["proof"]["secret"] = "zz"


def that_a_holder_did_it(payload: dict[str, Any]) -> None:
    payload["evidence"][0]["proof"] |= {"fault": "holder", "site": "aa", "holders": ["aa"]}


def signed_by_another(payload: dict[str, Any]) -> None:
    evidence = payload["evidence"][0]
    evidence["update"] = payload["included"][0]["update"]


@pytest.mark.parametrize(
    "lie",
    [
        of_another,
        with_other_commitments,
        with_another_row,
        with_another_share,
        with_a_reply_too_few,
        of_a_secret_that_nobody_revealed,
        of_a_site_that_does_not_exist,
        that_a_holder_did_it,
        signed_by_another,
    ],
)
def test_nobody_is_called_a_culprit_without_a_proof(again: Simulation, lie: Any) -> None:
    request = forged(again, request_for(again, "aa", attempt=2), lambda _, payload: lie(payload))
    assert code_of(lambda: answer_to(again, "aa", request)) == "FM-MSK-19"


def test_a_false_share_names_its_holder_and_the_others_are_enough(tmp_path: Path) -> None:
    world = masked_world.founded(tmp_path / "world")
    send(world, {**HONEST, "ee": 1.0})
    ask(world)
    answer(world, NAMES[1:])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(unmasking, "_shown", false_share(unmasking._shown))
        answer(world, ["aa"])
    made = world.coordinator.aggregate(world.now)
    assert len(made.parents) == 5
    assert "a share of aa is not the one that it was given" in made.told


def false_share(honest: Any) -> Any:
    def shown(*arguments: Any) -> unmasking.Shown:
        said: unmasking.Shown = honest(*arguments)
        return said.model_copy(update={"own": "00" * 32})

    return shown


def test_a_site_that_masks_for_other_keys_is_left_out_before_anybody_is_asked(tmp_path: Path) -> None:
    """ee's seed with aa is another than aa's with ee: one of them is left out, and the other four make a sum."""
    world = masked_world.founded(tmp_path / "world")
    send(world, HONEST)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(seeds, "pair_seed", lambda *_: b"x" * 31)
        send(world, {"ee": 1.0})
    asked = ask(world)
    assert asked.sites == list(NAMES[:4])
    answer(world, NAMES[:4])
    made = world.coordinator.aggregate(world.now)
    assert {ack.site: ack.reason[:9] for ack in made.acks if ack.status == "excluded"} == {"ee": "FM-MSK-18"}


def test_keys_go_when_nothing_needs_them_any_more(tmp_path: Path) -> None:
    world = masked_world.founded(tmp_path / "world")
    folder = world.sites["aa"].root / "keys" / "mask"
    assert maskkeys.held(folder) == [1]
    masked_world.play(world, {**HONEST, "ee": 1.0})
    assert maskkeys.held(folder) == [1, 2]
    send(world, {"aa": 1.0})
    assert maskkeys.held(folder) == [2, 3]
