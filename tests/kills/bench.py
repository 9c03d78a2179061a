"""One command, killed at every moment of it: what must hold then, and when the same command has run again."""

from __future__ import annotations

import json
import re
import shutil
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fedmed.auditor import books, inspection
from fedmed.exchange.ledger import Ledger
from fedmed.exchange.record import Record
from tests import small
from tests.warm import TRAINING

from .killed import COUNTED, FAULTS, counted

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from tests.warm import Warm

MODES = tuple(COUNTED)
CODES = {"full": "FM-RES-01", "broken": "FM-RES-02"}
# what commands import late: not anew in every child
CRYPTOGRAPHY = ("cryptography.hazmat.primitives.serialization", "cryptography.hazmat.backends.openssl")
LIGHT = (*CRYPTOGRAPHY, "dp_accounting.pld", "dp_accounting.rdp", "jinja2")
TORCH = ("fedmed.training.private", "fedmed.training.rows", "torch._dynamo", "sklearn.metrics")
HEAVY = (*LIGHT, *TRAINING, *TORCH, "tests.kills.heated")
SPARSE = 3  # disks fail at every third call of what needs torch, which takes several times as long
LEAST = 0.8  # of the calls of an undisturbed run, but for one: another run may take a few less


@dataclass(frozen=True)
class Stage:
    """A workspace as it stands before a command, None for one that is not there yet, and the federation that it is
    part of, if there is one. Copies of `beside` lie beside the copy of the workspace.
    """

    workspace: Path | None
    world: small.Federation | None = None
    beside: tuple[Path, ...] = ()

    @property
    def federation(self) -> Path | None:
        """By which files are verified."""
        path = self.world.coordinator / "outbox" / "federation-v0001.fedmed" if self.world else None
        return path if path and path.exists() else None


@dataclass(frozen=True)
class Kept:
    """The ledger's whole lines, and the archive by id."""

    lines: list[bytes]
    files: dict[str, bytes]


@dataclass(frozen=True)
class Seen:
    """Of one kill: the workspace as it was left, what `note` found in it, and what the run behind it did."""

    workspace: Path
    noted: Any
    result: dict[str, Any]


def payloads(workspace: Path) -> object:
    """Everything this workspace said, in order: kind, round and the SHA-256 of each payload."""
    found = []
    for known in record_of(workspace).said:
        verified = inspection.verify(workspace / "archive" / f"{known.id}.fedmed", None)
        found.append([known.kind, known.round, *(digest for _, _, digest in verified.payloads)])
    return found


def statements(workspace: Path) -> object:
    """The same without digests: of what is masked or noised, whose randomness is never repeated."""
    return [[known.kind, known.round, known.attempt] for known in record_of(workspace).said]


def plaintexts(workspace: Path) -> object:
    """The same with the digest of what stands in the first payload, however it was encrypted."""
    return [[known.kind, known.round, known.payload] for known in record_of(workspace).said]


def nothing(_: object) -> None:
    """There is nothing to look at."""


@dataclass(frozen=True)
class Row:
    """A command in one situation.

    `stage` makes the situation in an empty folder. `state` of the workspace must be the same in the end, whenever the
    command was killed before. `is_apart`: half-way the ledger and the archive may not agree yet, because what it
    writes cannot be made twice, or is found again. `note` looks at a workspace that was left, and `require` at what
    became of it; `behind` goes on with the last one, in a copy of its federation, once for each mode. `is_heavy`: it
    needs torch.
    """

    title: str
    call: str
    stage: Callable[[Path], Stage]
    state: Callable[[Path], object] = payloads
    is_apart: bool = False
    note: Callable[[Path], object] = nothing
    require: Callable[[Seen], None] = nothing
    behind: Callable[[small.Federation, Path], None] | None = None
    is_heavy: bool = False


@dataclass(frozen=True)
class Bench:
    """A row, its situation, and the folder in which copies of it are spoiled."""

    row: Row
    warm: Warm
    stage: Stage
    scratch: Path

    def tried(self, modes: Sequence[str] = MODES, most: int | None = None) -> dict[str, int]:
        """Killed in each of the modes, at `most` moments or at all there are; how many these were, by mode.

        Of all there are, disks fail at every `SPARSE`-th of a row that needs torch.
        """
        workspace = self._fresh()
        calls = self._run(workspace)["calls"]
        expected, found = [self.row.state(workspace), lying_in(workspace)], {}
        for mode in modes:
            moments = spread(counted(calls, mode), most)
            if most is None and self.row.is_heavy and mode in FAULTS:
                moments = moments[::SPARSE]
            found[mode] = sum(self._tell(mode, at, expected) for at in moments)
            if found[mode] < LEAST * len(moments) - 1:
                raise AssertionError(f"{self.row.title}: {mode}: {found[mode]} of {len(moments)} moments were reached")
            if self.row.behind and self.stage.world:
                world = self.stage.world.copy(self.scratch.with_name(f"behind-{mode}"))
                self.row.behind(world, self.scratch / "workspace")
        return found

    def _tell(self, mode: str, at: int, expected: object) -> bool:
        """Whether the command had come as far as its `at`-th call; where something is wrong, that says at which."""
        try:
            return self._kill_and_run_again(mode, at, expected)
        except Exception as error:
            error.add_note(f"{self.row.title}: {mode} at {at}")
            raise

    def _kill_and_run_again(self, mode: str, at: int, expected: object) -> bool:
        workspace = self._fresh()
        begun, row = kept(workspace), self.row
        ended = self._try(workspace, mode, at)
        if ended is not None and ended < at:  # it was over; it may also live through a disk that fails there
            return False
        left = kept(workspace)
        assert left.lines[: len(begun.lines)] == begun.lines, "a line of the ledger is gone"
        assert begun.files.items() <= left.files.items(), "a file of the archive is gone"
        if not row.is_apart and (workspace / "fedmed.yaml").exists():
            books.verify(workspace, lambda _done, _total: None)

        noted = row.note(workspace)
        result = self._run(workspace)
        after = kept(workspace)
        assert after.lines[: len(left.lines)] == left.lines, "a line of the ledger is gone"
        assert left.files.items() <= after.files.items(), "a file of the archive is gone"
        books.verify(workspace, lambda _done, _total: None)
        state = [row.state(workspace), lying_in(workspace)]
        assert state == expected, f"expected {expected}, got {state}"
        assert set(after.files) == archived(workspace), "a second statement with one number would be equivocation"
        if result["posted"]:
            posted = workspace.parent / result["posted"]
            assert inspection.verify(posted, self.stage.federation).inspected.id in after.files
        parts = {path.name for path in self.scratch.rglob("*.part")} - {
            "lock.json.part"
        }  # of a store: who has its lock
        assert not parts, f"half-written files were left behind: {parts}"
        row.require(Seen(workspace, noted, result))
        return True

    def _try(self, workspace: Path, mode: str, at: int) -> int | None:
        """How many calls it lived through; None where it was ended as it was told."""
        status, found = self._child(workspace, mode, at)
        if status == signal.SIGKILL:
            return None
        assert status == 0, f"it ended with wait status {status}"
        if "code" in found:
            assert found["code"] == CODES[mode], f"expected {CODES[mode]}, got {found['code']}"
            return None
        return counted(found["calls"], mode)

    def _run(self, workspace: Path) -> dict[str, Any]:
        """The command undisturbed; what it reports."""
        status, found = self._child(workspace)
        assert status == 0, f"undisturbed it ended with wait status {status}"
        return found

    def _child(self, workspace: Path, mode: str = "", at: int = 0) -> tuple[int, dict[str, Any]]:
        out = self.scratch.with_name("result.json")
        out.unlink(missing_ok=True)
        job = {"call": self.row.call, "root": str(workspace), "out": str(out), "mode": mode, "at": at}
        status = self.warm.run({**job, "now": small.now().isoformat()})
        return status, json.loads(out.read_text()) if out.exists() else {}

    def _fresh(self) -> Path:
        shutil.rmtree(self.scratch, ignore_errors=True)
        self.scratch.mkdir(parents=True)
        workspace = self.scratch / "workspace"
        if self.stage.workspace:
            shutil.copytree(self.stage.workspace, workspace)
        else:
            workspace.mkdir()
        for path in self.stage.beside:
            (shutil.copytree if path.is_dir() else shutil.copy)(path, self.scratch / path.name)
        return workspace


def spread(count: int, most: int | None) -> list[int]:
    """The calls 1 to `count`, or so many of them, as far apart as they can be."""
    if most is None or count <= most:
        return list(range(1, count + 1))
    return sorted({1 + round(place * (count - 1) / (most - 1)) for place in range(most)})


def bench(row: Row, warm: Warm, root: Path) -> Bench:
    """Its situation is made in `root`, and what is spoiled lies there too."""
    return Bench(row, warm, row.stage(root / "world"), root / "spoiled")


def kept(workspace: Path) -> Kept:
    ledger = workspace / "state" / "ledger.jsonl"
    lines = ledger.read_bytes().split(b"\n")[:-1] if ledger.exists() else []
    return Kept(lines, {path.stem: path.read_bytes() for path in (workspace / "archive").glob("*.fedmed")})


def lying_in(workspace: Path) -> list[str]:
    """The files of a workspace by name, but for those whose names are digests, and for the note of who has the lock.

    Mask keys are numbered; one that a killed command made and did not tell goes when a model lists a later one.
    """
    paths = [path.relative_to(workspace) for path in workspace.rglob("*") if path.is_file()]
    others = ("archive", "quarantine", "state/seen", "state/lock.json")
    names = [path.as_posix() for path in paths if not path.as_posix().startswith(others)]
    return sorted({re.sub(r"^keys/mask/\d+", "keys/mask/N", name) for name in names})


def record_of(workspace: Path) -> Record:
    return Record(Ledger(workspace / "state" / "ledger.jsonl").entries)


def archived(workspace: Path) -> set[str]:
    """Ids of all statements that the ledger says are archived."""
    record = record_of(workspace)
    return {known.id for known in (*record.said, *record.received, *record.replaced)}
