"""Who works in a workspace: said while it lasts, forgotten when it ends, and taken over from the dead alone."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import filelock
import pytest

from fedmed.errors import FedmedError
from fedmed.exchange import lock
from tests.coded import code_of
from tests.warm import PROJECT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CHILD = """
import sys, time
from pathlib import Path
from fedmed.exchange import lock
sys.argv = ["/usr/bin/fedmed", "train-local", "-w", "kari-nordmann"]
with lock.held(Path(sys.argv_of_the_test)):
    print("in", flush=True)
    time.sleep(600)
"""
ELSEWHERE = {"host": "somewhere-else", "boot": "another-boot"}
linux = pytest.mark.skipif(not lock._boot(), reason="only Linux tells when it and a process began")


@contextmanager
def another(state: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the lock until it is killed."""
    code = CHILD.replace("sys.argv_of_the_test", repr(str(state)))
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=PROJECT) as child:
        assert child.stdout
        assert child.stdout.readline() == "in\n"
        try:
            yield child
        finally:
            child.kill()


def take(state: Path) -> None:
    with lock.held(state):
        assert json.loads((state / "lock.json").read_text())["pid"] == os.getpid()


def refused(state: Path) -> FedmedError:
    with pytest.raises(FedmedError) as caught:
        take(state)
    return caught.value


def forge(state: Path, **changed: Any) -> str:
    """A holder's file like our own, but for what was changed."""
    text = json.dumps({**lock._myself().model_dump(), **changed})
    (state / "lock.json").write_text(text)
    return text


def test_the_file_lasts_as_long_as_the_lock(tmp_path: Path) -> None:
    with lock.held(tmp_path):
        note = tmp_path / "lock.json"
        said = json.loads(note.read_text())
        assert said["pid"] == os.getpid()
        assert said["started"] == lock._started(os.getpid())
        if os.name != "nt":
            assert stat.S_IMODE(note.stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir() if path.name != "lock"] == []


def test_the_file_goes_when_the_command_fails(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="x"), lock.held(tmp_path):
        raise ValueError("x")
    assert not (tmp_path / "lock.json").exists()
    take(tmp_path)


@linux
def test_who_waits_is_told_for_whom_and_takes_over_from_the_killed(tmp_path: Path) -> None:
    with another(tmp_path) as child:
        error = refused(tmp_path)
        since = json.loads((tmp_path / "lock.json").read_text())["since"]
        assert error.code == "FM-WAI-01"
        assert error.message.endswith(f": fedmed train-local, process {child.pid}, since {since}")
        assert lock._host() not in error.message
        child.send_signal(signal.SIGKILL)
        child.wait()
        assert json.loads((tmp_path / "lock.json").read_text())["pid"] == child.pid, "it could not clean up"
        take(tmp_path)
    assert not (tmp_path / "lock.json").exists()


@linux
@pytest.mark.parametrize(
    "changed",
    [
        {"boot": "another-boot", "pid": 1},
        {"pid": 2**22 + 1},  # above every pid of Linux
        {"pid": os.getppid(), "started": "1"},
        {"pid": os.getppid(), "started": ""},
        {},
        {"host": "a-container", "pid": 1},
    ],
    ids=["the computer was restarted", "no such process", "its number was given again", "start unknown", "ourselves",
         "a container that ended"],
)  # fmt: skip
def test_the_dead_hold_nothing(changed: dict[str, Any], tmp_path: Path) -> None:
    forge(tmp_path, **changed)
    take(tmp_path)
    assert not (tmp_path / "lock.json").exists()


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "[" * 4000, '{"pid": 1}', "\xff\x00", "x" * 10_000]
    + [
        json.dumps({**ELSEWHERE, "pid": 1, "started": "", "command": command, "since": since})
        for command, since in (("\x1b[2J", "2031-03-01T08:00:00Z"), ("run", "yes\nnext: x"), ("run --by Kari", ""))
    ],
)
def test_a_file_that_says_nobody_is_written_over(text: str, tmp_path: Path) -> None:
    (tmp_path / "lock.json").write_text(text, encoding="latin-1")
    take(tmp_path)


def test_a_link_in_its_place_leads_nowhere(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text(json.dumps({**lock._myself().model_dump(), **ELSEWHERE}))
    before = precious.read_text()
    (tmp_path / "lock.json").symlink_to(precious)
    take(tmp_path)
    assert precious.read_text() == before


@linux
def test_a_living_process_of_this_computer_holds_it_where_locks_do_not_work(tmp_path: Path) -> None:
    parent = os.getppid()
    text = forge(tmp_path, pid=parent, started=lock._started(parent), command="evaluate")
    error = refused(tmp_path)
    assert error.code == "FM-WAI-01"
    assert f"fedmed evaluate, process {parent}, since " in error.message
    assert (tmp_path / "lock.json").read_text() == text


def test_another_computer_is_for_a_person_to_decide(tmp_path: Path) -> None:
    text = forge(tmp_path, **ELSEWHERE, pid=4711, command="train-local")
    error = refused(tmp_path)
    assert (error.code, error.exit_code) == ("FM-RES-06", 8)
    assert "fedmed train-local, process 4711, since " in error.message
    assert "delete state/lock.json" in error.next
    assert "somewhere-else" not in error.message + error.next
    assert "somewhere-else" in error.local
    assert (tmp_path / "lock.json").read_text() == text, "until a person says so"
    (tmp_path / "lock.json").unlink()
    take(tmp_path)


def test_another_computer_that_has_the_lock_is_waited_for(tmp_path: Path) -> None:
    with filelock.FileLock(tmp_path / "lock"):
        forge(tmp_path, **ELSEWHERE, pid=4711, command="aggregate")
        error = refused(tmp_path)
    assert error.code == "FM-WAI-01"
    assert "fedmed aggregate, process 4711" in error.message
    assert "on another computer" in error.message
    assert "somewhere-else" not in error.message
    assert "somewhere-else" in error.local


@linux
def test_the_dead_are_not_named_while_the_next_one_begins(tmp_path: Path) -> None:
    with filelock.FileLock(tmp_path / "lock"):
        for changed in (None, {"pid": 2**22 + 1}):
            if changed:
                forge(tmp_path, **changed)
            error = refused(tmp_path)
            assert (error.code, error.message) == ("FM-WAI-01", "another fedmed command works in this workspace")


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["/opt/bin/fedmed", "run", "-w", "kari-nordmann"], "run"),
        (["fedmed", "--version"], ""),
        (["fedmed"], ""),
        ([], ""),
        (["study.py", "nordmann"], ""),
        (["fedmed", "Nordmann Kari"], ""),
    ],
)
def test_only_the_command_s_name_is_kept(argv: list[str], expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", argv)
    assert lock._myself().command == expected


def test_a_share_that_knows_no_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def acquire(*_: Any, **__: Any) -> None:
        raise OSError(37, os.strerror(37))

    monkeypatch.setattr(filelock.FileLock, "acquire", acquire)
    assert code_of(lambda: take(tmp_path)) == "FM-RES-02"
    assert not (tmp_path / "lock.json").exists()


def test_a_file_that_cannot_be_written_frees_the_lock(tmp_path: Path) -> None:
    (tmp_path / "lock.json").mkdir()
    assert code_of(lambda: take(tmp_path)) == "FM-RES-02"
    (tmp_path / "lock.json").rmdir()
    take(tmp_path)


def test_who_has_patience_gets_it_when_it_is_free(tmp_path: Path) -> None:
    with ThreadPoolExecutor(1) as pool:
        with lock.held(tmp_path):
            waiting = pool.submit(lambda: code_of(lambda: enter(tmp_path, 30)))
            assert code_of(lambda: enter(tmp_path, 0)) == "FM-WAI-01"
            assert not waiting.done()
        assert waiting.result() == "ok"


def enter(folder: Path, patience: float) -> None:
    with lock.held(folder, patience):
        pass
