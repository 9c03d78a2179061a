"""When one model for all is worse for somebody: a fall that is worth a person's look.

A mean over sites hides it (Li et al. 2020, q-FFL, arXiv:1905.10497), so every table of sites names the worst.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedmed.reporting.statistics import LOWER_IS_BETTER

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MARGIN = 0.02  # of a metric from 0 to 1
ROUNDING = 1e-9  # statements have nine places


@dataclass(frozen=True)
class Hurt:
    """On `n` cases of a site the global model has `value` of a metric, and `than` has more by over MARGIN: `before`."""

    site: str
    metric: str
    n: int
    value: float
    before: float
    than: str

    def __str__(self) -> str:
        have = f"{self.metric} {self.value:.3f} of the global model on {self.n} cases, {self.before:.3f} of {self.than}"
        return f"{self.site} may be hurt: {have}"


def watched(metrics: Sequence[str]) -> str | None:
    """The recipe's first metric that lies between 0 and 1, more being better; None where it has none."""
    return next((metric for metric in metrics if metric not in LOWER_IS_BETTER), None)


def fell(site: str, metric: str, n: int, value: float | None, before: float | None, than: str) -> list[Hurt]:
    """One or none; nothing is said of an undefined value."""
    if value is None or before is None or value >= before - MARGIN - ROUNDING:
        return []
    return [Hurt(site, metric, n, value, before, than)]


def worst(values: Mapping[str, float | None]) -> str:
    """The site with the lowest value; empty where all that have one lie within MARGIN."""
    known = {site: value for site, value in values.items() if value is not None}
    if not known or max(known.values()) - min(known.values()) <= MARGIN:
        return ""
    return min(known, key=lambda site: known[site])
