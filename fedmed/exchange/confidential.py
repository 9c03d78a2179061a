"""Payloads that only their recipients can read: one age file each, native X25519 recipients, streamed.

The plaintext of each begins with 32 bytes that bind it to who made it and for which round, so that nobody can put
another's ciphertext into a file of his own. The statement's digest is that of the ciphertext: the signature is checked
before anything is decrypted. Source: C2SP age-encryption.org/v1; FORMAT.md section 10.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace
from typing import TYPE_CHECKING

from fedmed import files
from fedmed.errors import FedmedError
from fedmed.exchange import artifact, canonical
from fedmed.exchange.predicates import FingerprintPredicate, RoundPredicate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from pyrage.x25519 import Identity

    from fedmed.exchange.statement import Statement

BINDING = hashlib.sha256().digest_size
MAX_HEADER = 1 << 15  # of a hundred recipients 10 kB, and what the writer adds to keep readers used to the unknown
_STANZA = re.compile(rb"-> (\S+)(?: \S+)*")
_NONCE = _TAG = 16
_CHUNK = 1 << 16


def binding(said: Statement) -> bytes:
    """What the plaintext of each payload of this statement begins with."""
    predicate = said.predicate
    if isinstance(predicate, RoundPredicate):
        place = [predicate.federation.id, predicate.round, predicate.attempt, said.sender]
    elif isinstance(predicate, FingerprintPredicate):
        place = [predicate.federation.id, None, None, said.sender]
    else:
        raise TypeError(f"a {said.kind} is not encrypted")
    return hashlib.sha256(canonical.encode(["age", *place])).digest()


def body_size(plain: int) -> int:
    """Bytes behind the header of an age file for a payload of `plain` bytes."""
    size = BINDING + plain
    return _NONCE + size + _TAG * max(1, -(-size // _CHUNK))


def encrypt(part: artifact.Content, bound: bytes, readers: Sequence[str], target: Path) -> tuple[artifact.Content, str]:
    """The payload as an age file in `target`, ready to be sealed, and the SHA-256 of its plaintext."""
    from pyrage import encrypt_io, x25519  # noqa: PLC0415 - only where something is encrypted

    plain, cipher = hashlib.sha256(), _Hashed()

    def chunks() -> Iterator[files.Bytes]:
        yield bound
        for chunk in part.chunks():
            plain.update(chunk)
            yield chunk

    with files.Sink(target, durable=False) as sink:
        cipher.write_to = sink.write
        encrypt_io(_Joined(chunks()), cipher, [x25519.Recipient.from_str(each) for each in readers])
    lies = artifact.file_content(part.name, target, cipher.size, cipher.digest.hexdigest())
    return replace(lies, media=part.media, coding=part.coding, enc="age"), plain.hexdigest()


def check_header(what: str, head: bytes, size: int, least: int, longest: int, readers: int) -> None:
    """The beginning of a ciphertext of `size` bytes: for that many recipients, of a payload of that many bytes.

    Raises FedmedError FM-AGE-04.
    """
    end = head.find(b"\n--- ")
    end = head.find(b"\n", end + 1) + 1 if end >= 0 else 0
    lines = head[:end].split(b"\n")
    stanzas = [found.group(1) for found in map(_STANZA.fullmatch, lines) if found]
    others = [each for each in stanzas if each != b"X25519" and not each.endswith(b"-grease")]
    if not 0 < end <= MAX_HEADER or lines[0] != b"age-encryption.org/v1" or others:
        raise FedmedError("FM-AGE-04", f"{what}: expected an age file for native X25519 recipients alone")
    if stanzas.count(b"X25519") != readers:
        got = stanzas.count(b"X25519")
        raise FedmedError("FM-AGE-04", f"{what}: expected a file for {readers} recipients, got one for {got}")
    if not body_size(least) <= size - end <= body_size(longest):
        raise FedmedError(
            "FM-AGE-04", f"{what}: expected {body_size(longest)} bytes behind its header, got {size - end}"
        )


class Opened:
    """Takes the plaintext of one payload: checks what it is bound to, and hands on what stands behind."""

    def __init__(self, what: str, bound: bytes, limit: int, write: Callable[[bytes], object]) -> None:
        self._what, self._bound, self._limit, self._write = what, bound, limit, write
        self._begin, self._digest, self.size = b"", hashlib.sha256(), 0

    def write(self, data: bytes) -> int:
        """Raises FedmedError FM-AGE-03, FM-AGE-04."""
        length = len(data)
        if len(self._begin) < BINDING:
            missing = BINDING - len(self._begin)
            self._begin, data = self._begin + data[:missing], data[missing:]
            if len(self._begin) == BINDING:
                self._require_bound()
        if data:
            self.size += len(data)
            if self.size > self._limit:
                raise FedmedError("FM-AGE-04", f"{self._what}: expected at most {self._limit} bytes in it")
            self._digest.update(data)
            self._write(data)
        return length

    def flush(self) -> None:
        """As a file has it."""

    def close(self) -> str:
        """The SHA-256 of the payload. Raises FedmedError FM-AGE-03 where there was none."""
        self._require_bound()
        return self._digest.hexdigest()

    def _require_bound(self) -> None:
        if self._begin != self._bound:
            message = f"{self._what}: encrypted by or for another sender, round or federation than it came in"
            raise FedmedError("FM-AGE-03", message)


def decrypt(chunks: Iterator[bytes], sink: Opened, identity: Identity, what: str) -> str:
    """Open one age file into `sink`; the SHA-256 of its plaintext. Raises FedmedError FM-AGE-02, -03, -04."""
    from pyrage import DecryptError, decrypt_io  # noqa: PLC0415

    try:
        decrypt_io(_Joined(chunks), sink, [identity])
    except (DecryptError, OSError) as error:
        message = f"{what}: the age key here does not open it, or it is damaged"
        raise FedmedError("FM-AGE-02", message, local=str(error)) from error
    return sink.close()


class _Joined:
    """Pieces as a file that is read."""

    def __init__(self, chunks: Iterator[files.Bytes]) -> None:
        self._chunks, self._rest = chunks, memoryview(b"")

    def read(self, size: int = -1) -> bytes:
        while not self._rest:
            piece = next(self._chunks, None)
            if piece is None:
                return b""
            self._rest = memoryview(piece)
        size = len(self._rest) if size < 0 else size
        data, self._rest = self._rest[:size], self._rest[size:]
        return bytes(data)


class _Hashed:
    """A file that is written, with its length and digest."""

    def __init__(self) -> None:
        self.size, self.digest = 0, hashlib.sha256()
        self.write_to: Callable[[bytes], object] = lambda _: None

    def write(self, data: bytes) -> int:
        self.size += len(data)
        self.digest.update(data)
        self.write_to(data)
        return len(data)

    def flush(self) -> None:
        """As a file has it."""
