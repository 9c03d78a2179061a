"""Rounds of training, in the clear."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

from fedmed.auditor import inspection
from fedmed.coordinator import aggregate, run
from fedmed.site import partition
from tests import small, tables

from .bench import Row, Seen, Stage, record_of
from .stages import LOOSE, POOLING, answered, closed, coordinator, site, tabular, trained

if TYPE_CHECKING:
    from pathlib import Path


def trained_on(root: Path) -> Stage:
    """Two hospitals that approved and partitioned; model r0 lies in their inboxes."""
    world = small.founded(root, initial=small.unet_initial)
    partition.partition(world.site("aa"), small.now())
    return site(world)


def progress(workspace: Path) -> tuple[int, bool]:
    """Steps in the checkpoint, and whether the update is in the archive already."""
    said = map(inspection.inspect, (workspace / "archive").glob("*.fedmed"))
    paths = list((workspace / "state" / "checkpoints").glob("*.safetensors"))
    return (checkpoint_step(paths[0]) if paths else 0), any(
        (each.kind, each.sender) == ("update", "aa") for each in said
    )


def checkpoint_step(path: Path) -> int:
    data = path.read_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    return int(json.loads(header["__metadata__"]["fedmed"])["step"])


def no_step_twice(seen: Seen, total: int = 2) -> None:
    behind, is_said = seen.noted
    assert seen.result["steps"] == ([] if is_said else list(range(behind + 1, total + 1)))


def no_step_alone_twice(seen: Seen) -> None:
    no_step_twice(seen, 4)


def remembering(root: Path) -> Stage:
    """A second round, which goes on from a state."""
    world = tables.founded(root, recipe=tabular(strategy={"name": "scaffold"}), limits=LOOSE)
    trained(world)
    aggregate.aggregate(world.coordinator, small.now())
    world.carry()
    return site(world)


def lapping(root: Path) -> small.Federation:
    """bb trains first in the lap, then aa."""
    world = tables.founded(root, recipe=tabular(strategy={"name": "cyclic"}))
    small.seal_update(world.site("bb"), 0.01)
    world.carry()
    return world


def in_its_turn(root: Path) -> Stage:
    """The update of bb lies in the inbox of aa, who goes on from it."""
    world = lapping(root)
    shutil.copy(world.site("bb") / "outbox" / "update-r0000-bb.fedmed", world.site("aa") / "inbox")
    return site(world)


def end_of_a_lap(root: Path) -> Stage:
    world = lapping(root)
    run.run(world.coordinator, small.now, lambda *_: None, lambda _: None)
    world.carry()
    small.seal_update(world.site("aa"), 0.03)
    world.carry()
    return coordinator(world)


def withdrawn(_: small.Federation, workspace: Path) -> None:
    assert list((workspace / "outbox").glob("update-*")) == []


def fine_tuned(root: Path) -> Stage:
    """The last model came."""
    recipe = tabular()
    world = tables.founded(root, recipe={**recipe, "training": {**recipe["training"], "fine_tune_steps": 2}})
    for _ in range(2):
        closed(world)
    return site(world)


def tuned(workspace: Path) -> object:
    return sorted((path.name, path.read_bytes()) for path in (workspace / "state" / "personal").iterdir())


def alone(workspace: Path) -> object:
    """The local-only model is on the disk whole."""
    return sorted((path.name, path.stat().st_size) for path in (workspace / "state" / "alone").iterdir())


def progress_alone(workspace: Path) -> tuple[int, bool]:
    """Of two rounds of two steps: steps behind it, and that nothing is said of them."""
    found = list((workspace / "state" / "alone").rglob("r*"))
    whole = [2 * int(path.stem[1:]) for path in found if path.suffix == ".safetensors"]
    begun = [2 * int(path.stem[1:]) - 2 + checkpoint_step(path) for path in found if path.suffix == ".checkpoint"]
    return max([0, *whole, *begun]), False


def pooling(root: Path) -> small.Federation:
    """A federation that waits for fingerprints of two sites, which have partitioned."""
    world = small.founded(root, recipe=POOLING)
    for name in world.sites:
        partition.partition(world.site(name), small.now())
    return world


def pooled(root: Path) -> Stage:
    """Their fingerprints have come. The second version of the federation is not there before."""
    world = pooling(root)
    trained(world)
    return Stage(world.coordinator)


def second_round(root: Path) -> Stage:
    """Which goes on from a state of the coordinator."""
    return coordinator(answered(closed(small.founded(root, recipe={"strategy": {"name": "fedavgm"}}))))


def reported(root: Path) -> Stage:
    """The reports on model r0 lie in the coordinator's inbox."""
    world = small.founded(root)
    for name in world.sites:
        small.seal_report(world.site(name), mean=0.5, n=2)
    world.carry()
    return coordinator(world)


def reports(workspace: Path) -> object:
    return sorted(known.sender for known in record_of(workspace).of("report"))


ROUNDS = (
    Row("train-local", "train-local", trained_on, note=progress, require=no_step_twice, is_heavy=True),
    Row("train-local, going on from a state", "train-local", remembering, is_heavy=True),
    Row("train-local, in its turn of a lap", "train-local", in_its_turn, is_heavy=True),
    Row("train-local, a fingerprint", "train-local", lambda root: site(pooling(root))),
    Row("train-local, fine-tuning", "train-local", fine_tuned, tuned, is_heavy=True),
    Row(
        "train-local --alone",
        "train-alone",
        lambda root: site(tables.founded(root, recipe=tabular())),
        alone,
        note=progress_alone,
        require=no_step_alone_twice,
        is_heavy=True,
    ),
    Row("aggregate", "aggregate", lambda root: coordinator(answered(small.founded(root)))),
    Row("aggregate, going on from a state", "aggregate", second_round),
    Row("aggregate, the end of a lap", "aggregate", end_of_a_lap, behind=withdrawn),
    Row("aggregate, the first model", "aggregate", pooled),
    Row("evaluate", "site-evaluate", trained_on, is_heavy=True),
    Row("evaluate, pooled", "evaluate", reported, reports),
    Row("run, handing on in a lap", "run", lambda root: coordinator(lapping(root))),
)
