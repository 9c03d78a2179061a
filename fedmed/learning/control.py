"""Control variates at a site: what its gradients are corrected by, and what it has learned of its own (SCAFFOLD).

Karimireddy et al., SCAFFOLD: Stochastic Controlled Averaging for Federated Learning, ICML 2020, algorithm 1, option II.
c is the coordinator's control variate, c_i this site's, both one number for each that is learned, zero at first. Every
local step is y <- y - lr * (g(y) - c_i + c). With all sites taking part the sum of c_i is the number of sites times c.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fedmed.learning.params import subtract

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fedmed.learning.params import Params


def correction(common: Mapping[str, np.ndarray], own: Mapping[str, np.ndarray]) -> Params:
    """c - c_i, which is added to every gradient."""
    return subtract(common, own)


def renewed(
    own: Mapping[str, np.ndarray],
    common: Mapping[str, np.ndarray],
    start: Mapping[str, np.ndarray],
    trained: Mapping[str, np.ndarray],
    num_steps: int,
    client_lr: float,
) -> Params:
    """c_i' = c_i - c + (x - y_i) / (K * lr) after K steps of plain SGD from x to y_i, in float64, float32.

    It is the mean of the gradients that were met, so steps with momentum or another optimiser would make it something
    else.
    """
    return {
        name: (
            own[name].astype(np.float64)
            - common[name]
            + (start[name].astype(np.float64) - trained[name]) / (num_steps * client_lr)
        ).astype(np.float32)
        for name in common
    }
