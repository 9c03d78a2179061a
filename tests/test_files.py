"""Bytes on a disk: whole or not there, bounded, and never through a link or a pipe."""

from __future__ import annotations

import errno
import hashlib
import os
import threading
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmed import files
from fedmed.errors import FedmedError
from tests.coded import code_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def not_regular(folder: Path) -> list[Path]:
    (folder / "real").write_bytes(b"real")
    (folder / "link").symlink_to(folder / "real")
    (folder / "folder").mkdir()
    os.mkfifo(folder / "pipe")
    (folder / "device").symlink_to("/dev/zero")
    return [folder / name for name in ("link", "folder", "pipe", "device", "missing")]


def test_only_regular_files_are_opened(tmp_path: Path) -> None:
    """A pipe would block for ever; a link could lead anywhere."""
    for path in not_regular(tmp_path):
        with pytest.raises(OSError):
            files.open_regular(path)
        with pytest.raises(OSError):
            files.read_bounded(path, 100)
        with pytest.raises(OSError):
            files.sha256_file(path)


def test_a_refused_file_is_closed_again(tmp_path: Path) -> None:
    refused = not_regular(tmp_path)
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0  # noqa: PTH112, PTH208
    for path in refused * 5:
        with pytest.raises(OSError):
            files.open_regular(path)
    assert (len(os.listdir("/proc/self/fd")) if before else 0) == before  # noqa: PTH208


@pytest.mark.parametrize("size", [0, 1, 99, 100])
def test_up_to_the_limit(tmp_path: Path, size: int) -> None:
    (tmp_path / "a").write_bytes(b"x" * size)
    assert files.read_bounded(tmp_path / "a", 100) == b"x" * size


@pytest.mark.parametrize("size", [101, 5000, (1 << 20) + 101])
def test_above_the_limit(tmp_path: Path, size: int) -> None:
    (tmp_path / "a").write_bytes(b"x" * size)
    with pytest.raises(OSError) as caught:
        files.read_bounded(tmp_path / "a", 100)
    assert caught.value.errno == errno.EFBIG


@given(st.binary(max_size=300), st.integers(0, 320), st.integers(0, 320))
def test_chunks_are_a_slice(tmp_path: Path, data: bytes, offset: int, size: int) -> None:
    (tmp_path / "a").write_bytes(data)
    fd = files.open_regular(tmp_path / "a")
    try:
        assert b"".join(files.read_chunks(fd, offset, size)) == data[offset : offset + size]
    finally:
        os.close(fd)
    assert files.sha256_file(tmp_path / "a") == hashlib.sha256(data).hexdigest()


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    files.write_atomic(tmp_path / "a", b"one")
    files.write_atomic(tmp_path / "a", iter([b"two", b"", b"three"]), mode=0o600)
    assert (tmp_path / "a").read_bytes() == b"twothree"
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


@pytest.mark.usefixtures("durable")
@pytest.mark.parametrize(("is_durable", "expected"), [(True, ["fsync", "replace", "fsync"]), (False, ["replace"])])
def test_the_disk_has_the_bytes_before_the_name_and_the_name_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_durable: bool, expected: list[str]
) -> None:
    calls: list[str] = []

    def noted(name: str, real: Callable[..., None]) -> Callable[..., None]:
        return lambda *arguments: (calls.append(name), real(*arguments))[1]

    for name in ("fsync", "replace"):
        monkeypatch.setattr(os, name, noted(name, getattr(os, name)))
    files.write_atomic(tmp_path / "a", b"new", durable=is_durable)
    assert calls == expected


def test_a_failure_on_the_way_leaves_the_old_file(tmp_path: Path) -> None:
    def broken() -> object:
        yield b"half"
        raise RuntimeError("the source ended")

    files.write_atomic(tmp_path / "a", b"old")
    with pytest.raises(RuntimeError):
        files.write_atomic(tmp_path / "a", broken())
    assert (tmp_path / "a").read_bytes() == b"old"


def test_a_new_file_is_never_written_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "victim").write_bytes(b"precious")
    (tmp_path / "a.part").symlink_to(tmp_path / "victim")
    assert code_of(lambda: files.write_atomic(tmp_path / "a", b"new")) == "FM-RES-02"
    assert (tmp_path / "victim").read_bytes() == b"precious"
    (tmp_path / "a.part").unlink()
    (tmp_path / "a").symlink_to(tmp_path / "victim")
    files.write_atomic(tmp_path / "a", b"new")
    assert (tmp_path / "victim").read_bytes() == b"precious"
    assert (tmp_path / "a").read_bytes() == b"new"
    assert not (tmp_path / "a").is_symlink()


def test_a_pipe_in_the_way_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.part")
    assert code_of(lambda: files.write_atomic(tmp_path / "a", b"new")) == "FM-RES-02"


@pytest.mark.parametrize("place", ["missing/a", "folder"])
def test_a_disk_that_refuses_is_a_code_without_the_path(tmp_path: Path, place: str) -> None:
    (tmp_path / "folder").mkdir()
    assert code_of(lambda: files.write_atomic(tmp_path / place, b"x")) == "FM-RES-02"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")  # noqa: PTH110
def test_a_full_disk_has_its_own_code() -> None:
    from pathlib import Path  # noqa: PLC0415

    assert code_of(lambda: files.write_stream(Path("/dev/full"), [b"x"])) == "FM-RES-01"


def test_a_full_disk_is_told_by_the_thread_that_writes() -> None:
    from pathlib import Path  # noqa: PLC0415

    before = threading.active_count()
    large = [bytes(files.CHUNK)] * 3
    assert code_of(lambda: files.write_stream(Path("/dev/full"), large)) == "FM-RES-01"
    assert threading.active_count() == before


@given(st.lists(st.sampled_from([0, 1, 7, files.CHUNK - 1, files.CHUNK, files.CHUNK + 1]), max_size=12))
def test_pieces_are_written_in_order_whoever_writes_them(tmp_path: Path, sizes: list[int]) -> None:
    found = [bytes([number]) * size for number, size in enumerate(sizes)]
    files.write_stream(tmp_path / "a", found)
    assert (tmp_path / "a").read_bytes() == b"".join(found)


def test_what_is_handed_over_is_not_written_behind_an_error() -> None:
    released, written = threading.Event(), []

    def write(data: bytes) -> None:
        released.wait(10)
        written.append(data)

    def fail() -> None:
        with files.beside(write) as hand_over:
            hand_over(bytes(files.CHUNK))
            hand_over(bytes(files.CHUNK))
            threading.Timer(0.05, released.set).start()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert len(written) == 1, "what was begun is ended"


@pytest.mark.parametrize(
    ("number", "code"), [(errno.ENOSPC, "FM-RES-01"), (errno.EDQUOT, "FM-RES-01"), (errno.EACCES, "FM-RES-02")]
)
def test_what_the_disk_refused(tmp_path: Path, number: int, code: str) -> None:
    error = files.disk_error(OSError(number, "x"), tmp_path)
    assert error.code == code
    assert str(tmp_path) not in str(error)
    assert str(tmp_path) in error.local


def test_a_private_folder(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        files.make_private(tmp_path / "a" / "b")
        files.make_private(tmp_path / "a" / "b")
    finally:
        os.umask(before)
    assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o700


def test_a_folder_where_a_file_stands(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for make in (files.make_folder, files.make_private):
        for place in ("file", "file/below"):
            with pytest.raises(FedmedError) as caught:
                make(tmp_path / place)
            assert caught.value.code == "FM-RES-02"
            assert str(tmp_path) not in caught.value.message


def test_emptying_a_folder_of_work(tmp_path: Path) -> None:
    for name in ("a.part", ".hidden"):
        (tmp_path / name).write_bytes(b"x")
    files.empty(tmp_path)
    assert list(tmp_path.iterdir()) == []
