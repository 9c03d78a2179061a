"""A folder of signed files, of which each is verified when it is taken: an archive, or what somebody was given."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from functools import cached_property
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np

from fedmed import files
from fedmed.auditor import inspection
from fedmed.errors import FedmedError
from fedmed.exchange import artifact, predicates, reading

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import ExitStack
    from pathlib import Path

    from fedmed.auditor.inspection import Reference
    from fedmed.exchange.artifact import Envelope
    from fedmed.exchange.statement import Statement


@dataclass(frozen=True)
class Taken:
    """A file that was verified to its last byte, still open. Threads may read it."""

    fd: int
    envelope: Envelope
    said: Statement
    known: Reference
    lock: Lock = field(default_factory=Lock, repr=False)

    def chunks(self, name: str) -> Iterator[bytes]:
        """A payload in pieces."""
        return files.read_chunks(self.fd, self._start(name), self._size(name))

    def payload(self, name: str) -> bytes:
        """A whole payload, of those that are small."""
        return b"".join(self.chunks(name))

    def numbers(self, name: str, header: int, dtype: str) -> Callable[[int, int], np.ndarray]:
        """`read(first, count)` of the numbers behind a header of so many bytes."""
        start, width = self._start(name) + header, np.dtype(dtype).itemsize

        def read(first: int, count: int) -> np.ndarray:
            with self.lock:
                data = b"".join(files.read_chunks(self.fd, start + first * width, count * width))
            return np.frombuffer(data, dtype, count)

        return read

    def _start(self, name: str) -> int:
        return artifact.payload_offset(self.envelope, self.said, name)

    def _size(self, name: str) -> int:
        return next(part.bytes for part in self.said.predicate.payload if part.name == name)


class Shelf:
    """The signed files of a folder, or of its archive/, by id. What cannot be read as one is passed over."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._folder = folder / "archive" if (folder / "archive").is_dir() else folder
        self._stack = stack
        self._references: dict[str, Reference] = {}

    @cached_property
    def _found(self) -> dict[str, tuple[Path, Statement]]:
        found = {}
        for path in sorted(self._folder.glob("*.fedmed")):
            try:
                inspected = inspection.inspect(path)
            except FedmedError:
                continue
            found[inspected.id] = (path, inspected.statement)
        return found

    def models(self, round_: int) -> list[str]:
        """The ids of all models of a round that are here."""
        return [
            id_
            for id_, (_, said) in self._found.items()
            if isinstance(said.predicate, predicates.ModelPredicate) and said.predicate.round == round_
        ]

    def take(self, id_: str) -> Taken:
        """Verified against the version of the federation that it names, which is here too.

        Raises FedmedError FM-TRU-11 when one of the two is not here, and as `inspection.verify`.
        """
        path, said = self._get(id_)
        known = self._reference(getattr(said.predicate, "federation", None))
        fd = files.open_regular(path)
        self._stack.callback(os.close, fd)
        envelope, said, _ = inspection.check(reading.reader(fd), known)
        return Taken(fd, envelope, said, known)

    def _reference(self, membership: object) -> Reference:
        digest = getattr(membership, "digest", "")
        if digest not in self._references:
            self._references[digest] = inspection.read_federation(self._get(digest)[0])
        return self._references[digest]

    def _get(self, id_: str) -> tuple[Path, Statement]:
        if id_ not in self._found:
            raise FedmedError("FM-TRU-11", f"archive: {id_[:16]}... is missing")
        return self._found[id_]
