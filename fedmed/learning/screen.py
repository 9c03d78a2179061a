"""Which updates of a round stand out: by their length and by their direction, beside the others of the same round.

A coordinator without data has only the updates themselves to compare. Norm: Sun et al., Can You Really Backdoor
Federated Learning?, arXiv:1911.07963 (a bound on the norm limits what one update can do). Direction: the cosine as a
sign of distrust is from Fung et al., FoolsGold, RAID 2020, and Cao et al., FLTrust, NDSS 2021. Those two act on it by
themselves; here nothing is changed or left out, the figures are for a person who can call the hospital.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from statistics import median_low
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fedmed.learning.strategy import Block, Updates

PIECE, ROWS = 1 << 15, 12  # bytes of an update, and updates, multiplied at a time with those before them
UNPACKED = 1_000_000  # OpenBLAS multiplies about so many numbers without a copy of them
TINY = 1e-28  # a sum of squares below it may have lost some of them to float32, whose range ends at 1e-38
ROUNDING = 1e-7  # of a length: what float32 tells apart
AGREED = 0.3  # mean cosine among the others, from which on they have a common direction


@dataclass(frozen=True)
class Figures:
    """One update beside the others of its round.

    `norm` is its L2 norm over all tensors. `ratio` is norm / median, where the median is the lower one of the norms
    above zero: of two updates the longer stands out, and sites that learned nothing do not make one that did look long.
    `cosine` is that to the sum of the others, none of which counts with more than the median norm: otherwise one huge
    update would point the sum away from every honest site. It is given only where at least two others agree among
    themselves (a mean cosine of at least 0.3): near convergence honest hospitals pull in different directions, each
    update is about minus the sum of the rest, and of two sites nobody can say which one points the wrong way. None
    also for an update of zero.
    """

    site: str
    norm: float
    ratio: float
    cosine: float | None


def gram(updates: Updates, done: Callable[[int], None] = lambda _: None) -> np.ndarray:
    """Inner products of the updates, float64 [sites, sites], in one pass; memory is one block. `done(elements)`."""
    total = np.zeros((len(updates.meta), len(updates.meta)))
    for stop, part in updates.map(lambda block: (block.start + len(block.base), products(block))):
        total += part
        done(stop)
    return total


def products(block: Block) -> np.ndarray:
    """A block's part of the inner products, added up in float64, [sites, sites].

    Only what is learned counts: running statistics of batch norm are often many times as long as all changes of
    weights, and would hide a weight that was changed tenfold.
    """
    return _products(block, np.float64)


def estimates(block: Block) -> np.ndarray:
    """`products` to about six digits in half the time, for who looks at lengths and directions alone.

    Multiplied as they are, in float32; where a number is too large or too small for that, in float64.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        found = _products(block, np.float32)
    if block.group != "param" or (np.isfinite(found).all() and (np.diag(found) > TINY).all()):
        return found
    return products(block)


def _products(block: Block, dtype: type[np.floating[Any]]) -> np.ndarray:
    sites, elements = block.updates.shape
    total = np.zeros((sites, sites))
    if block.group != "param":
        return total
    size = min(PIECE // np.dtype(dtype).itemsize, UNPACKED // (ROWS * (sites + 1)))
    for first in range(0, elements, size):
        piece = block.updates[:, first : first + size].astype(dtype, copy=False)
        for row in range(0, sites, ROWS):
            last = min(row + ROWS, sites) - 1
            total[row : last + 1, :last] += piece[row : last + 1] @ piece[:last].T  # two matrices: a square is slower
            total[last, last] += piece[last] @ piece[last]
    return np.tril(total) + np.tril(total, -1).T


def added(products: np.ndarray) -> np.ndarray:
    """Inner products of what each update of a lap added to the one before it, out of those of the whole differences.

    a_1 = u_1 and a_k = u_k - u_(k-1), so A = L U and A A' = L (U U') L', with ones on the diagonal of L and minus ones
    below it. A length below what float32 tells apart beside the whole differences is rounding, and zero: else sites
    that added nothing would make the median tiny, and each that did train would stand out.
    """
    steps = np.eye(len(products)) - np.eye(len(products), k=-1)
    found: np.ndarray = steps @ products @ steps.T
    squares, least = np.diag(found), ROUNDING**2 * (np.abs(steps) @ np.diag(products))
    np.fill_diagonal(found, np.where(squares > least, squares, 0))
    return found


def figures(names: Sequence[str], products: np.ndarray) -> list[Figures]:
    """Of every update, in the order of `names`, out of the products that `gram` made. A zero update has ratio 0."""
    norms = np.sqrt(np.diag(products))
    median = median_norm(products) or 1.0
    counted = np.minimum(1.0, np.divide(median, norms, out=np.zeros_like(norms), where=norms > 0))
    return [
        Figures(name, float(norms[i]), float(norms[i]) / median, _cosine(i, products, norms, counted))
        for i, name in enumerate(names)
    ]


def median_norm(products: np.ndarray) -> float:
    """The lower median of the norms above zero; 0 when there are none."""
    norms = [float(norm) for norm in np.sqrt(np.diag(products)) if norm > 0]
    return median_low(norms) if norms else 0.0


def figures_in_a_lap(names: Sequence[str], products: np.ndarray) -> list[Figures]:
    """Of what each site added to the one before it; `products` are those of the whole differences. No cosine: who goes
    on from another's weights turns back where those went too far for its own cases, and honest sites point against
    each other.
    """
    return [replace(each, cosine=None) for each in figures(names, added(products))]


def _cosine(i: int, products: np.ndarray, norms: np.ndarray, counted: np.ndarray) -> float | None:
    """<u_i, s> / (|u_i| |s|), s = sum over j != i of c_j u_j, c_j = min(1, median / |u_j|)."""
    others = [j for j in range(len(norms)) if j != i and norms[j] > 0]
    if norms[i] == 0 or len(others) < 2:
        return None
    directions = products[np.ix_(others, others)] / np.outer(norms[others], norms[others])
    count = len(others)
    if (directions.sum() - count) / (count * (count - 1)) < AGREED:
        return None
    parts = counted.copy()
    parts[i] = 0
    length = float(np.sqrt(parts @ products @ parts))
    return float(np.clip(products[i] @ parts / (norms[i] * length), -1, 1))


def beyond(found: Figures, max_norm_ratio: float, min_cosine: float) -> str:
    """Why an update is held, with its code and figures; empty when it stays within both limits.

    FM-SCR-01: ratio > max_norm_ratio. FM-SCR-02: cosine < min_cosine. A limit that is reached is not passed.
    """
    parts = []
    if found.ratio > max_norm_ratio:
        parts.append(f"FM-SCR-01: its norm is {found.ratio:.4g} times the median, the limit is {max_norm_ratio:.6g}")
    if found.cosine is not None and found.cosine < min_cosine:
        parts.append(f"FM-SCR-02: its cosine to the others is {found.cosine:.3f}, the limit is {min_cosine:.6g}")
    return "; ".join(parts)
