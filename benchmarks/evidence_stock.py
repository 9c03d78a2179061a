"""Sections in which stock programs judge the same files and signatures as fedmed."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evidence_section import Figures, Section, number

from fedmed.errors import CODES
from tests.evidence import crossed, stock
from tests.vectors.test_vectors import INDEX

if TYPE_CHECKING:
    from collections.abc import Sequence

WHY = (
    "All others that the stock tools take have a good signature by the right key over these very bytes. `tar`, "
    "`ssh-keygen` and `sha256sum` know no schema, no federation, no table of tensors and no number, and they read "
    "archives, armours and JSON in more than the one form that fedmed takes."
)


def vector_slices(quick: bool) -> list[Any]:
    names = [name for name, _ in INDEX][:: 20 if quick else 1]
    return [names[first : first + 50] for first in range(0, len(names), 50)]


def vector_work(part: Sequence[str]) -> list[Any]:
    """Name, what is expected, what fedmed and what the stock tools end with."""
    expected = dict(INDEX)
    return [[name, expected[name], *stock.both(name)] for name in part]


def vector_figures(done: list[Any]) -> Figures:
    ends = [tuple(each) for part in done for each in part]
    rows = []
    for code in sorted({ours for _, _, ours, _ in ends}, key=lambda code: (code != "ok", code)):
        theirs = Counter(end for _, _, ours, end in ends if ours == code)
        told = "accepted" if code == "ok" else CODES[code].meaning
        refused = ", ".join(f"{end} {number(count)}" for end, count in sorted(theirs.items()) if end != "ok")
        rows.append([code, told, number(theirs.total()), number(theirs["ok"]), refused])
    wrong = [name for name, expected, ours, _ in ends if ours != expected]
    good = [end for _, _, ours, end in ends if ours == "ok"]
    seen = [end for _, _, ours, end in ends if ours in stock.SEEN_BY_BOTH]
    agreed = sum((ours == "ok") == (end == "ok") for _, _, ours, end in ends)
    said = (
        f"fedmed ends as the vector says for {len(ends) - len(wrong)} of {len(ends)}. Stock tools and fedmed agree on "
        f"{agreed} of {len(ends)} ({agreed / len(ends):.1%}): on {good.count('ok')} of {len(good)} good files, on "
        f"{len(seen) - seen.count('ok')} of {len(seen)} with a defect in signature, key or signed bytes, and on "
        f"{agreed - good.count('ok') - len(seen) + seen.count('ok')} others."
    )
    columns = ["fedmed", "meaning", "vectors", "taken by stock tools", "refused by"]
    return Figures(columns, rows, [said, WHY], holds=not wrong and set(good) <= {"ok"} and "ok" not in seen)


def signing_slices(quick: bool) -> list[Any]:
    return [[name, 3 if quick else 40 if "passphrase" in name else 400] for name in crossed.WAYS]


def signing_work(part: Sequence[Any]) -> dict[str, Any]:
    name, count = part
    with tempfile.TemporaryDirectory() as folder:
        return {"way": name, **crossed.way(name, count, Path(folder))}


def signing_figures(done: list[Any]) -> Figures:
    rows = [
        [each["way"], number(each["tried"]), number(each["held"]), number(each["same"]) if each["same"] else ""]
        for each in done
    ]
    return Figures(
        ["what", "tried", "as expected", "same to the byte"],
        rows,
        ["Only with the version of OpenSSH that is named below; each message is of another length."],
        holds=all(each["held"] == each["tried"] for each in done),
    )


SECTIONS = [
    Section(
        "vectors",
        "Files with one defect, by fedmed and by stock tools",
        "Every vector of `tests/vectors/data` through `fedmed verify`, and by the commands of FORMAT.md section 3 as "
        "real programs: `tar`, `ssh-keygen -Y verify` with the roster, `sha256sum`.",
        vector_slices,
        vector_work,
        vector_figures,
    ),
    Section(
        "signing",
        "Signatures across programs",
        "The same keys and messages through `ssh-keygen` and through fedmed, for every kind.",
        signing_slices,
        signing_work,
        signing_figures,
    ),
]
