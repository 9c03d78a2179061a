"""Gradients by patient beside those of Opacus, where its hooks understand the network."""

import pytest
import torch

from fedmed.training import dp_sgd
from tests.training import test_private as own

WORKS = ("logistic", "layers", "unet")


@pytest.mark.slow
@pytest.mark.parametrize("name", WORKS)
def test_clipped_sums_are_those_of_opacus(name):
    opacus = pytest.importorskip("opacus")  # here, because it takes seconds
    chosen, shape = own.FAMILIES[name]
    images, labels, clip = torch.randn(4, *shape), own.learned(chosen, 4), 0.5
    run = own.steps.begin(chosen, own.networks.initial_params(chosen)[0], own.CPU, 0.1)
    run.network.eval()
    loss, encode = own.private._loss(chosen, run, frozenset())
    found, _ = dp_sgd.clipped_sum(run.network, loss, images, encode(labels), [0, 1, 2, 3], clip)
    hooked = opacus.GradSampleModule(run.network, batch_first=True, loss_reduction="mean")
    hooked.train()
    run.loss(hooked(images).float(), labels).backward()
    by_patient = torch.cat([weight.grad_sample.flatten(1) for weight in run.network.parameters()], dim=1)
    factors = (clip / by_patient.norm(dim=1)).clamp(max=1)
    expected = (by_patient * factors[:, None]).sum(0)
    assert float(expected.norm()) > 0.1
    assert float((found - expected).norm()) < 1e-4 * float(expected.norm())
