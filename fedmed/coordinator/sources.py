"""Flat vectors of float32 in open files, read from front to back and hashed on the way."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Protocol

import numpy as np

from fedmed import files
from fedmed.errors import FedmedError
from fedmed.exchange import archived, artifact

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import ExitStack
    from pathlib import Path

    from fedmed.exchange.statement import Statement
    from fedmed.exchange.workspace import Workspace


class Vector(Protocol):
    """Where a flat vector lies; it may be opened again. `header` is what stands before it in its payload."""

    def open(self, stack: ExitStack, header: int) -> Source: ...


@dataclass
class Source:
    """A vector that is being read. `check` is given the digest of all bytes at the end; None: verified before."""

    fd: int
    name: str
    check: Callable[[str], None] | None = None

    def __post_init__(self) -> None:
        self._file = os.fdopen(self.fd, "rb", buffering=0, closefd=False)
        self._digest = hashlib.sha256()

    def fill(self, row: np.ndarray) -> None:
        """The next bytes, as many as `row` holds. Raises FedmedError FM-TRU-11 when the file ends or cannot be read."""
        view = row.view(np.uint8).data
        try:
            done = 0
            while done < len(view):
                count = self._file.readinto(view[done:])
                if not count:
                    raise FedmedError("FM-TRU-11", f"archive: {self.name} is damaged: it ends too early")
                done += count
        except OSError as error:
            raise FedmedError("FM-TRU-11", f"archive: {self.name} cannot be read", local=str(error)) from error
        if self.check:
            self._digest.update(view)

    def end(self) -> None:
        """Raises FedmedError FM-TRU-11 when the bytes that were read are not the ones that were signed."""
        if self.check:
            self.check(self._digest.hexdigest())


@dataclass(frozen=True)
class Archived:
    """The tensors of a statement in the archive."""

    found: Workspace
    statement_id: str
    payload: str

    def open(self, stack: ExitStack, header: int) -> Source:
        """Raises FedmedError FM-TRU-11."""
        fd, said, name = opened(stack, self.found, self.statement_id, self.payload)
        is_verified = said.is_encrypted  # when it was opened
        source = Source(fd, name, None if is_verified else partial(archived.check_digest, said, self.payload))
        source.fill(np.empty(header, np.uint8))
        return source


@dataclass(frozen=True)
class Part:
    """A stretch of an archived payload that was verified before, `offset` bytes into it."""

    found: Workspace
    statement_id: str
    payload: str
    offset: int

    def open(self, stack: ExitStack, _header: int) -> Source:
        """Raises FedmedError FM-TRU-11."""
        fd, _, name = opened(stack, self.found, self.statement_id, self.payload)
        os.lseek(fd, self.offset, os.SEEK_CUR)
        return Source(fd, name)


def opened(stack: ExitStack, found: Workspace, statement_id: str, payload: str) -> tuple[int, Statement, str]:
    """A descriptor at the payload's first byte, its statement, and what it is called in a message."""
    fd, envelope, said = archived.open_archived(found, statement_id)
    stack.callback(os.close, fd)
    if said.is_encrypted:
        fd = files.open_regular(archived.decrypted(found, statement_id, payload))
        stack.callback(os.close, fd)
    else:
        os.lseek(fd, artifact.payload_offset(envelope, said, payload), os.SEEK_SET)
    return fd, said, f"{payload} of {said.kind} {said.sender}"


@dataclass(frozen=True)
class Spooled:
    """A vector that this command has verified: `offset` bytes into a file of its own."""

    path: Path
    offset: int = 0

    def open(self, stack: ExitStack, _header: int) -> Source:
        fd = files.open_regular(self.path)
        stack.callback(os.close, fd)
        os.lseek(fd, self.offset, os.SEEK_SET)
        return Source(fd, "a file of the spool")
