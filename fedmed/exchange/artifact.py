"""One signed file: sealing it, and opening it in the only safe order.

`read_envelope` takes the statement and its signature and trusts neither; admission decides about them; only then does
`read_payloads` look at the rest, against what the verified statement says. No file is named here: bytes come from a
`read` function and go to a `write` function.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from fedmed import files
from fedmed.errors import FedmedError
from fedmed.exchange import container, predicates, sshsig, statement

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from fedmed.exchange.container import Reader

SAFETENSORS = "application/vnd.safetensors"


@dataclass(frozen=True)
class Envelope:
    """The first two members, decoded but not verified. `id` is the SHA-256 of the statement's bytes."""

    raw: bytes
    armour: bytes
    signature: sshsig.Signature

    @property
    def id(self) -> str:
        return hashlib.sha256(self.raw).hexdigest()

    @property
    def size(self) -> int:
        """Bytes of the file before the first payload."""
        return container.packed_size([len(self.raw), len(self.armour)]) - len(container.TRAILER)


class Inspector(Protocol):
    """Looks at every byte of one payload, front to back; what is wrong comes out at the end."""

    def feed(self, data: bytes) -> None: ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class Expected:
    """What a tensor payload must be: SHA-256 of its safetensors header, size, who looks at its bytes, and coding.

    The size is exact, or with a coding at most that.
    """

    table: str
    size: int
    inspector: Callable[[], Inspector]
    coding: str = "none"


@dataclass(frozen=True)
class Bounded:
    """What a payload without tensors must be: at most `size` bytes, and who looks at them."""

    size: int
    inspector: Callable[[], Inspector]


Demand = Expected | Bounded


@dataclass(frozen=True)
class Content:
    """One payload to seal. Where `sha256` is None it is hashed while it is written."""

    name: str
    media: str
    size: int
    sha256: str | None
    chunks: Callable[[], Iterable[files.Bytes]]
    coding: Literal["none", "zstd"] = "none"
    enc: Literal["none", "age"] = "none"


def json_content(name: str, data: bytes) -> Content:
    return Content(name, "application/json", len(data), hashlib.sha256(data).hexdigest(), lambda: [data])


def binary_content(name: str, data: bytes) -> Content:
    return Content(name, "application/octet-stream", len(data), hashlib.sha256(data).hexdigest(), lambda: [data])


def tensor_content(name: str, data: bytes, coding: Literal["none", "zstd"] = "none") -> Content:
    return Content(name, SAFETENSORS, len(data), hashlib.sha256(data).hexdigest(), lambda: [data], coding)


def streamed_content(
    name: str, size: int, chunks: Sequence[files.Bytes], coding: Literal["none", "zstd"] = "none"
) -> Content:
    """Tensors in memory that are not copied once more, and hashed while they are written."""
    return Content(name, SAFETENSORS, size, None, lambda: chunks, coding)


def read_envelope(reader: Reader) -> Envelope:
    """Consume statement and signature. Raises Incomplete, FedmedError FM-FRM-01, FM-FRM-04, FM-SIG-02."""
    parts = []
    for name, limit in ((container.STATEMENT, statement.MAX_BYTES), (container.SIGNATURE, sshsig.MAX_BYTES)):
        size = reader.member_size(name, limit)
        parts.append(reader.exactly(size))
        reader.padding(size)
    return Envelope(parts[0], parts[1], sshsig.decode(parts[1]))


def total_size(envelope: Envelope, verified: statement.Statement) -> int:
    """Length in bytes of the complete file."""
    return envelope.size + container.packed_size(part.bytes for part in verified.predicate.payload)


def payload_offset(envelope: Envelope, verified: statement.Statement, name: str) -> int:
    """Where the bytes of the payload `name` begin in the file."""
    offset = envelope.size
    for part in verified.predicate.payload:
        if part.name == name:
            return offset + container.BLOCK
        offset += container.packed_size([part.bytes]) - len(container.TRAILER)
    raise KeyError(name)


def payload_bytes(data: bytes, envelope: Envelope, verified: statement.Statement, name: str) -> bytes:
    """The payload `name` out of a whole verified file."""
    offset = payload_offset(envelope, verified, name)
    return data[offset : offset + next(part.bytes for part in verified.predicate.payload if part.name == name)]


def read_payloads(reader: Reader, verified: statement.Statement, expected: Mapping[str, Demand]) -> Iterator[None]:
    """Consume everything after the envelope: hashes, tensor headers, numbers, trailer, end.

    A generator that yields after every chunk, so that a caller can pass the chunks on without keeping them. Raises
    Incomplete, FedmedError FM-FRM-01, FM-FRM-05, FM-TRU-10, FM-TEN-01, FM-TEN-02, FM-ENC-02, FM-ENC-03.
    """
    for part in verified.predicate.payload:
        size = reader.member_size(part.name, container.MAX_MEMBER)
        if size != part.bytes:
            raise FedmedError("FM-FRM-05", f"{part.name}: expected {part.bytes} bytes, got {size}")
        yield from _read_payload(reader, part, verified.digest_of(part.name), expected.get(part.name))
        reader.padding(size)
    reader.trailer()


def _require_size(part: predicates.Payload, expected: Expected) -> None:
    name, size = part.name, part.bytes
    if part.coding != expected.coding:
        raise FedmedError("FM-ENC-03", f"{name}: expected coding {expected.coding}, got {part.coding}")
    if size > expected.size or (size < expected.size and expected.coding == "none"):
        raise FedmedError("FM-TEN-01", f"{name}: expected {expected.size} bytes of tensors, got {size}")


def _read_payload(reader: Reader, part: predicates.Payload, sha256: str, expected: Demand | None) -> Iterator[None]:
    name, size = part.name, part.bytes
    if part.enc != "none":
        expected = None  # what is in it is looked at behind the decryption
    if isinstance(expected, Bounded) and size > expected.size:
        raise FedmedError("FM-FRM-04", f"{name}: expected at most {expected.size} bytes, got {size}")
    if isinstance(expected, Expected):
        _require_size(part, expected)
    digest = hashlib.sha256()
    inspector = expected.inspector() if expected else None
    for chunk in reader.stream(size):
        digest.update(chunk)
        if inspector is not None:
            inspector.feed(chunk)
        yield
    if digest.hexdigest() != sha256:
        raise FedmedError("FM-TRU-10", f"{name}: expected sha256 {sha256[:16]}..., got {digest.hexdigest()[:16]}...")
    if inspector is not None:
        inspector.close()


def verified_copy(source: Callable[[int], bytes], write: Callable[[bytes], object]) -> Callable[[int], bytes]:
    """A `read` whose every byte also goes to `write`: what was verified is what was copied."""

    def read(size: int) -> bytes:
        data = source(size)
        write(data)
        return data

    return read


def head(raw: bytes, key: Ed25519PrivateKey, kind: str) -> bytes:
    """Statement and signature: the beginning of a signed file, of a length that no digest changes."""
    armour = sshsig.sign(key, statement.namespace(kind), raw)
    members = [
        container.Member(container.STATEMENT, len(raw), [raw]),
        container.Member(container.SIGNATURE, len(armour), [armour]),
    ]
    return b"".join(container.packed(members))


def write_payloads(contents: Iterable[Content], write: Callable[[files.Bytes], None]) -> list[str]:
    """The rest of it; returns the digest of each payload, which is made on the way where it was not known."""
    digests = []

    def hashed(part: Content) -> Iterator[files.Bytes]:
        digest = hashlib.sha256()
        for chunk in part.chunks():
            for piece in files.pieces(chunk):
                yield piece  # written by another thread while it is hashed
                if part.sha256 is None:
                    digest.update(piece)
        digests.append(part.sha256 or digest.hexdigest())

    for piece in container.pack(container.Member(part.name, part.size, hashed(part)) for part in contents):
        write(piece)
    return digests


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def file_content(name: str, path: Path, size: int, digest: str) -> Content:
    """Tensors that lie in a file of `size` bytes; streamed, never held."""

    def chunks() -> Iterator[bytes]:
        fd = files.open_regular(path)
        try:
            yield from files.read_chunks(fd, 0, size)
        finally:
            os.close(fd)

    return Content(name, SAFETENSORS, size, digest, chunks)
