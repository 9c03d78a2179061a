"""Words of a hospital's files as keyed hashes, and what of a text is among them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from fedmed.cases import tokens, words

from . import phantoms

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

KEY = b"k" * 32


def silent(*_: Any) -> None:
    """Nobody watches."""


def known(*texts: str) -> np.ndarray:
    collected = words.Words(KEY)
    for text in texts:
        collected.add(text)
    return collected.digests()


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Smith^John", ["smith", "john"]),
        ("1.2.840.113619.2", ["1.2.840.113619.2"]),
        ("Ærlig_Åse-3", ["ærlig", "åse", "3"]),
        ("A\u030ase", ["åse"]),
        ("", []),
    ],
)
def test_words(text: str, found: list[str]) -> None:
    assert tokens.split(text) == found


@pytest.mark.parametrize(
    ("text", "says"),
    [
        *(("Anna", True), ("Bo", False), ("Bo Li", True), ("12345", False), ("123456", True), ("0.123456", False)),
        *(("1.2.345", False), ("1.2.84.1", False), ("1.2.840.10", True), ("A1", False), ("ab-1-2", True)),
    ],
)
def test_what_says_something_by_itself(text: str, says: bool) -> None:
    assert tokens.is_telling(tokens.split(text)) == says


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('{"by":"smith JOHN"}', ["smith john"]),
        ("of John Smith", []),
        ("blacksmith johnson", []),
        ("pid_81726354", ["pid 81726354"]),
        ("817263549", []),
        ("x 1.2.826.0.1.3680043.8.498.1 y", ["1.2.826.0.1.3680043.8.498.1"]),
        ("1.2.826.0.1.3680043.8.498.10", []),
        ("a b c d e f g h i j", ["a b c d e f g h"]),
    ],
)
def test_whole_words_in_their_order(text: str, found: list[str]) -> None:
    there = known("Smith^John", "PID-81726354", "1.2.826.0.1.3680043.8.498.1", "a b c d e f g h i j k")
    assert tokens.among(KEY, there, text, ()) == found


def test_public_words_are_no_finding_and_another_key_knows_nothing() -> None:
    there = known("images", "Smith^John")
    assert tokens.among(KEY, there, "images of smith john", tokens.spoken("the images")) == ["smith john"]
    assert tokens.among(b"j" * 32, there, "images of smith john", ()) == []
    assert tokens.among(KEY, known(), "images", ()) == []


def test_names_of_files_count_without_their_suffix(tmp_path: Path) -> None:
    for path in ("Ola Grim/scan.Nansen.nii.gz", "Ola Grim/MR.1.2.840.113619.5.dcm", "plain/REPORT.PDF"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_bytes(b"")
    there = words.of_folder(tmp_path, KEY, silent)
    for text in ("ola grim", "scan nansen", "mr 1.2.840.113619.5", "report", "plain"):
        assert tokens.among(KEY, there, text, ()), text
    assert tokens.among(KEY, there, "report pdf nii gz", ()) == ["report"]


def test_a_table_gives_its_cells_and_damage_gives_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes('path;who\nx;"Vaktmester, Per"\nx;Åse\n'.encode("latin-1"))
    phantoms.save(tmp_path / "d", phantoms.slices()[:1])
    whole = (tmp_path / "d/000.dcm").read_bytes()
    (tmp_path / "d/001.dcm").write_bytes(whole[:300])
    (tmp_path / "d/002.dcm").write_bytes(b"\0" * 900)
    there = words.of_folder(tmp_path, KEY, silent)
    assert tokens.among(KEY, there, "vaktmester", ()) == ["vaktmester"]
    assert tokens.among(KEY, there, "nansen f", ()) == ["nansen f"]
    assert tokens.among(KEY, there, "modality", ()) == []
