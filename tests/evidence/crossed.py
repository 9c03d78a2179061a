"""Signatures across programs: what fedmed signs and `ssh-keygen` verifies, and the other way round."""

from __future__ import annotations

import os
import random
import signal
import subprocess
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from fedmed.exchange import keys, sshsig, statement
from tests.coded import code_of
from tests.vectors.samples import key, public

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

PASSPHRASE = "seven small stones"
KINDS = statement.KINDS


def messages(count: int, seed: str) -> list[bytes]:
    """Of every length from nothing on; every other one is binary."""
    source = random.Random(seed)
    return [source.randbytes(n * 37 % 5000) if n % 2 else b"statement %d\n" % n * (n % 90) for n in range(count)]


def way(name: str, count: int, folder: Path) -> dict[str, int]:
    """Try one of WAYS with `count` messages; how many held, and how many signatures were the same to the byte."""
    folder.mkdir(parents=True, exist_ok=True)
    with _agent(folder) if WAYS[name] is _by_agent else nullcontext():
        found = [
            WAYS[name](folder, message, KINDS[index % len(KINDS)])
            for index, message in enumerate(messages(count, name))
        ]
    return {"tried": len(found), "held": sum(held for held, _ in found), "same": sum(same for _, same in found)}


def _ours_there(folder: Path, message: bytes, kind: str) -> tuple[bool, bool]:
    return verifies(folder, sshsig.sign(key("st-olav"), statement.namespace(kind), message), message, kind), False


def _theirs_here(folder: Path, message: bytes, kind: str) -> tuple[bool, bool]:
    return _holds_here(signed(folder, key_file(folder), message, kind), message, kind)


def _under_passphrase(folder: Path, message: bytes, kind: str) -> tuple[bool, bool]:
    ask = folder / "ask"
    ask.write_text(f"#!/bin/sh\necho '{PASSPHRASE}'\n")
    ask.chmod(0o700)
    asked = {"SSH_ASKPASS": str(ask), "SSH_ASKPASS_REQUIRE": "force", "DISPLAY": ":0"}
    return _holds_here(signed(folder, key_file(folder, PASSPHRASE), message, kind, **asked), message, kind)


def _by_agent(folder: Path, message: bytes, kind: str) -> tuple[bool, bool]:
    """The public half alone is named; the agent has the key."""
    line = folder / "public"
    line.write_text(keys.public_line(public("st-olav")) + "\n")
    armour = signed(folder, line, message, kind, "-U", SSH_AUTH_SOCK=str(folder / "agent"))
    return _holds_here(armour, message, kind)


def _their_key(folder: Path, message: bytes, kind: str) -> tuple[bool, bool]:
    path = folder / "made"
    if not path.exists():
        _run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "made there", "-f", str(path)])
    made = keys.load(path)
    armour = sshsig.sign(made, statement.namespace(kind), message)
    is_same = signed(folder, path, message, kind) == armour
    return verifies(folder, armour, message, kind, made.public_key().public_bytes_raw()), is_same


def _other_bytes_there(folder: Path, message: bytes, kind: str) -> tuple[bool, bool]:
    armour = sshsig.sign(key("st-olav"), statement.namespace(kind), message)
    return not verifies(folder, armour, message + b"\0", kind), False


def _other_kind_there(folder: Path, message: bytes, kind: str) -> tuple[bool, bool]:
    other = KINDS[(KINDS.index(kind) + 1) % len(KINDS)]
    return not verifies(folder, sshsig.sign(key("st-olav"), statement.namespace(other), message), message, kind), False


def _other_bytes_here(folder: Path, message: bytes, kind: str) -> tuple[bool, bool]:
    armour = sshsig.decode(signed(folder, key_file(folder), message, kind))
    return code_of(lambda: sshsig.verify(armour, message + b"\0")) == "FM-SIG-01", False


def _holds_here(armour: bytes, message: bytes, kind: str) -> tuple[bool, bool]:
    found = sshsig.decode(armour)
    holds = code_of(lambda: sshsig.verify(found, message)) == "ok" and found.public_key == public("st-olav")
    same = armour == sshsig.sign(key("st-olav"), statement.namespace(kind), message)
    return holds and found.namespace == statement.namespace(kind), same


def key_file(folder: Path, passphrase: str = "") -> Path:
    """The key of st-olav as an OpenSSH file of mode 0600, under a passphrase if there is one."""
    path = folder / ("locked" if passphrase else "signing")
    if not path.exists():
        path.write_bytes(key("st-olav").private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
        path.chmod(0o600)
        if passphrase:
            _run(["ssh-keygen", "-q", "-p", "-P", "", "-N", passphrase, "-f", str(path)])
    return path


def signed(folder: Path, key_path: Path, message: bytes, kind: str, *options: str, **env: str) -> bytes:
    """What `ssh-keygen -Y sign` writes."""
    path = folder / "message"
    path.write_bytes(message)
    path.with_suffix(".sig").unlink(missing_ok=True)
    name = statement.namespace(kind)
    command = ["ssh-keygen", "-Y", "sign", *options, "-q", "-f", str(key_path), "-n", name, str(path)]
    _run(command, **env)
    return path.with_suffix(".sig").read_bytes()


def verifies(folder: Path, armour: bytes, message: bytes, kind: str, public_key: bytes = b"") -> bool:
    """Whether `ssh-keygen -Y verify` takes it."""
    roster, signature = folder / "allowed_signers", folder / "signature"
    roster.write_text(f'st-olav namespaces="*@fedmed.v1" {keys.public_line(public_key or public("st-olav"))}\n')
    signature.write_bytes(armour)
    options = ["-f", str(roster), "-I", "st-olav", "-n", statement.namespace(kind), "-s", str(signature)]
    done = subprocess.run(["ssh-keygen", "-Y", "verify", *options], input=message, capture_output=True, check=False)
    return done.returncode == 0


@contextmanager
def _agent(folder: Path) -> Iterator[None]:
    """An ssh-agent that holds the key of st-olav, for as long as it is needed."""
    socket = folder / "agent"
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", str(socket)], stdout=subprocess.PIPE)
    try:
        assert agent.stdout
        agent.stdout.readline()  # it is listening then
        _run(["ssh-add", "-q", str(key_file(folder))], SSH_AUTH_SOCK=str(socket))
        yield
    finally:
        agent.send_signal(signal.SIGTERM)
        agent.communicate()


def _run(command: Sequence[str], **env: str) -> None:
    subprocess.run(command, env={**os.environ, **env}, capture_output=True, check=True)


WAYS: dict[str, Callable[[Path, bytes, str], tuple[bool, bool]]] = {
    "fedmed signs, ssh-keygen verifies": _ours_there,
    "ssh-keygen signs, fedmed verifies": _theirs_here,
    "ssh-keygen signs with a key under a passphrase, fedmed verifies": _under_passphrase,
    "ssh-keygen signs through ssh-agent, fedmed verifies": _by_agent,
    "fedmed signs with a key that ssh-keygen made, ssh-keygen verifies": _their_key,
    "ssh-keygen refuses fedmed's signature of other bytes": _other_bytes_there,
    "ssh-keygen refuses fedmed's signature of another kind": _other_kind_there,
    "fedmed refuses ssh-keygen's signature of other bytes": _other_bytes_here,
}
