"""A received file whose payloads are encrypted: opened once its signature and the digests of its ciphertexts hold.

What a plain payload must be, its plaintext must be; what the body of a plain statement must say, `body.json` must say.
"""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

from fedmed import files
from fedmed.errors import FedmedError
from fedmed.exchange import agekeys, answers, artifact, confidential, container, private_facts
from fedmed.exchange.artifact import Expected
from fedmed.exchange.statement import PRIVATE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from pyrage.x25519 import Identity

    from fedmed.exchange.artifact import Demand, Envelope
    from fedmed.exchange.federation import Federation
    from fedmed.exchange.predicates import Payload
    from fedmed.exchange.statement import Statement


def open_payload(
    age_key: Path,
    fd: int,
    envelope: Envelope,
    said: Statement,
    name: str,
    write: Callable[[bytes], object],
    check: Callable[[str], None],
    limit: int = container.MAX_MEMBER,
) -> str:
    """Write the plaintext of a payload in the archive; its SHA-256. `check` is given that of the ciphertext, which is
    hashed on the way, also where it does not open: a file that rotted is told as that.

    Raises FedmedError FM-AGE-02, -03, FM-KEY-*, and what `check` raises.
    """
    digest, what = hashlib.sha256(), f"{name} of {said.kind} {said.sender}"
    size = next(part.bytes for part in said.predicate.payload if part.name == name)

    def chunks() -> Iterator[bytes]:
        for chunk in files.read_chunks(fd, artifact.payload_offset(envelope, said, name), size):
            digest.update(chunk)
            yield chunk

    ciphertext, sink = chunks(), confidential.Opened(what, confidential.binding(said), limit, write)
    try:
        return confidential.decrypt(ciphertext, sink, agekeys.load(age_key), what)
    finally:
        for _ in ciphertext:
            pass
        check(digest.hexdigest())


def examine(
    path: Path,
    age_key: Path,
    envelope: Envelope,
    said: Statement,
    expected: Mapping[str, Demand],
    federation: Federation,
    keep: Callable[[str], Callable[[bytes], object]] = lambda _: _pass,
) -> tuple[Statement, str]:
    """The statement with what it says in private, and the SHA-256 of the first payload's plaintext. `keep(name)` is
    given the plaintext of every other payload than `body.json`.

    Payloads that nobody demands anything of, those of masks, are read where they are used. `path` is a copy whose every
    byte was verified. Raises FedmedError FM-AGE-02, -03, -04, FM-KEY-*, FM-FRM-02, -03, FM-TEN-*, FM-ENC-*, FM-ROS-01.
    """
    identity, private = agekeys.load(age_key), bytearray()
    fd = files.open_regular(path)
    try:
        digests = [
            _open(fd, envelope, said, part, expected.get(part.name), identity, take)
            for part in said.predicate.payload
            for take in [private.extend if part.name == PRIVATE else keep(part.name)]
        ]
    finally:
        os.close(fd)
    shown = private_facts.show(said, bytes(private)) if said.hides else said
    answers.require_plausible(shown, federation)
    return shown, digests[0]


def _open(
    fd: int,
    envelope: Envelope,
    said: Statement,
    part: Payload,
    demand: Demand | None,
    identity: Identity,
    take: Callable[[bytes], object],
) -> str:
    what = f"{part.name} of {said.kind} {said.sender}"
    if demand is None and part.media == artifact.SAFETENSORS:
        raise FedmedError("FM-FRM-03", f"{what}: nobody expects it")
    limit = demand.size if demand else private_facts.MAX_BYTES if part.name == PRIVATE else part.bytes
    is_exact = isinstance(demand, Expected) and demand.coding == "none"
    if isinstance(demand, Expected) and part.coding != demand.coding:
        raise FedmedError("FM-ENC-03", f"{what}: expected coding {demand.coding}, got {part.coding}")
    start = artifact.payload_offset(envelope, said, part.name)
    head = b"".join(files.read_chunks(fd, start, min(part.bytes, confidential.MAX_HEADER)))
    readers = len(getattr(said.predicate, "recipients", ())) + 1  # and the sender
    confidential.check_header(what, head, part.bytes, limit if is_exact else 0, limit, readers)
    inspector = demand.inspector() if demand else None

    def feed(data: bytes) -> None:
        if inspector:
            inspector.feed(data)
        take(data)

    sink = confidential.Opened(what, confidential.binding(said), limit, feed)
    digest = confidential.decrypt(files.read_chunks(fd, start, part.bytes), sink, identity, what)
    if inspector:
        inspector.close()
    return digest


def _pass(_: bytes) -> None:
    """What is only opened, and looked at by who uses it."""
