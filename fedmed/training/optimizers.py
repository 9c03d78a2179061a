"""AdamW and SGD by torch's own arithmetic, without the class around it.

The first `torch.optim.Optimizer` of a process loads torch's compiler, which costs more than a second, and its `step`
looks for hooks that fedmed has none of. The fused kernels are several times as fast as a loop over tensors, and give
the same bits with any number of threads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.optim.adam import adam
from torch.optim.sgd import sgd

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from torch import nn

    from fedmed.recipe_training import Optimizer as Chosen

State = dict[str, torch.Tensor]


class Optimizer:
    """AdamW (Loshchilov and Hutter 2019) or SGD, as torch.optim defines them, with its names of what is kept.

    `state` is by the number of a param; one that never had a gradient has none.
    """

    def __init__(self, chosen: Chosen, params: Iterable[nn.Parameter], lr: float) -> None:
        self.chosen, self.lr = chosen, lr
        self.params = list(params)
        self.state: dict[int, State] = {}

    def zero_grad(self) -> None:
        for param in self.params:
            param.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Move every param that has a gradient."""
        moved = [(number, param) for number, param in enumerate(self.params) if param.grad is not None]
        params: list[torch.Tensor] = [param for _, param in moved]
        grads = [param.grad for param in params if param.grad is not None]
        for number, param in moved:
            if number not in self.state:
                self.state[number] = self._begun(param)
        kept = [self.state[number] for number, _ in moved]
        (self._adamw if self.chosen.name == "AdamW" else self._sgd)(params, grads, kept)

    def _begun(self, param: nn.Parameter) -> State:
        if self.chosen.name == "AdamW":
            moments = {"exp_avg": torch.zeros_like(param), "exp_avg_sq": torch.zeros_like(param)}
            return {"step": torch.zeros((), device=param.device), **moments}
        return {"momentum_buffer": torch.zeros_like(param)} if self.chosen.momentum else {}

    def _adamw(self, params: list[torch.Tensor], grads: list[torch.Tensor], kept: list[State]) -> None:
        first, second, steps = ([state[key] for state in kept] for key in ("exp_avg", "exp_avg_sq", "step"))
        adam(
            params, grads, first, second, [], steps, fused=True, decoupled_weight_decay=True, amsgrad=False,
            beta1=0.9, beta2=0.999, lr=self.lr, weight_decay=self.chosen.weight_decay, eps=1e-8, maximize=False,
        )  # fmt: skip

    def _sgd(self, params: list[torch.Tensor], grads: list[torch.Tensor], kept: list[State]) -> None:
        buffers = [state.get("momentum_buffer") for state in kept]  # from zeros, so that the first one is the gradient
        sgd(
            params, grads, buffers, fused=True, weight_decay=self.chosen.weight_decay, momentum=self.chosen.momentum,
            lr=self.lr, dampening=0.0, nesterov=False, maximize=False,
        )  # fmt: skip

    def resume(self, state: Mapping[int, State]) -> None:
        """Go on from `state`, on whatever device it is."""
        self.state = {
            number: {key: tensor.to(self.params[number].device) for key, tensor in each.items()}
            for number, each in state.items()
        }
