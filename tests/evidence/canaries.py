"""An audit of DP-SGD: one planted patient, rounds with and without, and how surely somebody tells which it was.

Whoever tells them apart better than epsilon allows has shown that the guarantee is false. So the lower bound of epsilon
that the trials prove must stay below the epsilon that is reported. (Jagielski, Ullman and Oprea, NeurIPS 2020.)
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.stats import beta

from fedmed.exchange import secret
from fedmed.learning import accounting
from fedmed.training import fit, networks, private, steps
from fedmed.training.dp_sgd import Mechanism
from tests import tables

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from fedmed.cases.case import Case
    from fedmed.learning.accounting import Event
    from fedmed.recipe import Tabular
    from fedmed.training.dp_sgd import Take

DELTA, SURE = 1e-5, 0.95
OTHERS, CLIP = 15, 0.01
PLANTED = 1  # the input that the planted patient alone has


@dataclass(frozen=True)
class Audited:
    """`proven` is a lower bound of epsilon at confidence SURE, `reported` what the accountant says."""

    proven: float
    reported: float
    trials: int


def audited(event: Event, trials: int, draws: Callable[[], Take] = secret.fresh) -> Audited:
    """`trials` rounds of each kind, each with the noise of a stream of its own from `draws`."""
    told = [scores(event, trials, is_in=is_in, draws=draws) for is_in in (True, False)]
    return Audited(lower_bound(*told), accounting.epsilon([event], DELTA), trials)


def scores(event: Event, trials: int, *, is_in: bool, draws: Callable[[], Take] = secret.fresh) -> NDArray[np.float64]:
    """How far each round moved the weight that nobody but the planted patient moves on purpose."""
    recipe = tables.tabular(
        data={"normalisation": "none", "imputation": "constant"},
        training={"optimizer": {"name": "SGD", "client_lr": 1.0}},
        dp={"clip_norm": CLIP, "patients_per_step": 4},
    )
    start, cases = networks.initial_params(recipe)[0], patients(is_in=is_in)
    samples = fit._samples(recipe, cases, _nowhere(), {}, (0,), None, None)
    moved = [_round(recipe, event, start, samples, draws()) for _ in range(trials)]
    return np.array(moved)


def _round(recipe: Tabular, event: Event, start: networks.Params, samples: private.Samples, take: Take) -> float:
    run = steps.begin(recipe, start, torch.device("cpu"), 1.0)
    constants = Mechanism(CLIP, event.noise_multiplier, 4, event.rate, 1, "an audit", take, lambda _: None)
    for _ in private.each(recipe, run, samples, event.steps, constants):
        pass
    weight = networks.get_params(run.network)["weight"]
    return float(weight[0, PLANTED] - start["weight"][0, PLANTED])


def patients(*, is_in: bool) -> list[Case]:
    """Fifteen whose input PLANTED is 0, and perhaps one who has it, and whose gradient is longer than the clip."""
    rows = tables.cases([n % 2 for n in range(OTHERS + 1)])
    alike = [replace(case, row=replace(case.row, inputs=(float(n % 3), 0.0, 0))) for n, case in enumerate(rows)]
    planted = replace(alike[-1], row=replace(alike[-1].row, inputs=(0.0, 10.0, 0)))
    return [*alike[:-1], *([planted] if is_in else [])]


def _nowhere() -> Path:
    from pathlib import Path  # noqa: PLC0415 - rows of a table lie in their cases

    return Path()


def lower_bound(with_: Sequence[float], without: Sequence[float]) -> float:
    """Of epsilon, by the best threshold of the first half of the trials, judged on the second (Clopper-Pearson)."""
    one, two = np.asarray(with_), np.asarray(without)
    if np.median(one) < np.median(two):
        one, two = -one, -two
    half = len(one) // 2
    places = np.quantile(np.concatenate([one[:half], two[:half]]), np.linspace(0.01, 0.99, 99))
    best = max(places, key=lambda place: _proven(one[:half] > place, two[:half] > place))
    return max(0.0, _proven(one[half:] > best, two[half:] > best))


def _proven(one: NDArray[np.bool_], two: NDArray[np.bool_]) -> float:
    """From how often each kind is said to be the one with the planted patient, and how often not."""
    return max(_ratio(one.sum(), two.sum(), len(one)), _ratio((~two).sum(), (~one).sum(), len(one)))


def _ratio(right: int, wrong: int, trials: int) -> float:
    tail = (1 - SURE) / 4  # two rates, and two ways to look at them
    least = beta.ppf(tail, right, trials - right + 1) if right else 0.0
    most = beta.ppf(1 - tail, wrong + 1, trials - wrong) if wrong < trials else 1.0
    return float(np.log(max(least - DELTA, 1e-12) / most))
