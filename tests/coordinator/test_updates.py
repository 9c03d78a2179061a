"""The updates of a round as blocks of files: in order, hashed, on any number of threads, and none left behind."""

from __future__ import annotations

import hashlib
import threading
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from fedmed.coordinator import drafting
from fedmed.coordinator.sources import Spooled
from fedmed.coordinator.updates import CHUNK, FileUpdates
from fedmed.errors import FedmedError
from fedmed.learning import screen, shapes, strategies
from fedmed.learning.shapes import Tensor
from fedmed.learning.strategy import Block, Meta
from tests.coded import code_of

if TYPE_CHECKING:
    from pathlib import Path

    from fedmed.learning.strategy import Strategy, Weights

SITES = ("aa", "bb", "cc")
NORMS = [
    Tensor(f"norm{n:02d}.{name}", (5 + n,), group)
    for n in range(20)
    for name, group in (("running", "buffer"), ("weight", "param"))
]
TABLE = (*NORMS, Tensor("conv.weight", (3 * CHUNK // 2 + 7,), "param"), Tensor("out.weight", (3, 11), "param"))
GROUPS = np.array([group for start, stop, group in shapes.stretches(TABLE) for _ in range(start, stop)])
META = [Meta(name, 1, share, 1) for name, share in zip(SITES, (0.5, 0.2, 0.3), strict=True)]


@pytest.fixture
def values() -> np.ndarray:
    """The model and what each site adds."""
    return np.random.default_rng(0).standard_normal((len(SITES) + 1, len(GROUPS))).astype("<f4")


@pytest.fixture
def found(tmp_path: Path, values: np.ndarray) -> FileUpdates:
    """The same in files, behind four bytes of something else."""
    for n, row in enumerate(values):
        (tmp_path / str(n)).write_bytes(b"head" + row.tobytes())
    base, *sites = [Spooled(tmp_path / str(n), 4) for n in range(len(values))]
    return FileUpdates(TABLE, base, sites, META)


def test_blocks_cover_the_vector_in_order_and_hold_one_group_each(found: FileUpdates, values: np.ndarray) -> None:
    blocks = list(found.map(lambda block: replace(block, base=block.base.copy(), updates=block.updates.copy())))
    assert [block.start for block in blocks] == [0, *np.cumsum([len(block.base) for block in blocks])[:-1]]
    assert max(len(block.base) for block in blocks) <= CHUNK
    np.testing.assert_array_equal(np.concatenate([block.base for block in blocks]), values[0])
    np.testing.assert_array_equal(np.concatenate([block.updates for block in blocks], axis=1), values[1:])
    assert all(set(GROUPS[block.start : block.start + len(block.base)]) == {block.group} for block in blocks)


def drafted(updates: FileUpdates, spool: Path, strategy: Strategy) -> tuple[np.ndarray, Weights, list[bytes]]:
    weights = strategy.weigh(META, screen.gram(updates))
    products, draft = drafting.draft(spool, updates, strategy, weights, compare=screen.products, done=lambda _: None)
    assert draft
    contents = [each for each in (draft.model, draft.memory) if each]
    payloads = [b"".join(each.chunks()) for each in contents]
    assert [hashlib.sha256(each).hexdigest() for each in payloads] == [each.sha256 for each in contents]
    assert [len(each) for each in payloads] == [each.size for each in contents]
    return products, weights, payloads


@pytest.mark.parametrize("name", ["fedavg", "median", "fedadam"])
def test_the_same_bytes_with_any_number_of_threads(
    found: FileUpdates, values: np.ndarray, tmp_path: Path, name: str
) -> None:
    """Also those of the strategy on the whole vector at once: it works number by number."""
    strategy = strategies.named(name, **({"server_lr": 0.1} if name == "fedadam" else {}))
    updates = replace(found, memory=dict.fromkeys(strategy.memory))
    runs = [drafted(replace(updates, threads=threads), tmp_path, strategy) for threads in (1, 2, 3)]
    assert len({(products.tobytes(), *payloads) for products, _, payloads in runs}) == 1
    products, weights, (model, *memory) = runs[0]
    learned = values[1:, GROUPS == "param"].astype(np.float64)
    np.testing.assert_allclose(products, learned @ learned.T, rtol=1e-12)
    assert products.tolist() == products.T.tolist()
    expected = {part: np.empty(len(GROUPS), "<f4") for part in ("", *strategy.memory)}
    for group in ("param", "buffer"):
        at = group == GROUPS
        zeros = {name: np.zeros(at.sum(), np.float32) for name in strategy.memory}
        updates_of = np.ascontiguousarray(values[1:, at])  # laid out as in a file, and added up in the same order
        whole = strategy.combine(Block(0, group, values[0, at], updates_of, zeros), weights)
        expected[""][at] = whole.base
        for part in strategy.memory:
            expected[part][at] = whole.memory[part]
    assert model == shapes.wire_table(TABLE) + expected[""].tobytes()
    if memory:
        header = shapes.wire_table(drafting.memory_table(TABLE, strategy.memory))
        assert memory == [header + b"".join(expected[part].tobytes() for part in sorted(strategy.memory))]


def test_what_is_remembered_is_read_beside_the_model(found: FileUpdates, values: np.ndarray, tmp_path: Path) -> None:
    """Server momentum from m = the second update: w' = w + 0.9 m + the mean, where something is learned."""
    updates = replace(found, memory={"m": Spooled(tmp_path / "2", 4)})
    _, _, (model, memory) = drafted(updates, tmp_path, strategies.named("fedavgm"))
    mean = np.array([0.5, 0.2, 0.3]) @ values[1:].astype(np.float64)
    kept = np.where(GROUPS == "param", 0.9 * values[2] + mean, values[2])
    np.testing.assert_allclose(np.frombuffer(memory, "<f4")[-len(GROUPS) :], kept, rtol=1e-5, atol=1e-6)
    expected = values[0] + np.where(GROUPS == "param", kept, mean)
    np.testing.assert_allclose(np.frombuffer(model, "<f4")[-len(GROUPS) :], expected, rtol=1e-5, atol=1e-6)


def test_a_file_that_ends_too_early_leaves_nothing(found: FileUpdates, tmp_path: Path) -> None:
    with (tmp_path / "2").open("r+b") as file:
        file.truncate(4 * CHUNK)
    spool = tmp_path / "spool"
    spool.mkdir()
    strategy = strategies.named("fedavg")
    weights = strategy.weigh(META, np.empty((0, 0)))
    before = threading.active_count()
    with pytest.raises(FedmedError, match="ends too early"):
        drafting.draft(spool, found, strategy, weights, compare=screen.products, done=lambda _: None)
    assert list(spool.iterdir()) == []
    assert threading.active_count() == before


def test_no_thread_is_left_when_a_strategy_fails(found: FileUpdates) -> None:
    def work(block: Block) -> int:
        if block.start > CHUNK:
            raise FedmedError("FM-TEN-02", "in a thread")
        return block.start

    before = threading.active_count()
    assert code_of(lambda: list(found.map(work))) == "FM-TEN-02"
    assert threading.active_count() == before


def test_no_thread_is_left_when_nobody_reads_on(found: FileUpdates) -> None:
    before = threading.active_count()
    running = found.map(lambda block: block.start)
    assert next(running) == 0
    assert threading.active_count() > before
    running.close()
    assert threading.active_count() == before


def test_numbers_beyond_all_bounds_make_no_draft_but_are_compared(
    found: FileUpdates, values: np.ndarray, tmp_path: Path
) -> None:
    row = values[1].copy()
    row[-1] = 1e30
    (tmp_path / "0").write_bytes(b"head" + row.tobytes())
    (tmp_path / "1").write_bytes(b"head" + row.tobytes())
    strategy = strategies.named("fedavg")
    weights = strategy.weigh(META, np.empty((0, 0)))
    products, draft = drafting.draft(tmp_path, found, strategy, weights, compare=screen.products, done=lambda _: None)
    assert draft is None
    assert products[0, 0] == pytest.approx(1e60)
