"""Every command that writes, in every situation that makes it write something else: the table of the kill tests."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import yaml

from fedmed.auditor import inspection
from fedmed.coordinator import aggregate, run, void
from fedmed.coordinator import recover as vouched
from fedmed.coordinator import unmask as asking
from fedmed.exchange import maskkeys
from fedmed.site import budget, desk, partition, train, unmask
from fedmed.site import recover as at_site
from tests import small, tables

from .bench import Row, Seen, Stage, plaintexts, record_of, statements

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

NOW = train.Options("cpu")
LOOSE = {"max_norm_ratio": 1_000_000, "min_cosine": -1}
MASKED = {"masking": "dm2", "clip": {"norm": 1.0}}
THREE = ("aa", "bb", "cc")
ENCRYPTED = {"encryption": "age"}
POOLING = {"data": {**small.RECIPE["data"], "normalisation": "federated", "spacing": "federated"}}
CENTRAL = {
    "strategy": {"weight": "equal"},
    "aggregation": {"central": {"clip_norm": 2.0, "noise_multiplier": 3.0, "force": True}},
}


def site(world: small.Federation) -> Stage:
    return Stage(world.site("aa"), world)


def coordinator(world: small.Federation) -> Stage:
    return Stage(world.coordinator, world)


def tabular(**changed: Any) -> dict[str, Any]:
    """A recipe for rows of two steps."""
    return {**tables.TABULAR, **changed, "training": {**tables.TABULAR["training"], "local_steps": 2}}


def trained(world: small.Federation) -> None:
    for name in world.sites:
        train.train(world.site(name), small.now(), NOW, lambda *_: None)
    world.carry()


def answered(world: small.Federation) -> small.Federation:
    """The updates of a round lie in the coordinator's inbox."""
    for value, name in enumerate(world.sites, start=1):
        small.seal_update(world.site(name), value)
    world.carry()
    return world


def closed(world: small.Federation) -> small.Federation:
    """The next model lies in every inbox."""
    answered(world)
    aggregate.aggregate(world.coordinator, small.now())
    world.carry()
    return world


# --- founding --------------------------------------------------------------------------------------------------------


def empty(root: Path) -> Stage:
    root.mkdir(parents=True)
    recipe, data = small.write_recipe(root / "recipe.yaml"), small.write_hospital(root / "data")
    return Stage(None, beside=(recipe, data))


def as_founded(workspace: Path) -> object:
    """A half-made workspace is made whole by the same command; a whole one is left alone."""
    assert (workspace / "fedmed.yaml").read_text().startswith("# Local settings")
    key = workspace / "keys" / "pseudonym.key"
    join = workspace / "outbox" / "join-aa.fedmed"
    sender = inspection.verify(join, None).inspected.sender if join.exists() else ""
    return [key.exists() and len(key.read_bytes()), sender, statements(workspace)]


def roster(workspace: Path) -> object:
    return {known.sender for known in record_of(workspace).received}


def cases(workspace: Path) -> object:
    return (workspace / "cases.json").read_bytes()


def pinned(workspace: Path) -> object:
    return {facts["site"] for _, facts in record_of(workspace).notes if facts["what"] == "pin"}


def report(workspace: Path) -> object:
    return sorted(path.name for path in (workspace / "reports").iterdir())


def remembered(root: Path) -> Stage:
    """A hospital whose cache holds prepared cases."""
    world = small.founded(root)
    for name in ("one.safetensors", "two.safetensors", "check.jsonl"):
        (world.site("aa") / "cache" / name).write_bytes(b"{}")
    return site(world)


def cached(workspace: Path) -> object:
    return sorted(path.name for path in (workspace / "cache").iterdir())


FOUNDING = (
    Row("init coordinator", "init", empty, as_founded),
    Row("init site", "site-init", empty, as_founded),
    Row("admit", "admit", lambda root: coordinator(small.joined(root, admitted=False)), roster),
    Row("start", "start", lambda root: coordinator(small.joined(root))),
    Row("start, weights kept for later", "start", lambda root: coordinator(small.joined(root, recipe=POOLING))),
    Row("approve", "approve", lambda root: site(small.founded(root, approved=False))),
    Row("keys pin", "pin", lambda root: site(small.founded(root)), pinned),
    Row("check", "check", lambda root: site(small.founded(root)), report),
    Row("partition", "partition", lambda root: site(small.founded(root)), cases),
    Row("cache clear", "cache-clear", remembered, cached),
)


# --- rounds ----------------------------------------------------------------------------------------------------------


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


# --- masks, noise, encryption -----------------------------------------------------------------------------------------


def masking(root: Path) -> small.Federation:
    """Three hospitals that mask; model r0 lies in their inboxes."""
    return small.masking(small.founded(root, THREE, recipe={"aggregation": MASKED}, limits={"min_sites": 3}))


def masked(root: Path) -> small.Federation:
    """Their updates lie in the coordinator's inbox."""
    world = masking(root)
    for value, name in enumerate(THREE, start=1):
        small.seal_masked(world.site(name), value / 100)
    world.carry()
    return world


def asked(root: Path) -> small.Federation:
    """Its requests lie in every inbox."""
    world = masked(root)
    asking.unmask(world.coordinator, small.now())
    world.carry()
    return world


def opened(world: small.Federation) -> small.Federation:
    """The coordinator asks all three, and they answer."""
    world.carry()
    asking.unmask(world.coordinator, small.now())
    world.carry()
    for name in THREE:
        unmask.unmask(world.site(name), small.now())
    world.carry()
    return world


def rows_masked(**recipe: Any) -> Callable[[Path], Stage]:
    """Hospitals with a table that mask what they train."""

    def stage(root: Path) -> Stage:
        chosen = {**tabular(aggregation=MASKED), **recipe}
        return site(small.masking(tables.founded(root, THREE, chosen, limits={"min_sites": 3})))

    return stage


def in_place(world: small.Federation, workspace: Path, root: Path) -> None:
    """The workspace that was killed takes its place in the federation."""
    shutil.rmtree(root)
    shutil.copytree(workspace, root)
    world.carry()


def masks_come_off(world: small.Federation, workspace: Path) -> None:
    """Whenever the power failed there is one masked update in the end, and its masks come off the sum."""
    in_place(world, workspace, world.site("aa"))
    trained(world)
    assert aggregate.aggregate(opened(world).coordinator, small.now()).round == 1


def goes_on(world: small.Federation, workspace: Path) -> None:
    """The killed coordinator and all sites close the round."""
    in_place(world, workspace, world.coordinator)
    for value, name in enumerate(THREE, start=1):
        small.seal_masked(world.site(name), value / 100)
    assert aggregate.aggregate(opened(world).coordinator, small.now()).round == 1


PATIENTS = tuple(f"person-{number:03d}" for number in range(60))
PRIVATE = {
    "data": {
        **tables.TABULAR["data"],
        "columns": [{"name": "age", "mean": 65, "sd": 15}, {"name": "pressure", "mean": 140, "sd": 25}],
        "normalisation": "none",
        "imputation": "constant",
    },
    "dp": {"target_epsilon": 8, "clip_norm": 1.0, "patients_per_step": 4},
}


def hospital_that_counts(root: Path, *, is_partitioned: bool = True, **changed: Any) -> Stage:
    """aa keeps its patients' budget beside its workspace."""
    world = small.founded(
        root, initial=small.unet_initial, recipe=tabular(**PRIVATE), patients=PATIENTS,
        hospital=tables.write_hospital, channels=(), **changed,
    )  # fmt: skip
    settings = world.site("aa") / "fedmed.yaml"
    said = {**yaml.safe_load(settings.read_text()), "privacy": {"budget_dir": "../budget"}}
    settings.write_text(yaml.safe_dump(said))
    (root / "budget").mkdir()
    if is_partitioned:
        partition.partition(world.site("aa"), small.now())
    return Stage(world.site("aa"), world, (root / "budget",))


def begun(workspace: Path) -> int:
    """Steps that were begun, of which the disk knows."""
    found = list((workspace / "state" / "checkpoints").glob("*.begun"))
    return int(found[0].read_text().split()[1]) if found else 0


def is_charged(seen: Seen) -> None:
    """A budget is charged for every step that looked at a patient, and one update names one reservation."""
    store = budget.peek(desk.peek(seen.workspace))
    charged = sum(each.steps + each.extra for each in store.reserved.values())
    assert charged >= seen.noted + len(seen.result["steps"]), (
        f"{seen.noted} + {seen.result['steps']}, charged {charged}"
    )
    assert len(budget.sealed(desk.peek(seen.workspace))) == 1


def founded_budget(workspace: Path) -> object:
    store = budget.peek(desk.peek(workspace))
    assert len(budget.key_of(store)) == budget.KEY_BYTES
    persons = json.loads((workspace / "state" / "persons.json").read_text())
    return [persons["store"] == store.key, len(persons["persons"]), cases(workspace)]


def encrypted(root: Path) -> Stage:
    world = tables.founded(root, recipe=tabular(), limits=ENCRYPTED)
    return site(world)


def noised(root: Path) -> Stage:
    """Central differential privacy: the noise of the model is never repeated."""
    return coordinator(answered(small.founded(root, ("aa", "bb", "cc", "dd"), recipe=CENTRAL)))


PRIVACY = (
    Row(
        "train-local, masked",
        "train-local",
        rows_masked(),
        statements,
        is_apart=True,
        behind=masks_come_off,
        is_heavy=True,
    ),
    Row("unmask", "unmask", lambda root: coordinator(masked(root))),
    Row("unmask, answering", "site-unmask", lambda root: site(asked(root))),
    Row("aggregate, masked", "aggregate", lambda root: coordinator(opened(masked(root)))),
    Row("aggregate --void", "void", lambda root: coordinator(asked(root)), behind=goes_on),
    Row(
        "partition, founding a budget",
        "partition",
        lambda root: hospital_that_counts(root, is_partitioned=False),
        founded_budget,
        is_heavy=True,
    ),
    Row(
        "train-local, private",
        "train-local",
        hospital_that_counts,
        statements,
        note=begun,
        require=is_charged,
        is_heavy=True,
    ),
    Row("aggregate, noised", "aggregate", noised, statements),
    Row("train-local, encrypted", "train-local", encrypted, plaintexts, is_heavy=True),
    Row(
        "aggregate, encrypted",
        "aggregate",
        lambda root: coordinator(answered(small.founded(root, limits=ENCRYPTED))),
        plaintexts,
    ),
)


# --- trust -----------------------------------------------------------------------------------------------------------


def put_back(workspace: Path, backup: Path) -> None:
    """A backup of the whole folder, but for the doors."""
    for name in ("archive", "state", "keys", "cache"):
        shutil.rmtree(workspace / name)
        shutil.copytree(backup / name, workspace / name)


def restored_site(root: Path, world: small.Federation, seal: Callable[[Path], object]) -> Stage:
    """aa answered, and then a backup from before was put back; the coordinator's receipt lies in its inbox."""
    shutil.copytree(world.site("aa"), root / "backup")
    seal(world.site("aa"))
    world.carry()
    (path,) = vouched.vouch(world.coordinator, "aa", small.now())
    put_back(world.site("aa"), root / "backup")
    shutil.copy(path, world.site("aa") / "inbox")
    return site(world)


def restored_coordinator(root: Path) -> Stage:
    """It sealed model 1, all sites have it, and then it was restored."""
    world = answered(small.founded(root))
    shutil.copytree(world.coordinator, root / "backup")
    aggregate.aggregate(world.coordinator, small.now())
    world.carry()
    for name in world.sites:
        small.seal_update(world.site(name), 0.5)
    posted = at_site.vouch(world.site("aa"), "coordinator", small.now())
    put_back(world.coordinator, root / "backup")
    for path in posted:
        shutil.copy(path, world.coordinator / "inbox")
    return coordinator(world)


def recovered(workspace: Path) -> object:
    """What it signed is known again, and its number and the rounds that it answers go on behind that."""
    record = record_of(workspace)
    held = {known.id for known in (*record.said, *record.lost)}
    return [sorted(held), record.answered, record.resumes > 0]


def recovered_behind_masks(workspace: Path) -> object:
    """Each time is a restore of its own: new mask keys, and a receipt that brings them, whose last one counts."""
    record, keys_ = record_of(workspace), maskkeys.held(workspace / "keys" / "mask")
    kinds = {known.kind for known in (*record.said, *record.lost)}
    return [sorted(kinds), record.answered, len(keys_), record.resumes > 0]


def lists_the_new_keys(world: small.Federation, workspace: Path) -> None:
    """The coordinator takes the newest certificate, and the attempt that lists it is begun with these keys."""
    in_place(world, workspace, world.site("aa"))
    (held,) = maskkeys.held(world.site("aa") / "keys" / "mask")
    void.void(world.coordinator, small.now(), "aa was restored")
    newest = record_of(world.coordinator).newest("model")
    assert newest is not None
    path = world.coordinator / "archive" / f"{newest.id}.fedmed"
    listed = {each.site: each.index for each in inspection.inspect(path).statement.predicate.body.masks}
    assert listed["aa"] == held


def dismissed(workspace: Path) -> object:
    return record_of(workspace).dismissed


def revoked(workspace: Path) -> object:
    record = record_of(workspace)
    return [list(record.revoked.values()), statements(workspace)]


def known_to(root: Path) -> small.Federation:
    """A round has passed."""
    return closed(small.founded(root))


TRUST = (
    Row("keys revoke", "revoke", lambda root: coordinator(known_to(root))),
    Row("recover", "site-recover", lambda root: restored_site(root, small.founded(root), small.seal_update), recovered),
    Row(
        "recover, masked",
        "site-recover",
        lambda root: restored_site(root, masking(root), lambda path: small.seal_masked(path, 0.1)),
        recovered_behind_masks,
        behind=lists_the_new_keys,
    ),
    Row("recover, at the coordinator", "recover", restored_coordinator, recovered, is_apart=True),
    Row("recover --for", "site-vouch", lambda root: site(known_to(root))),
    Row("recover --for, at the coordinator", "vouch", lambda root: coordinator(known_to(root))),
    Row("recover --dismiss", "site-dismiss", lambda root: site(known_to(root)), dismissed),
    Row("recover --dismiss, at the coordinator", "dismiss", lambda root: coordinator(known_to(root)), dismissed),
)

ROWS = (*FOUNDING, *ROUNDS, *PRIVACY, *TRUST)
BY_TITLE: Mapping[str, Row] = {row.title: row for row in ROWS}
