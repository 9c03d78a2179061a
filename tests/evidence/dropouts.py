"""Secure aggregation whoever drops out and whoever answers, and what colluders see: all combinations."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Literal

from tests.federation import test_masked_core as core

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True)
class Dropped:
    """What was tried with one number of sites and of colluders; `error` is the largest, as a part of the bound."""

    threshold: int
    sets: int
    openings: int
    error: float


def included_sets(of: core.World) -> Iterator[tuple[str, ...]]:
    for size in range(of.context.threshold, len(of.names) + 1):
        yield from combinations(of.names, size)


def dropped(num_sites: int, colluders: int, ring: Literal[32, 64] = 32) -> Dropped:
    """Every set of sites that can be included, each opened by every set of its members that suffices.

    Raises AssertionError where the mean is not the plain weighted mean of the included within the published bound.
    """
    of = core.World(num_sites, colluders, ring)
    sets, openings, error = 0, 0, 0.0
    for included in included_sets(of):
        sets += 1
        for size in range(of.context.threshold, len(included) + 1):
            for holders in combinations(included, size):
                openings += 1
                error = max(error, core.require_the_mean(of, included, list(holders)))
    return Dropped(of.context.threshold, sets, openings, error)


def colluded(num_sites: int, colluders: int) -> tuple[bool, bool]:
    """Whether c colluders with the coordinator learn the honest sum and nothing else, and t sites learn everything."""
    try:
        core.test_colluders_and_the_coordinator_learn_the_sum_and_no_update(num_sites, colluders)
        learn_nothing = True
    except AssertionError:
        learn_nothing = False
    try:
        core.test_as_many_as_the_threshold_learn_everything(num_sites)
        learn_all = True
    except AssertionError:
        learn_all = False
    return learn_nothing, learn_all
