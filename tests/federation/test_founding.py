"""From joins to consent: who may sit in the roster, and who is believed about it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import yaml

from fedmed.coordinator import admit, found, start
from fedmed.exchange import canonical, certificates, keys, sshsig
from fedmed.site import approve
from tests.coded import code_of
from tests.vectors import samples

from .simulator import INITIAL, ROWS, START, Coordinator, Hospital, Simulation, statement_id

if TYPE_CHECKING:
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


@pytest.fixture
def coordinator(tmp_path: Path) -> Coordinator:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(yaml.safe_dump(yaml.safe_load(samples.RECIPE)))
    found.init(tmp_path / "coordinator", recipe, START, title="founding")
    return Coordinator(tmp_path / "coordinator", "coordinator")


def joined(folder: Path, name: str) -> Hospital:
    hospital = Hospital(folder, name)
    hospital.create(START)
    return hospital


def admitted(coordinator: Coordinator, *paths: Path) -> str:
    return code_of(lambda: admit.admit(coordinator.root, paths, START))


def join_file(hospital: Hospital) -> Path:
    return hospital.root / "outbox" / f"join-{hospital.name}.fedmed"


def started(coordinator: Coordinator) -> str:
    return code_of(lambda: start.start(coordinator.root, lambda _: (INITIAL, ROWS), START))


def test_the_fingerprint_covers_the_whole_join(coordinator: Coordinator, tmp_path: Path) -> None:
    path = join_file(joined(tmp_path / "aa", "aa"))
    (shown,) = admit.admit(coordinator.root, [path], START)
    assert shown.fingerprint.replace(" ", "") == statement_id(path.read_bytes())[:32]
    assert shown.is_new
    (again,) = admit.admit(coordinator.root, [path], START)
    assert (again.fingerprint, again.is_new) == (shown.fingerprint, False)


def test_a_name_or_key_is_taken_once(coordinator: Coordinator, tmp_path: Path) -> None:
    first = joined(tmp_path / "aa", "aa")
    assert admitted(coordinator, join_file(first)) == "ok"
    assert admitted(coordinator, join_file(joined(tmp_path / "usurper", "aa"))) == "FM-SET-06"
    second = tmp_path / "renamed.fedmed"
    renamed = samples.resigned(
        join_file(first).read_bytes(),
        first.key,
        lambda p: (p["sender"].update(name="bb"), p["body"].update(name="bb")),
    )
    second.write_bytes(renamed)
    assert admitted(coordinator, second) == "FM-SET-06"


@pytest.mark.parametrize("name", ["con", "lpt1"])
def test_a_name_that_windows_keeps_for_itself_is_refused(coordinator: Coordinator, tmp_path: Path, name: str) -> None:
    hospital = joined(tmp_path / "aa", "aa")
    path = tmp_path / "x.fedmed"
    change = {"name": name}
    path.write_bytes(
        samples.resigned(
            join_file(hospital).read_bytes(),
            hospital.key,
            lambda p: (p["sender"].update(change), p["body"].update(change)),
        )
    )
    assert admitted(coordinator, path) == "FM-SET-06"


def test_nobody_joins_as_coordinator(coordinator: Coordinator, tmp_path: Path) -> None:
    hospital = joined(tmp_path / "aa", "aa")
    path = tmp_path / "x.fedmed"
    for key, expected in ((hospital.key, "FM-SIG-05"), (coordinator.key, "FM-SIG-05")):
        public = keys.public_line(key.public_key().public_bytes_raw())
        print_ = keys.fingerprint(key.public_key().public_bytes_raw())
        data = samples.statement_in(join_file(hospital).read_bytes())
        data["predicate"]["sender"] = {"name": "coordinator", "key": print_}
        data["predicate"]["body"].update(name="coordinator", key=public)
        blob = keys.sshsig.key_blob(key.public_key().public_bytes_raw())
        data["subject"][0]["digest"]["sha256"] = samples.sha256(blob)
        path.write_bytes(samples.signed(data, [], by=key))
        assert admitted(coordinator, path) == expected


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (samples.sample("federation"), "FM-SIG-04"),
        (samples.sample("join")[:-1], "FM-WAI-04"),
        (samples.sample("join") + b"x", "FM-FRM-01"),
        (samples.resigned(samples.sample("join"), samples.key("x")), "FM-SIG-05"),
        (b"\0" * (2 << 20), "FM-FRM-01"),
    ],
    ids=["federation", "cut", "longer", "other key", "huge"],
)
def test_what_is_no_join_is_not_admitted(coordinator: Coordinator, tmp_path: Path, data: bytes, expected: str) -> None:
    (tmp_path / "x.fedmed").write_bytes(data)
    assert admitted(coordinator, tmp_path / "x.fedmed") == expected
    assert coordinator.workspace().record.received == []


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"dh": "00" * 32}, "FM-SHR-05"),
        ({"kem": "01" + "00" * 31}, "FM-SHR-05"),
        ({"kem": "bb's dh"}, "FM-SHR-02"),
        ({"dh": "aa's kem"}, "FM-SHR-02"),
        ({"index": 2}, "FM-SHR-01"),
        ({"federation": "0" * 32}, "FM-SHR-01"),
        ({"site": "aa"}, "FM-SHR-01"),
    ],
    ids=lambda each: ",".join(each) if isinstance(each, dict) else each,
)
def test_a_join_with_mask_keys_that_no_model_could_list_is_not_admitted(
    coordinator: Coordinator, tmp_path: Path, change: dict[str, Any], code: str
) -> None:
    """Later the first model would stop with them, and only a new federation would help."""
    assert admitted(coordinator, join_file(joined(tmp_path / "aa", "aa"))) == "ok"
    hospital = joined(tmp_path / "bb", "bb")
    honest = join_file(hospital).read_bytes()
    masks = {
        name: samples.statement_in(join_file(Hospital(tmp_path / name, name)).read_bytes())["predicate"]["body"]["mask"]
        for name in ("aa", "bb")
    }
    known = {f"{name}'s {half}": masks[name][half] for name in masks for half in ("dh", "kem")}
    mask = masks["bb"] | {field: known.get(value, value) for field, value in change.items()}
    mask["signature"] = certified(hospital.key, mask)
    path = tmp_path / "x.fedmed"
    path.write_bytes(samples.resigned(honest, hospital.key, lambda p: p["body"].update(mask=mask)))
    assert admitted(coordinator, path) == code
    assert [seat.name for seat in admit.roster(coordinator.workspace())] == ["aa"]
    assert admitted(coordinator, join_file(hospital)) == "ok"


def test_a_join_with_a_certificate_that_its_key_did_not_sign_is_not_admitted(
    coordinator: Coordinator, tmp_path: Path
) -> None:
    hospital, other = joined(tmp_path / "bb", "bb"), joined(tmp_path / "aa", "aa")
    mask = samples.statement_in(join_file(hospital).read_bytes())["predicate"]["body"]["mask"]
    mask["signature"] = certified(other.key, mask)
    path = tmp_path / "x.fedmed"
    honest = join_file(hospital).read_bytes()
    path.write_bytes(samples.resigned(honest, hospital.key, lambda p: p["body"].update(mask=mask)))
    assert admitted(coordinator, path) == "FM-SHR-01"


def test_a_second_join_of_a_site_may_hold_the_mask_keys_of_its_first(coordinator: Coordinator, tmp_path: Path) -> None:
    hospital = joined(tmp_path / "aa", "aa")
    assert admitted(coordinator, join_file(hospital)) == "ok"
    path = tmp_path / "x.fedmed"
    change = {"nonce": "0" * 32}
    path.write_bytes(
        samples.resigned(join_file(hospital).read_bytes(), hospital.key, lambda p: p["body"].update(change))
    )
    spoken = keys.spoken(statement_id(path.read_bytes()))
    (again,) = admit.admit(coordinator.root, [path], START, spoken)
    assert again.is_new


def certified(key: Ed25519PrivateKey, mask: dict[str, Any]) -> str:
    """The signature of a mask certificate after a change."""
    signed = {field: value for field, value in mask.items() if field != "signature"}
    return sshsig.to_line(sshsig.sign(key, certificates.NAMESPACE, canonical.encode(signed)))


def test_too_few_sites_start_nothing(coordinator: Coordinator, tmp_path: Path) -> None:
    assert admitted(coordinator, join_file(joined(tmp_path / "aa", "aa"))) == "ok"
    assert started(coordinator) == "FM-FED-01"
    assert list((coordinator.root / "outbox").iterdir()) == []


def test_the_roster_is_frozen_by_start(coordinator: Coordinator, tmp_path: Path) -> None:
    for name in ("aa", "bb"):
        assert admitted(coordinator, join_file(joined(tmp_path / name, name))) == "ok"
    assert started(coordinator) == "ok"
    before = coordinator.posted("federation-v0001")
    assert admitted(coordinator, join_file(joined(tmp_path / "cc", "cc"))) == "FM-FED-02"
    assert started(coordinator) == "ok"
    assert coordinator.posted("federation-v0001") == before


# --- consent ---------------------------------------------------------------------------------------------------------


def consent(hospital: Hospital, typed: str) -> str:
    return code_of(lambda: approve.approve(hospital.root, START, by="Dr. Bø", ask=lambda _: typed))


@pytest.fixture
def asked(tmp_path: Path) -> Simulation:
    """Nobody has approved yet; federation and model lie in every inbox."""
    return Simulation(tmp_path / "f", ("aa", "bb")).found(approved=(), rounds=1)


def test_only_the_fingerprint_of_the_federation_is_consent(asked: Simulation) -> None:
    site = asked.sites["aa"]
    right = statement_id(asked.coordinator.posted("federation-v0001"))
    for wrong in ("", right[:31], "0" * 32, right[32:], right):
        assert consent(site, wrong) == "FM-TRU-01", wrong
    assert site.workspace().record.newest("approval") is None
    assert consent(site, keys.spoken(right).upper()) == "ok"


def test_a_usurpers_federation_needs_its_own_fingerprint(asked: Simulation) -> None:
    """A second, sound federation in the inbox, with this site in its roster, is not the one that was read out."""
    site, usurper = asked.sites["aa"], samples.key("usurper")
    public = keys.public_line(usurper.public_key().public_bytes_raw())
    sender = {"name": "coordinator", "key": keys.fingerprint(usurper.public_key().public_bytes_raw())}
    honest = asked.coordinator.posted("federation-v0001")
    false = samples.resigned(honest, usurper, lambda p: (p.update(sender=sender), p["body"].update(coordinator=public)))
    site.deliver(false, START, "a-federation.fedmed")
    assert consent(site, statement_id(honest)[:32]) == "ok"
    agreed = site.workspace().record.newest("federation")
    assert agreed is not None
    assert agreed.id == statement_id(honest)


def test_a_federation_without_this_site_is_not_approved(asked: Simulation, tmp_path: Path) -> None:
    stranger = joined(tmp_path / "cc", "cc")
    data = asked.coordinator.posted("federation-v0001")
    stranger.deliver(data, START, "federation-v0001.fedmed")
    assert consent(stranger, statement_id(data)[:32]) == "FM-TRU-09"


def test_a_federation_with_another_key_for_this_site_is_not_approved(asked: Simulation, tmp_path: Path) -> None:
    """The same name, and a key that is not this site's: somebody else would answer in its name."""
    namesake = joined(tmp_path / "namesake", "aa")
    data = asked.coordinator.posted("federation-v0001")
    namesake.deliver(data, START, "federation-v0001.fedmed")
    assert consent(namesake, statement_id(data)[:32]) == "FM-TRU-09"


def test_an_approval_counts_only_for_its_federation(asked: Simulation, tmp_path: Path) -> None:
    other = Simulation(tmp_path / "g", ("aa", "bb")).found(approved=("aa",), rounds=1)
    foreign = other.sites["aa"].posted("approval-v0001-aa")
    assert asked.coordinator.judge(foreign, START)[1] == "FM-SIG-03"
    membership = samples.statement_in(foreign)["predicate"]["federation"]
    moved = asked.change(asked.sites["aa"].approve(START), "aa", lambda p: p.update(federation=membership))
    assert asked.coordinator.judge(moved, START)[1] == "FM-FRM-03", "its subject names the federation that it approves"
