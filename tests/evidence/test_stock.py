"""What stock tools say of the vectors, and of fedmed's signatures."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from fedmed.errors import CODES
from tests.vectors.test_vectors import INDEX

from . import crossed, stock

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(not shutil.which("ssh-keygen"), reason="ssh-keygen is not installed")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("update-ok", "ok"),
        ("approval-ok", "ok"),
        ("update-not-a-container", "tar"),
        ("update-signature-bit-flipped", "ssh-keygen"),
        ("approval-json-an-array", "statement"),
        ("update-payload-changed", "sha256sum"),
        ("update-under-the-namespace-of-report", "ssh-keygen"),
        ("update-nan", "ok"),
    ],
)
def test_where_the_stock_tools_end(name: str, expected: str) -> None:
    path = stock.DATA / f"{name}.fedmed"
    assert stock.judged(path, stock.allowed_signers(stock.DATA / "federation-ok.fedmed")) == expected


def test_everything_that_must_be_seen_without_fedmed_is_a_code() -> None:
    assert set(CODES) > stock.SEEN_BY_BOTH
    assert {expected for _, expected in INDEX} > stock.SEEN_BY_BOTH


@pytest.mark.parametrize("way", [way for way in crossed.WAYS if "passphrase" not in way])
def test_signatures_across_programs(way: str, tmp_path: Path) -> None:
    found = crossed.way(way, 3, tmp_path)
    assert found["tried"] == found["held"] == 3
    assert found["same"] == (3 if way.startswith("ssh-keygen signs") or "that ssh-keygen made" in way else 0)


@pytest.mark.slow
def test_a_key_under_a_passphrase(tmp_path: Path) -> None:
    name = next(way for way in crossed.WAYS if "passphrase" in way)
    assert crossed.way(name, 2, tmp_path) == {"tried": 2, "held": 2, "same": 2}
