"""The container of a signed file: one strict POSIX ustar archive that has exactly one valid encoding.

A member's header is never interpreted: only its size is read, the one canonical header is rebuilt from it, and
equality is required. Links, paths, devices, sparse files, duplicates and bombs therefore cannot be expressed. Source:
POSIX.1-1988 ustar; FORMAT.md section 1.
"""

from __future__ import annotations

import functools
import re
import tarfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedmed.errors import FedmedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

BLOCK = 512
TRAILER = bytes(2 * BLOCK)
MAX_MEMBER = 8 * 1024**3 - 1
STATEMENT, SIGNATURE = "statement.json", "statement.json.sig"
_NAME = re.compile(r"[a-z0-9]+(?:[._-][a-z0-9]+)*")
_DEVICES = {"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(10))}


@dataclass(frozen=True)
class Member:
    """One member to write; `chunks` must add up to `size` bytes."""

    name: str
    size: int
    chunks: Iterable[bytes | memoryview]


class Incomplete(FedmedError):  # noqa: N818 - a state of a copy, not a fault of the file
    """The file ends before its time: a copy still running or cut short, never a forgery by itself."""

    def __init__(self, message: str) -> None:
        super().__init__("FM-WAI-04", message)


def is_payload_name(name: str) -> bool:
    """Safe for an auditor's `tar -x` on any system, and never able to overwrite the statement."""
    plain = _NAME.fullmatch(name) is not None and len(name) <= 64
    return plain and not name.startswith("statement") and name.split(".", maxsplit=1)[0] not in _DEVICES


@functools.lru_cache(maxsize=256)
def header(name: str, size: int) -> bytes:
    """The one valid header: mode 0644, owner and time zero, regular file."""
    info = tarfile.TarInfo(name)
    info.size = size
    return info.tobuf(tarfile.USTAR_FORMAT, "ascii", "strict")


def pack(members: Iterable[Member]) -> Iterator[bytes | memoryview]:
    """Members and what ends the container, streamed. Raises ValueError when a member is not as long as it says."""
    yield from packed(members)
    yield TRAILER


def packed(members: Iterable[Member]) -> Iterator[bytes | memoryview]:
    """The members alone."""
    for member in members:
        yield header(member.name, member.size)
        written = 0
        for chunk in member.chunks:
            written += len(chunk)
            yield chunk
        if written != member.size:
            raise ValueError(f"{member.name}: {written} bytes instead of {member.size}")
        yield bytes(-member.size % BLOCK)


def packed_size(sizes: Iterable[int]) -> int:
    return sum(BLOCK + size + -size % BLOCK for size in sizes) + len(TRAILER)


class Reader:
    """Reads members front to back from `read(n)`, which returns at most n bytes and b"" only at the end."""

    def __init__(self, read: Callable[[int], bytes]) -> None:
        self._read = read
        self.offset = 0

    def member_size(self, name: str, limit: int) -> int:
        """Consume the header of the member that must come next. Raises Incomplete, FedmedError FM-FRM-01, -04."""
        block = self.exactly(BLOCK)
        digits = block[124:135]
        size = int(digits, 8) if re.fullmatch(rb"[0-7]{11}", digits) else -1
        if size < 0 or block != header(name, size):
            raise FedmedError("FM-FRM-01", f"expected the member {name} with its canonical header")
        if size > limit:
            raise FedmedError("FM-FRM-04", f"{name}: expected at most {limit} bytes, got {size}")
        return size

    def exactly(self, size: int) -> bytes:
        return b"".join(self.stream(size))

    def stream(self, size: int, chunk: int = 1 << 20) -> Iterator[bytes]:
        """`size` bytes in pieces of `chunk`, only the last one shorter. Raises Incomplete."""
        left = size
        while left:
            data = self._fill(min(chunk, left))
            left -= len(data)
            yield data

    def _fill(self, size: int) -> bytes:
        data = self._read(size)
        while len(data) < size:
            more = self._read(size - len(data))
            if not more:
                raise Incomplete(f"the file ends after {self.offset + len(data)} bytes")
            data += more
        self.offset += size
        return data

    def padding(self, size: int) -> None:
        """Consume what follows a member of `size` bytes: zeros up to the block."""
        if any(self.exactly(-size % BLOCK)):
            raise FedmedError("FM-FRM-01", "the padding of a member is not zero")

    def trailer(self) -> None:
        """Consume the end: exactly two zero blocks and nothing after them."""
        if self.exactly(len(TRAILER)) != TRAILER or self._read(1):
            raise FedmedError("FM-FRM-01", "expected exactly 1024 zero bytes after the last member")
