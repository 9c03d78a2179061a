"""Differential privacy of sites by noise at the coordinator, who sees every update and is trusted with that.

DP-FedAvg with a fixed denominator (McMahan et al., Learning Differentially Private Recurrent Language Models, ICLR
2018): each update is cut to the clip norm C, their sum gets noise N(0, (z C)^2) once a round and is divided by the
number N of sites in the roster, whoever took part. Neighbours differ in one site that is there or not. As every site
is meant to take part in every round, no chance of being left out makes the guarantee any better.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from fedmed.learning.strategy import Block, Combined, Meta, Strategy, Weights

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Noise = Callable[[int, int], np.ndarray]

SHRINK = 1 - 1e-6  # so that rounding cannot lift an update above the clip
ONE = Weights(np.ones(1), np.ones(1))


@dataclass(frozen=True)
class Adapting:
    """How the clip norm follows the quantile `target` of the updates' lengths, with steps of `rate` (Andrew et al.,
    Differentially Private Learning with Adaptive Clipping, NeurIPS 2021). `count_noise` is the standard deviation of
    the noise on how many updates are no longer than the clip.
    """

    target: float
    rate: float
    count_noise: float


def noise_on_updates(noise_multiplier: float, adapting: Adapting | None) -> float:
    """How much noise the updates need, in clip norms, so that they and the count together cost what
    `noise_multiplier` alone would: (z^-2 - (2 s)^-2)^(-1/2), Andrew et al. 2021, theorem 1.

    Raises ValueError where the count has too little noise for that.
    """
    if adapting is None:
        return noise_multiplier
    left = noise_multiplier**-2 - (2 * adapting.count_noise) ** -2
    if left <= 0:
        raise ValueError(
            f"noise on the count: expected more than {noise_multiplier / 2:g}, got {adapting.count_noise:g}"
        )
    return float(left**-0.5)


def relative_noise(noise_multiplier: float, num_sites: int, elements: int) -> float:
    """How long the noise on the mean is, in clip norms: z sqrt(d) / N. No mean of updates is longer than 1."""
    return noise_multiplier * math.sqrt(elements) / num_sites


def next_clip(clip_norm: float, adapting: Adapting, norms: Sequence[float], num_sites: int, gaussian: float) -> float:
    """C' = C exp(-rate (b - target)), b the noised part of the updates that are no longer than C.

    Counted as plus or minus a half each, so that a site moves the sum by a half; `gaussian` is a standard normal
    number that nobody knows. Who did not take part counts for nothing.
    """
    halves = sum(0.5 if norm <= clip_norm else -0.5 for norm in norms) + adapting.count_noise * gaussian
    part = 0.5 + halves / num_sites
    return clip_norm * math.exp(-adapting.rate * (part - adapting.target))


def central(inner: Strategy, *, clip_norm: float, noise_multiplier: float, num_sites: int, noise: Noise) -> Strategy:
    """`inner`, which is given the noised mean of the clipped updates in place of the updates.

    All rows must be learned ones. `noise(start, count)` are standard normal float64 numbers for these elements, the
    same ones whenever it is asked about them; nobody may ever learn them.
    """

    def weigh(_meta: Sequence[Meta], products: np.ndarray) -> Weights:
        norms = lengths(products)
        factors = np.minimum(1.0, np.divide(SHRINK * clip_norm, norms, out=np.ones_like(norms), where=norms > 0))
        return Weights(factors / num_sites, factors / num_sites)

    def combine(block: Block, weights: Weights) -> Combined:
        if block.group != "param":
            raise ValueError(f"noise is for what is learned, got a {block.group}")
        total: np.ndarray = np.einsum("s,se->e", weights.learned, block.updates)
        spread = noise_multiplier * clip_norm / num_sites
        mean = total + spread * noise(block.start, len(block.base))
        return inner.combine(replace(block, updates=mean[None].astype(np.float32)), ONE)

    def tell(meta: Sequence[Meta], weights: Weights) -> str:
        cut = [
            f"{each.name} {factor:.3g}"
            for each, factor in zip(meta, weights.learned * num_sites, strict=True)
            if factor < SHRINK
        ]
        return f"cut to the clip norm, to this part of their length: {', '.join(cut)}" if cut else "no update was cut"

    return Strategy(weigh, combine, inner.memory, tell=tell, needs_products=True)


def lengths(products: np.ndarray) -> np.ndarray:
    """L2 norms of the updates, float64 [sites], out of their inner products."""
    found: np.ndarray = np.sqrt(np.diag(products))
    return found
