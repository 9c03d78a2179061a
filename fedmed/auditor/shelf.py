"""A folder of signed files, of which each is verified when it is taken: an archive, or what somebody was given."""

from __future__ import annotations

import os
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from threading import Lock
from typing import IO, TYPE_CHECKING

import numpy as np

from fedmed import files
from fedmed.auditor import inspection
from fedmed.errors import FedmedError
from fedmed.exchange import artifact, predicates, reading

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from contextlib import ExitStack
    from pathlib import Path

    from fedmed.auditor.inspection import Reference
    from fedmed.exchange.artifact import Envelope
    from fedmed.exchange.statement import Statement

_NOTHING = "give a workspace, or a folder with its archived files, as -w"


@dataclass(frozen=True)
class Taken:
    """A file that was verified to its last byte, still open. Threads may read it.

    Of one that is encrypted `opened` are its payloads in clear, by name, and `first` is the SHA-256 of the first one;
    both are empty where no key opened it.
    """

    fd: int
    envelope: Envelope
    said: Statement
    known: Reference
    opened: Mapping[str, int] = field(default_factory=dict)
    first: str = ""
    lock: Lock = field(default_factory=Lock, repr=False)

    @property
    def is_readable(self) -> bool:
        return bool(self.opened) or not self.said.is_encrypted

    def chunks(self, name: str) -> Iterator[bytes]:
        """A payload in pieces."""
        return files.read_chunks(self._fd(name), self._start(name), self._size(name))

    def payload(self, name: str) -> bytes:
        """A whole payload, of those that are small."""
        return b"".join(self.chunks(name))

    def numbers(self, name: str, header: int, dtype: str) -> Callable[[int, int], np.ndarray]:
        """`read(first, count)` of the numbers behind a header of so many bytes."""
        start, width = self._start(name) + header, np.dtype(dtype).itemsize

        def read(first: int, count: int) -> np.ndarray:
            with self.lock:
                data = b"".join(files.read_chunks(self._fd(name), start + first * width, count * width))
            return np.frombuffer(data, dtype, count)

        return read

    def _fd(self, name: str) -> int:
        return self.opened.get(name, self.fd)

    def _start(self, name: str) -> int:
        if name in self.opened:
            return 0
        return artifact.payload_offset(self.envelope, self.said, name)

    def _size(self, name: str) -> int:
        if name in self.opened:
            return os.fstat(self.opened[name]).st_size
        return next(part.bytes for part in self.said.predicate.payload if part.name == name)


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Of many files, which one is refused."""
    try:
        yield
    except FedmedError as error:
        message = f"{path.name}: {error.message}"
        raise FedmedError(error.code, message, next=error.next, local=error.local) from error


class Shelf:
    """The signed files of a folder, or of its archive/, by id. What cannot be read as one is passed over.

    What is encrypted is opened with a recipient's `age_key`, into files that go away.
    """

    def __init__(self, folder: Path, stack: ExitStack, age_key: Path | None = None) -> None:
        self._age_key = age_key
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
        if not found:
            raise FedmedError("FM-SET-01", "expected a workspace or an archive, found no signed file", next=_NOTHING)
        return found

    def models(self, round_: int) -> list[str]:
        """The ids of all models of a round that are here."""
        return [
            id_
            for id_, (_, said) in self._found.items()
            if isinstance(said.predicate, predicates.ModelPredicate) and said.predicate.round == round_
        ]

    def revocations(self) -> list[str]:
        """The ids of all revocations that are here."""
        return [id_ for id_, (_, said) in self._found.items() if said.kind == "revocation"]

    def take(self, id_: str, later: Reference | None = None) -> Taken:
        """Verified against the version of the federation that it names, which is here too; its key may also be of a
        version behind that, up to `later`.

        Raises FedmedError FM-TRU-11 when one of the two is not here, and as `inspection.verify`.
        """
        path, said = self._get(id_)
        digest = getattr(getattr(said.predicate, "federation", None), "digest", "")
        if not digest:
            raise FedmedError("FM-TRU-11", f"{path.name}: expected what is said within a federation, got a {said.kind}")
        known = self._reference(digest)
        fd = files.open_regular(path)
        self._stack.callback(os.close, fd)
        with _named(path):
            envelope, said, _ = inspection.check(reading.reader(fd), known, later)
        if not said.is_encrypted:
            return Taken(fd, envelope, said, known, first=said.subject[0].digest.sha256)
        return self._opened(path, Taken(fd, envelope, said, known))

    def _opened(self, path: Path, taken: Taken) -> Taken:
        """As it is where there is no key, or one that it was not encrypted to."""
        if self._age_key is None:
            return taken
        stack, clear = self._stack, dict[str, IO[bytes]]()

        def keep(name: str) -> Callable[[bytes], object]:
            clear[name] = stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 - closed with the stack
            return clear[name].write

        try:
            with _named(path):
                said, first = inspection.look_inside(path, self._age_key, taken.envelope, taken.said, taken.known, keep)
        except FedmedError as error:
            if error.code != "FM-AGE-02":
                raise
            return taken
        for file in clear.values():
            file.flush()
        opened = {name: file.fileno() for name, file in clear.items()}
        return replace(taken, said=said, opened=opened, first=first)

    def _reference(self, digest: str) -> Reference:
        """A version of the federation, which follows, over those between, the one whose fingerprint people compare: by
        its own word alone any file may be a later version.
        """
        chain: list[tuple[Path, Reference]] = []
        previous = digest
        while previous and previous not in self._references:
            path, _ = self._get(previous)
            with _named(path):
                found = inspection.read_federation(path)
            chain.append((path, found))
            previous = found.federation.founding.previous or ""
        for path, found in reversed(chain):
            if previous := found.federation.founding.previous or "":
                self._require_follows(path, self._references[previous])
            self._references[found.federation.digest] = found
        return self._references[digest]

    def _require_follows(self, path: Path, before: Reference) -> None:
        fd = files.open_regular(path)
        try:
            with _named(path):
                inspection.check(reading.reader(fd), before)
        finally:
            os.close(fd)

    def _get(self, id_: str) -> tuple[Path, Statement]:
        if id_ not in self._found:
            raise FedmedError("FM-TRU-11", f"archive: {id_[:16]}... is missing")
        return self._found[id_]
