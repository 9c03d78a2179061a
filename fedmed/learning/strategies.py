"""How updates become the next model: strategies by name, and what each update counts.

A strategy is a few pure functions (`strategy`), which stand by kind in `averaging`, `server` and `robust`; nothing here
knows a file, a clock or the model's size.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from fedmed.learning import averaging, robust, server

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fedmed.learning.strategy import Strategy

WeightRule = Literal["cases", "patients", "equal"]
MAX_SHARE_ROUNDING = 1e-12


STRATEGIES: dict[str, Callable[..., Strategy]] = {
    "fedavg": averaging.fedavg,
    "cyclic": averaging.cyclic,
    "fednova": averaging.fednova,
    "fedavgm": server.fedavgm,
    "fedadam": server.fedadam,
    "fedyogi": server.fedyogi,
    "fedadagrad": server.fedadagrad,
    "scaffold": server.scaffold,
    "norm_clipped_mean": robust.norm_clipped_mean,
    "krum": robust.krum,
    "multi_krum": robust.multi_krum,
    "geometric_median": robust.geometric_median,
    "median": robust.median,
    "trimmed_mean": robust.trimmed_mean,
}


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
