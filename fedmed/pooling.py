"""From the fingerprints of hospitals to that of all their cases together, and to the numbers that images and rows go
through.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING

from fedmed.errors import FedmedError
from fedmed.fingerprint import DIGITS, LARGEST, STEP, Axes, Cell, Fingerprint, Grey, Lengths, Share, classes_of, rounded
from fedmed.preprocessing import ColumnNumbers, Intensity, Preprocessing
from fedmed.recipe import Classification, Imaging, Rowwise, Segmentation
from fedmed.recipe_fields import FEDERATED, MAX_MILLIMETRES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fedmed.recipe import Recipe
    from fedmed.recipe_tables import Table


def pool(parts: Sequence[Fingerprint]) -> Fingerprint:
    """The fingerprint of all their cases together.

    Percentiles are those of the parts that told theirs. Class counts are of the parts that told every class; where
    none did, none is told.
    """
    names = parts[0].channels
    whole = [part for part in parts if all(share.cases is not None for share in part.classes.values())]
    return Fingerprint(
        num_cases=sum(part.num_cases for part in parts),
        channels={name: _pool_grey([part.channels[name] for part in parts]) for name in names},
        spacing=_pool_axes([part.spacing for part in parts]),
        shape=_pool_axes([part.shape for part in parts]),
        classes={label: _pool_shares([part.classes[label] for part in whole]) for label in parts[0].classes},
        inputs=tuple(_pool_grey(each) for each in zip(*(part.inputs for part in parts), strict=True)),
    )


def _pool_grey(parts: Sequence[Grey]) -> Grey:
    n = sum(part.n for part in parts)
    mean = math.fsum(part.n * part.mean for part in parts) / n if n else 0.0
    spread = math.fsum(part.n * (part.sd**2 + (part.mean - mean) ** 2) for part in parts)
    told = [part for part in parts if part.low is not None and part.high is not None]
    weight = sum(part.n for part in told)
    low, high = (
        math.fsum(part.n * end for part, end in zip(told, ends, strict=True)) / weight if weight else None
        for ends in ([part.low or 0.0 for part in told], [part.high or 0.0 for part in told])
    )
    return Grey(n, mean, math.sqrt(spread / n) if n else 0.0, low, high)


def _pool_axes(parts: Sequence[Axes]) -> Axes:
    one, two, three = (_pool_lengths([part[axis] for part in parts]) for axis in range(3))
    return one, two, three


def _pool_lengths(parts: Sequence[Lengths]) -> Lengths:
    """Cells with the same bins add up; wider ones stay beside them."""
    found: Counter[tuple[int, int]] = Counter()
    for part in parts:
        for cell in part.cells:
            found[cell.first, cell.last] += cell.count
    cells = tuple(Cell(first, last, found[first, last]) for first, last in sorted(found))
    return Lengths(cells, sum(part.untold for part in parts))


def _pool_shares(parts: Sequence[Share]) -> Share:
    if not parts:
        return Share(None, None)
    return Share(sum(part.cases or 0 for part in parts), math.fsum(part.voxels or 0.0 for part in parts))


def median(lengths: Lengths) -> float | None:
    """The (lower) median length, to the width of a bin; None where more cases are untold than told.

    Cases of a cell of several bins count as spread evenly over them.
    """
    total = sum(cell.count for cell in lengths.cells)
    if not total or lengths.untold > total:
        return None
    shares: dict[int, float] = {}
    for cell in lengths.cells:
        bins = range(cell.first, cell.last + 1)
        shares |= {number: shares.get(number, 0.0) + cell.count / len(bins) for number in bins}
    reached = 0.0
    for number in sorted(shares):
        reached += shares[number]
        if reached >= total / 2 - 1e-9:
            return float(f"{STEP**number:.4g}")
    raise ValueError("more cases than there are")


def fitted(found: Fingerprint, recipe: Recipe) -> Preprocessing:
    """What the recipe's images go through, from the fingerprint of one hospital or of all.

    Raises FedmedError FM-NRM-03 where a channel has no two grey values, -04 where the recipe leaves the spacing to the
    fingerprints and too few cases tell theirs, or it is more than a recipe may ask for.
    """
    if isinstance(recipe, Rowwise):
        return Preprocessing(columns=_columns(found.inputs, recipe.data))
    for name, grey in found.channels.items():
        if not grey.n or not rounded(grey.sd) > 0:
            raise FedmedError("FM-NRM-03", f"channel {name}: expected cases with grey values that differ, got none")
    spacing = None
    if isinstance(recipe, Segmentation) and recipe.data.spacing == FEDERATED:
        spacing = [median(lengths) for lengths in found.spacing]
        if None in spacing:
            untold = max(lengths.untold for lengths in found.spacing)
            raise FedmedError("FM-NRM-04", f"spacing: {untold} of {found.num_cases} cases are too few to be told")
        if max(step for step in spacing if step) > MAX_MILLIMETRES:
            shown = " x ".join(f"{step:g}" for step in spacing)
            raise FedmedError("FM-NRM-04", f"spacing: {shown} mm, expected at most {MAX_MILLIMETRES} mm")
    counts = {label: share.cases for label, share in found.classes.items()}
    is_told = isinstance(recipe, Classification) and None not in counts.values()
    return Preprocessing.model_validate(
        {
            "channels": {name: _intensity(grey) for name, grey in found.channels.items()},
            "spacing": spacing,
            "class_counts": counts if is_told else None,
        }
    )


def fits(numbers: Preprocessing, recipe: Recipe) -> bool:
    """Whether `fitted` could have made these numbers for the recipe: all the parts it asks for, no others, and sizes
    with which a network can count.
    """
    channels, columns, counts = numbers.channels or {}, numbers.columns or {}, numbers.class_counts or {}
    names: set[str] = set(recipe.data.channels) if isinstance(recipe, Imaging) else set()
    levels = {column.name: column.levels for column in recipe.data.columns} if isinstance(recipe, Rowwise) else {}
    has_spacing = isinstance(recipe, Segmentation) and recipe.data.spacing == FEDERATED
    classes = set(classes_of(recipe)) if isinstance(recipe, Classification) else set()
    of_channels = [(each.sd, each.mean, each.low or 0.0, each.high or 0.0) for each in channels.values()]
    of_columns = [(each.sd, each.mean, each.fill) for each in columns.values()]
    return (
        set(channels) == names
        and set(columns) == set(levels)
        and (numbers.spacing is not None) == has_spacing
        and (not counts or set(counts) == classes)
        and all(count <= LARGEST for count in counts.values())
        and all(columns[name].fill in range(len(known)) for name, known in levels.items() if known)
        and all(sd >= 1 / LARGEST and max(sd, *map(abs, rest)) <= LARGEST for sd, *rest in [*of_channels, *of_columns])
    )


def _columns(inputs: Sequence[Grey], table: Table) -> dict[str, ColumnNumbers]:
    """By name. A gap becomes the mean, or the most frequent level: a level is counted where it is told, and what is
    told of none counts as the first. A number that nobody may tell stays as it is, and one that is the same everywhere
    becomes 0.
    """
    found, rest = {}, iter(inputs)
    for column in table.columns:
        told = [next(rest) for _ in column.inputs]
        if column.levels is None:
            mean, sd = rounded(told[0].mean), rounded(told[0].sd)
            found[column.name] = ColumnNumbers(fill=mean, mean=mean, sd=sd or 1.0)
        else:
            rows = max(grey.n for grey in told)
            counts = [grey.mean * grey.n for grey in told]  # a small hospital may be the only one that tells of a level
            counts.insert(0, rows - math.fsum(counts))
            most = max(counts) - rows * 10**-DIGITS * len(counts)  # what rounding makes of equally frequent levels
            found[column.name] = ColumnNumbers(fill=next(float(n) for n, count in enumerate(counts) if count >= most))
    return found


def _intensity(grey: Grey) -> Intensity:
    low, high = (None if end is None else rounded(end) for end in (grey.low, grey.high))
    return Intensity(mean=rounded(grey.mean), sd=rounded(grey.sd), low=low, high=high)
