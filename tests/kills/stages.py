"""Situations of federations that several rows begin with."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

from fedmed.coordinator import aggregate
from fedmed.coordinator import unmask as asking
from fedmed.site import train, unmask
from tests import small, tables

from .bench import Stage

if TYPE_CHECKING:
    from pathlib import Path

NOW = train.Options("cpu")
LOOSE = {"max_norm_ratio": 1_000_000, "min_cosine": -1}
MASKED = {"masking": "dm2", "clip": {"norm": 1.0}}
THREE = ("aa", "bb", "cc")
ENCRYPTED = {"encryption": "age"}
POOLING = {"data": {**small.RECIPE["data"], "normalisation": "federated", "spacing": "federated"}}


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


def cases(workspace: Path) -> object:
    return (workspace / "cases.json").read_bytes()


def masking(root: Path, **limits: Any) -> small.Federation:
    """Three hospitals that mask; model r0 lies in their inboxes."""
    return small.masking(small.founded(root, THREE, recipe={"aggregation": MASKED}, limits={"min_sites": 3, **limits}))


def masked(root: Path, **limits: Any) -> small.Federation:
    """Their updates lie in the coordinator's inbox."""
    world = masking(root, **limits)
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


def in_place(world: small.Federation, workspace: Path, root: Path) -> None:
    """The workspace that was killed takes its place in the federation."""
    shutil.rmtree(root)
    shutil.copytree(workspace, root)
    world.carry()
