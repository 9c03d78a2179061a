"""Whatever moment the power fails at: nothing accepted is lost, no step is done twice, and the numbers are the same.

For every k a child is killed before its k-th change of the disk (clean), and in the middle of its k-th write (torn);
then the command runs again to its end.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from fedmed.auditor import books, inspection
from fedmed.coordinator import aggregate, run
from fedmed.coordinator import unmask as asking
from fedmed.exchange.ledger import Ledger
from fedmed.site import partition, train, unmask
from tests import small, tables
from tests.warm import TRAINING, Warm

from .killed import FAULTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@dataclass(frozen=True)
class Bench:
    """A workspace as it stood before the command, and where the command may spoil copies of it."""

    warm: Warm
    call: str
    before: Path
    scratch: Path
    federation: Path | None = None
    masked: bool = False

    def run(self, workspace: Path, mode: str = "", at: int = 0) -> dict[str, Any] | None:
        """What the child reports; None when it was killed as it was told, or ended with a code of the disk."""
        out = workspace.with_name("result.json")
        out.unlink(missing_ok=True)
        job = {"call": self.call, "root": str(workspace), "out": str(out), "mode": mode, "at": at}
        status = self.warm.run({**job, "now": small.now().isoformat()})
        if mode and status == signal.SIGKILL:
            return None
        assert status == 0, f"{self.call} ended with wait status {status}"
        found: dict[str, Any] = json.loads(out.read_text())
        if "code" in found:
            assert found["code"] == ("FM-RES-01" if mode == "full" else "FM-RES-02")
            return None
        return found

    def outlives(self, workspace: Path, mode: str, at: int) -> bool:
        """Whether the command was over before the `at`-th call. It may also live through a disk that fails there."""
        result = self.run(workspace, mode, at)
        return result is not None and (mode not in FAULTS or result["calls"] < at)

    def fresh(self) -> Path:
        workspace = self.scratch / "workspace"
        shutil.rmtree(workspace, ignore_errors=True)
        shutil.copytree(self.before, workspace)
        return workspace

    def undisturbed(self) -> tuple[dict[str, Any], list[str]]:
        """Its result, and the hashes of what it sealed."""
        workspace = self.fresh()
        result = self.run(workspace)
        assert result is not None
        return result, payloads(workspace)

    def kill_and_run_again(self, mode: str, at: int, hashes: list[str]) -> bool:
        """False when the command was over before the `at`-th call."""
        workspace = self.fresh()
        if self.outlives(workspace, mode, at):
            return False
        left = kept(workspace)
        begun = kept(self.before)
        assert left.lines[: len(begun.lines)] == begun.lines
        assert begun.files.items() <= left.files.items()
        if not self.masked:  # what cannot be made twice stands in the ledger first, and gets to the archive later
            books.verify(workspace, lambda _done, _total: None)

        steps_behind, is_said = progress_of(workspace, begun)
        result = self.run(workspace)
        assert result is not None
        after = kept(workspace)
        assert after.lines[: len(left.lines)] == left.lines
        assert left.files.items() <= after.files.items()
        books.verify(workspace, lambda _done, _total: None)
        self.require_same(payloads(workspace), hashes)
        assert set(after.files) == ledgered(workspace), "a second statement with one number would be equivocation"
        posted = Path(result["posted"])
        assert inspection.verify(posted, self.federation).inspected.id in after.files
        if self.call == "train":
            assert result["steps"] == ([] if is_said else list(range(steps_behind + 1, 3)))
        assert not list(workspace.glob("*/**/*.part")), "something half-written was left behind"
        return True

    def require_same(self, said: list[str], hashes: list[str]) -> None:
        """Other bytes only of what is masked: its randomness is never repeated."""
        if not self.masked:
            assert said == hashes
        assert [line.split()[:2] for line in said] == [line.split()[:2] for line in hashes]

    def every(self, mode: str, stride: int = 1) -> int:
        """Kill at every `stride`-th call until the command lives through; how many kills there were."""
        stride = paced(stride)
        _, hashes = self.undisturbed()
        at = 1
        while self.kill_and_run_again(mode, at, hashes):
            at += stride
        kills = (at - 1) // stride
        print(f"{self.call}: {kills} kills, {mode}")
        return kills

    def every_time_the_same(self, mode: str, stride: int, state: Callable[[Path], object]) -> int:
        """As `every`, for a command that seals nothing: what it leaves is `state`, whenever it was killed before."""
        stride, at = paced(stride), 1
        workspace = self.fresh()
        self.run(workspace)
        expected, begun = state(workspace), entries(self.before)
        while not self.outlives(workspace := self.fresh(), mode, at):
            left = entries(workspace)
            assert left[: len(begun)] == begun
            self.run(workspace)
            assert entries(workspace)[: len(left)] == left
            assert state(workspace) == expected
            books.verify(workspace, lambda _done, _total: None)
            assert not list(workspace.glob("**/*.part"))
            at += stride
        print(f"{self.call}: {(at - 1) // stride} kills, {mode}")
        return (at - 1) // stride


def paced(stride: int) -> int:
    """`make evidence` wants every single call, and says so in the environment."""
    return 1 if os.environ.get("FEDMED_EVERY_CALL") else stride


@dataclass(frozen=True)
class Kept:
    """The ledger's whole lines, and the archive by id."""

    lines: list[bytes]
    files: dict[str, bytes]


def kept(workspace: Path) -> Kept:
    ledger = workspace / "state" / "ledger.jsonl"
    assert Ledger(ledger).length > 0
    archive = {path.stem: path.read_bytes() for path in (workspace / "archive").glob("*.fedmed")}
    return Kept(ledger.read_bytes().split(b"\n")[:-1], archive)


def payloads(workspace: Path) -> list[str]:
    """Everything this workspace said, in order: kind, round and the SHA-256 of each payload."""
    entries = Ledger(workspace / "state" / "ledger.jsonl").entries
    found = []
    for facts in (entry.facts for entry in entries if entry.event == "said"):
        verified = inspection.verify(workspace / "archive" / f"{facts['id']}.fedmed", None)
        found.append(" ".join([facts["kind"], str(facts["round"]), *(digest for _, _, digest in verified.payloads)]))
    return found


def ledgered(workspace: Path) -> set[str]:
    """Ids of all statements that the ledger says are archived."""
    entries_ = Ledger(workspace / "state" / "ledger.jsonl").entries
    return {entry.facts["id"] for entry in entries_ if entry.event in ("said", "received")}


def progress_of(site: Path, begun: Kept) -> tuple[int, bool]:
    """Steps in the checkpoint, and whether the update is in the archive already."""
    new = [path for path in (site / "archive").glob("*.fedmed") if path.stem not in begun.files]
    own = Ledger(site / "state" / "ledger.jsonl").entries[0].facts["name"]
    is_said = any((said.kind, said.sender) == ("update", own) for said in map(inspection.inspect, new))
    paths = list((site / "state" / "checkpoints").glob("*.safetensors"))
    return (checkpoint_step(paths[0]) if paths else 0), is_said


def checkpoint_step(path: Path) -> int:
    data = path.read_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    return int(json.loads(header["__metadata__"]["fedmed"])["step"])


@pytest.fixture(scope="module")
def light() -> Iterator[Warm]:
    warm = Warm("tests.kills.killed")
    yield warm
    warm.close()


@pytest.fixture(scope="module")
def heavy() -> Iterator[Warm]:
    warm = Warm("tests.kills.killed", *TRAINING)
    yield warm
    warm.close()


@pytest.fixture(scope="module")
def trained_on(heavy: Warm, tmp_path_factory: pytest.TempPathFactory) -> small.Federation:
    """Two hospitals that approved and partitioned; model r0 lies in their inboxes."""
    world = small.founded(tmp_path_factory.mktemp("trained-on"), initial=small.unet_initial)
    partition.partition(world.site("aa"), small.now())
    return world


def bench_of(warm: Warm, call: str, workspace: Path, scratch: Path, world: small.Federation) -> Bench:
    federation = world.coordinator / "outbox" / "federation-v0001.fedmed"
    return Bench(warm, call, workspace, scratch, federation)


EVERY = [("clean", 1), ("torn", 1), ("full", 7), ("broken", 7)]
FEW = pytest.mark.parametrize(("mode", "stride"), [("clean", 11), ("torn", 7), ("full", 31), ("broken", 31)])
EACH = pytest.mark.parametrize(("mode", "stride"), EVERY)
SOME = pytest.mark.parametrize(
    ("mode", "stride"), [("clean", 29), *(pytest.param(*how, marks=pytest.mark.slow) for how in EVERY)]
)


@pytest.mark.slow
@EACH
def test_train_local_killed(mode: str, stride: int, heavy: Warm, trained_on: small.Federation, tmp_path: Path) -> None:
    bench = bench_of(heavy, "train", trained_on.site("aa"), tmp_path, trained_on)
    assert bench.every(mode, stride) >= 25 // stride


@pytest.mark.slow
@FEW
def test_train_local_killed_while_it_remembers(mode: str, stride: int, heavy: Warm, tmp_path: Path) -> None:
    """One state and one update that names it, whenever the power fails, in a round that goes on from a state."""
    recipe = {**tables.TABULAR, "strategy": {"name": "scaffold"}}
    recipe["training"] = {**recipe["training"], "local_steps": 2}
    world = tables.founded(tmp_path / "world", recipe=recipe, limits={"max_norm_ratio": 1_000_000, "min_cosine": -1})
    for name in world.sites:
        train.train(world.site(name), small.now(), train.Options("cpu"), lambda *_: None)
    world.carry()
    aggregate.aggregate(world.coordinator, small.now())
    world.carry()
    bench = bench_of(heavy, "train", world.site("aa"), tmp_path, world)
    _, said = bench.undisturbed()
    assert [line.split()[:2] for line in said[-4:]] == [[kind, n] for n in "01" for kind in ("state", "update")]
    assert bench.every(mode, stride) >= 50 // stride


def lapping(root: Path) -> small.Federation:
    """bb trains first in the lap, then aa."""
    recipe = {**tables.TABULAR, "strategy": {"name": "cyclic"}}
    recipe["training"] = {**recipe["training"], "local_steps": 2}
    world = tables.founded(root, recipe=recipe)
    small.seal_update(world.site("bb"), 0.01)
    world.carry()
    return world


@pytest.mark.slow
@pytest.mark.parametrize(("mode", "stride"), [("clean", 31), ("torn", 23), ("broken", 61)])
def test_train_local_killed_in_its_turn(mode: str, stride: int, heavy: Warm, tmp_path: Path) -> None:
    """It takes in the update of bb and goes on from it, whenever the power fails, to the same whole difference."""
    world = lapping(tmp_path / "world")
    shutil.copy(world.site("bb") / "outbox" / "update-r0000-bb.fedmed", world.site("aa") / "inbox")
    assert bench_of(heavy, "train", world.site("aa"), tmp_path, world).every(mode, stride) >= 50 // stride


@pytest.mark.slow
@FEW
def test_run_killed_while_it_hands_on(mode: str, stride: int, light: Warm, tmp_path: Path) -> None:
    world = lapping(tmp_path / "world")
    assert bench_of(light, "relay", world.coordinator, tmp_path, world).every(mode, stride) >= 40 // stride


@pytest.mark.slow
@FEW
def test_aggregate_killed_at_the_end_of_a_lap(mode: str, stride: int, light: Warm, tmp_path: Path) -> None:
    world = lapping(tmp_path / "world")
    run.run(world.coordinator, small.now, lambda *_: None, lambda _: None)
    world.carry()
    small.seal_update(world.site("aa"), 0.03)
    world.carry()
    bench = bench_of(light, "aggregate", world.coordinator, tmp_path, world)
    assert bench.every(mode, stride) >= 40 // stride
    assert list((bench.scratch / "workspace" / "outbox").glob("update-*")) == []


@pytest.mark.slow
@EACH
def test_evaluate_killed(mode: str, stride: int, heavy: Warm, trained_on: small.Federation, tmp_path: Path) -> None:
    bench = bench_of(heavy, "evaluate", trained_on.site("aa"), tmp_path, trained_on)
    assert bench.every(mode, stride) >= 15 // stride


@SOME
def test_aggregate_killed(mode: str, stride: int, light: Warm, tmp_path: Path) -> None:
    world = small.founded(tmp_path / "world")
    for value, name in enumerate(world.sites, start=1):
        small.seal_update(world.site(name), value)
    world.carry()
    assert bench_of(light, "aggregate", world.coordinator, tmp_path, world).every(mode, stride) >= 60 // stride


@pytest.mark.slow
@FEW
def test_aggregate_killed_while_the_strategy_remembers(mode: str, stride: int, light: Warm, tmp_path: Path) -> None:
    """One state and one model that names it, in a round that goes on from a state."""
    world = small.founded(tmp_path / "world", recipe={"strategy": {"name": "fedavgm"}})
    for _ in range(2):
        for value, name in enumerate(world.sites, start=1):
            small.seal_update(world.site(name), value)
        world.carry()
        if not (world.coordinator / "outbox" / "model-r0001.fedmed").exists():
            aggregate.aggregate(world.coordinator, small.now())
            world.carry()
    bench = bench_of(light, "aggregate", world.coordinator, tmp_path, world)
    _, said = bench.undisturbed()
    assert [line.split()[:2] for line in said[-2:]] == [["state", "1"], ["model", "2"]]
    assert bench.every(mode, stride) >= 70 // stride


def pooling(root: Path) -> small.Federation:
    """A federation that waits for fingerprints of two sites, which have partitioned."""
    data = {**small.RECIPE["data"], "normalisation": "federated", "spacing": "federated"}
    world = small.founded(root, recipe={"data": data})
    for name in world.sites:
        partition.partition(world.site(name), small.now())
    return world


@pytest.mark.slow
@EACH
def test_train_local_killed_over_a_fingerprint(mode: str, stride: int, light: Warm, tmp_path: Path) -> None:
    world = pooling(tmp_path / "world")
    assert bench_of(light, "fingerprint", world.site("aa"), tmp_path, world).every(mode, stride) >= 12 // stride


@pytest.mark.slow
@EACH
def test_aggregate_killed_over_the_first_model(mode: str, stride: int, light: Warm, tmp_path: Path) -> None:
    world = pooling(tmp_path / "world")
    for name in world.sites:
        train.train(world.site(name), small.now(), train.Options("cpu"), lambda *_: None)
    world.carry()
    bench = Bench(light, "first-model", world.coordinator, tmp_path)
    assert bench.every(mode, stride) >= 40 // stride


@pytest.mark.slow
@EACH
def test_start_killed_while_it_keeps_the_weights(mode: str, stride: int, light: Warm, tmp_path: Path) -> None:
    data = {**small.RECIPE["data"], "normalisation": "federated"}
    world = small.joined(tmp_path / "world", recipe={"data": data})
    assert Bench(light, "start", world.coordinator, tmp_path).every(mode, stride) >= 15 // stride


@pytest.mark.slow
@EACH
def test_start_killed(mode: str, stride: int, light: Warm, tmp_path: Path) -> None:
    world = small.joined(tmp_path / "world")
    assert Bench(light, "start", world.coordinator, tmp_path).every(mode, stride) >= 20 // stride


@SOME
def test_approve_killed(mode: str, stride: int, light: Warm, tmp_path: Path) -> None:
    world = small.founded(tmp_path / "world", approved=False)
    assert bench_of(light, "approve", world.site("aa"), tmp_path, world).every(mode, stride) >= 12 // stride


@SOME
def test_init_killed(mode: str, stride: int, light: Warm, tmp_path: Path) -> None:
    """A half-made workspace is made whole by the same command; a whole one is left alone."""
    stride = paced(stride)
    small.write_recipe(tmp_path / "recipe.yaml")
    small.write_hospital(tmp_path / "data")
    empty = tmp_path / "empty"
    empty.mkdir()
    for call in ("init-coordinator", "init-site"):
        bench, at = Bench(light, call, empty, tmp_path), 1
        while not bench.outlives(workspace := bench.fresh(), mode, at):
            begun = entries(workspace)
            assert bench.run(workspace)
            assert entries(workspace)[: len(begun)] == begun
            events = [entry.event for entry in Ledger(workspace / "state" / "ledger.jsonl").entries]
            assert events == (["founded"] if call == "init-coordinator" else ["founded", "intent", "said", "posted"])
            if call == "init-site":
                join = workspace / "outbox" / "join-aa.fedmed"
                assert inspection.verify(join, None).inspected.sender == "aa"
                assert len((workspace / "keys" / "pseudonym.key").read_bytes()) == 32
            assert (workspace / "fedmed.yaml").read_text().startswith("# Local settings")
            books.verify(workspace, lambda _done, _total: None)
            at += stride
        assert at > 2
        print(f"{call}: {(at - 1) // stride} kills, {mode}")


@pytest.mark.slow
@FEW
def test_admit_killed(mode: str, stride: int, light: Warm, tmp_path: Path) -> None:
    world = small.joined(tmp_path / "world", admitted=False)

    def roster(workspace: Path) -> set[str]:
        known = Ledger(workspace / "state" / "ledger.jsonl").entries
        return {entry.facts["sender"] for entry in known if entry.event == "received"}

    bench = Bench(light, "admit", world.coordinator, tmp_path)
    assert bench.every_time_the_same(mode, stride, roster) >= 1


@pytest.mark.slow
@FEW
def test_partition_killed(mode: str, stride: int, light: Warm, tmp_path: Path) -> None:
    world = small.founded(tmp_path / "world")
    bench = Bench(light, "partition", world.site("aa"), tmp_path)
    made = bench.every_time_the_same(mode, stride, lambda workspace: (workspace / "cases.json").read_bytes())
    assert made >= 1


def entries(workspace: Path) -> list[bytes]:
    """The ledger's whole lines, if there is one."""
    path = workspace / "state" / "ledger.jsonl"
    return path.read_bytes().split(b"\n")[:-1] if path.exists() else []


MASKED = {"masking": "dm2", "clip": {"norm": 1.0}}
THREE = ("aa", "bb", "cc")


def masking(root: Path) -> small.Federation:
    """Three hospitals that mask; model r0 lies in their inboxes."""
    return small.masking(small.founded(root, THREE, recipe={"aggregation": MASKED}, limits={"min_sites": 3}))


def masked_bench(warm: Warm, call: str, workspace: Path, scratch: Path, world: small.Federation) -> Bench:
    return replace(bench_of(warm, call, workspace, scratch, world), masked=True)


@pytest.mark.slow
@FEW
def test_train_local_killed_behind_masks(mode: str, stride: int, heavy: Warm, tmp_path: Path) -> None:
    """Whenever the power fails there is one masked update in the end, and its masks come off the sum."""
    recipe = {**tables.TABULAR, "aggregation": MASKED}
    world = small.masking(tables.founded(tmp_path / "world", THREE, recipe, limits={"min_sites": 3}))
    bench = masked_bench(heavy, "train-masked", world.site("aa"), tmp_path, world)
    assert bench.every(mode, stride) >= 60 // stride
    shutil.copytree(bench.scratch / "workspace", world.site("aa"), dirs_exist_ok=True)
    for name in THREE[1:]:
        train.train(world.site(name), small.now(), train.Options("cpu"), lambda *_: None)
    opened(world)
    assert aggregate.aggregate(world.coordinator, small.now()).round == 1


def opened(world: small.Federation) -> None:
    """The coordinator asks all three, and they answer."""
    world.carry()
    asking.unmask(world.coordinator, small.now())
    world.carry()
    for name in THREE:
        unmask.unmask(world.site(name), small.now())
    world.carry()


@pytest.mark.slow
@FEW
def test_the_second_visit_killed(mode: str, stride: int, light: Warm, tmp_path: Path) -> None:
    """The set of sites is decided once and answered once, and the next model is the same."""
    world = masking(tmp_path / "world")
    for value, name in enumerate(THREE, start=1):
        small.seal_masked(world.site(name), value / 100)
    world.carry()
    assert masked_bench(light, "ask", world.coordinator, tmp_path / "ask", world).every(mode, stride) >= 60 // stride
    asking.unmask(world.coordinator, small.now())
    world.carry()
    assert bench_of(light, "answer", world.site("aa"), tmp_path / "answer", world).every(mode, stride) >= 20 // stride
    bench = bench_of(light, "void", world.coordinator, tmp_path / "void", world)
    assert bench.every(mode, stride) >= 15 // stride
    opened(world)
    assert bench_of(light, "aggregate", world.coordinator, tmp_path / "sum", world).every(mode, stride) >= 30 // stride
