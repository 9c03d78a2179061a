"""The audit by planted patients: it proves less than is reported, and more where there is too little noise."""

from __future__ import annotations

import numpy as np
import pytest

from fedmed.learning import accounting
from fedmed.learning.accounting import Event
from fedmed.training import dp_sgd
from tests.evidence import canaries
from tests.training.test_private import mechanism

torch = pytest.importorskip("torch")


def test_the_bound_by_hand() -> None:
    """All of 200 told apart: Clopper-Pearson gives 1 - 0.0125 ** (1 / 100) for a rate that was never seen in 100."""
    apart = canaries.lower_bound(np.ones(200), np.zeros(200))
    never = 1 - 0.0125 ** (1 / 100)
    assert apart == pytest.approx(np.log((1 - never - 1e-5) / never), rel=1e-3)
    assert canaries.lower_bound(np.zeros(200), np.zeros(200)) == 0


@pytest.mark.parametrize(("noise", "is_true"), [(1.0, True), (0.2, False)])
def test_a_step_with_everybody_keeps_what_is_reported_and_less_noise_would_not(noise: float, is_true: bool) -> None:
    """2,000 steps of the mechanism, its clipped sums without a network: those of 15 patients, and of one more."""
    reported = accounting.epsilon([Event(1.0, 1.0, 1)], canaries.DELTA)
    # with noise of its own in each run it would prove too little in one of eight
    constants = mechanism(clip_norm=1.0, noise_multiplier=noise, take=np.random.default_rng(5).bytes)
    told = [
        [float(dp_sgd.noised(torch.tensor([length, 0.0]), constants)[0]) for _ in range(2000)] for length in (1.0, 0.0)
    ]
    proven = canaries.lower_bound(*told)
    assert proven > 1
    assert (proven < reported) is is_true


@pytest.mark.slow
def test_whole_rounds_keep_what_is_reported() -> None:
    random = np.random.default_rng(5)  # noise of its own in each run would prove nothing in some of them
    found = canaries.audited(Event(1.0, 0.8, 1), 300, lambda: random.bytes)
    assert 0.5 < found.proven < found.reported
