"""Words of a text, and whether they are among others that are known by a keyed hash alone.

Words are compared whole and without case; several in a row count as one (a first and a last name, a date). What is too
short to mean anything by itself is left out: fewer than MIN_LETTERS letters and digits, or MIN_DIGITS where there are
digits alone, or a decimal number.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from numpy.typing import NDArray

TOKEN = re.compile(r"[0-9]+(?:\.[0-9]+)+|[^\W_]+")  # a UID is one word, and so is a decimal number
LONGEST = 8  # words in a row
MIN_LETTERS, MIN_DIGITS = 4, 6


def split(text: str) -> list[str]:
    return TOKEN.findall(unicodedata.normalize("NFC", text).casefold())


def is_telling(run: Sequence[str]) -> bool:
    """Whether words in a row say anything by themselves."""
    if len(run) == 1 and run[0].count(".") == 1:
        return False
    letters = "".join(run).replace(".", "")
    return len(letters) >= (MIN_DIGITS if letters.isdecimal() else MIN_LETTERS)


def digest(key: bytes, run: Sequence[str]) -> int:
    """64 bits that only the holder of the key can make from the words."""
    found = hashlib.blake2b(" ".join(run).encode(), key=key, digest_size=8, person=b"identifier").digest()
    return int.from_bytes(found, "big")


def spoken(text: str) -> set[str]:
    """Every run of one to LONGEST words of a text that says something."""
    words = split(text)
    return {
        " ".join(words[start:stop])
        for start in range(len(words))
        for stop in range(start + 1, min(start + LONGEST, len(words)) + 1)
        if is_telling(words[start:stop])
    }


def among(key: bytes, known: NDArray[np.uint64], text: str, public: Collection[str]) -> list[str]:
    """The runs of words of `text` that are `known` (sorted digests) and not `public`: for this computer alone."""
    if not known.size:
        return []
    runs = sorted(spoken(text).difference(public))
    hashed = np.array([digest(key, run.split(" ")) for run in runs], np.uint64)
    places = np.searchsorted(known, hashed).clip(max=known.size - 1)
    return [run for run, is_known in zip(runs, known[places] == hashed, strict=True) if is_known]
