"""Bytes on a disk that may lose power at any moment: atomic writes, bounded reads, hashing copies.

Everything that must survive a kill is written here and through `os.open/write/fsync/replace`, so that a test can end
the process before every single one of those calls.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Self

from fedmed.errors import FedmedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from concurrent.futures import Future
    from pathlib import Path

Bytes = bytes | memoryview
CHUNK, MAX_WAITING = 1 << 20, 4
DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS)  # never the fault of who asks
_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)


def read_bounded(path: Path, limit: int) -> bytes:
    """The whole file, which must hold at most `limit` bytes. Raises OSError."""
    fd = open_regular(path)
    try:
        data = bytearray()
        while chunk := os.read(fd, min(CHUNK, limit + 1 - len(data))):
            data += chunk
            if len(data) > limit:
                raise OSError(errno.EFBIG, "file is larger than allowed")
        return bytes(data)
    finally:
        os.close(fd)


def open_regular(path: Path) -> int:
    """A read-only descriptor of a regular file; a link, pipe or device at its place is refused with OSError."""
    fd = os.open(path, os.O_RDONLY | _NO_FOLLOW | getattr(os, "O_BINARY", 0))
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(errno.EINVAL, "not a regular file")
    return fd


def why_unreadable(error: OSError | UnicodeDecodeError) -> str:
    """What a person can see for himself of a file that was refused; no path."""
    if isinstance(error, UnicodeDecodeError):
        return "no text in UTF-8"
    return "a symbolic link" if error.errno == errno.ELOOP else os.strerror(error.errno or 0).lower()


def read_chunks(fd: int, offset: int, size: int) -> Iterator[bytes]:
    """`size` bytes from `offset` on, in pieces of at most CHUNK; stops early only at the end of the file."""
    end = offset + size
    while offset < end:
        os.lseek(fd, offset, os.SEEK_SET)
        chunk = os.read(fd, min(CHUNK, end - offset))
        if not chunk:
            return
        yield chunk
        offset += len(chunk)


def pieces(data: Bytes) -> Iterator[memoryview]:
    """The same bytes in pieces of at most CHUNK, without a copy."""
    view = memoryview(data)
    return (view[first : first + CHUNK] for first in range(0, len(view), CHUNK))


def sha256_file(path: Path) -> str:
    """SHA-256 of a regular file, lower-case hex."""
    digest = hashlib.sha256()
    for chunk in chunks_of(path):
        digest.update(chunk)
    return digest.hexdigest()


def chunks_of(path: Path) -> Iterator[bytes]:
    """All bytes of a regular file, in pieces."""
    fd = open_regular(path)
    try:
        yield from read_chunks(fd, 0, os.fstat(fd).st_size)
    finally:
        os.close(fd)


def write_stream(path: Path, chunks: Iterable[Bytes], *, mode: int = 0o644, durable: bool = True) -> None:
    """Write a new file and fsync it. Not atomic: for a name that nobody reads yet. Raises FedmedError FM-RES-01."""
    with Sink(path, mode=mode, durable=durable) as sink, beside(sink.write) as write:
        for chunk in chunks:
            write(chunk)


@contextmanager
def beside(write: Callable[[Bytes], None]) -> Iterator[Callable[[Bytes], None]]:
    """A `write` that another thread does, in order, while the caller makes the next piece; few of them ever wait.

    Nothing is written by it behind the end, nor after a piece that could not be written: that is raised here. Small
    pieces with nothing before them are written at once: a small file needs no thread.
    """
    waiting: deque[Future[None]] = deque()
    pool = ThreadPoolExecutor(1)

    def hand_over(data: Bytes) -> None:
        if not waiting and len(data) < CHUNK:
            write(data)
            return
        waiting.append(pool.submit(write, data))
        if len(waiting) > MAX_WAITING:
            waiting.popleft().result()

    try:
        yield hand_over
        for each in waiting:
            each.result()
    finally:
        pool.shutdown(cancel_futures=True)


class Sink:
    """A new file that is written piece by piece and made durable at the end; use as a context manager.

    Not `durable`: what nobody would look for after a power cut.
    """

    def __init__(self, path: Path, *, mode: int = 0o600, durable: bool = True) -> None:
        self._path, self._durable = path, durable
        try:
            self._fd = os.open(
                path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | _NO_FOLLOW | getattr(os, "O_BINARY", 0), mode
            )
        except OSError as error:
            raise disk_error(error, path) from error

    def write(self, data: Bytes) -> None:
        try:
            write_all(self._fd, data)
        except OSError as error:
            raise disk_error(error, self._path) from error

    def write_first(self, data: bytes) -> None:
        """Over the beginning of what was written."""
        os.lseek(self._fd, 0, os.SEEK_SET)
        self.write(data)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None and self._durable:
                sync(self._fd)
        except OSError as error:
            raise disk_error(error, self._path) from error
        finally:
            os.close(self._fd)


def write_all(fd: int, data: Bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def write_atomic(path: Path, data: bytes | Iterable[bytes], *, mode: int = 0o644, durable: bool = True) -> None:
    """Replace `path` so that a reader, or a power cut, sees the old bytes or the new ones and nothing between.

    Not `durable`: a hint, which a power cut may take or tear.
    """
    part = path.with_name(f"{path.name}.part")
    write_stream(part, [data] if isinstance(data, bytes) else data, mode=mode, durable=durable)
    publish(part, path, durable=durable)


def publish(part: Path, path: Path, *, durable: bool = True) -> None:
    """Give a finished file its name, and make the name itself survive a power cut."""
    try:
        os.replace(part, path)
        if durable:
            fsync_folder(path.parent)
    except OSError as error:
        raise disk_error(error, path) from error


def fsync_folder(folder: Path) -> None:
    if os.name == "nt":  # Windows cannot open a folder; its file system journals names itself
        return
    fd = os.open(folder, os.O_RDONLY)
    try:
        sync(fd)
    finally:
        os.close(fd)


def sync(fd: int) -> None:
    """Return when the disk has it, and a power cut can take it back no more."""
    if Process.is_durable:
        os.fsync(fd)


class Process:
    """This process. One that plays a federation sets `is_durable` to False and waits for no disk: a kill costs nothing
    all the same, because the system has what was written; a power cut may cost the rehearsal.
    """

    is_durable = True


def make_private(folder: Path) -> None:
    """A folder, with its parents, that only its owner may enter. Raises FedmedError FM-RES-*."""
    make_folder(folder)
    try:
        os.chmod(folder, 0o700)
    except OSError as error:
        raise disk_error(error, folder) from error


def make_folder(folder: Path) -> None:
    """A folder, with its parents. Raises FedmedError FM-RES-*: a file in the way, or no leave to write here."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise disk_error(error, folder) from error


def empty(folder: Path, pattern: str = "*") -> None:
    """Delete the files of a folder, those that fit the pattern, which holds nothing that cannot be made again."""
    for path in folder.glob(pattern):
        path.unlink()


def disk_error(error: OSError, path: Path) -> FedmedError:
    """What the disk refused, without the path, which may name a person; the local log keeps it."""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    what = "no space left on the disk" if full else f"cannot write: {os.strerror(error.errno or errno.EIO).lower()}"
    return FedmedError("FM-RES-01" if full else "FM-RES-02", what, local=f"{path}: {error}")
