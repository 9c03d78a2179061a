"""The updates of a round as bounded blocks, read side by side from the archive and hashed again on the way."""

from __future__ import annotations

import hashlib
import os
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from fedmed.exchange import artifact, sealing
from fedmed.learning import params
from fedmed.learning.strategy import Block

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from fedmed.exchange.statement import Statement
    from fedmed.exchange.workspace import Workspace
    from fedmed.learning.params import Table
    from fedmed.learning.strategy import Meta

T = TypeVar("T")
BLOCK = 1 << 19  # elements held at a time, all sites together: 2 MB, however many they are


@dataclass
class _Source:
    """One archived payload, read from front to back."""

    fd: int
    offset: int
    name: str
    said: Statement
    digest: hashlib._Hash

    def read(self, size: int) -> bytes:
        os.lseek(self.fd, self.offset, os.SEEK_SET)
        data = os.read(self.fd, size)
        while len(data) < size and (more := os.read(self.fd, size - len(data))):
            data += more
        self.offset += size
        self.digest.update(data)
        return data


class ArchivedUpdates:
    """`learning.strategy.Updates` over archived files: memory of one block, whatever the model's size."""

    def __init__(
        self, found: Workspace, table: Table, model: str, updates: Sequence[str], meta: Sequence[Meta]
    ) -> None:
        self.meta = meta
        self._found, self._table = found, table
        self._ids = [(model, "model.safetensors"), *((update, "update.safetensors") for update in updates)]

    def map(self, work: Callable[[Block], T]) -> Iterator[T]:
        """Raises FedmedError FM-TRU-11 when a file rotted."""
        header = len(params.wire_table(self._table))
        with ExitStack() as stack:
            sources = [self._open(stack, statement_id, name) for statement_id, name in self._ids]
            for source in sources:
                source.read(header)
            for start, stop, group in params.stretches(self._table):
                for first in range(start, stop, BLOCK // len(sources)):
                    count = min(BLOCK // len(sources), stop - first)
                    rows = np.stack([np.frombuffer(source.read(4 * count), "<f4") for source in sources])
                    yield work(Block(first, group, rows[0], rows[1:]))
            for source in sources:
                sealing.check_digest(source.said, source.name, source.digest.hexdigest())

    def _open(self, stack: ExitStack, statement_id: str, name: str) -> _Source:
        fd, envelope, said = sealing.open_archived(self._found, statement_id)
        stack.callback(os.close, fd)
        return _Source(fd, artifact.payload_offset(envelope, said, name), name, said, hashlib.sha256())
