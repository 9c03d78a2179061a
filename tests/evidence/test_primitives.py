"""Vectors that others wrote, on the primitives that fedmed uses; and a file that is larger than the memory it takes."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest

from fedmed.auditor import inspection
from fedmed.exchange import container
from tests.coded import code_of

from . import large, wycheproof

if TYPE_CHECKING:
    from pathlib import Path

COUNTS = {"Ed25519": (117, 64), "X25519": (518, 0), "HKDF": (83, 3), "AES": (39, 27)}


@pytest.mark.skipif(not wycheproof.HERE, reason=wycheproof.NOT_HERE)
@pytest.mark.parametrize("name", wycheproof.PRIMITIVES)
def test_no_vector_is_missed(name: str) -> None:
    found = wycheproof.judged(name)
    assert found["missed"] == 0
    assert found["valid"] >= 2
    for start, counts in COUNTS.items():
        if name.startswith(start):
            assert (found["valid"], found["invalid"]) == counts


def test_a_vector_that_is_missed_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    results = [("valid", False), ("invalid", False), ("acceptable", False), ("valid", True)]
    monkeypatch.setitem(wycheproof.PRIMITIVES, "x", lambda: iter(results))
    assert wycheproof.judged("x") == {"valid": 2, "invalid": 1, "acceptable": 1, "missed": 2}


def test_a_file_with_a_hole_is_a_good_model(tmp_path: Path) -> None:
    files = large.write(tmp_path / "files", 3)
    known = inspection.read_federation(files.federation)
    data = files.model.read_bytes()
    assert len(data) > 3_000_000
    assert code_of(lambda: inspection.check(container.Reader(io.BytesIO(data).read), known)) == "ok"
    spoiled = data[:-50_000] + b"\1" + data[-49_999:]
    assert code_of(lambda: inspection.check(container.Reader(io.BytesIO(spoiled).read), known)) == "FM-TRU-10"


@pytest.mark.slow
def test_ten_times_the_bytes_take_the_same_memory(tmp_path: Path) -> None:
    few, many = (large.measured(large.write(tmp_path / str(size), size), 1) for size in (10, 100))
    assert many.bytes > 9 * few.bytes
    assert many.peak_mb < few.peak_mb + 8
