"""Signatures against the real `ssh-keygen`: what it signs we accept, what we sign it accepts, byte for byte."""

from __future__ import annotations

import base64
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmed.exchange import federation, keys, sshsig, statement
from tests.coded import code_of
from tests.vectors import samples

if TYPE_CHECKING:
    from pathlib import Path

MESSAGE = b'{"says":"something"}'
NAMESPACE = "update@fedmed.v1"


def ssh_keygen(*arguments: object, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    program = shutil.which("ssh-keygen")
    if program is None:
        pytest.fail("ssh-keygen is not installed; it is the other reader of these signatures (package openssh-client)")
    return subprocess.run([program, *map(str, arguments)], input=stdin, capture_output=True, check=False)


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "signing.key"
    keys.create(path)
    return path


def accepts(tmp_path: Path, line: str, armour: bytes, message: bytes, namespace: str, *options: str) -> bool:
    """Does `ssh-keygen -Y verify` accept it, for the signer `st-olav` in this line of allowed_signers?"""
    (tmp_path / "allowed_signers").write_text(line)
    (tmp_path / "message.sig").write_bytes(armour)
    done = ssh_keygen(
        *("-Y", "verify", "-f", tmp_path / "allowed_signers", "-I", "st-olav", "-n", namespace),
        *("-s", tmp_path / "message.sig", *options),
        stdin=message,
    )
    return done.returncode == 0


def test_ssh_keygen_accepts_ours(tmp_path: Path, key_file: Path) -> None:
    key = keys.load(key_file)
    line = f"st-olav {keys.public_line(key.public_key().public_bytes_raw())}\n"
    armour = sshsig.sign(key, NAMESPACE, MESSAGE)
    assert accepts(tmp_path, line, armour, MESSAGE, NAMESPACE)
    assert not accepts(tmp_path, line, armour, MESSAGE + b" ", NAMESPACE)
    assert not accepts(tmp_path, line, armour, MESSAGE, "report@fedmed.v1")


def test_we_accept_ssh_keygens_and_would_have_written_the_same(tmp_path: Path, key_file: Path) -> None:
    (tmp_path / "message").write_bytes(MESSAGE)
    assert ssh_keygen("-Y", "sign", "-f", key_file, "-n", NAMESPACE, tmp_path / "message").returncode == 0
    armour = (tmp_path / "message.sig").read_bytes()
    signature = sshsig.decode(armour)
    sshsig.verify(signature, MESSAGE)
    assert signature.namespace == NAMESPACE
    assert armour == sshsig.sign(keys.load(key_file), NAMESPACE, MESSAGE)


def test_another_namespace_is_another_signature(key_file: Path) -> None:
    key = keys.load(key_file)
    signature = sshsig.decode(sshsig.sign(key, NAMESPACE, MESSAGE))
    moved = sshsig.Signature(signature.public_key, "report@fedmed.v1", signature.raw)
    assert code_of(lambda: sshsig.verify(moved, MESSAGE)) == "FM-SIG-01"


def test_our_public_line_and_fingerprint_are_ssh_keygens(tmp_path: Path, key_file: Path) -> None:
    public = keys.load(key_file).public_key().public_bytes_raw()
    assert ssh_keygen("-y", "-f", key_file).stdout.decode().split()[:2] == keys.public_line(public).split()
    assert keys.fingerprint(public) in ssh_keygen("-lf", key_file).stdout.decode().split()


def test_ssh_keygen_tolerates_an_armour_that_we_refuse(tmp_path: Path, key_file: Path) -> None:
    """The documented difference: one signature has one encoding here, and several there."""
    key = keys.load(key_file)
    line = f"st-olav {keys.public_line(key.public_key().public_bytes_raw())}\n"
    loose = sshsig.sign(key, NAMESPACE, MESSAGE) + b"text after the end\n"
    assert accepts(tmp_path, line, loose, MESSAGE, NAMESPACE)
    assert code_of(lambda: sshsig.decode(loose)) == "FM-SIG-02"


GOOD = sshsig.sign(samples.key("st-olav"), NAMESPACE, MESSAGE)
LINES = GOOD.splitlines()
TEXT = b"".join(LINES[1:-1])


def refolded(width: int, end: bytes = b"\n") -> bytes:
    inner = [TEXT[i : i + width] for i in range(0, len(TEXT), width)]
    return end.join([LINES[0], *inner, LINES[-1], b""])


@pytest.mark.parametrize(
    "armour",
    [
        refolded(64),
        refolded(71),
        refolded(76),
        refolded(len(TEXT)),
        refolded(70, b"\r\n"),
        GOOD + b"\n",
        GOOD + b"#",
        b"\n" + GOOD,
        GOOD[:-1],
        GOOD.replace(b"\n", b"\n\n", 2),
        GOOD.replace(LINES[-2], LINES[-2][:-1]),
        GOOD.replace(LINES[1], LINES[1][:-1] + b"!"),
        GOOD.replace(b"SSH SIGNATURE", b"PGP SIGNATURE"),
        LINES[0] + b"\n" + LINES[-1] + b"\n",
        b"",
        GOOD * 20,
    ],
    ids=range(16),
)
def test_other_armours_are_refused(armour: bytes) -> None:
    assert armour != GOOD
    assert code_of(lambda: sshsig.decode(armour)) == "FM-SIG-02"


@given(st.integers(0, 8 * len(base64.b64decode(TEXT)) - 1))
def test_any_bit_of_the_blob_matters(bit: int) -> None:
    blob = bytearray(base64.b64decode(TEXT))
    blob[bit // 8] ^= 1 << bit % 8
    text = base64.b64encode(blob)
    armour = b"\n".join([LINES[0], *(text[i : i + 70] for i in range(0, len(text), 70)), LINES[-1], b""])
    assert code_of(lambda: sshsig.verify(sshsig.decode(armour), MESSAGE)) in ("FM-SIG-01", "FM-SIG-02")


@given(st.binary(max_size=300))
def test_any_bytes_in_the_armour_are_refused(blob: bytes) -> None:
    text = base64.b64encode(blob)
    armour = b"\n".join([LINES[0], *(text[i : i + 70] for i in range(0, len(text), 70)), LINES[-1], b""])
    assert code_of(lambda: sshsig.decode(armour)) == "FM-SIG-02"


# --- the federation's roster, as ssh-keygen reads it ---------------------------------------------------------------


@pytest.fixture
def roster() -> str:
    said = statement.decode(samples.members(samples.sample("federation"))[0][1])
    return federation.allowed_signers(federation.from_statement(said, "0" * 64), said.predicate.created)


def archived(kind: str) -> tuple[bytes, bytes]:
    members = dict(samples.members(samples.sample(kind)))
    return members["statement.json"], members["statement.json.sig"]


def by(tmp_path: Path, roster: str, name: str, kind: str, time: str = "20310401000000Z") -> bool:
    raw, armour = archived(kind)
    (tmp_path / "allowed_signers").write_text(roster)
    (tmp_path / "statement.json.sig").write_bytes(armour)
    return (
        ssh_keygen(
            *("-Y", "verify", "-f", tmp_path / "allowed_signers", "-I", name, "-n", f"{kind}@fedmed.v1"),
            *("-s", tmp_path / "statement.json.sig", "-O", f"verify-time={time}"),
            stdin=raw,
        ).returncode
        == 0
    )


@pytest.mark.parametrize("kind", samples.KINDS)
def test_an_auditor_verifies_each_kind_with_the_roster(tmp_path: Path, roster: str, kind: str) -> None:
    name, other = ("coordinator", "st-olav") if kind in samples.OF_COORDINATOR else ("st-olav", "riks")
    assert by(tmp_path, roster, name, kind)
    assert not by(tmp_path, roster, other, kind)


def test_the_roster_has_dates(tmp_path: Path, roster: str) -> None:
    assert by(tmp_path, roster, "st-olav", "update", "20330227000000Z")
    assert not by(tmp_path, roster, "st-olav", "update", "20330301000000Z"), "after the federation expired"
    assert not by(tmp_path, roster, "st-olav", "update", "20310228000000Z"), "before it was founded"


def test_the_roster_has_namespaces(tmp_path: Path, roster: str) -> None:
    raw = archived("model")[0]
    key = samples.key("st-olav")
    (tmp_path / "allowed_signers").write_text(roster)
    for namespace, good in (("update@fedmed.v1", True), ("model@fedmed.v1", False), ("file", False)):
        (tmp_path / "sig").write_bytes(sshsig.sign(key, namespace, raw))
        done = ssh_keygen(
            *("-Y", "verify", "-f", tmp_path / "allowed_signers", "-I", "st-olav", "-n", namespace),
            *("-s", tmp_path / "sig", "-O", "verify-time=20310401000000Z"),
            stdin=raw,
        )
        assert (done.returncode == 0) is good, namespace
