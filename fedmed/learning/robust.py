"""Strategies for rounds in which an update may be wrong by accident or on purpose.

They bound what a minority of sites can do to the model, and cost accuracy where honest sites differ. Distances between
updates come from their inner products alone: |u_i - u_j|^2 = p_ii + p_jj - 2 p_ij.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from fedmed.learning import sorting
from fedmed.learning.averaging import average, equally, moved, on_learned, shares_of, times_its_share, weights
from fedmed.learning.screen import median_norm
from fedmed.learning.strategy import Block, Combined, Meta, Strategy, Weights

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

MAX_ITERATIONS = 1000
ROUNDING = 1e-9
SMOOTHING = 1e-6  # of the median norm: shorter distances count as this, and a shorter step is the last


def norm_clipped_mean(*, clip_norm: float | None = None) -> Strategy:
    """w' = w + sum_i share_i * min(1, c / |delta_i|) * delta_i; c is `clip_norm`, or the median norm of the round.

    Sun et al., Can You Really Backdoor Federated Learning?, arXiv:1911.07963, 2019. The median is the lower one of the
    norms above zero, as in `screen`.
    """

    def weigh(meta: Sequence[Meta], products: np.ndarray) -> Weights:
        norms = np.sqrt(np.diag(products))
        limit = median_norm(products) if clip_norm is None else clip_norm
        factors = np.minimum(1.0, np.divide(limit, norms, out=np.ones_like(norms), where=norms > 0))
        return weights(meta, shares_of(meta) * factors)

    def tell(meta: Sequence[Meta], found: Weights) -> str:
        factors = zip(meta, found.learned / shares_of(meta), strict=True)
        cut = [f"{each.name} {factor:.3g}" for each, factor in factors if factor < 1 - ROUNDING]
        return f"shortened, to this part of their length: {', '.join(cut)}" if cut else "no update was shortened"

    return Strategy(weigh, average, needs_products=True, tell=tell)


def krum(*, f: int) -> Strategy:
    """The one update with the lowest sum of squared distances to its n - f - 2 nearest ones; n >= 2 f + 3.

    Blanchard et al., Machine Learning with Adversaries: Byzantine Tolerant Gradient Descent, NeurIPS 2017. Of equal
    scores the first site by name.
    """
    return _nearest(f, 1, "the model moves by this update alone: ", 2 * f + 3)


def multi_krum(*, f: int, m: int | None = None) -> Strategy:
    """The plain mean of the m updates with the lowest scores of `krum`; m is n - f by default and at most.

    Blanchard et al. 2017, section 4.
    """
    return _nearest(f, m, "the model moves by the mean of these updates: ", max(2 * f + 3, (m or 0) + f))


def _nearest(f: int, m: int | None, words: str, min_sites: int) -> Strategy:
    def weigh(meta: Sequence[Meta], products: np.ndarray) -> Weights:
        _require(meta, min_sites)
        count = len(meta) - f if m is None else m
        learned = np.zeros(len(meta))
        learned[np.argsort(_scores(products, f), kind="stable")[:count]] = 1 / count
        return weights(meta, learned)

    def tell(meta: Sequence[Meta], found: Weights) -> str:
        return words + ", ".join(each.name for each, part in zip(meta, found.learned, strict=True) if part)

    return Strategy(weigh, average, needs_products=True, min_sites=min_sites, tell=tell)


def _scores(products: np.ndarray, f: int) -> np.ndarray:
    squared = np.maximum(np.diag(products)[:, None] + np.diag(products)[None, :] - 2 * products, 0)
    np.fill_diagonal(squared, np.inf)
    scores: np.ndarray = np.sort(squared, axis=1)[:, : len(products) - f - 2].sum(axis=1)
    return scores


def geometric_median() -> Strategy:
    """w' = w + z, where z minimises sum_i share_i * |z - delta_i|: RFA by the smoothed Weiszfeld algorithm.

    Pillutla, Kakade and Harchaoui, Robust Aggregation for Federated Learning, IEEE TSP 2022. From the weighted mean on,
    z = sum_i b_i delta_i / sum_i b_i with b_i = share_i / max(nu, |z - delta_i|), until nothing changes. z is a mean of
    the updates all the way, so its coefficients and the inner products are enough.
    """

    def weigh(meta: Sequence[Meta], products: np.ndarray) -> Weights:
        _require(meta, 3)
        shares = shares_of(meta)
        smallest = SMOOTHING * median_norm(products)
        found = shares
        for _ in range(MAX_ITERATIONS if smallest > 0 else 0):
            squared = np.diag(products) - 2 * products @ found + found @ products @ found
            parts = shares / np.sqrt(np.maximum(squared, smallest**2))
            before, found = found, parts / parts.sum()
            if (found - before) @ products @ (found - before) < smallest**2:
                break
        return weights(meta, found)

    def tell(meta: Sequence[Meta], found: Weights) -> str:
        return times_its_share("by its distance", meta, found)

    return Strategy(weigh, average, needs_products=True, min_sites=3, tell=tell)


def median() -> Strategy:
    """w' = w + the median of the updates, number by number; of an even count the mean of the two in the middle.

    Yin et al., Byzantine-Robust Distributed Learning: Towards Optimal Statistical Rates, ICML 2018, definition 1.
    """
    return _ordered(lambda sites: (sites - 1) // 2, 3)


def trimmed_mean(*, trim: float) -> Strategy:
    """w' = w + the mean of what is left, number by number, without the floor(trim * n) lowest and as many highest.

    Yin et al. 2018, definition 2; 0 < trim < 1/2. At least one at each end must fall away.
    """
    return _ordered(lambda sites: math.floor(trim * sites + 1e-9), math.ceil(1 / trim - 1e-9))


def _ordered(cut: Callable[[int], int], min_sites: int) -> Strategy:
    """The mean of what is left of each number when `cut(sites)` of the lowest and as many of the highest are gone."""

    def combine(block: Block, _weights: Weights) -> Combined:
        return Combined(moved(block, sorting.trimmed_mean(block.updates, cut(len(block.updates)))))

    def weigh(meta: Sequence[Meta], products: np.ndarray) -> Weights:
        _require(meta, min_sites)
        return equally(meta, products)

    def tell(meta: Sequence[Meta], _found: Weights) -> str:
        gone = cut(len(meta))
        return f"of each number the {gone} lowest and the {gone} highest of {len(meta)} were left out"

    return Strategy(weigh, on_learned(combine), min_sites=min_sites, tell=tell)


def _require(meta: Sequence[Meta], min_sites: int) -> None:
    if len(meta) < min_sites:
        raise ValueError(f"expected updates of at least {min_sites} sites, got {len(meta)}")
