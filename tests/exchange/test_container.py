"""The container has one valid encoding, and stock `tar` reads it."""

from __future__ import annotations

import io
import shutil
import subprocess
import tarfile
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmed.exchange import container
from fedmed.exchange.container import Member, Reader
from tests.coded import code_of
from tests.vectors import samples

if TYPE_CHECKING:
    from pathlib import Path

NAMES = st.from_regex(r"[a-z0-9]{1,8}([._-][a-z0-9]{1,8}){0,3}", fullmatch=True).filter(container.is_payload_name)
CONTENTS = st.lists(st.tuples(NAMES, st.binary(max_size=1100)), min_size=1, max_size=4, unique_by=lambda pair: pair[0])


def pack(members: list[tuple[str, bytes]]) -> bytes:
    return b"".join(container.pack(Member(name, len(data), [data]) for name, data in members))


def reader(data: bytes) -> Reader:
    return Reader(io.BytesIO(data).read)


def read(data: bytes, names: list[str], limit: int = 1 << 20) -> list[tuple[str, bytes]]:
    source, found = reader(data), []
    for name in names:
        size = source.member_size(name, limit)
        found.append((name, source.exactly(size)))
        source.padding(size)
    source.trailer()
    return found


@given(CONTENTS)
def test_what_is_packed_is_read_back_and_is_as_long_as_said(members: list[tuple[str, bytes]]) -> None:
    data = pack(members)
    assert read(data, [name for name, _ in members]) == members
    assert len(data) == container.packed_size(len(content) for _, content in members)
    assert samples.members(data) == members, "tarfile reads the same"


@given(NAMES, st.integers(0, container.MAX_MEMBER))
def test_the_header_is_tarfiles(name: str, size: int) -> None:
    info = tarfile.TarInfo.frombuf(container.header(name, size), "ascii", "strict")
    assert (info.name, info.size, info.mode, info.uid, info.gid, info.mtime) == (name, size, 0o644, 0, 0, 0)
    assert (info.type, info.linkname, info.uname, info.gname) == (tarfile.REGTYPE, "", "", "")


@given(st.integers(0, 8 * 512 - 1))
def test_no_bit_of_a_header_is_free(bit: int) -> None:
    head = bytearray(container.header("update.safetensors", 1234))
    head[bit // 8] ^= 1 << bit % 8
    assert code_of(lambda: reader(bytes(head)).member_size("update.safetensors", 1 << 20)) == "FM-FRM-01"


@pytest.mark.parametrize(
    "digits",
    [
        b"0000000123 ",
        b"000000123\0\0",
        b" 0000000123",
        b"-0000000123",
        b"00000000128",
        b"0000000012x",
        b"\x80" + bytes(10),
    ],
)
def test_the_size_is_eleven_octal_digits(digits: bytes) -> None:
    head = container.header("a", 0o123)
    assert code_of(lambda: reader(head[:124] + digits + head[135:]).member_size("a", 1 << 20)) == "FM-FRM-01"


def test_a_member_above_its_limit_is_refused_before_it_is_read() -> None:
    head = container.header("statement.json", 1 << 30)
    assert code_of(lambda: reader(head).member_size("statement.json", 1 << 20)) == "FM-FRM-04"
    assert reader(head).member_size("statement.json", 1 << 30) == 1 << 30


GOOD = pack([("a", b"hello"), ("b.bin", b"")])


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (GOOD, "ok"),
        (GOOD + b"\0", "FM-FRM-01"),
        (GOOD + bytes(512), "FM-FRM-01"),
        (GOOD[:-1], "FM-WAI-04"),
        (GOOD[:-512], "FM-WAI-04"),
        (GOOD[:-1] + b"x", "FM-FRM-01"),
        (GOOD.replace(b"hello\0", b"hellox"), "FM-FRM-01"),
        (GOOD[1024:1536] + GOOD[:1024] + GOOD[1536:], "FM-FRM-01"),
        (GOOD[:1024] + GOOD[:1024] + GOOD[1024:], "FM-FRM-01"),
        (GOOD[:1024] + GOOD[1536:], "FM-FRM-01"),
        (b"", "FM-WAI-04"),
        (bytes(10240), "FM-FRM-01"),
    ],
    ids=[
        *("good", "one byte more", "one block more", "one byte less", "one zero block", "trailer", "padding"),
        *("swapped", "twice", "missing", "empty", "zeros"),
    ],
)
def test_exactly_these_members_and_then_the_end(data: bytes, expected: str) -> None:
    assert code_of(lambda: read(data, ["a", "b.bin"])) == expected


@given(st.integers(0, len(GOOD) - 1), st.integers(1, 700))
def test_short_reads_change_nothing_and_a_cut_is_incomplete(end: int, step: int) -> None:
    """A pipe or a network share hands out fewer bytes than asked for."""

    def read_in_steps(data: bytes) -> None:
        stream = io.BytesIO(data)
        source = Reader(lambda size: stream.read(min(size, step)))
        for name in ("a", "b.bin"):
            size = source.member_size(name, 100)
            source.exactly(size)
            source.padding(size)
        source.trailer()

    assert code_of(lambda: read_in_steps(GOOD)) == "ok"
    assert code_of(lambda: read_in_steps(GOOD[:end])) == "FM-WAI-04"


@pytest.mark.parametrize(
    "name", ["a", "update.safetensors", "a-b_c.d", "0", "x" * 64, "console", "com", "com10", "aux1"]
)
def test_payload_names(name: str) -> None:
    assert container.is_payload_name(name)


@pytest.mark.parametrize(
    "name",
    [
        *("statement.json", "statement.json.sig", "statement", "statements.txt", "con", "con.txt", "aux.txt", "nul"),
        *(
            "prn.a",
            "com0",
            "com1.x",
            "lpt9",
            "",
            ".",
            "..",
            "a.",
            ".a",
            "-a",
            "a..b",
            "a--b",
            "a/b",
            "a\\b",
            "../a",
            "/a",
        ),
        *("A", "ä", "a b", "a\n", "a\0", "a:b", "x" * 65, "a~1", "\u0130", "1\u0660"),
    ],
)
def test_other_payload_names_are_refused(name: str) -> None:
    assert not container.is_payload_name(name)


@pytest.mark.parametrize("written", [4, 6])
def test_a_member_that_is_not_as_long_as_it_says_is_never_written(written: int) -> None:
    with pytest.raises(ValueError, match="instead of 5"):
        list(container.pack([Member("a", 5, [b"x" * written])]))


@pytest.mark.parametrize("kind", samples.KINDS)
def test_stock_tar_and_sha256sum_read_what_we_write(tmp_path: Path, kind: str) -> None:
    tar, sha256sum = shutil.which("tar"), shutil.which("sha256sum")
    if tar is None or sha256sum is None:
        pytest.fail("tar and sha256sum are the auditor's tools; install them")
    data = samples.sample(kind)
    (tmp_path / "a.fedmed").write_bytes(data)
    listed = subprocess.run([tar, "-tf", "a.fedmed"], cwd=tmp_path, capture_output=True, check=True)
    assert listed.stderr == b""
    assert listed.stdout.decode().splitlines() == [name for name, _ in samples.members(data)]
    subprocess.run([tar, "-xf", "a.fedmed"], cwd=tmp_path, check=True)
    for subject in samples.statement_in(data)["subject"]:
        path = tmp_path / subject["name"]
        if path.exists():
            summed = subprocess.run([sha256sum, path.name], cwd=tmp_path, capture_output=True, check=True)
            assert summed.stdout.decode().split()[0] == subject["digest"]["sha256"]
    assert pack(samples.members(data)) == data, "our writer gives the same bytes as the samples' own"
