"""Whatever moment the power fails at: nothing accepted is lost, no step is done twice, and the numbers are the same.

The same table of commands is tried here at a few moments, and by `make evidence` at every single one.
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.warm import Warm

from . import bench
from .rows import ROWS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

QUICK = [row for row in ROWS if row.title in ("init site", "approve", "aggregate")]


@pytest.fixture(scope="module")
def light() -> Iterator[Warm]:
    warm = Warm("tests.kills.killed", *bench.CRYPTOGRAPHY)
    yield warm
    warm.close()


@pytest.fixture(scope="module")
def heavy() -> Iterator[Warm]:
    warm = Warm("tests.kills.killed", *bench.HEAVY)
    yield warm
    warm.close()


@pytest.mark.parametrize("row", QUICK, ids=lambda row: row.title)
def test_killed_at_a_few_calls(row: bench.Row, light: Warm, tmp_path: Path) -> None:
    assert bench.bench(row, light, tmp_path).tried(["clean"], most=3) == {"clean": 3}


@pytest.mark.slow
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.title)
def test_killed_and_on_a_bad_disk(row: bench.Row, light: Warm, heavy: Warm, tmp_path: Path) -> None:
    tried = bench.bench(row, heavy if row.is_heavy else light, tmp_path).tried(most=3)
    assert list(tried) == list(bench.MODES)


def test_every_row_is_another() -> None:
    assert len({row.title for row in ROWS}) == len(ROWS)


def test_what_goes_wrong_is_told_with_its_moment(light: Warm, tmp_path: Path) -> None:
    row = replace(next(row for row in QUICK if row.title == "approve"), state=lambda _: os.urandom(8))
    with pytest.raises(AssertionError, match="expected") as caught:
        bench.bench(row, light, tmp_path).tried(["clean"], most=2)
    assert caught.value.__notes__ == ["approve: clean at 1"]
