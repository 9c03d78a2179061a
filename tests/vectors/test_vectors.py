"""The golden vectors: made again byte for byte, and each judged as it says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from fedmed.auditor import inspection
from fedmed.errors import CODES
from tests.coded import code_of

from . import encoded, make_vectors, masked
from .samples import KINDS

if TYPE_CHECKING:
    from pathlib import Path

DATA = make_vectors.DATA
INDEX = [line.split(" expect: ") for line in (DATA / "index.txt").read_text("ascii").splitlines()]


def test_the_vectors_are_what_the_script_makes(tmp_path: Path) -> None:
    make_vectors.write(tmp_path / "data")
    made = {path.name: path.read_bytes() for path in (tmp_path / "data").iterdir()}
    kept = {path.name: path.read_bytes() for path in DATA.iterdir()}
    assert sorted(made) == sorted(kept)
    assert [name for name in made if made[name] != kept[name]] == []


def test_there_are_many_small_ones_of_every_kind() -> None:
    assert len(INDEX) >= 60
    assert {next(kind for kind in KINDS if name.startswith(f"{kind}-")) for name, _ in INDEX} == set(KINDS)
    good = {f"{kind}-ok.fedmed" for kind in KINDS} | {"federation-version-2.fedmed"}
    good |= {
        "update-goes-on-from-another.fedmed",
        "update-with-a-state.fedmed",
        "update-with-noise.fedmed",
        "state-of-the-coordinator.fedmed",
        "update-bf16-largest.fedmed",
        "model-approved-by-all.fedmed",
        "model-approved-by-nobody-yet.fedmed",
    }
    good |= {f"{name}.fedmed" for form in encoded.SETTINGS for name in (f"federation-{form}", f"update-{form}-ok")}
    good |= {f"federation-rotated{which}.fedmed" for which in ("", "-twice", "-coordinator")}
    good |= {"federation-masked.fedmed", "update-masked-ok.fedmed", "model-masked-ok.fedmed"}
    assert good == {name for name, expected in INDEX if expected == "ok"}
    assert {expected for _, expected in INDEX} <= {"ok", *CODES}
    assert sum(path.stat().st_size for path in DATA.iterdir()) < 2_000_000


@pytest.mark.parametrize(("name", "expected"), INDEX, ids=[name for name, _ in INDEX])
def test_each_vector_ends_as_it_says(name: str, expected: str) -> None:
    assert outcome(DATA / name) == expected


def outcome(path: Path) -> str:
    return code_of(lambda: inspection.verify(path, DATA / federation_of(path.name)))


def federation_of(name: str) -> str:
    """The file of the federation that a vector is held against."""
    form = name.removesuffix(".fedmed").split("-")[1]
    return f"federation-{form if form in (*encoded.SETTINGS, masked.FORM) else 'ok'}.fedmed"
