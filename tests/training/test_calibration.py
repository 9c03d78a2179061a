"""Logit calibration (FedLC), with numbers written out: 16, 81 and 1 cases to the power of -1/4 are 1/2, 1/3 and 1."""

import math

import numpy as np
import pytest
import torch

from fedmed.errors import FedmedError
from fedmed.training import fit, networks, objective
from tests import radiographs, tables

LABELS = {1: "crack", 2: "plate"}
LOGITS = [1.0, 2.0, 0.5]


def film(tau, **data):
    return radiographs.recipe(training={"balance": "none", "logit_calibration": tau}, data={"labels": LABELS, **data})


def test_three_classes_by_hand():
    assert objective.margins(0.6, [16, 81, 1]).tolist() == pytest.approx([0.3, 0.2, 0.6])
    loss = objective.loss_function(film(0.6), counts={0: 16, 1: 81, 2: 1})
    # logits 1 - .3, 2 - .2, .5 - .6
    each = [math.exp(0.7), math.exp(1.8), math.exp(-0.1)]
    for label, share in enumerate(each):
        found = loss(torch.tensor([LOGITS]), torch.tensor([label])).item()
        assert found == pytest.approx(-math.log(share / sum(each)), rel=1e-6)


def test_a_class_without_cases_is_not_pushed_down():
    logits = torch.tensor([LOGITS], requires_grad=True)
    loss = objective.loss_function(film(0.6), counts={0: 16, 1: 81})(logits, torch.tensor([1]))
    assert loss.item() == pytest.approx(math.log(1 + math.exp(0.7 - 1.8)), rel=1e-6)
    (gradient,) = torch.autograd.grad(loss, logits)
    assert gradient[0, 2].item() == 0
    assert gradient[0, 0].item() > 0


def test_it_goes_with_absent_classes():
    loss = objective.loss_function(film(0.6), None, frozenset({1}), {0: 16, 2: 1})
    found = loss(torch.tensor([LOGITS]), torch.tensor([2])).item()
    assert found == pytest.approx(math.log(1 + math.exp(0.7 + 0.1)), rel=1e-6)


def test_one_logit_stands_for_class_1_against_class_0():
    recipe = tables.tabular(training={"logit_calibration": 0.6})
    logit, label = torch.tensor([[0.4]], requires_grad=True), torch.tensor([1])
    loss = objective.loss_function(recipe, counts={0: 16, 1: 1})(logit, label)
    assert loss.item() == pytest.approx(math.log(1 + math.exp(-(0.4 - (0.6 - 0.3)))), rel=1e-6)
    only = objective.loss_function(recipe, counts={1: 7})(logit, label)
    (gradient,) = torch.autograd.grad(only, logit)
    assert (only.item(), gradient.item()) == (0, 0), "of one class alone nothing is learned"


def test_training_counts_the_sites_own_cases():
    """12 healthy and 4 ill, one step over all of them from weights of zero: each has a logit of 0."""
    labels = [0, 0, 0, 1] * 4
    recipe = tables.tabular(training={"batch_size": 16, "logit_calibration": 0.5}, data=tables.AS_IT_STANDS)
    start = {name: np.zeros_like(array) for name, array in networks.initial_params(recipe)[0].items()}
    place = {"site": "a", "round": 0, "rounds": 1, "attempt": 1, "num_steps": 1, "device": torch.device("cpu")}
    found = fit.fit(recipe, start, tables.cases(labels), root=None, label_map={}, **place)
    off = 0.5 * (4**-0.25 - 12**-0.25)
    expected = (12 * math.log(1 + math.exp(-off)) + 4 * math.log(1 + math.exp(off))) / 16
    assert found.train_loss == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("balance", ["sampling", "loss"])
def test_rare_classes_are_dealt_with_once(balance):
    with pytest.raises(FedmedError, match="expected balance: none") as caught:
        radiographs.recipe(training={"balance": balance, "logit_calibration": 0.1})
    assert caught.value.code == "FM-RCP-03"
