"""Strategies in which the coordinator takes a step of its own: momentum, adaptive optimisers, control variates.

The weighted mean d of the updates is taken for a gradient (its negative). What is remembered begins with zeros, is kept
in float32 and computed in float64. None of them corrects the moments for their start, as the paper has it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fedmed.learning.averaging import by_share, equally, mean, moved, on_learned
from fedmed.learning.strategy import Block, Combined, Strategy, Weights

if TYPE_CHECKING:
    from collections.abc import Callable


def fedavgm(*, server_lr: float = 1.0, momentum: float = 0.9) -> Strategy:
    """Server momentum: m' = momentum * m + d, w' = w + server_lr * m'.

    Hsu, Qi and Brown, Measuring the Effects of Non-Identical Data Distribution for Federated Visual Classification,
    arXiv:1909.06335, 2019.
    """

    def combine(block: Block, weights: Weights) -> Combined:
        kept = momentum * block.memory["m"].astype(np.float64) + mean(block, weights)
        return Combined(moved(block, server_lr * kept), {"m": _kept(kept)})

    return Strategy(by_share, on_learned(combine), ("m",))


def fedadam(*, server_lr: float, beta1: float = 0.9, beta2: float = 0.99, tau: float = 1e-3) -> Strategy:
    """m' = beta1 m + (1 - beta1) d, v' = beta2 v + (1 - beta2) d^2, w' = w + server_lr * m' / (sqrt(v') + tau).

    Reddi et al., Adaptive Federated Optimization, ICLR 2021, algorithm 2; defaults from its experiments. The paper
    begins with any v >= tau^2, this with 0, as its authors' program does.
    """
    return _adaptive(lambda v, squared: beta2 * v + (1 - beta2) * squared, server_lr, beta1, tau)


def fedyogi(*, server_lr: float, beta1: float = 0.9, beta2: float = 0.99, tau: float = 1e-3) -> Strategy:
    """As `fedadam` with v' = v - (1 - beta2) * d^2 * sign(v - d^2): v changes by no more than what is new.

    Reddi et al., Adaptive Federated Optimization, ICLR 2021, algorithm 2.
    """

    def accumulate(v: np.ndarray, squared: np.ndarray) -> np.ndarray:
        new: np.ndarray = v - (1 - beta2) * squared * np.sign(v - squared)
        return new

    return _adaptive(accumulate, server_lr, beta1, tau)


def fedadagrad(*, server_lr: float, beta1: float = 0.0, tau: float = 1e-3) -> Strategy:
    """As `fedadam` with v' = v + d^2, and without momentum by default.

    Reddi et al., Adaptive Federated Optimization, ICLR 2021, algorithm 2.
    """
    return _adaptive(lambda v, squared: v + squared, server_lr, beta1, tau)


def scaffold(*, num_sites: int, server_lr: float = 1.0) -> Strategy:
    """Control variates: w' = w + server_lr * mean(delta_i), c' = c + |S| / num_sites * mean(delta c_i).

    Karimireddy et al., SCAFFOLD: Stochastic Controlled Averaging for Federated Learning, ICML 2020, algorithm 1. The
    means are plain ones over the sites S that took part; blocks of the group `control` hold c and the delta c_i.
    """

    def combine(block: Block, weights: Weights) -> Combined:
        factor = len(block.updates) / num_sites if block.group == "control" else server_lr
        return Combined(moved(block, factor * mean(block, weights)))

    return Strategy(equally, on_learned(combine))


def _adaptive(
    accumulate: Callable[[np.ndarray, np.ndarray], np.ndarray], server_lr: float, beta1: float, tau: float
) -> Strategy:
    """`accumulate(v, d^2)` is what the three adaptive optimisers differ in."""

    def combine(block: Block, weights: Weights) -> Combined:
        step = mean(block, weights)
        m = beta1 * block.memory["m"].astype(np.float64) + (1 - beta1) * step
        v = accumulate(block.memory["v"].astype(np.float64), step**2)
        return Combined(moved(block, server_lr * m / (np.sqrt(v) + tau)), {"m": _kept(m), "v": _kept(v)})

    return Strategy(by_share, on_learned(combine), ("m", "v"))


def _kept(vector: np.ndarray) -> np.ndarray:
    """float32; the receiver refuses what is not finite."""
    with np.errstate(over="ignore"):
        return vector.astype(np.float32)
