"""Secure aggregation as arithmetic: updates as whole numbers modulo 2^k, which are masked, added up and read back.

Pure functions over vectors. Masks come from a `keystream` that is passed in: nothing here knows a key. Integer sums are
exact, so the sum of masked updates without the masks is, bit for bit, the sum of the updates. Source: PRIVACY.md
section 1; double masking after Bonawitz et al., Practical Secure Aggregation for Privacy-Preserving Machine Learning,
CCS 2017.
"""

from __future__ import annotations

import math
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np

from fedmed.errors import FedmedError
from fedmed.learning import params

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    Keystream = Callable[[bytes, int, int], bytes]
    Read = Callable[[int, int], np.ndarray]

Ring = Literal[32, 64]
PIECE = 1 << 15  # elements that are worked on at once: they stay in the processor's cache
MASK_PIECE = 1 << 18  # the same where each seed's mask costs a call
SPAN = 1 << 20  # elements that a thread takes at a time
MAX_SQUARED = float(params.MAX_MAGNITUDE) ** 2


@dataclass(frozen=True)
class Quantised:
    """`vector`: [elements + 1] whole numbers modulo 2^ring, the number of cases last. `factor`: what the update was
    multiplied by to be no longer than the clip; that number is for the site alone.
    """

    vector: np.ndarray
    factor: float


@dataclass(frozen=True)
class Quantiser:
    """Changes of weights as whole numbers that can be added up: q = round(w * change * s) modulo 2^ring.

    w = num_cases / max_num_cases, s = Q / clip and Q = 2^(b-1) - 1 with b = ring - 1 - ceil(log2 num_sites), so that no
    sum of all sites runs over. `clip` bounds the norm of an update, and with it every single change and the mean.
    """

    num_sites: int
    ring: Ring
    clip: float
    max_num_cases: int

    def __post_init__(self) -> None:
        if not (math.isfinite(self.clip) and self.clip > 0):
            raise FedmedError("FM-SHR-06", f"clip: expected a positive number, got {self.clip}")

    @property
    def bits(self) -> int:
        return self.ring - 1 - (self.num_sites - 1).bit_length()

    @property
    def largest(self) -> int:
        """Q: what a change as large as the clip becomes at a site of max_num_cases."""
        return (1 << self.bits - 1) - 1

    @property
    def scale(self) -> float:
        return self.largest / self.clip

    @cached_property
    def dtype(self) -> np.dtype:
        """Little-endian, as it travels."""
        return np.dtype(f"<u{self.ring // 8}")

    @property
    def _signed(self) -> np.dtype:
        return np.dtype(f"<i{self.ring // 8}")

    def quantise(self, change: np.ndarray, num_cases: int) -> Quantised:
        """`change`: the flat vector of an update, float32 [elements], as `shapes` orders it.

        Raises FedmedError FM-TEN-02 (NaN or beyond MAX_MAGNITUDE).
        """
        counted = min(num_cases, self.max_num_cases)
        vector = np.empty(len(change) + 1, self.dtype)
        vector[-1] = counted
        signed = vector.view(self._signed)  # modulo 2^ring the same numbers
        # w * Q, rounded: a product in float64 may lie above it in the ring of 64 bits
        most = (2 * counted * self.largest + self.max_num_cases) // (2 * self.max_num_cases)
        spans = range(0, len(change), SPAN)
        with _threads() as pool:
            norm = math.sqrt(sum(pool.map(lambda first: _squared(change[first : first + SPAN]), spans)))
            factor = self.clip / norm if norm > self.clip else 1.0
            scale = np.float64(factor * counted / self.max_num_cases * self.scale)

            def work(span: int) -> None:
                scaled = np.empty(PIECE)
                for first in range(span, min(span + SPAN, len(change)), PIECE):
                    piece = change[first : first + PIECE]
                    here, there = scaled[: len(piece)], signed[first : first + len(piece)]
                    np.rint(np.multiply(piece, scale, out=here, dtype=np.float64), out=here)
                    there[:] = here
                    np.clip(there, -most, most, out=there)

            for _ in pool.map(work, spans):
                pass
        return Quantised(vector, factor)

    def cases(self, total: int, included: int) -> int:
        """How many cases `included` sites have, by the last element of the sum. Raises FedmedError FM-SHR-12."""
        if not included <= total <= included * self.max_num_cases:
            expected = f"expected {included} to {included * self.max_num_cases} of {included} sites"
            raise FedmedError("FM-SHR-12", f"number of cases in the sum: {expected}, got {total}")
        return total

    def mean(self, total: np.ndarray, cases: int, included: int) -> np.ndarray:
        """The mean change by the number of cases, float64, of a stretch of the sum without its masks.

        Raises FedmedError FM-SHR-12 where no updates within the clip can add up to it.
        """
        signed = total.view(self._signed)
        most = (2 * self.largest * cases + included * self.max_num_cases) // (2 * self.max_num_cases)
        if len(signed) and not -most <= int(signed.min()) <= int(signed.max()) <= most:
            raise FedmedError("FM-SHR-12", f"sum of updates: expected no element beyond {most}, got one")
        found: np.ndarray = signed.astype(np.float64)
        found *= self.max_num_cases / (self.scale * cases)
        return found

    def error(self, cases: int, included: int) -> float:
        """How far an element of the mean may lie off the mean of the updates: each site rounds once."""
        return included / 2 * self.max_num_cases / (self.scale * cases)

    def require_norm(self, squared: float, elements: int, cases: int, included: int) -> None:
        """The mean of updates whose norm is within the clip is within it too, but for rounding.

        Raises FedmedError FM-SHR-12.
        """
        most = self.clip + math.sqrt(elements) * self.error(cases, included)
        if math.sqrt(squared) > most * (1 + 1e-6):
            raise FedmedError("FM-SHR-12", f"norm of the mean: expected up to {most:.6g}, got {math.sqrt(squared):.6g}")


def mask(vector: np.ndarray, added: Sequence[bytes], subtracted: Sequence[bytes], keystream: Keystream) -> None:
    """Put masks on a whole vector, in place, or take them off: those of the seeds `added` and `subtracted`.

    `keystream(seed, offset, size)` gives bytes of a seed's mask; it is called by several threads.
    """

    def work(span: int) -> None:
        for first in range(span, min(span + SPAN, len(vector)), MASK_PIECE):
            stop = min(first + MASK_PIECE, len(vector))
            mask_piece(vector[first:stop], first, added, subtracted, keystream)

    with _threads() as pool:
        for _ in pool.map(work, range(0, len(vector), SPAN)):
            pass


def mask_piece(
    piece: np.ndarray, first: int, added: Sequence[bytes], subtracted: Sequence[bytes], keystream: Keystream
) -> None:
    """As `mask`, for the elements from `first` on; that is a multiple of 4."""
    width = piece.dtype.itemsize
    for seeds, change in ((added, np.add), (subtracted, np.subtract)):
        for seed in seeds:
            stream = np.frombuffer(keystream(seed, first * width, piece.nbytes), piece.dtype)
            change(piece, stream, out=piece)  # modulo 2^ring


@dataclass(frozen=True)
class Pooled:
    """The mean of masked updates: `cases` of all sites together, and float32 pieces of at most MASK_PIECE elements."""

    cases: int
    pieces: Iterator[np.ndarray]


def pooled(
    quantiser: Quantiser,
    updates: Sequence[Read],
    elements: int,
    added: Sequence[bytes],
    subtracted: Sequence[bytes],
    keystream: Keystream,
) -> Pooled:
    """Add masked updates up, take off the masks that are left, and read the mean.

    `read(first, count)` gives elements of one masked vector, of `elements` changes and the number of cases, for several
    threads. Memory is that of a few pieces. Raises FedmedError FM-SHR-12, also while the pieces are taken and behind
    the last of them: nothing of it is a model before that.
    """

    def total(first: int, count: int) -> np.ndarray:
        found = np.zeros(count, quantiser.dtype)
        for read in updates:
            found += read(first, count)
        mask_piece(found, first, added, subtracted, keystream)
        return found

    included, aligned = len(updates), elements - elements % 4
    cases = quantiser.cases(int(total(aligned, elements + 1 - aligned)[-1]), included)

    def work(first: int) -> tuple[np.ndarray, float]:
        mean = quantiser.mean(total(first, min(MASK_PIECE, elements - first)), cases, included)
        return mean.astype(np.float32), float(np.square(mean).sum())

    def pieces() -> Iterator[np.ndarray]:
        squared = 0.0
        firsts = range(0, elements, MASK_PIECE)
        with _threads() as pool:
            for batch in range(0, len(firsts), 16):  # so that few pieces wait for whoever takes them
                for piece, norm in pool.map(work, firsts[batch : batch + 16]):
                    squared += norm
                    yield piece
        quantiser.require_norm(squared, elements, cases, included)

    return Pooled(cases, pieces())


@contextmanager
def _threads() -> Iterator[ThreadPoolExecutor]:
    pool = ThreadPoolExecutor(max(1, min(8, os.cpu_count() or 1)))
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _squared(span: np.ndarray) -> float:
    """Raises FedmedError FM-TEN-02."""
    wide, total = np.empty(PIECE), 0.0
    for first in range(0, len(span), PIECE):
        piece = span[first : first + PIECE]
        # no product of vectors: BLAS would start threads of its own under each of these
        squared = float(np.multiply(piece, piece, out=wide[: len(piece)], dtype=np.float64).sum())
        if not squared <= MAX_SQUARED:  # only then can one of them be beyond it, or none at all
            params.require_finite("update", piece)
        total += squared
    return total
