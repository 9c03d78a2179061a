"""Masks, noise and encryption."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import yaml

from fedmed.coordinator import aggregate
from fedmed.site import budget, desk, partition
from tests import small, tables

from .bench import Row, Seen, Stage, plaintexts, statements
from .stages import (
    ENCRYPTED,
    MASKED,
    THREE,
    answered,
    asked,
    cases,
    coordinator,
    in_place,
    masked,
    opened,
    site,
    tabular,
    trained,
)

if TYPE_CHECKING:
    from pathlib import Path


def rows_masked(root: Path, **limits: Any) -> Stage:
    """Hospitals with a table that mask what they train."""
    recipe, agreed = tabular(aggregation=MASKED), {"min_sites": 3, **limits}
    return site(small.masking(tables.founded(root, THREE, recipe, limits=agreed)))


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


CENTRAL = {
    "strategy": {"weight": "equal"},
    "aggregation": {"central": {"clip_norm": 2.0, "noise_multiplier": 3.0, "force": True}},
}
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


def hospital_that_counts(root: Path, *, is_partitioned: bool = True, masks: bool = False) -> Stage:
    """aa keeps its patients' budget beside its workspace."""
    sites, more = (THREE, {"aggregation": MASKED}) if masks else (small.SITES, {})
    world = small.founded(
        root, sites, initial=small.unet_initial, recipe=tabular(**PRIVATE, **more), patients=PATIENTS,
        hospital=tables.write_hospital, channels=(), limits={"min_sites": len(sites)},
    )  # fmt: skip
    settings = world.site("aa") / "fedmed.yaml"
    said = {**yaml.safe_load(settings.read_text()), "privacy": {"budget_dir": "../budget"}}
    settings.write_text(yaml.safe_dump(said))
    (root / "budget").mkdir()
    if is_partitioned:
        partition.partition(world.site("aa"), small.now())
    return Stage(world.site("aa"), small.masking(world) if masks else world, (root / "budget",))


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
        rows_masked,
        statements,
        is_apart=True,
        behind=masks_come_off,
        is_heavy=True,
    ),
    Row("unmask", "unmask", lambda root: coordinator(masked(root))),
    Row("unmask, answering", "site-unmask", lambda root: site(asked(root))),
    Row("aggregate, masked", "aggregate", lambda root: coordinator(opened(masked(root)))),
    Row(
        "train-local, masked and encrypted",
        "train-local",
        lambda root: rows_masked(root, **ENCRYPTED),
        statements,
        is_apart=True,
        behind=masks_come_off,
        is_heavy=True,
    ),
    Row(
        "aggregate, masked and encrypted",
        "aggregate",
        lambda root: coordinator(opened(masked(root, **ENCRYPTED))),
        plaintexts,
    ),
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
    Row(
        "train-local, masked and private",
        "train-local",
        lambda root: hospital_that_counts(root, masks=True),
        statements,
        is_apart=True,
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
