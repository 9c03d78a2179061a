"""A signed file on this computer, as bytes: read from its beginning, or copied while every byte is verified."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from fedmed import files
from fedmed.errors import FedmedError
from fedmed.exchange import artifact, container

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from fedmed.exchange.artifact import Demand, Envelope
    from fedmed.exchange.statement import Statement


def reader(fd: int) -> container.Reader:
    """A reader from the beginning of an open file."""
    os.lseek(fd, 0, os.SEEK_SET)
    return container.Reader(lambda size: _read(fd, size))


def _read(fd: int, size: int) -> bytes:
    """A bad sector of a stick ends this file, not the command."""
    try:
        return os.read(fd, size)
    except OSError as error:
        raise container.Incomplete(f"cannot be read: {os.strerror(error.errno or 0).lower()}") from error


def payload(fd: int, envelope: Envelope, said: Statement, name: str) -> Callable[[int, int], bytes]:
    """`read(offset, size)` of one payload, which ends where the statement says. Nothing is verified."""
    start = artifact.payload_offset(envelope, said, name)
    end = next(part.bytes for part in said.predicate.payload if part.name == name)
    return lambda offset, size: b"".join(files.read_chunks(fd, start + offset, min(size, end - offset)))


def verified(fd: int, envelope: Envelope, said: Statement, expected: Mapping[str, Demand]) -> Iterator[bytes]:
    """The file's bytes from its beginning, each handed on only after the reader has seen it."""
    chunks: list[bytes] = []
    os.lseek(fd, 0, os.SEEK_SET)
    source = container.Reader(artifact.verified_copy(lambda size: _read(fd, size), chunks.append))
    again = artifact.read_envelope(source)
    if again != envelope:
        raise FedmedError("FM-FRM-01", "the file changed while it was read")
    yield from _drain(chunks)
    for _ in artifact.read_payloads(source, said, expected):
        yield from _drain(chunks)
    yield from _drain(chunks)


def _drain(chunks: list[bytes]) -> Iterator[bytes]:
    yield from chunks
    chunks.clear()
