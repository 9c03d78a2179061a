"""How updates become the next model: strategies by name, and what each update counts.

A strategy is a pair of pure functions (`strategy`); nothing here knows a file, a clock or the model's size.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from fedmed.learning.strategy import Block, Combined, Meta, Strategy

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

WeightRule = Literal["cases", "patients", "equal"]
MAX_SHARE_ROUNDING = 1e-12


def fedavg() -> Strategy:
    """Federated averaging: w' = w + sum_i share_i * delta_i, in float64 per block, sites by name.

    McMahan et al., Communication-Efficient Learning of Deep Networks from Decentralized Data, AISTATS 2017. The order
    is fixed, so the same updates give the same bytes whatever the order of their arrival.
    """
    return Strategy(by_share, lambda block, weights: Combined(moved(block, weights)))


def by_share(meta: Sequence[Meta], _products: np.ndarray) -> np.ndarray:
    """Each update counts with its share."""
    return np.array([each.share for each in meta])


def mean(block: Block, weights: np.ndarray) -> np.ndarray:
    """sum_i weight_i * update_i, float64 [elements], sites by name."""
    total = np.zeros(len(block.base))
    for weight, update in zip(weights, block.updates, strict=True):
        total += weight * update.astype(np.float64)
    return total


def moved(block: Block, weights: np.ndarray) -> np.ndarray:
    """The model plus the weighted sum of its updates, added up in float64, float32 [elements]."""
    with np.errstate(over="ignore"):  # the receiver of the result refuses what is not finite
        total: np.ndarray = block.base + mean(block, weights)
        return total.astype(np.float32)


STRATEGIES: dict[str, Callable[..., Strategy]] = {"fedavg": fedavg}


def named(name: str, **settings: Any) -> Strategy:
    """The strategy of a recipe with its settings."""
    return STRATEGIES[name](**settings)


def weight_of(rule: WeightRule, num_cases: int, num_patients: int) -> int:
    """What an update counts before the cap: its training cases, its patients, or one for each site."""
    return {"cases": num_cases, "patients": num_patients, "equal": 1}[rule]


def shares(weights: Sequence[int], max_share: float) -> list[float]:
    """Weights as parts of one, none above `max_share`; what is cut goes to the others in proportion.

    With fewer than 1/max_share sites a cap cannot hold; then all count equally.
    """
    if any(weight <= 0 for weight in weights):
        raise ValueError("a weight must be positive")
    if max_share * len(weights) <= 1:
        return [1 / len(weights)] * len(weights)
    capped: set[int] = set()
    while True:
        free = sum(weight for i, weight in enumerate(weights) if i not in capped)
        left = 1 - max_share * len(capped)
        result = [max_share if i in capped else weight * left / free for i, weight in enumerate(weights)]
        over = {i for i, share in enumerate(result) if share > max_share + MAX_SHARE_ROUNDING}
        if not over:
            return result
        capped |= over
