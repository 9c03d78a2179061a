"""What lies in the archive: statements and payloads, read again, hashed again, and in clear for who may open them."""

from __future__ import annotations

import hashlib
import os
from functools import partial
from typing import TYPE_CHECKING

from fedmed import files
from fedmed.errors import FedmedError
from fedmed.exchange import artifact, decrypting, private_facts, reading, statement

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from fedmed.exchange.statement import Statement
    from fedmed.exchange.workspace import Workspace

PLAINTEXT = ".plain"


def open_archived(workspace: Workspace, statement_id: str) -> tuple[int, artifact.Envelope, Statement]:
    """An open descriptor, envelope and statement of an archived file. Raises FedmedError FM-TRU-11."""
    try:
        fd = files.open_regular(workspace.archived(statement_id))
    except OSError as error:
        raise FedmedError("FM-TRU-11", f"archive: {statement_id[:16]}... is missing", local=str(error)) from error
    try:
        envelope = artifact.read_envelope(reading.reader(fd))
        if envelope.id != statement_id:
            raise FedmedError("FM-TRU-11", f"archive: {statement_id[:16]}... holds another statement")
        return fd, envelope, statement.decode(envelope.raw)
    except FedmedError as error:
        os.close(fd)
        raise FedmedError("FM-TRU-11", f"archive: {statement_id[:16]}... is damaged: {error.message}") from error


def read_archived(workspace: Workspace, statement_id: str) -> Statement:
    """The statement alone, with what it says in `body.json` if it is encrypted: the one way to what a file tells.

    Raises FedmedError FM-TRU-11, FM-AGE-02, FM-KEY-*.
    """
    fd, envelope, said = open_archived(workspace, statement_id)
    try:
        if not said.hides:
            return said
        private = bytearray()
        _decrypt(workspace, fd, envelope, said, statement.PRIVATE, private.extend)
        return private_facts.show(said, bytes(private))
    finally:
        os.close(fd)


def read_envelope(workspace: Workspace, statement_id: str) -> artifact.Envelope:
    """Statement and signature as they were signed. Raises FedmedError FM-TRU-11."""
    fd, envelope, _ = open_archived(workspace, statement_id)
    os.close(fd)
    return envelope


def read_payload(workspace: Workspace, statement_id: str, name: str) -> bytes:
    """A whole payload, checked against its digest again. Raises FedmedError FM-TRU-11, FM-AGE-02, FM-KEY-*."""
    fd, envelope, said = open_archived(workspace, statement_id)
    try:
        if said.is_encrypted:
            data = bytearray()
            _decrypt(workspace, fd, envelope, said, name, data.extend)
            return bytes(data)
    finally:
        os.close(fd)
    return b"".join(payload_chunks(workspace, statement_id, name))


def decrypted(workspace: Workspace, statement_id: str, name: str) -> Path:
    """An encrypted payload in clear, as a file of the private spool: it goes when the command ends.

    Raises FedmedError FM-TRU-11, FM-AGE-02, FM-KEY-*, FM-RES-*.
    """
    target = workspace.spool / f"{statement_id}.{name}{PLAINTEXT}"
    if target.exists():
        return target
    part = target.with_suffix(".part")
    fd, envelope, said = open_archived(workspace, statement_id)
    try:
        with files.Sink(part, durable=False) as sink:
            _decrypt(workspace, fd, envelope, said, name, sink.write)
    finally:
        os.close(fd)
    part.replace(target)
    return target


def _decrypt(
    workspace: Workspace,
    fd: int,
    envelope: artifact.Envelope,
    said: Statement,
    name: str,
    write: Callable[[bytes], object],
) -> str:
    check = partial(check_digest, said, name)
    return decrypting.open_payload(workspace.age_key, fd, envelope, said, name, write, check)


def plain_digest(workspace: Workspace, statement_id: str) -> str:
    """That of the first payload, where it is encrypted."""
    fd, envelope, said = open_archived(workspace, statement_id)
    try:
        name = said.subject[0].name
        return _decrypt(workspace, fd, envelope, said, name, lambda _: None) if said.is_encrypted else ""
    finally:
        os.close(fd)


def payload_chunks(workspace: Workspace, statement_id: str, name: str) -> Iterator[bytes]:
    """A payload in pieces, hashed again on the way. Raises FedmedError FM-TRU-11, behind the last piece where they are
    no longer what was signed.
    """
    fd, envelope, said = open_archived(workspace, statement_id)
    if said.is_encrypted:
        os.close(fd)
        yield from files.chunks_of(decrypted(workspace, statement_id, name))
        return
    digest = hashlib.sha256()
    try:
        size = next(part.bytes for part in said.predicate.payload if part.name == name)
        for chunk in files.read_chunks(fd, artifact.payload_offset(envelope, said, name), size):
            digest.update(chunk)
            yield chunk
    finally:
        os.close(fd)
    check_digest(said, name, digest.hexdigest())


def check_digest(said: Statement, name: str, found: str) -> None:
    """Raises FedmedError FM-TRU-11 when an archived payload is no longer the one that was signed."""
    if found != said.digest_of(name):
        raise FedmedError("FM-TRU-11", f"archive: {name} of {said.kind} {said.sender} is damaged")
