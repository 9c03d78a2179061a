"""Images that look nearly the same: exported twice, rescaled, re-encoded or brightened, perhaps under two names.

Each case has a perceptual hash, as pHash does for pictures (Zauner 2010, Implementation and benchmarking of perceptual
image hash functions): the signs of the lowest coefficients of a cosine transform. The distance of two is the share of
bits that differ, about .5 for images that have nothing in common. What counts as near was chosen on real and sample
images, see benchmarks/near_duplicates.py.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, TypeVar

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from fedmed.cases.case import Case, Picture, Volume

    Words = NDArray[np.uint64]

Side = TypeVar("Side", bound=str)
SIDE = {2: 64, 3: 32}  # samples along each axis that the transform sees
KEPT = {2: 32, 3: 10}  # lowest frequencies along each axis: 1023 and 999 bits without the mean
NEAR = 0.18  # the nearest two real or sample patients of benchmarks/results/near_duplicates.md are .23 apart
SHARE_OF_USUAL = 0.45  # of the usual distance to the fifth nearest case: in some folders all cases look alike
FIFTH = 5  # so that a folder that was imported twice does not count as the usual
SAMPLE = 500  # cases that the usual distance is taken from
ROWS = 256  # cases that are compared with all others at a time: 20,000 cases need 40 MB
PARTED = "FM-DAT-76"


@dataclass(frozen=True)
class Near:
    """Pairs of cases of different patients that look nearly the same, and how many patients they join.

    `unit_of` names for every patient the first of those who are joined to him, for most himself. Where more than half
    of all patients look like each other, no copies can be told among these: they are `unclear` and not joined.
    """

    pairs: int
    patients: int
    unclear: int
    unit_of: Mapping[str, str]


def of_volume(volume: Volume) -> str:
    """The hash of the first channel, turned to RAS, in hexadecimal digits."""
    from fedmed.cases import geometry  # noqa: PLC0415 - nibabel; whoever lists cases imports this module

    image, _ = geometry.turned(volume.image[0][..., None], volume.affine, "RAS")
    return _hash(image[..., 0])


def of_picture(picture: Picture) -> str:
    """The hash of the first channel of a radiograph; of several slices, as of a volume."""
    image = picture.slices[:, 0]
    return _hash(image[0] if len(image) == 1 else image)


def _hash(image: NDArray[np.float32]) -> str:
    from scipy import fft  # noqa: PLC0415 - only when there is an image

    side, kept = SIDE[image.ndim], KEPT[image.ndim]
    found = image.astype(np.float32, copy=False)
    for axis, length in enumerate(image.shape):
        found = np.moveaxis(np.tensordot(_weights(length, side), found, (1, axis)), 0, axis)
    low = fft.dctn(found, norm="ortho")[(slice(kept),) * image.ndim]
    return np.packbits(low.reshape(-1)[1:] > 0).tobytes().hex()


@lru_cache(maxsize=64)
def _weights(length: int, side: int) -> NDArray[np.float32]:
    """[side, length]: linear interpolation, over as many samples as fall on one when an axis gets shorter."""
    centres = (np.arange(side) + 0.5) * length / side - 0.5
    distance = np.abs(np.arange(length) - centres[:, None])
    weights = np.maximum(0, 1 - distance / max(1, length / side))
    shares: NDArray[np.float32] = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    return shares


def near(cases: Sequence[Case]) -> Near:
    """Which of the cases look nearly the same; a case without a hash looks like nobody."""
    return _near(tuple(sorted((case.patient, case.likeness) for case in cases)))


def units(cases: Sequence[Case]) -> Mapping[str, str]:
    """The unit of every patient: patients with nearly the same images are to be kept together."""
    return near(cases).unit_of


def doubts(cases: Sequence[Case]) -> list[tuple[str, str]]:
    """Code and message where different patients have nearly the same images."""
    found, said = near(cases), []
    if found.pairs:
        pairs = "1 pair of cases looks" if found.pairs == 1 else f"{found.pairs} pairs of cases look"
        said.append(("FM-DAT-75", f"{pairs} nearly the same, said to be of {found.patients} patients"))
    if found.unclear:
        said.append(("FM-DAT-77", f"{found.unclear} of {len(found.unit_of)} patients look nearly the same"))
    return said


def parted(given: Mapping[Side, Sequence[Case]], called: str = "folds") -> tuple[str, str] | None:
    """Code and message where patients with nearly the same images lie on several sides, which are folds or the like."""
    unit_of = units([case for cases in given.values() for case in cases])
    size = Counter(unit_of.values())
    sides: dict[str, set[Side]] = defaultdict(set)
    for side, cases in given.items():
        for case in cases:
            sides[unit_of[case.patient]].add(side)
    count = sum(size[unit] > 1 and len(each) > 1 for unit, each in sides.items())
    what = "1 group of patients" if count == 1 else f"{count} groups of patients"
    verb = "lies" if count == 1 else "lie"
    return (PARTED, f"{what} with nearly the same images {verb} in several {called}") if count else None


@lru_cache(maxsize=8)  # a data check, the split and its report ask about the same cases
def _near(said: tuple[tuple[str, str], ...]) -> Near:
    patients = sorted({patient for patient, _ in said})
    number = {patient: index for index, patient in enumerate(patients)}
    unit = np.arange(len(patients))
    pairs = np.zeros(len(patients), np.int64)  # by the first patient of each
    for length in sorted({len(text) for _, text in said} - {0}):  # of pictures and of volumes, which never meet
        group = [(number[patient], text) for patient, text in said if len(text) == length]
        owner = np.array([patient for patient, _ in group])
        words = _words([text for _, text in group])
        limit = _limit(words, owner, length * 4)
        for start in range(0, len(words), ROWS):
            rows = slice(start, start + ROWS)
            close = (_differing(words[rows], words[start:]) <= limit) & (owner[rows, None] != owner[start:])
            first, second = np.nonzero(np.triu(close))
            if len(first):
                one, other = owner[start + first], owner[start + second]
                pairs += np.bincount(one, minlength=len(patients))
                unit = _joined(unit, one, other)
    size = np.bincount(unit, minlength=len(patients))[unit]
    unclear = size > max(1, len(patients) / 2)
    unit = np.where(unclear, np.arange(len(patients)), unit)
    unit_of = {patient: patients[unit[index]] for patient, index in number.items()}
    return Near(int(pairs[~unclear].sum()), int(((size > 1) & ~unclear).sum()), int(unclear.sum()), unit_of)


def _joined(unit: NDArray[np.int64], one: NDArray[np.int64], other: NDArray[np.int64]) -> NDArray[np.int64]:
    """The first patient of each component, once those of `one` are joined to those of `other`."""
    from scipy.sparse import coo_array, csgraph  # noqa: PLC0415 - only when there are pairs

    edges = np.unique(np.stack([unit[one], unit[other]]), axis=1)
    graph = coo_array((np.ones(edges.shape[1]), (edges[0], edges[1])), (len(unit), len(unit)))
    _, component = csgraph.connected_components(graph, directed=False)
    component = component[unit]
    _, first, place = np.unique(component, return_index=True, return_inverse=True)
    found: NDArray[np.int64] = first[place]
    return found


def _limit(words: Words, owner: NDArray[np.int64], bits: int) -> float:
    """How many bits two near ones may differ by."""
    usual = []
    for row in range(0, len(words), max(1, len(words) // SAMPLE)):
        others = _differing(words[row : row + 1], words)[0][owner != owner[row]]
        if len(others) >= FIFTH:
            usual.append(np.partition(others, FIFTH - 1)[FIFTH - 1])
    return min(NEAR * bits, SHARE_OF_USUAL * float(np.median(usual))) if usual else NEAR * bits


def _words(hashes: Sequence[str]) -> Words:
    """[hash, word]: as 64 bits at a time, filled up with zeros."""
    rows = np.array([list(bytes.fromhex(text)) for text in hashes], np.uint8)
    return np.pad(rows, ((0, 0), (0, -rows.shape[1] % 8))).view(np.uint64)


def _differing(rows: Words, others: Words) -> NDArray[np.uint16]:
    """[row, other]: how many bits differ."""
    found = np.zeros((len(rows), len(others)), np.uint16)
    for word in range(rows.shape[1]):
        found += np.bitwise_count(rows[:, None, word] ^ others[None, :, word])
    return found
