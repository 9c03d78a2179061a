import subprocess
import sys

import pytest
import torch

from fedmed.recipe_training import Optimizer as Chosen
from fedmed.training.optimizers import Optimizer

RULES = [
    Chosen(name="SGD", client_lr=0.1),
    Chosen(name="SGD", client_lr=0.1, momentum=0.9, weight_decay=0.01),
    Chosen(name="AdamW", client_lr=0.1, weight_decay=0.2),
]


def params():
    random = torch.Generator().manual_seed(3)
    return [torch.nn.Parameter(torch.randn(size, generator=random)) for size in ((5, 7), (1,), (3,), (129,))]


def torchs(chosen, mine):
    if chosen.name == "AdamW":
        return torch.optim.AdamW(mine, lr=0.05, weight_decay=chosen.weight_decay, fused=True)
    momentum, decay = chosen.momentum, chosen.weight_decay
    return torch.optim.SGD(mine, lr=0.05, momentum=momentum, weight_decay=decay, fused=True)


@pytest.mark.parametrize("chosen", RULES, ids=str)
def test_bit_equal_to_torchs_classes_also_where_a_param_has_no_gradient_yet(chosen):
    ours, theirs = params(), params()
    one, other = Optimizer(chosen, ours, 0.05), torchs(chosen, theirs)
    for step in range(6):
        one.zero_grad()
        other.zero_grad()
        random = torch.Generator().manual_seed(step)
        for number, (a, b) in enumerate(zip(ours, theirs, strict=True)):
            gradient = torch.randn(a.shape, generator=random)
            has = {0: True, 1: step >= 3, 2: False, 3: step != 4}[number] if chosen.name == "AdamW" else number != 2
            if has:
                a.grad, b.grad = gradient.clone(), gradient.clone()
        one.step()
        other.step()
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))
    assert torch.equal(ours[2], params()[2])
    assert 2 not in one.state
    assert not torch.equal(ours[0], params()[0])


def test_the_first_steps_by_hand():
    sgd = Chosen(name="SGD", client_lr=1.0, momentum=0.5, weight_decay=0.1)
    param = torch.nn.Parameter(torch.tensor([2.0]))
    one = Optimizer(sgd, [param], 0.1)
    for expected in (2 - 0.1 * 1.2, 1.88 - 0.1 * (0.5 * 1.2 + 1.188)):  # gradient 1, decay 0.1 * param
        param.grad = torch.ones(1)
        one.step()
        assert param.item() == pytest.approx(expected)
    param = torch.nn.Parameter(torch.tensor([2.0]))
    adamw = Optimizer(Chosen(name="AdamW", client_lr=1.0, weight_decay=0.1), [param], 0.1)
    param.grad = torch.tensor([-7.0])
    adamw.step()
    assert param.item() == pytest.approx(2 * (1 - 0.01) + 0.1)  # the first step of Adam has length lr


def test_momentum_begins_with_a_params_first_gradient():
    first, late = torch.nn.Parameter(torch.zeros(1)), torch.nn.Parameter(torch.zeros(1))
    one = Optimizer(Chosen(name="SGD", client_lr=1.0, momentum=0.5), [first, late], 1.0)
    for step in range(3):
        one.zero_grad()
        first.grad = torch.ones(1)
        late.grad = torch.ones(1) if step else None
        one.step()
    assert (first.item(), late.item()) == (-1 - 1.5 - 1.75, -1 - 1.5)


@pytest.mark.parametrize("chosen", RULES, ids=str)
def test_goes_on_bit_equal_from_what_it_kept(chosen):
    def taken(one, mine, steps):
        for step in steps:
            for number, param in enumerate(mine):
                param.grad = torch.full(param.shape, 0.1 * (step + number))
            one.step()

    whole = params()
    taken(Optimizer(chosen, whole, 0.05), whole, range(4))
    half = params()
    one = Optimizer(chosen, half, 0.05)
    taken(one, half, range(2))
    again = Optimizer(chosen, half, 0.05)
    again.resume({number: {key: tensor.clone() for key, tensor in each.items()} for number, each in one.state.items()})
    taken(again, half, range(2, 4))
    assert all(torch.equal(a, b) for a, b in zip(whole, half, strict=True))


@pytest.mark.slow
def test_loads_no_compiler():
    code = """
import sys, torch
from fedmed.recipe_training import Optimizer as Chosen
from fedmed.training.optimizers import Optimizer
param = torch.nn.Parameter(torch.ones(1))
param.grad = torch.ones(1)
Optimizer(Chosen(client_lr=0.1), [param], 0.1).step()
assert "torch._dynamo" not in sys.modules
torch.optim.SGD([param], lr=0.1)
assert "torch._dynamo" in sys.modules  # when torch no longer loads it, its own classes will do
"""
    subprocess.run([sys.executable, "-c", code], check=True)
