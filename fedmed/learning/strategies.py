"""How updates become the next model: a strategy is a frozen pair of pure functions in a closed table.

Updates come as bounded blocks `[sites, elements]` of float32, sites by name, so memory does not grow with the model.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

State = dict[str, np.ndarray]
WeightRule = Literal["cases", "patients", "equal"]
MAX_SHARE_ROUNDING = 1e-12


@dataclass(frozen=True)
class Meta:
    """What is known of one update beside its numbers. `share` is its part of the whole after the cap."""

    name: str
    weight: int
    share: float


class Updates(Protocol):
    """The updates of a round; `blocks` may be iterated again: base [elements] with updates [sites, elements]."""

    meta: Sequence[Meta]

    def blocks(self) -> Iterator[tuple[np.ndarray, np.ndarray]]: ...


@dataclass(frozen=True)
class Strategy:
    """`init()` makes the strategy's memory; `apply(state, updates, out)` hands the next model's blocks to `out`."""

    init: Callable[[], State]
    apply: Callable[[State, Updates, Callable[[np.ndarray], None]], State]


def fedavg() -> Strategy:
    """Federated averaging: w' = w + sum_i share_i * delta_i, in float64 per block, sites by name.

    McMahan et al., Communication-Efficient Learning of Deep Networks from Decentralized Data, AISTATS 2017. The order
    is fixed, so the same updates give the same bytes whatever the order of their arrival.
    """

    def apply(state: State, updates: Updates, out: Callable[[np.ndarray], None]) -> State:
        for base, block in updates.blocks():
            total = base.astype(np.float64)
            for meta, delta in zip(updates.meta, block, strict=True):
                total += meta.share * delta.astype(np.float64)
            with np.errstate(over="ignore"):  # `out` refuses what is not finite
                out(total.astype(np.float32))
        return state

    return Strategy(init=dict, apply=apply)


STRATEGIES: dict[str, Callable[[], Strategy]] = {"fedavg": fedavg}


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
