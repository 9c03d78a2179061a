"""Mask certificates: only a site's own signature makes one, and a model's list is taken whole or not at all."""

from __future__ import annotations

import functools
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from fedmed.exchange import canonical, certificates, keys, maskkeys, sshsig
from fedmed.exchange.certificates import Certificate
from tests.coded import code_of
from tests.masked import FEDERATION_ID, circle
from tests.vectors import samples

if TYPE_CHECKING:
    from pathlib import Path

FIVE = circle(5)
OWN = FIVE.mask["site-aa"]
LOW_ORDER = (0).to_bytes(32, "little").hex()  # a point whose product with any key is zero


def checked(listed: list[Certificate], highest: dict[str, int] | None = None) -> str:
    return code_of(lambda: certificates.check_all(listed, FIVE.federation, OWN, highest or {}))


def swapped(site: str, certificate: Certificate) -> list[Certificate]:
    return [certificate if each.site == site else each for each in FIVE.certificates]


def signed_by(site: str, said: dict[str, Any]) -> Certificate:
    """What `site` signs when it lies."""
    armour = sshsig.sign(FIVE.signing[site], certificates.NAMESPACE, canonical.encode(said))
    return Certificate.model_validate({**said, "signature": sshsig.to_line(armour)})


def said(site: str) -> dict[str, Any]:
    return FIVE.mask[site].certificate.model_dump(exclude={"signature"})


def test_the_list_that_everybody_signed_is_taken() -> None:
    assert checked(list(FIVE.certificates)) == "ok"
    assert checked(list(FIVE.certificates), dict.fromkeys(FIVE.names, 1)) == "ok"


def test_a_key_that_the_coordinator_made_up_is_refused() -> None:
    """The forged certificate is perfect but for the signature, which is by another key."""
    forged = certificates.create(samples.key("coordinator"), "site-ab", None, 1).certificate
    as_its_own = forged.model_copy(update={"key": FIVE.mask["site-ab"].certificate.key})
    assert checked(swapped("site-ab", forged)) == "FM-SHR-01"
    assert checked(swapped("site-ab", as_its_own)) == "FM-SHR-01"


@pytest.mark.parametrize("field", ["site", "key", "index", "dh", "kem", "federation"])
def test_every_field_is_signed(field: str) -> None:
    other = FIVE.mask["site-ac"].certificate
    value = {"index": 2, "federation": FEDERATION_ID}.get(field) or getattr(other, field)
    changed = FIVE.mask["site-ab"].certificate.model_copy(update={field: value})
    assert code_of(lambda: certificates.check(changed, "site-ab", samples.public("site-ab"), None)) == "FM-SHR-01"


def test_a_peers_certificate_is_nobody_elses() -> None:
    """Registered by another site, a peer's mask key would make that peer open shares for it."""
    stolen = {**said("site-ab"), "dh": said("site-ac")["dh"], "kem": said("site-ac")["kem"]}
    assert checked(swapped("site-ab", signed_by("site-ab", stolen))) == "FM-SHR-02"
    crossed = {**said("site-ab"), "dh": said("site-ac")["kem"]}
    assert checked(swapped("site-ab", signed_by("site-ab", crossed))) == "FM-SHR-02"
    assert checked(swapped("site-ab", FIVE.mask["site-ac"].certificate)) == "FM-SHR-02"


def test_a_certificate_of_another_federation_is_refused() -> None:
    foreign = certificates.create(FIVE.signing["site-ab"], "site-ab", "0" * 32, 2).certificate
    assert checked(swapped("site-ab", foreign)) == "FM-SHR-01"
    joined_late = certificates.create(FIVE.signing["site-ab"], "site-ab", None, 2).certificate
    assert checked(swapped("site-ab", joined_late)) == "FM-SHR-01"
    ours = certificates.create(FIVE.signing["site-ab"], "site-ab", FEDERATION_ID, 2).certificate
    assert checked(swapped("site-ab", ours)) == "ok"


def test_a_signature_for_another_purpose_is_refused() -> None:
    armour = sshsig.sign(FIVE.signing["site-ab"], "update@fedmed.v1", canonical.encode(said("site-ab")))
    moved = Certificate.model_validate({**said("site-ab"), "signature": sshsig.to_line(armour)})
    assert checked(swapped("site-ab", moved)) == "FM-SHR-01"


def test_a_peer_is_not_rolled_back_to_a_key_that_was_stolen_since() -> None:
    assert checked(list(FIVE.certificates), {"site-ab": 2}) == "FM-SHR-04"


def test_exactly_one_of_each_site_by_name() -> None:
    everyone = list(FIVE.certificates)
    assert checked(everyone[:-1]) == "FM-SHR-02"
    assert checked([*everyone, everyone[-1]]) == "FM-SHR-02"
    assert checked(everyone[::-1]) == "FM-SHR-02"
    assert checked([*everyone[:-1], everyone[0]]) == "FM-SHR-02"


def test_the_own_entry_is_one_whose_private_half_is_held() -> None:
    other = certificates.create(FIVE.signing["site-aa"], "site-aa", None, 1).certificate
    assert checked(swapped("site-aa", other)) == "FM-SHR-03"


@pytest.mark.parametrize("half", ["dh", "kem"])
def test_a_key_that_gives_the_same_secret_to_all_is_refused(half: str) -> None:
    weak = signed_by("site-ab", {**said("site-ab"), half: LOW_ORDER})
    assert checked(swapped("site-ab", weak)) == "FM-SHR-05"


def test_bad_keys_are_refused_where_a_certificate_arrives() -> None:
    """A coordinator that listed them would have its model refused by every site, attempt after attempt."""
    key = FIVE.signing["site-ab"].public_key().public_bytes_raw()
    twice = {"dh": said("site-ab")["kem"]}
    for change, code in (({"dh": LOW_ORDER}, "FM-SHR-05"), ({"kem": LOW_ORDER}, "FM-SHR-05"), (twice, "FM-SHR-02")):
        bad = signed_by("site-ab", {**said("site-ab"), **change})
        assert code_of(functools.partial(certificates.check, bad, "site-ab", key, bad.federation)) == code


def test_a_certificate_has_one_form() -> None:
    good = FIVE.mask["site-ab"].certificate
    line = good.signature
    assert line == sshsig.to_line(sshsig.from_line(line))
    for other in (line + "=", line[:-1], line[:-4], line[:-2] + "!!", "A" + line[1:]):
        assert checked(swapped("site-ab", good.model_copy(update={"signature": other}))) == "FM-SHR-01"


def test_ssh_keygen_verifies_a_certificate(tmp_path: Path) -> None:
    """As FORMAT.md says: the signature's base64 between the two lines of the armour."""
    program = shutil.which("ssh-keygen")
    if program is None:
        pytest.fail("ssh-keygen is not installed; it is the other reader of these signatures (package openssh-client)")
    found = OWN.certificate
    (tmp_path / "signers").write_text(f"site-aa {keys.public_line(samples.public('site-aa'))}\n")
    lines = [found.signature[i : i + 70] for i in range(0, len(found.signature), 70)]
    armour = "\n".join(["-----BEGIN SSH SIGNATURE-----", *lines, "-----END SSH SIGNATURE-----", ""])
    (tmp_path / "sig").write_text(armour)
    arguments = ["-Y", "verify", "-f", tmp_path / "signers", "-I", "site-aa", "-n", "mask-key@fedmed.v1"]
    done = subprocess.run(
        [program, *map(str, arguments), "-s", str(tmp_path / "sig")],
        input=canonical.encode(found.model_dump(exclude={"signature"})),
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_no_private_half_is_ever_shown() -> None:
    for key in (OWN.dh, OWN.kem):
        raw = key.private_bytes_raw()
        for text in (repr(OWN), str(OWN), repr([OWN])):
            assert raw.hex() not in text
            assert repr(raw)[2:-1] not in text


# --- on the disk ----------------------------------------------------------------------------------------------------


def made(folder: Path, index: int) -> certificates.MaskKey:
    id_ = None if index == 1 else FEDERATION_ID
    return maskkeys.make(folder, FIVE.signing["site-aa"], "site-aa", id_, index)


def test_keys_are_the_owners_alone_and_no_part_of_a_backup(tmp_path: Path) -> None:
    folder = tmp_path / "mask"
    made(folder, 1)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert (folder / "1.key").stat().st_mode & 0o777 == 0o600
    assert (folder / "CACHEDIR.TAG").read_bytes().startswith(b"Signature: 8a477f597d28d172789f06886806bc55\n")
    (folder / "1.key").chmod(0o644)
    assert code_of(lambda: made(folder, 1)) == "FM-KEY-01"


def test_the_same_index_is_the_same_certificate(tmp_path: Path) -> None:
    first = made(tmp_path, 2)
    assert made(tmp_path, 2).certificate == first.certificate
    assert maskkeys.of(tmp_path, FIVE.signing["site-aa"], first.certificate).dh.private_bytes_raw() == (
        first.dh.private_bytes_raw()
    )


def test_a_certificate_whose_keys_are_others_or_gone_is_refused(tmp_path: Path) -> None:
    made(tmp_path, 1)
    key = FIVE.signing["site-aa"]
    assert code_of(lambda: maskkeys.of(tmp_path, key, OWN.certificate)) == "FM-SHR-03"
    later = certificates.create(key, "site-aa", FEDERATION_ID, 2).certificate
    assert code_of(lambda: maskkeys.of(tmp_path, key, later)) == "FM-SHR-03"


def test_a_damaged_key_is_refused(tmp_path: Path) -> None:
    made(tmp_path, 1)
    (tmp_path / "1.key").write_bytes(b"short")
    assert code_of(lambda: made(tmp_path, 1)) == "FM-KEY-02"
    (tmp_path / "1.key").write_bytes(bytes(65))
    assert code_of(lambda: made(tmp_path, 1)) == "FM-KEY-02"


@pytest.mark.parametrize(
    ("listed", "in_use", "left"),
    [
        (1, set(), [1, 2, 3]),  # what a model lists may still be masked with
        (2, set(), [2, 3]),
        (2, {1}, [1, 2, 3]),  # a round that used it waits for its answer
        (3, {1}, [1, 3]),
        (3, set(), [3]),
        (9, set(), []),
    ],
)
def test_keys_are_erased_when_nothing_needs_them(
    tmp_path: Path, listed: int, in_use: set[int], left: list[int]
) -> None:
    for index in (1, 2, 3):
        made(tmp_path, index)
    assert maskkeys.erase(tmp_path, listed, in_use) == sorted({1, 2, 3} - set(left))
    assert maskkeys.held(tmp_path) == left
    assert maskkeys.erase(tmp_path, listed, in_use) == []


def test_what_is_erased_is_overwritten_first(tmp_path: Path) -> None:
    made(tmp_path, 1)
    (tmp_path / "kept").hardlink_to(tmp_path / "1.key")
    maskkeys.erase(tmp_path, 2, set())
    assert (tmp_path / "kept").read_bytes() == bytes(64)
