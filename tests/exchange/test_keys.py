"""Key files that OpenSSH writes and reads, and everything else refused with its code."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st

from fedmed.errors import FedmedError
from fedmed.exchange import keys
from tests.vectors import samples

from .test_sshsig import ssh_keygen

if TYPE_CHECKING:
    from pathlib import Path


def code(path: Path) -> str:
    with pytest.raises(FedmedError) as caught:
        keys.load(path)
    assert str(path.parent) not in str(caught.value)
    return caught.value.code


def test_a_new_key_is_private_and_loads_again(tmp_path: Path) -> None:
    made = keys.create(tmp_path / "signing.key")
    assert stat.S_IMODE((tmp_path / "signing.key").stat().st_mode) == 0o600
    assert keys.load(tmp_path / "signing.key").private_bytes_raw() == made.private_bytes_raw()


def test_two_keys_differ(tmp_path: Path) -> None:
    made = {keys.create(tmp_path / f"{n}.key").private_bytes_raw() for n in range(3)}
    assert len(made) == 3


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o610, 0o644, 0o660, 0o777])
def test_a_key_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    keys.create(tmp_path / "signing.key")
    (tmp_path / "signing.key").chmod(mode)
    assert code(tmp_path / "signing.key") == "FM-KEY-01"


def test_a_key_made_by_ssh_keygen_loads(tmp_path: Path) -> None:
    assert ssh_keygen("-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "signing.key").returncode == 0
    public = keys.load(tmp_path / "signing.key").public_key().public_bytes_raw()
    assert keys.public_line(public).split() == (tmp_path / "signing.key.pub").read_text().split()[:2]


@pytest.mark.parametrize(
    "options",
    [("-t", "ed25519", "-N", "secret"), ("-t", "rsa", "-b", "2048", "-N", ""), ("-t", "ecdsa", "-N", "")],
    ids=["passphrase", "rsa", "ecdsa"],
)
def test_other_keys_of_ssh_keygen_are_refused(tmp_path: Path, options: tuple[str, ...]) -> None:
    assert ssh_keygen("-q", *options, "-f", tmp_path / "signing.key").returncode == 0
    assert code(tmp_path / "signing.key") == "FM-KEY-02"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"not a key",
        b"-----BEGIN OPENSSH PRIVATE KEY-----\n-----END OPENSSH PRIVATE KEY-----\n",
        Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        ec.generate_private_key(ec.SECP384R1()).private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()),
        rsa.generate_private_key(65537, 2048).private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()),
        b"x" * 20_000,
    ],
    ids=["empty", "text", "hollow", "pkcs8", "p384", "rsa", "large"],
)
def test_what_is_no_such_key_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "signing.key").write_bytes(data)
    (tmp_path / "signing.key").chmod(0o600)
    assert code(tmp_path / "signing.key") == "FM-KEY-02"


def test_a_missing_key_and_a_link_are_refused(tmp_path: Path) -> None:
    assert code(tmp_path / "signing.key") == "FM-KEY-02"
    keys.create(tmp_path / "elsewhere.key")
    (tmp_path / "signing.key").symlink_to(tmp_path / "elsewhere.key")
    assert code(tmp_path / "signing.key") == "FM-KEY-02"


def test_a_cut_key_is_refused_wherever_it_is_cut(tmp_path: Path) -> None:
    path = tmp_path / "signing.key"
    keys.create(path)
    whole = path.read_bytes()
    for length in range(0, len(whole) - 2, 7):
        path.write_bytes(whole[:length])
        assert code(path) == "FM-KEY-02", length


LINE = keys.public_line(samples.public("st-olav"))


@given(st.binary(min_size=32, max_size=32))
def test_a_public_line_is_read_back(public: bytes) -> None:
    assert keys.parse_public_line(keys.public_line(public)) == public


@pytest.mark.parametrize(
    "line",
    [
        LINE + " st-olav",
        LINE + "\n",
        " " + LINE,
        LINE.replace(" ", "  "),
        LINE.removeprefix("ssh-ed25519 "),
        LINE.replace("ssh-ed25519", "ssh-rsa"),
        LINE[:-4],
        LINE + "AAAA",
        LINE + "=",
        LINE.replace("A", "é", 1),
        keys.public_line(b"x" * 31),
        keys.public_line(b"x" * 33),
        keys.public_line(b""),
        "ssh-ed25519 ",
        "",
    ],
    ids=range(15),
)
def test_other_public_lines_are_refused(line: str) -> None:
    with pytest.raises(ValueError, match="not an OpenSSH Ed25519 public key"):
        keys.parse_public_line(line)


def test_a_spoken_fingerprint_is_128_bits_in_eight_groups() -> None:
    digest = "0123456789abcdef" * 4
    assert keys.spoken(digest) == "0123 4567 89ab cdef 0123 4567 89ab cdef"
    for typed in ("0123 4567 89AB CDEF 0123 4567 89ab cdef", "0123-4567-89ab-cdef:0123:4567:89ab:cdef", digest[:32]):
        assert keys.normalise_spoken(typed) == digest[:32]
    assert keys.normalise_spoken(digest[:31]) != digest[:32]


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX")
def test_a_key_is_never_readable_by_others_while_it_is_written(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        keys.create(tmp_path / "signing.key")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "signing.key").stat().st_mode) == 0o600
