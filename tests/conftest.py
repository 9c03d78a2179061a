"""How many examples a property is tried with; and one federation for all tests that need one, copied for each.

The examples are the same in every run, so that no test fails by chance: `quick` ones by default, and `thorough` ones
beside the slow tests. `--hypothesis-profile=search` draws new ones each time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from pathlib import Path

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


@pytest.fixture(scope="session")
def started(tmp_path_factory: pytest.TempPathFactory) -> Simulation:
    """Three approved hospitals, two rounds, no update yet. Copy it before changing it: fixture `simulation`."""
    from tests.federation.simulator import Simulation  # noqa: PLC0415 - tests of other rooms need no federation

    root = tmp_path_factory.mktemp("federation")
    return Simulation(root, ("aa", "bb", "cc")).found(rounds=2, min_sites=2, deadline_days=14, max_num_cases=100)


@pytest.fixture
def simulation(started: Simulation, tmp_path: Path) -> Simulation:
    return started.copied_to(tmp_path / "federation")
