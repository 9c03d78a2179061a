"""One command at a time in a workspace, and who it is.

The operating system's lock decides; it is free again when its process dies, however it died. Beside it lies a file that
says who holds it: for the message to whoever has to wait, and for network shares on which such locks do not work.
"""

from __future__ import annotations

import os
import platform
import re
import sys
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field, ValidationError

from fedmed import files
from fedmed.errors import FedmedError
from fedmed.strict import PlainText, Strict

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_BYTES = 4096
COMMAND = r"[a-z][a-z-]{1,31}"


class Holder(Strict):
    """A process that has the lock. `boot` and `started` are empty where the system does not tell them."""

    host: Annotated[PlainText, Field(max_length=255)]
    boot: Annotated[PlainText, Field(max_length=64)]
    pid: Annotated[int, Field(ge=1)]
    started: Annotated[str, Field(pattern=r"^[0-9]{0,20}$")]
    command: Annotated[str, Field(pattern=rf"^({COMMAND})?$")]
    since: Annotated[str, Field(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$")]

    @property
    def is_here(self) -> bool:
        """On this computer. A container has a host name of its own, but the kernel, which keeps the lock, is one."""
        return self.host == _host() or bool(self.boot and self.boot == _boot())

    @property
    def is_alive(self) -> bool:
        """Certainly the very process that wrote the file: neither dead nor another one that got its number."""
        same = (self.host, self.boot) == (_host(), _boot())
        return same and bool(self.started) and self.started == _started(self.pid)


@contextmanager
def held(state: Path, patience: float = 0) -> Iterator[None]:
    """Hold the lock of a workspace whose folder `state` this is, and say so in `lock.json`; wait `patience` seconds.

    Raises FedmedError FM-WAI-01 (somebody has it), FM-RES-06 (another computer may have it), FM-RES-01, FM-RES-02.
    """
    import filelock  # noqa: PLC0415 - asyncio and more, which who only reads needs not

    lock, note = filelock.FileLock(state / "lock", mode=0o600), state / "lock.json"
    try:
        lock.acquire(timeout=patience)
    except filelock.Timeout as error:
        raise _busy(_read(note)) from error
    except OSError as error:  # no leave to write here, or a share that knows no locks
        raise files.disk_error(error, state / "lock") from error
    try:
        _require_stale(_read(note))
        files.write_atomic(note, _myself().model_dump_json().encode(), mode=0o600, durable=False)
        try:
            yield
        finally:
            with suppress(OSError):  # left behind it names a process that does not have the lock: nobody minds it
                note.unlink()
    finally:
        lock.release()


def _require_stale(holder: Holder | None) -> None:
    """The lock was to be had, so whoever is named here should be gone. Raises FedmedError FM-WAI-01, FM-RES-06."""
    if holder is None or (holder.is_here and (holder.pid == os.getpid() or not holder.is_alive)):
        return
    if holder.is_here:
        raise _busy(holder)
    raise FedmedError(
        "FM-RES-06",
        f"another computer, named in state/lock.json, has this workspace open: {_words(holder)}",
        local=f"host {holder.host}",
    )


def _busy(holder: Holder | None) -> FedmedError:
    """FM-WAI-01. A host's name stays out of what may be shown to others; the file holds it."""
    message = "another fedmed command works in this workspace"
    if holder is None or (holder.is_here and holder.boot and not holder.is_alive):  # the new one has not written yet
        return FedmedError("FM-WAI-01", message)
    if holder.is_here:
        return FedmedError("FM-WAI-01", f"{message}: {_words(holder)}")
    where = "on another computer, named in state/lock.json"
    return FedmedError("FM-WAI-01", f"{message}: {_words(holder)}, {where}", local=f"host {holder.host}")


def _words(holder: Holder) -> str:
    command = f"fedmed {holder.command}, " if holder.command else ""
    return f"{command}process {holder.pid}, since {holder.since}"


def _read(note: Path) -> Holder | None:
    """None when there is no such file, or none that says who."""
    try:
        return Holder.model_validate_json(files.read_bounded(note, MAX_BYTES))
    except (OSError, ValidationError):
        return None


def _myself() -> Holder:
    return Holder(
        host=_host(),
        boot=_boot(),
        pid=os.getpid(),
        started=_started(os.getpid()),
        command=_command(),
        since=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    )


def _command() -> str:
    """The word behind `fedmed` and nothing more: what follows may be a folder with a patient's name."""
    program, word = [*sys.argv, "", ""][:2]
    return word if Path(program).stem == "fedmed" and re.fullmatch(COMMAND, word) else ""


def _host() -> str:
    return platform.node().encode("ascii", "replace").decode()[:255]


def _boot() -> str:
    """Another one after every start of the computer; only Linux has it."""
    return _text(Path("/proc/sys/kernel/random/boot_id")).strip()


def _started(pid: int) -> str:
    """When a process began, in ticks since the computer started: a number is given again, a moment is not."""
    fields = _text(Path(f"/proc/{pid}/stat")).rpartition(")")[2].split()  # the name before it may hold blanks
    return fields[19] if len(fields) > 19 else ""


def _text(path: Path) -> str:
    try:
        return path.read_text("ascii", errors="replace")
    except OSError:
        return ""
