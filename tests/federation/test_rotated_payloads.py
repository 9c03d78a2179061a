"""A key that is replaced where updates are masked or encrypted, and with fitted numbers: rounds go on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from fedmed.auditor import books, rounds
from fedmed.coordinator import aggregate, revoke, versions, void
from fedmed.errors import FedmedError
from fedmed.exchange import canonical, certificates, keys, maskkeys, sshsig
from fedmed.site import desk, masks

from .masked_world import answer, ask, founded, play, send
from .simulator import Simulation, predicate_of
from .test_laps import FIRST, SECOND, hop
from .test_rotated import Killed, key_of, say
from .test_rotated import play as plain_round
from .test_screening import model_is

if TYPE_CHECKING:
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

NAMES = ("aa", "bb", "cc")
ONE = dict.fromkeys(NAMES, 1.0)


@pytest.fixture(scope="module")
def masked(tmp_path_factory: pytest.TempPathFactory) -> Simulation:
    return founded(tmp_path_factory.mktemp("masked") / "world", NAMES)


def listed(world: Simulation, site: str) -> tuple[int, str]:
    """Index and key of the certificate in the newest model."""
    found = world.sites[site]
    model = found.workspace().record.newest("model")
    assert model is not None
    body = masks.body_of(desk.peek(found.root), model)
    mine: certificates.Certificate = next(each for each in body.masks if each.site == site)
    return mine.index, mine.key


def test_a_site_that_masks_replaces_its_key_while_a_round_is_in_flight(masked: Simulation, tmp_path: Path) -> None:
    """It rotates between its update and its answer; the model behind lists its new mask keys, by its new key."""
    world = masked.copied_to(tmp_path / "world")
    old, thief = key_of(world, "aa"), world.sites["aa"].key
    send(world, ONE)
    say(world, "aa")
    asked = ask(world)
    assert key_of(world, "aa") == old
    answer(world, asked.sites)
    world.coordinator.aggregate(world.now)
    world.carry_down()
    for name in NAMES:
        world.sites[name].look(world.now)
    assert key_of(world, "aa") != old
    assert listed(world, "aa") == (1001, key_of(world, "aa"))
    assert listed(world, "bb")[0] == 2
    federation = desk.require_approved(desk.peek(world.sites["bb"].root)).agreement.federation
    made = certificates.create(thief, "aa", federation.founding.id, 2000).certificate
    with pytest.raises(FedmedError, match="another key signed it"):
        certificates.check(made, "aa", federation.key_of("aa"), federation.founding.id)
    assert [each.site for each in play(world, ONE).parents] == list(NAMES)
    world.sites["aa"].look(world.now)
    with desk.opened(world.sites["aa"].root, world.now) as site:
        masks.erase_spent(site)
    assert min(maskkeys.held(world.sites["aa"].workspace().mask_keys)) >= 1001
    for number in (0, 1):
        rounds.audit(world.coordinator.root, number, lambda *_: None)
    books.verify(world.coordinator.root, lambda *_: None)


def test_an_update_of_before_the_switch_does_not_bring_the_mask_keys_of_after(
    masked: Simulation, tmp_path: Path
) -> None:
    """The certificate that the update brings is by the old key, and later than the rotation: it is passed over."""
    world = masked.copied_to(tmp_path / "world")
    say(world, "aa")
    play(world, ONE)
    world.sites["aa"].look(world.now)
    assert listed(world, "aa") == (1001, key_of(world, "aa"))


@pytest.mark.parametrize("copied", [True, False], ids=["another site's", "an older one"])
def test_a_rotation_with_mask_keys_that_cannot_be_listed_stops_nobody(
    masked: Simulation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, copied: bool
) -> None:
    """It is not taken into a version: with the new key no certificate of the site would hold."""
    world = masked.copied_to(tmp_path / "world")
    model = world.coordinator.posted("model-r0000")
    other = next(each for each in predicate_of(model)["body"]["masks"] if each["site"] == "bb")

    def false(_: Path, key: Ed25519PrivateKey, site: str, federation: str, index: int) -> certificates.MaskKey:
        said = certificates.create(key, site, federation, index).certificate.model_dump(mode="json")
        said |= {"dh": other["dh"], "kem": other["kem"]} if copied else {"index": 1, "federation": None}
        del said["signature"]
        signature = sshsig.to_line(sshsig.sign(key, certificates.NAMESPACE, canonical.encode(said)))
        made = certificates.Certificate.model_validate({**said, "signature": signature})
        return certificates.MaskKey(made, X25519PrivateKey.generate(), X25519PrivateKey.generate())

    with monkeypatch.context() as patched:
        patched.setattr(maskkeys, "make", false)
        say(world, "aa")
    say(world, "bb")
    for _ in range(2):
        assert [each.site for each in play(world, ONE).parents] == list(NAMES)
    told = desk.require_approved(desk.peek(world.sites["cc"].root)).agreement.federation
    assert [name for name, _ in told.former] == ["bb"]


def test_keys_are_replaced_while_a_lap_is_under_way(tmp_path: Path) -> None:
    """One site before its turn, one behind it, and the coordinator: the lap ends with the keys it began with."""
    world = Simulation(tmp_path / "f", NAMES).found(strategy={"name": "cyclic"}, rounds=3, min_sites=2)
    old = {name: key_of(world, name) for name in (*NAMES, "coordinator")}
    for name, leaves in zip(FIRST, ("aa", "cc", "coordinator"), strict=True):
        say(world, leaves)
        hop(world, name, 1.0)
    for name in NAMES:
        world.sites[name].look(world.now)
    new = {name: key_of(world, name) for name in old}
    assert [name for name in old if new[name] != old[name]] == ["aa", "cc", "coordinator"]
    for name in SECOND:
        hop(world, name, 0.5)
    model_is(world, 4.5)
    plain_round(world)
    model_is(world, 5.5)
    for actor in (world.coordinator, *world.sites.values()):
        books.verify(actor.root, lambda *_: None)


@pytest.mark.slow
def test_encrypted_payloads_are_read_with_the_age_keys_of_before(tmp_path: Path) -> None:
    world = Simulation(tmp_path / "f", NAMES).found(encryption="age", rounds=2, min_sites=2)
    say(world, "aa")
    say(world, "coordinator")
    plain_round(world)
    plain_round(world)
    done = world.coordinator.workspace().record.newest("model")
    assert done is not None
    assert done.last
    books.verify(world.sites["aa"].root, lambda *_: None)


def test_a_key_is_replaced_before_the_first_model_and_its_numbers(tmp_path: Path) -> None:
    """Version 2 brings the fitted numbers, version 3 the key; a site takes both with model r0."""
    pooling = {"normalisation": "federated", "spacing": "federated"}
    world = Simulation(tmp_path / "f", NAMES).found(data=pooling, rounds=1, min_sites=2)
    for name in NAMES:
        world.coordinator.deliver(world.sites[name].fingerprint(world.now), world.now)
    say(world, "bb")
    made = world.coordinator.aggregate(world.now)
    assert [each.name for each in made.federations] == ["federation-v0002.fedmed", "federation-v0003.fedmed"]
    world.carry_down()
    for name in NAMES:
        world.sites[name].look(world.now)
        consent = desk.require_approved(desk.peek(world.sites[name].root))
        assert consent.agreement.federation.founding.version == 3
        assert consent.preprocessing is not None
    assert predicate_of(world.coordinator.posted("model-r0000"))["federation"]["version"] == 3


def test_killed_between_the_version_and_the_model(simulation: Simulation, monkeypatch: pytest.MonkeyPatch) -> None:
    """What answers the open round names its version still, and the round closes as it would have."""
    say(simulation, "coordinator")
    simulation.send_update("aa", 1.0)
    simulation.send_update("bb", 1.0)
    old = key_of(simulation, "coordinator")

    def killed(*_: object, **__: object) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(aggregate.model, "say", killed)
        with pytest.raises(Killed):
            simulation.coordinator.aggregate(simulation.now, close=True)
    assert key_of(simulation, "coordinator") != old
    simulation.send_update("cc", 1.0)
    made = simulation.coordinator.aggregate(simulation.now)
    assert [each.site for each in made.parents] == ["aa", "bb", "cc"]
    simulation.carry_down()
    plain_round(simulation)
    assert keys.fingerprint(simulation.coordinator.key.public_key().public_bytes_raw()) == key_of(
        simulation, "coordinator"
    )


def test_the_round_is_void_behind_two_versions_that_no_model_brought(
    masked: Simulation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two kills, each between version and model: the next attempt brings both versions, and is of the newer one."""
    world = masked.copied_to(tmp_path / "world")
    send(world, ONE)
    answer(world, ask(world).sites)

    def killed(*_: object, **__: object) -> None:
        raise Killed

    for name in ("aa", "coordinator"):
        say(world, name)
        with monkeypatch.context() as patched:
            patched.setattr(aggregate.model, "say", killed)
            with pytest.raises(Killed):
                world.coordinator.aggregate(world.now)
    made = void.void(world.coordinator.root, world.now, "the machine fails")
    assert [path.name for path in made.federations] == ["federation-v0002.fedmed", "federation-v0003.fedmed"]
    world.carry_down()
    assert [each.site for each in play(world, ONE).parents] == list(NAMES)
    for name in NAMES:
        federation = desk.require_approved(desk.peek(world.sites[name].root)).agreement.federation
        assert federation.founding.version == 3
    books.verify(world.coordinator.root, lambda *_: None)


def test_an_attempt_behind_a_version_that_no_model_brought_brings_revocations_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kill came before the coordinator said them anew with its next key."""
    world = founded(tmp_path / "world")
    revoke.revoke(world.coordinator.root, "cc", 50, "an old laptop", world.now)
    send(world, dict.fromkeys(("aa", "bb", "dd", "ee"), 1.0))
    answer(world, ask(world).sites)
    say(world, "coordinator")

    def killed(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(versions.revoke, "stand", killed)
        with pytest.raises(Killed):
            world.coordinator.aggregate(world.now)
    old = world.coordinator.posted("revocation-cc")
    made = void.void(world.coordinator.root, world.now, "the machine fails")
    assert [path.name for path in made.federations] == ["federation-v0002.fedmed", "revocation-cc.fedmed"]
    assert made.federations[1].read_bytes() != old
