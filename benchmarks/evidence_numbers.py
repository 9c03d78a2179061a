"""Sections on primitives and on speed."""

from __future__ import annotations

import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evidence_section import Figures, NothingToTryError, Section, number

from tests.evidence import large, wycheproof

if TYPE_CHECKING:
    from collections.abc import Sequence


def primitive_slices(_quick: bool) -> list[Any]:
    if not wycheproof.HERE:
        raise NothingToTryError(wycheproof.NOT_HERE)
    return list(wycheproof.PRIMITIVES)


def primitive_work(name: str) -> dict[str, Any]:
    return {"name": name, **wycheproof.judged(name)}


def primitive_figures(done: list[Any]) -> Figures:
    results = ("valid", "invalid", "acceptable", "missed")
    rows = [[each["name"], *(number(each[result]) for result in results)] for each in done]
    missed = sum(each["missed"] for each in done)
    said = (
        f"{number(sum(each[result] for each in done for result in results[:2]))} vectors that say valid or invalid, "
        f"{missed} missed. What Wycheproof calls acceptable may go either way. A shared secret of zeros, which X25519 "
        "allows and Wycheproof accepts, ends in FM-SHR-05."
    )
    columns = ["primitive", "valid", "invalid", "acceptable", "missed"]
    return Figures(columns, rows, [said], holds=not missed)


def speed_slices(quick: bool) -> list[Any]:
    """MB of a file, and how often."""
    return [[10, 1], [100, 1]] if quick else [[10, 3], [100, 3], [1000, 3], [7000, 3]]


def speed_work(part: Sequence[int]) -> dict[str, Any]:
    megabytes, times = part
    with tempfile.TemporaryDirectory() as folder:
        return asdict(large.measured(large.write(Path(folder) / "files", megabytes), times))


def speed_figures(done: list[Any]) -> Figures:
    rows = [
        [
            number(each["bytes"]),
            f"{each['seconds']:.2f}",
            f"{each['bytes'] / each['seconds'] / 1e9:.2f}",
            f"{each['peak_mb']:.1f}",
            f"{each['sha256sum']:.2f}",
            f"{each['seconds'] / each['sha256sum']:.2f}",
        ]
        for each in done
    ]
    first, last = done[0], done[-1]
    grown = last["peak_mb"] - first["peak_mb"]
    rate = (last["bytes"] - first["bytes"]) / (last["seconds"] - first["seconds"]) / 1e9
    said = (
        f"From {number(first['bytes'])} to {number(last['bytes'])} bytes the peak memory changes by {grown:+.1f} MB. "
        f"Behind the start of the program, {rate:.2f} GB/s. The numbers are zeros in a hole of the file: this says "
        "nothing about a disk."
    )
    columns = ["bytes", "seconds", "GB/s", "peak MB", "`sha256sum`, seconds", "ratio"]
    return Figures(columns, rows, [said], holds=grown < 8)


SECTIONS = [
    Section(
        "primitives",
        "Vectors of Project Wycheproof",
        "Every vector for the primitives that fedmed uses, through its own functions where it has one; HPKE against "
        "a second program that meets the vectors of RFC 9180, with every bit flipped.",
        primitive_slices,
        primitive_work,
        primitive_figures,
    ),
    Section(
        "speed",
        "Time and memory of verifying a large file",
        "`fedmed verify MODEL --federation F` as a program of its own, with its start: signature, schema, hash, table "
        "of tensors, finite numbers, every byte of the container. The best of three; beside it `sha256sum` of the same "
        "file.",
        speed_slices,
        speed_work,
        speed_figures,
        alone=True,
    ),
]
