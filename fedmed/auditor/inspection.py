"""`inspect` and `verify`: what a file says, and whether it holds, on any machine that has the file. No workspace, no torch."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedmed import files
from fedmed.errors import FedmedError
from fedmed.exchange import admission, artifact, federation, intake, keys, sshsig, statement
from fedmed.learning import params

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from fedmed.exchange.artifact import Envelope, Expected
    from fedmed.exchange.federation import Federation
    from fedmed.exchange.statement import Statement


@dataclass(frozen=True)
class Inspected:
    """A file's statement. The signature belongs to `key`; whose key that is, only a federation file can tell."""

    id: str
    spoken: str
    kind: str
    sender: str
    key: str
    file_bytes: int
    expected_bytes: int
    round: int | None
    attempt: int | None
    statement: Statement


@dataclass(frozen=True)
class Verified:
    """`owner` is set when a federation file was given; without one only self-signed kinds have one."""

    inspected: Inspected
    owner: str
    payloads: list[tuple[str, int, str]]
    checked: list[str]


def inspect(path: Path) -> Inspected:
    """Show a file without reading its tensors. Raises FedmedError FM-FRM-*, FM-SIG-*, FM-WAI-04."""
    with _opened(path) as fd:
        envelope = artifact.read_envelope(intake.reader(fd))
        return _inspected(fd, envelope)


def verify(path: Path, federation_path: Path | None) -> Verified:
    """Signature, owner of the key, payload hashes, tensor table, finite numbers.

    Raises FedmedError FM-FRM-*, FM-SIG-*, FM-TRU-02, FM-TRU-10, FM-TEN-*, FM-WAI-04.
    """
    known, expected = (None, {}) if federation_path is None else read_federation(federation_path)
    with _opened(path) as fd:
        source = intake.reader(fd)
        envelope = artifact.read_envelope(source)
        found = _inspected(fd, envelope)
        owner = _owner(found, envelope, known)
        for _ in artifact.read_payloads(source, found.statement, expected):
            pass
    names = [
        (part.name, part.bytes, found.statement.digest_of(part.name)) for part in found.statement.predicate.payload
    ]
    checked = ["signature", "canonical statement and schema", "payload hashes", "container, to the last byte"]
    if known is not None:
        checked += ["key and role in the federation", "federation id, version and digest"]
        checked += ["tensor table and finite numbers"] if any(name in expected for name, _, _ in names) else []
    return Verified(found, owner, names, checked)


def read_federation(path: Path) -> tuple[Federation, dict[str, Expected]]:
    """A federation file as the reference for others. Raises FedmedError FM-FRM-*, FM-SIG-*, FM-TEN-01."""
    data, envelope, said = intake.open_self_signed(path, "federation")
    offset = artifact.payload_offset(envelope, said, "tensors.json")
    size = next(part.bytes for part in said.predicate.payload if part.name == "tensors.json")
    table = params.table_from_bytes(data[offset : offset + size])
    tensors = artifact.Expected(params.wire_table(table), params.payload_size(table), params.is_finite)
    names = ("model.safetensors", "update.safetensors")
    return federation.from_statement(said, envelope.id), dict.fromkeys(names, tensors)


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    try:
        fd = files.open_regular(path)
    except OSError as error:
        raise FedmedError("FM-FRM-01", f"{path.name}: cannot be opened as a file", local=str(error)) from error
    try:
        yield fd
    finally:
        os.close(fd)


def _inspected(fd: int, envelope: Envelope) -> Inspected:
    sshsig.verify(envelope.signature, envelope.raw)
    said = statement.decode(envelope.raw)
    admission.agrees(said, envelope, None, statement.kind_of(envelope.signature.namespace) or "")
    return Inspected(
        id=envelope.id,
        spoken=keys.spoken(envelope.id),
        kind=said.kind,
        sender=said.sender,
        key=keys.fingerprint(envelope.signature.public_key),
        file_bytes=os.fstat(fd).st_size,
        expected_bytes=artifact.total_size(envelope, said),
        round=getattr(said.predicate, "round", None),
        attempt=getattr(said.predicate, "attempt", None),
        statement=said,
    )


def _owner(found: Inspected, envelope: Envelope, known: Federation | None) -> str:
    kind = found.kind
    if kind in ("join", "federation"):
        admission.judge_self_signed(envelope, kind)
    if known is None:
        return ""
    owner = known.owner(envelope.signature.public_key)
    if owner is None:
        raise FedmedError("FM-SIG-03", f"{kind} of {found.sender}: {found.key} is not in the roster")
    admission.agrees(found.statement, envelope, owner, kind)
    predicate = found.statement.predicate
    membership = getattr(predicate, "federation", None)
    if kind == "federation" and found.id != known.digest:
        raise FedmedError("FM-TRU-02", "another federation statement than the one it is held against")
    if isinstance(membership, statement.Membership) and membership != known.membership:
        raise FedmedError("FM-TRU-02", f"{kind} of {found.sender}: made for another federation or version")
    return owner.name
