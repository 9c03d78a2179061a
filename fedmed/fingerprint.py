"""What a data set looks like in numbers that add up over cases, so that those of all hospitals can be pooled by files.

Every number is a count, a mean over cases or a sum over them, each case counting once however large it is: pooling the
fingerprints of parts gives the fingerprint of the whole (the statistics of nnU-Net's fingerprint, Isensee et al. 2021,
per case). `floored` makes of it what may leave a hospital.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING

from fedmed.recipe import OfPictures

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from fedmed.recipe import Imaging

DIGITS = 5  # significant ones, of all numbers that are no counts
STEP = 1.02  # from one bin of lengths to the next
LARGEST = 1e15  # more digits than a decimal of a statement has
LOWEST, HIGHEST = 0.5, 99.5  # percent; never the extremes, which are single voxels


@dataclass(frozen=True)
class Grey:
    """Grey values of one channel over `n` cases: mean and standard deviation with every case weighing the same, and the
    mean of the cases' 0.5 and 99.5 percentiles, None where they may not be told.
    """

    n: int
    mean: float
    sd: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Cell:
    """`count` cases in the bins `first` to `last`; bin k is what is nearest to 1.02 ** k."""

    first: int
    last: int
    count: int


@dataclass(frozen=True)
class Lengths:
    """Cases by a length. `untold` cases are in no cell, because they are too few to be told."""

    cells: tuple[Cell, ...]
    untold: int = 0


UNTOLD = Grey(0, 0.0, 0.0, None, None)
Axes = tuple[Lengths, Lengths, Lengths]


@dataclass(frozen=True)
class Share:
    """A class: the cases that show it, and its voxels in all of them (0 where classes are of whole images). Both are
    None where they may not be told, which is not zero.
    """

    cases: int | None
    voxels: float | None


@dataclass(frozen=True)
class Fingerprint:
    """`spacing` in mm and `shape` in voxels along the recipe's axes (columns, rows and slices of pictures).

    Of rows of a table there are `inputs` alone: each number that the network gets, in its order, over the rows that
    have it; of a category 0 and 1 for each level but the first.
    """

    num_cases: int
    channels: Mapping[str, Grey]
    spacing: Axes
    shape: Axes
    classes: Mapping[int, Share]
    inputs: tuple[Grey, ...] = ()


def classes_of(recipe: Imaging) -> list[int]:
    """The classes that are counted: 0, no finding, only where whole images have one."""
    return [*([0] if isinstance(recipe, OfPictures) else []), *sorted(recipe.data.labels)]


def bin_of(length: float) -> int:
    return round(math.log(length) / math.log(STEP))


def counted(lengths: Iterable[float]) -> Lengths:
    """Cases by bin; a length of 0 is unknown, and counts nowhere."""
    found = Counter(bin_of(length) for length in lengths if length > 0)
    return Lengths(tuple(Cell(number, number, found[number]) for number in sorted(found)))


def rounded(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")


def impossible(found: Fingerprint) -> str:
    """What no data set can be like, in words; nothing where one could be. For what somebody else sent."""
    for grey in (*found.channels.values(), *found.inputs):
        if grey.n > found.num_cases or grey.sd < 0:
            return "values of more cases than there are, or with a negative deviation"
        if (grey.low is None) != (grey.high is None) or (grey.low or 0) > (grey.high or 0):
            return "percentiles that are not in order"
    for lengths in (*found.spacing, *found.shape):
        ends = [end for cell in lengths.cells for end in (cell.first, cell.last)]
        twice = any(one.last == other.first for one, other in pairwise(lengths.cells))
        if ends != sorted(ends) or twice:
            return "lengths in bins that are not in order"
        if sum(cell.count for cell in lengths.cells) + lengths.untold > found.num_cases:
            return "lengths of more cases than there are"
    if any((share.cases or 0) > found.num_cases or (share.voxels or 0) < 0 for share in found.classes.values()):
        return "classes of more cases than there are"
    return ""


def floored(found: Fingerprint, min_count: int) -> Fingerprint:
    """What may leave a hospital: rounded, and no breakdown that speaks of fewer than `min_count` cases.

    Percentiles of fewer cases are left out. A cell of lengths grows over its neighbours until it holds as many; in a
    data set of fewer none is told. Classes: see `_told`.
    """
    return replace(
        found,
        channels={name: _few(grey, min_count) for name, grey in found.channels.items()},
        spacing=_each(lambda lengths: _widened(lengths, min_count), found.spacing),
        shape=_each(lambda lengths: _widened(lengths, min_count), found.shape),
        classes=_told(found, min_count),
        inputs=tuple(_of_enough(grey, min_count) for grey in found.inputs),
    )


def _of_enough(grey: Grey, min_count: int) -> Grey:
    """Nothing about fewer than `min_count` rows; nor of 0 and 1, where either stands in so few: a mean is a count then.

    It is decided by what would be told, so that the coordinator can check it.
    """
    mean, sd = rounded(grey.mean), rounded(grey.sd)
    ones = round(mean * grey.n)
    is_yes_or_no = 0 <= mean <= 1 and math.isclose(sd**2, mean * (1 - mean), abs_tol=1e-4)
    few = is_yes_or_no and any(0 < part < min_count for part in (ones, grey.n - ones))
    return UNTOLD if few or grey.n < min_count else Grey(grey.n, mean, sd, None, None)


def _each(change: Callable[[Lengths], Lengths], axes: Axes) -> Axes:
    one, two, three = map(change, axes)
    return one, two, three


def _few(grey: Grey, min_count: int) -> Grey:
    low, high = (None if grey.n < min_count or end is None else rounded(end) for end in (grey.low, grey.high))
    return Grey(grey.n, rounded(grey.mean), rounded(grey.sd), low, high)


def _widened(lengths: Lengths, min_count: int) -> Lengths:
    cells: list[Cell] = []
    first, count = None, 0
    for cell in lengths.cells:
        first, count = cell.first if first is None else first, count + cell.count
        if count >= min_count:
            cells.append(Cell(first, cell.last, count))
            first, count = None, 0
    if count and cells:
        before = cells.pop()
        cells.append(Cell(before.first, lengths.cells[-1].last, before.count + count))
        count = 0
    return Lengths(tuple(cells), lengths.untold + count)


def _told(found: Fingerprint, min_count: int) -> dict[int, Share]:
    """Classes that so few cases show, or lack, that it could be told who, are suppressed; and where the suppressed
    ones add up to a number that the others give away, the smallest of those as well.
    """
    shown = {label: share.cases or 0 for label, share in found.classes.items()}
    hidden = {
        label
        for label, share in found.classes.items()
        if share.cases is None or any(0 < part < min_count for part in (share.cases, found.num_cases - share.cases))
    }
    if sum(shown.values()) == found.num_cases:  # one class a case: the cells add up to a known number
        left = sorted((cases, label) for label, cases in shown.items() if cases and label not in hidden)
        while left and 0 < sum(shown[label] for label in hidden) < min_count:
            hidden.add(left.pop(0)[1])
    return {
        label: Share(None, None) if label in hidden else replace(share, voxels=rounded(share.voxels or 0))
        for label, share in found.classes.items()
    }
