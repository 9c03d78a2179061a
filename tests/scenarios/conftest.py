"""The command, warm: once without torch and once with it, for the whole session."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests import small
from tests.command import ACTORS, Fedmed, Ran
from tests.warm import TRAINING

if TYPE_CHECKING:
    from collections.abc import Iterator


class Executable(Fedmed):
    """The installed `fedmed` itself: slow, and the proof that the warm one is no different."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def run(self, *words: str | Path, cwd: Path | None = None, **env: str) -> Ran:
        arguments = [str(word) for word in words]
        done = subprocess.run(
            [Path(sys.executable).with_name("fedmed"), *arguments],
            cwd=cwd or self._folder,
            env={**os.environ, **env},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        return Ran(tuple(arguments), done.returncode, done.stdout, done.stderr, frozenset())

    def close(self) -> None:
        """Nothing is left running."""


@pytest.fixture(scope="session")
def fedmed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fedmed]:
    command = Fedmed(tmp_path_factory.mktemp("fedmed"), *ACTORS)
    yield command
    command.close()


@pytest.fixture(scope="session")
def training_fedmed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fedmed]:
    command = Fedmed(tmp_path_factory.mktemp("fedmed"), *ACTORS, *TRAINING)
    yield command
    command.close()


@pytest.fixture
def executable(tmp_path: Path) -> Executable:
    return Executable(tmp_path)


@pytest.fixture(scope="session")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, small.Federation]:
    """Federations to copy from; only `torch` has the recipe's own network as its model."""
    folder = tmp_path_factory.mktemp("worlds")
    return {
        "approved": small.founded(folder / "approved"),
        "unapproved": small.founded(folder / "unapproved", approved=False),
        "torch": small.founded(folder / "torch", initial=small.unet_initial),
    }


@pytest.fixture
def world(worlds: dict[str, small.Federation], tmp_path: Path) -> small.Federation:
    """Everyone approved; model r0, two small arrays, lies in every inbox."""
    return worlds["approved"].copy(tmp_path / "world")


@pytest.fixture
def unapproved(worlds: dict[str, small.Federation], tmp_path: Path) -> small.Federation:
    """The federation has started; nobody has approved it."""
    return worlds["unapproved"].copy(tmp_path / "world")


@pytest.fixture
def torch_world(worlds: dict[str, small.Federation], tmp_path: Path) -> small.Federation:
    """Everyone approved, and the model is one that can be trained."""
    return worlds["torch"].copy(tmp_path / "world")
