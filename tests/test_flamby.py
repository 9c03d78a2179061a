"""benchmarks/flamby.py on real tables: one seed of a published table, cell by cell."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch

if TYPE_CHECKING:
    from collections.abc import Iterator

TOP = Path(__file__).parents[1]
REAL = TOP.parent / "shared" / "data"

pytestmark = pytest.mark.skipif(
    not (REAL / "fed_heart_disease").exists(), reason="the heart disease tables are not here"
)


def script(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, TOP / "benchmarks" / f"{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look themselves up
    spec.loader.exec_module(module)
    return module


TABLES, PROTOCOL = script("flamby_tables"), script("flamby_protocol")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Sums depend on the number of threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def table() -> Any:
    return TABLES.heart(REAL)


def test_the_hospitals_are_split_as_published(table: Any) -> None:
    assert [(len(site.training), len(site.testing)) for site in table.sites] == [
        (199, 104),
        (172, 89),
        (30, 16),
        (85, 45),
    ]
    assert table.pooled.training.inputs.shape == (486, 13)
    assert table.sites[2].training.inputs.mean(dim=0).abs().max() < 1e-6


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "cells"),
    [
        ("fedavg", [0.7596, 0.6966, 0.6875, 0.6222, 0.7520]),
        ("fedyogi", [0.7596, 0.7640, 0.7500, 0.6222, 0.7835]),
        ("fedadam", [0.7596, 0.7528, 0.7500, 0.6222, 0.7756]),
    ],
)
def test_a_published_row_of_the_heart_table(table: Any, method: str, cells: list[float]) -> None:
    random = torch.Generator()
    model = PROTOCOL.federated(table, 42, PROTOCOL.HEART[method], random)
    assert PROTOCOL.scores(table, model, random) == pytest.approx(cells, abs=0.0005)
