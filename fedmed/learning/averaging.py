"""Weighted means of updates: the plain one, one that allows for uneven work, and what all strategies are made of."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from fedmed.learning.strategy import Block, Combined, Meta, Strategy, Weights

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def fedavg() -> Strategy:
    """Federated averaging: w' = w + sum_i share_i * delta_i, in float64 per block, sites by name.

    McMahan et al., Communication-Efficient Learning of Deep Networks from Decentralized Data, AISTATS 2017. The order
    is fixed, so the same updates give the same bytes whatever the order of their arrival.
    """
    return Strategy(by_share, average)


def cyclic() -> Strategy:
    """Cyclical weight transfer: what the last site of a lap says is the next model, w' = w + delta_last.

    Chang et al., Distributed deep learning networks among institutions for medical imaging, JAMIA 2018. The sites did
    the work: the one update that a lap comes down to has the share 1. The round behind the laps averages as `fedavg`.
    """
    return fedavg()


def fednova(*, momentum: float = 0.0, proximal_mu: float = 0.0, client_lr: float = 0.0) -> Strategy:
    """Normalised averaging: w' = w + tau_eff * sum_i share_i * delta_i / |a_i|, tau_eff = sum_i share_i * |a_i|.

    Wang et al., Tackling the Objective Inconsistency Problem in Heterogeneous Federated Optimization, NeurIPS 2020.
    |a_i| is how often the gradients of a site's SGD count in its update (`accumulation`). A site that did more steps
    than the others pulls no harder because of them; with equal steps this is federated averaging. `client_lr` is that
    of the round. (The authors' program takes sum_i share_i * num_steps_i for tau_eff with a proximal term, the paper
    leaves the choice.)
    """

    def weigh(meta: Sequence[Meta], _products: np.ndarray) -> Weights:
        shares = shares_of(meta)
        lengths = np.array([accumulation(each.num_steps, momentum, client_lr * proximal_mu) for each in meta])
        return weights(meta, shares / lengths * (shares @ lengths))

    return Strategy(weigh, average, tell=lambda meta, found: times_its_share("by its steps", meta, found))


def accumulation(num_steps: int, momentum: float, pull: float) -> float:
    """|a|_1 of Wang et al. 2020: how much of every gradient is in the update, in learning rates, without its sign.

    SGD with momentum r and a proximal term (pull = client_lr * mu) that always meets a gradient of 1 goes
    u' = r u + 1 - pull * d, d' = d + u', from u = d = 0. Without both |a| is num_steps = t; with momentum alone
    (t - r (1 - r^t) / (1 - r)) / (1 - r); with the proximal term alone (1 - (1 - pull)^t) / pull. Much of both together
    swings past the start, and old gradients count below zero: d itself can come out about zero or negative, and an
    update that is divided by it blown up or turned round.
    """
    trace = 1.0 + momentum - pull
    if trace >= 2 * math.sqrt(momentum):  # nothing swings: no gradient counts below zero, and |a| is d
        step = np.array([[momentum, -pull, 1.0], [momentum, 1.0 - pull, 1.0], [0.0, 0.0, 1.0]])
        return float(np.linalg.matrix_power(step, num_steps)[1, 2])
    total, counts, before = 0.0, 1.0, 0.0  # the last gradient, the one before it, and so on
    for _ in range(num_steps):
        total += abs(counts)
        counts, before = trace * counts - momentum * before, counts
    return total


def by_share(meta: Sequence[Meta], _products: np.ndarray) -> Weights:
    """Each update counts with its share."""
    return weights(meta, shares_of(meta))


def equally(meta: Sequence[Meta], _products: np.ndarray) -> Weights:
    """Each update counts the same."""
    return weights(meta, np.full(len(meta), 1 / len(meta)))


def weights(meta: Sequence[Meta], learned: np.ndarray) -> Weights:
    """`learned` as it is; running statistics by the shares of the updates for which it is not zero."""
    running = np.where(learned != 0, shares_of(meta), 0.0)
    return Weights(learned, running / running.sum())


def average(block: Block, found: Weights) -> Combined:
    """The model plus the weighted sum of its updates."""
    return Combined(moved(block, mean(block, found)), block.memory)


def mean(block: Block, found: Weights) -> np.ndarray:
    """sum_i weight_i * update_i, float64 [elements], added up in float64, sites by name."""
    by_site = found.running if block.group == "buffer" else found.learned
    total: np.ndarray = np.einsum("s,se->e", by_site, block.updates)  # in one go: no wide copy of the updates
    return total


def moved(block: Block, step: np.ndarray) -> np.ndarray:
    """The model plus a step, added in float64, float32 [elements]."""
    with np.errstate(over="ignore"):  # the receiver of the result refuses what is not finite
        total: np.ndarray = block.base + step
        return total.astype(np.float32)


def on_learned(combine: Callable[[Block, Weights], Combined]) -> Callable[[Block, Weights], Combined]:
    """`combine` for what is learned, the weighted mean for running statistics."""
    return lambda block, found: average(block, found) if block.group == "buffer" else combine(block, found)


def times_its_share(why: str, meta: Sequence[Meta], found: Weights) -> str:
    """What every update counts beside its share: `each counted so many times its share, by its steps: aa 0.5, bb 2`."""
    factors = zip(meta, found.learned / shares_of(meta), strict=True)
    return f"each counted so many times its share, {why}: " + ", ".join(
        f"{each.name} {factor:.3g}" for each, factor in factors
    )


def shares_of(meta: Sequence[Meta]) -> np.ndarray:
    """float64 [sites]"""
    return np.array([each.share for each in meta])
