"""Control variates at a site, by hand and over rounds."""

from __future__ import annotations

import numpy as np
import pytest

from fedmed.learning import control


def of(*numbers: float) -> dict[str, np.ndarray]:
    return {"w": np.array(numbers, np.float32)}


def test_the_correction_by_hand() -> None:
    # c - c_i
    assert control.correction(of(0.5, -1, 2), of(0.25, 1, 2))["w"].tolist() == [0.25, -2, 0]


def test_what_is_learned_by_hand() -> None:
    # c_i - c + (x - y) / (K lr) with K lr = 4 * 0.125 = 0.5
    found = control.renewed(of(1, 0, -2), of(0.5, -1, 0), of(3, 1, 0), of(2, 2, 0.25), num_steps=4, client_lr=0.125)[
        "w"
    ]
    assert found.dtype == np.float32
    assert found.tolist() == [1 - 0.5 + 2, 0 + 1 - 2, -2 - 0 - 0.5]


def test_it_is_the_mean_of_the_gradients_that_were_met() -> None:
    random = np.random.default_rng(3)
    own, common, start = (of(*random.normal(size=5)) for _ in range(3))
    gradients, lr, y = random.normal(size=(7, 5)), 0.03, start["w"].astype(np.float64)
    for gradient in gradients:
        y = y - lr * (gradient - own["w"] + common["w"])
    found = control.renewed(own, common, start, {"w": y}, num_steps=7, client_lr=lr)["w"]
    assert found == pytest.approx(gradients.mean(0), abs=1e-6)


def test_only_what_has_a_variate_is_corrected() -> None:
    own = common = of(1, 2)
    start = trained = {**of(0, 0), "norm.mean": np.ones(3, np.float32)}
    assert control.correction(common, own).keys() == {"w"}
    assert control.renewed(own, common, start, trained, num_steps=1, client_lr=1).keys() == {"w"}
