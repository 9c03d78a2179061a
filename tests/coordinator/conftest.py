"""Three approved hospitals, two of which are enough; model r0 is two small arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests import small

if TYPE_CHECKING:
    from pathlib import Path

LIMITS = {"min_sites": 2, "deadline_days": 14, "max_share": 0.6}


@pytest.fixture(scope="session")
def three(tmp_path_factory: pytest.TempPathFactory) -> small.Federation:
    return small.founded(tmp_path_factory.mktemp("three"), ("aa", "bb", "cc"), limits=LIMITS)


@pytest.fixture
def world(three: small.Federation, tmp_path: Path) -> small.Federation:
    return three.copy(tmp_path / "world")
