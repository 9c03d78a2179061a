"""Commands before the first round."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedmed.auditor import inspection
from tests import small

from .bench import Row, Stage, record_of, statements
from .stages import POOLING, cases, coordinator, site

if TYPE_CHECKING:
    from pathlib import Path


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
