"""How many examples a property is tried with; what makes the tests faster without their notice; and one federation for
all tests that need one, copied for each.

The examples are the same in every run, so that no test fails by chance: `quick` ones by default, and `thorough` ones
beside the slow tests. `--hypothesis-profile=search` draws new ones each time.
"""

from __future__ import annotations

import gc
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from fedmed import files

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.federation.simulator import Simulation

settings.register_profile(
    "quick",
    max_examples=25,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
settings.register_profile("thorough", settings.get_profile("quick"), max_examples=250)
settings.register_profile("search", settings.get_profile("thorough"), derandomize=False)
settings.load_profile("quick")


MEMORY = Path("/dev/shm")  # Linux; containers often have next to no room there
ROOM = 6 << 30  # of which the slow tests need a third


def pytest_configure(config: pytest.Config) -> None:
    """Tests write a hundred thousand small files: into memory, where there is room, because a disk takes its time. And
    torch computes with one thread in each of several workers.
    """
    roomy = MEMORY.is_dir() and os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free >= ROOM
    if roomy and not config.option.basetemp:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))
    if "PYTEST_XDIST_WORKER" in os.environ:  # as many workers as cores: a second thread would only wait for its turn
        os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_collection_finish() -> None:
    """What is here now stays to the end: nobody need look for garbage in it again and again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def _no_power_cut() -> Iterator[None]:
    """Tests wait for no disk: the system has what was written, and no test cuts its power. Undo it by `durable`."""
    files.Process.is_durable = False
    yield
    files.Process.is_durable = True


@pytest.fixture
def durable(monkeypatch: pytest.MonkeyPatch) -> None:
    """As outside of the tests: what must survive a power cut is waited for."""
    monkeypatch.setattr(files.Process, "is_durable", True)


@pytest.fixture(scope="session")
def started(tmp_path_factory: pytest.TempPathFactory) -> Simulation:
    """Three approved hospitals, two rounds, no update yet. Copy it before changing it: fixture `simulation`."""
    from tests.federation.simulator import Simulation  # noqa: PLC0415 - tests of other rooms need no federation

    root = tmp_path_factory.mktemp("federation")
    return Simulation(root, ("aa", "bb", "cc")).found(rounds=2, min_sites=2, deadline_days=14, max_num_cases=100)


@pytest.fixture
def simulation(started: Simulation, tmp_path: Path) -> Simulation:
    return started.copied_to(tmp_path / "federation")
