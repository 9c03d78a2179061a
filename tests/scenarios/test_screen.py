"""What came with a stick, or from a strange shell, cannot steer, forge or break what a person or a script sees."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from fedmed.cli.screen import visible
from tests import small

if TYPE_CHECKING:
    from tests.command import Fedmed

HOSTILE = "join-\x1b[2J\x9b\nnext: fedmed yes \u202e.fedmed"
NO_UTF8 = os.fsdecode(b"join-\xff.fedmed")


def no_steering(text: str) -> None:
    assert not [char for char in text if not char.isprintable() and char != "\n"]
    assert "\nnext: fedmed yes" not in text


def test_what_is_not_printable_is_shown_escaped() -> None:
    assert visible("Bø 東京 \U0001f3e5 a'b\\") == "Bø 東京 \U0001f3e5 a'b\\"
    assert visible("\x1b\x9b\r\n\u202e\udcff") == r"\x1b\x9b\r\n\u202e\udcff"


@pytest.mark.parametrize("name", [HOSTILE, NO_UTF8], ids=["escapes", "no-utf-8"])
def test_the_name_of_a_file_in_the_inbox(name: str, fedmed: Fedmed, tmp_path: Path) -> None:
    world = small.joined(tmp_path / "world")
    join = world.site("aa") / "outbox" / "join-aa.fedmed"
    hostile = world.coordinator / "inbox" / name
    try:
        shutil.copyfile(join, hostile)
    except OSError:
        pytest.skip("this disk allows no such name")
    small.write_hospital(world.root / "data-cc")
    fedmed.ok("init", "site", "cc", "--name", "cc", "--data", "data-cc", cwd=world.root)
    shutil.copyfile(world.root / "cc" / "outbox" / "join-cc.fedmed", hostile)
    ran = fedmed.ok("status", "-w", "coordinator", cwd=world.root)
    assert ran.next.startswith("fedmed admit")
    no_steering(ran.out)
    for word in ("inspect", "verify"):  # FM-FRM-01 and its like name the file
        hostile.write_bytes(b"x" * 2000)
        ran = fedmed.run(word, hostile, cwd=world.root)
        assert ran.code == 5
        no_steering(ran.err)


def test_the_name_of_a_stranger_s_file_in_the_remedy(fedmed: Fedmed, world: small.Federation, tmp_path: Path) -> None:
    stranger = small.founded(tmp_path / "other")
    hostile = tmp_path / HOSTILE
    shutil.copyfile(stranger.site("aa") / "outbox" / "approval-v0001-aa.fedmed", hostile)
    ran = fedmed.run("verify", hostile, "--federation", "aa/inbox/federation-v0001.fedmed", cwd=world.root)
    assert ran.err.startswith("FM-SIG-03")
    no_steering(ran.err)


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["ascii:strict", "utf-8:strict"])
def test_a_stream_that_cannot_write_every_letter(encoding: str, world: small.Federation) -> None:
    command = [Path(sys.executable).with_name("fedmed"), "inspect", "東" + NO_UTF8]
    for words, expected in ((command, 5), ([*command, "--json"], 5)):
        environment = {**os.environ, "PYTHONIOENCODING": encoding}
        done = subprocess.run(words, cwd=world.root, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == expected, done.stderr
        assert "Traceback" not in done.stderr
        assert done.stderr.startswith("FM-FRM-01")
        assert r"\udcff" in done.stderr


def test_json_of_a_name_that_is_not_utf_8(fedmed: Fedmed, world: small.Federation) -> None:
    inbox = world.site("aa") / "inbox"
    (inbox / NO_UTF8).write_bytes(b"x" * 2000)
    ran = fedmed.ok("status", "-w", "aa", "--json", cwd=world.root)
    assert any(arrival["path"].endswith(NO_UTF8) for arrival in ran.json["waiting"]), "the very name, for a script"


@pytest.mark.parametrize("columns", ["", "wide", "0", "-5", "²", "9" * 5000])
def test_columns_that_are_no_number(columns: str, fedmed: Fedmed) -> None:
    ran = fedmed.run("explain", COLUMNS=columns)
    assert (ran.code, ran.err) == (0, "")
    assert max(map(len, ran.out.splitlines())) <= 120
