"""One federation for all tests that need one, made once and copied for each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.federation.simulator import Simulation


@pytest.fixture(scope="session")
def started(tmp_path_factory: pytest.TempPathFactory) -> Simulation:
    """Three approved hospitals, two rounds, no update yet. Copy it before changing it: fixture `simulation`."""
    from tests.federation.simulator import Simulation  # noqa: PLC0415 - tests of other rooms need no federation

    root = tmp_path_factory.mktemp("federation")
    return Simulation(root, ("aa", "bb", "cc")).found(rounds=2, min_sites=2, deadline_days=14, max_num_cases=100)


@pytest.fixture
def simulation(started: Simulation, tmp_path: Path) -> Simulation:
    return started.copied_to(tmp_path / "federation")
