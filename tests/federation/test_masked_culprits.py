"""Who spoiled a sum is named by signed files, and the next attempt goes without that site; nobody is named falsely."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from fedmed.coordinator import revoke, void
from fedmed.errors import FedmedError
from fedmed.exchange import bundles, evidence, maskkeys, seeds, shamir, sshsig, unmasking
from fedmed.exchange.bodies_roster import Quoted
from tests.coded import code_of
from tests.federation import masked_world
from tests.federation.masked_world import NAMES, answer, answer_to, ask, forged, request_for, send
from tests.federation.simulator import statement_id
from tests.vectors import samples

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
    payload["evidence"][0]["update"] = payload["included"][0]["update"]


def about_another_sum(payload: dict[str, Any]) -> None:
    payload["evidence"][0]["included"][0] = "ab" * 32


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
        about_another_sum,
    ],
)
def test_nobody_is_called_a_culprit_without_a_proof(again: Simulation, lie: Any) -> None:
    request = forged(again, request_for(again, "aa", attempt=2), lambda _, payload: lie(payload))
    assert code_of(lambda: answer_to(again, "aa", request)) == "FM-MSK-19"


def test_what_a_revoked_key_signed_proves_nothing(again: Simulation) -> None:
    said = revoke.revoke(again.coordinator.root, "ee", 1, "stolen", again.now)
    again.sites["aa"].deliver(said.posted.read_bytes(), again.now)
    with pytest.raises(FedmedError, match="a key that was revoked") as caught:
        answer_to(again, "aa", request_for(again, "aa", attempt=2))
    assert caught.value.code == "FM-MSK-19"


def test_a_culprit_that_was_revoked_since_is_left_out_with_the_consent_of_the_others(
    spoiled: Simulation, tmp_path: Path
) -> None:
    """What its key signed proves nothing any more, and to the others a revocation alone might be the coordinator's
    pretext for a smaller sum.
    """
    world = spoiled.copied_to(tmp_path / "world")
    update = samples.statement_in(world.sites["ee"].posted("update-r0000-ee"))["predicate"]
    revoke.revoke(world.coordinator.root, "ee", update["seq"] - 1, "stolen", world.now)
    assert void.void(world.coordinator.root, world.now, "ee spoiled it").without == ["ee"]
    world.carry_down()
    send(world, HONEST)
    assert ask(world).sites == list(NAMES[:4])
    assert samples.statement_in(request_for(world, "aa", attempt=2))["predicate"]["body"]["culprits"] == []
    assert code_of(lambda: world.sites["aa"].unmask(world.now)) == "FM-MSK-12"
    for name in NAMES[:4]:
        world.coordinator.deliver(world.sites[name].unmask(world.now, "ee called: its laptop was stolen"), world.now)
    made = world.coordinator.aggregate(world.now)
    assert [parent.site for parent in made.parents] == list(NAMES[:4])
    assert {ack.site: ack.status for ack in made.acks}["ee"] == "revoked"


# --- ee helps the coordinator and signs two updates in one attempt: the replies are about the first -------------------


def quote(data: bytes) -> dict[str, Any]:
    (_, said), (_, armour) = samples.members(data)[:2]
    return Quoted(statement=said.decode(), signature=sshsig.to_line(armour)).model_dump(mode="json")


@pytest.fixture(scope="module")
def framing(tmp_path_factory: pytest.TempPathFactory) -> tuple[Simulation, dict[str, Any], str]:
    """The next attempt was asked for; beside it evidence with ee's second update, by which aa replied a false share,
    and the id of that update.
    """
    folder = tmp_path_factory.mktemp("framing")
    world = masked_world.founded(folder / "world")
    second = world.copied_to(folder / "twin").sites["ee"].masked_update(world.now, masked_world.filled(1.0))
    send(world, {**HONEST, "ee": 1.0})
    ask(world)
    reply = world.sites["aa"].unmask(world.now)
    answer(world, NAMES[:4])
    included = [
        row["update"] for row in samples.statement_in(request_for(world, "aa"))["predicate"]["body"]["included"]
    ]
    void.void(world.coordinator.root, world.now, "the line broke")
    world.carry_down()
    send(world, {**HONEST, "ee": 1.0})
    masked_world.unmask.unmask(world.coordinator.root, world.now)
    table = next(data for name, data in samples.members(second) if name == "shares.json")
    found = {
        "proof": {"fault": "holder", "site": "aa", "dealer": "ee", "secret": "ee", "holders": ["aa"]},
        "included": included,
        "update": quote(second),
        "table": json.loads(table),
        "answers": [{"said": quote(reply), "shown": json.loads(samples.members(reply)[2][1])}],
    }
    return world, found, statement_id(second)


def without_aa(framing: tuple[Simulation, dict[str, Any], str], folder: Path, **lies: Any) -> bytes:
    """What bb answers about the second attempt without aa: with the sum of the first this opens the update of aa."""
    template, found, _ = framing
    world = template.copied_to(folder / "world")

    def shrink(predicate: dict[str, Any], payload: dict[str, Any]) -> None:
        predicate["body"]["included"].pop(0)
        payload["included"].pop(0)
        predicate["body"]["culprits"], payload["evidence"] = ["aa"], [{**found, **lies}]

    return answer_to(world, "bb", forged(world, request_for(world, "bb", attempt=2), shrink))


def test_a_second_update_of_a_colluder_frames_no_honest_holder(framing: Any, tmp_path: Path) -> None:
    assert code_of(lambda: without_aa(framing, tmp_path)) == "FM-MSK-19"


@pytest.mark.parametrize("is_named", [False, True])
def test_replies_about_one_update_prove_nothing_of_another(
    framing: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_named: bool
) -> None:
    """Also where the evidence says that the second update was in the sum."""
    monkeypatch.setattr(evidence, "_require_dealer", lambda *_: None)
    included = [*framing[1]["included"][:4], framing[2]] if is_named else framing[1]["included"]
    with pytest.raises(FedmedError, match="the replies are about other updates"):
        without_aa(framing, tmp_path, included=included)


def test_a_false_share_alone_is_no_reason_to_go_without_its_holder(
    framing: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evidence, "_require_of_sum", lambda *_: None)
    with pytest.raises(FedmedError, match="spoils no sum"):
        without_aa(framing, tmp_path)


def test_without_these_checks_the_honest_holder_is_framed(
    framing: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evidence, "_require_dealer", lambda *_: None)
    monkeypatch.setattr(evidence, "_require_of_sum", lambda *_: None)
    shown = json.loads(samples.members(without_aa(framing, tmp_path))[2][1])["shown"]
    assert [each["dealer"] for each in shown] == list(NAMES[1:])


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
