"""A hospital that approved and partitioned, with a model that can be trained."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from fedmed.site import partition
from tests import small

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def parted(tmp_path_factory: pytest.TempPathFactory) -> small.Federation:
    world = small.founded(tmp_path_factory.mktemp("parted"), initial=small.unet_initial)
    for name in world.sites:
        partition.partition(world.site(name), small.now())
    return world


@pytest.fixture
def world(parted: small.Federation, tmp_path: Path) -> small.Federation:
    return parted.copy(tmp_path / "world")


@pytest.fixture
def moved(world: small.Federation, parted: small.Federation, tmp_path: Path) -> tuple[Path, Path]:
    """A site and a copy of its images that may be changed."""
    data = shutil.copytree(parted.root / "data-aa", tmp_path / "data")
    settings = world.site("aa") / "fedmed.yaml"
    lines = [f"  root: {data}" if "root:" in line else line for line in settings.read_text().splitlines()]
    settings.write_text("\n".join(lines))
    return world.site("aa"), data
