"""Hospitals that differ in their images: what virtual sites add to every image when it is read, never to a file.

The same case, site and seed give the same image on every machine, so that an experiment repeats.
"""

from __future__ import annotations

import hashlib
import math
from typing import TYPE_CHECKING

import numpy as np

from fedmed.cases.case import Shift

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fedmed.cases.case import ShiftKind


def of_site(kind: ShiftKind, strength: float, seed: int, number: int, sites: int) -> Shift:
    """What site `number` (from 1) of `sites` does to its images.

    noise: the last site adds Gaussian noise whose standard deviation is `strength` times that of the image, site i of N
    i/N of it: noise-based feature imbalance (Li et al. 2022, ICDE, arXiv:2102.02079), there with a fixed variance.
    intensity: a gamma curve with exponents spread evenly, on a logarithmic scale, from exp(-strength) at the first site
    to exp(strength) at the last: as contrast differs between devices; unlike a factor or an offset it outlives a
    z-score.
    """
    place = number / sites if kind == "noise" else (2 * (number - 1) / (sites - 1) - 1 if sites > 1 else 1.0)
    return Shift(kind, round(strength * place, 6), seed)


def apply(
    images: NDArray[np.float32], shift: Shift, alias: str, *, zero_is_outside: bool, bounded: bool
) -> NDArray[np.float32]:
    """`images` [channel, ...] shifted, each channel by itself.

    With `zero_is_outside` zeros stay what they are, as in MR outside the patient; `bounded` values stay from 0 to 1.
    """
    found = images.copy()
    for index, channel in enumerate(found):
        inside = channel != 0 if zero_is_outside else np.ones(channel.shape, bool)
        values = channel[inside].astype(np.float64)
        if not values.size:
            continue
        if shift.kind == "noise":
            values += _random(shift.seed, alias, index).standard_normal(values.size) * shift.amount * values.std()
        else:
            low, high = float(values.min()), float(values.max())
            values = low + (high - low) * ((values - low) / max(high - low, 1e-12)) ** math.exp(shift.amount)
        channel[inside] = np.clip(values, 0, 1) if bounded else values
    return found


def _random(seed: int, alias: str, channel: int) -> np.random.Generator:
    number = hashlib.sha256(f"shift\0{seed}\0{alias}\0{channel}".encode()).digest()[:16]
    return np.random.Generator(np.random.PCG64(int.from_bytes(number, "big")))
