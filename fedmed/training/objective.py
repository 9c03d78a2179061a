"""What local training minimises and how: losses and optimisers by name, the learning rate of a round, FedProx."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits

from fedmed import recipe as recipes
from fedmed.training import quiet
from fedmed.training.optimizers import Optimizer

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from fedmed.recipe import Recipe

quiet.silence()

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


VACANT = 1e4  # off a logit: in float32 it leaves nothing of the class


def loss_function(
    recipe: Recipe,
    class_weights: torch.Tensor | None = None,
    absent: frozenset[int] = frozenset(),
    counts: Mapping[int, int] | None = None,
) -> Loss:
    """Segmentation: (logits [B, num_classes, X, Y, Z], label [B, 1, X, Y, Z]) to a scalar, as MONAI defines it, with
    softmax. Classification: cross entropy of (logits [B, num_classes], class [B]), classes weighing `class_weights`.
    Tabular the same, with a single label binary: (logits [B, 1], class [B]). Survival: see `cox_loss`. Localisation:
    `focal` of (logits [B, labels, rows, columns], heat maps of the same shape).

    `absent` classes are never labelled where this loss is used. In a segmentation what shows one is labelled
    background, so their probability counts as background's (`merged`). In a classification their logits are left out,
    in a localisation their heat maps. `counts` are the training cases of each class here, for `logit_calibration`.
    """
    if isinstance(recipe, recipes.Survival):
        return cox_loss
    if isinstance(recipe, recipes.Classifying):
        entropy, tau = _cross_entropy(recipe, class_weights, absent), recipe.training.logit_calibration
        off = margins(tau, [(counts or {}).get(label, 0) for label in _present(recipe, frozenset())])
        return calibrated(entropy, off) if tau else entropy
    if isinstance(recipe, recipes.Localisation):
        maps = [label - 1 for label in sorted(recipe.data.labels.keys() - absent)]
        return lambda logits, drawn: focal(logits[:, maps], drawn[:, maps])
    if not isinstance(recipe, recipes.Segmentation):
        raise TypeError(type(recipe).__name__)
    from fedmed.training import overlap  # noqa: PLC0415 - monai, which tables do without

    loss = recipe.training.loss
    built: Loss = overlap.LOSSES[loss.name](softmax=True, to_onehot_y=True, include_background=loss.include_background)
    return _among(_present(recipe, absent), lambda logits: merged(logits, absent), built) if absent else built


def _cross_entropy(recipe: recipes.Classifying, class_weights: torch.Tensor | None, absent: frozenset[int]) -> Loss:
    if isinstance(recipe, recipes.Tabular) and recipe.num_outputs == 1:
        return lambda logits, labels: binary_cross_entropy_with_logits(logits[:, 0], labels.to(logits.dtype))
    present = _present(recipe, absent)
    weighed = nn.CrossEntropyLoss(weight=class_weights if class_weights is None else class_weights[present])
    return _among(present, lambda logits: logits[:, present], weighed) if absent else weighed


def margins(tau: float, counts: Sequence[int]) -> torch.Tensor:
    """What logit calibration takes off the logit of each class while training: tau * n^(-1/4), n being its training
    cases at this site (FedLC: Zhang et al., ICML 2022, arXiv:2209.00189). float32 [number of classes].

    So a class that is rare here is learned with a larger margin, and one that the site does not have is left out of
    the softmax: training here does not push it down.
    """
    return torch.tensor([tau * n**-0.25 if n else VACANT for n in counts])


def calibrated(loss: Loss, off: torch.Tensor) -> Loss:
    """`loss` of logits [B, number of classes] minus `off`; one logit alone stands for class 1 against class 0."""

    def of_calibrated(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        each = off[1:] - off[:1] if logits.shape[1] == 1 else off
        return loss(logits - each.to(logits.device), labels)

    return of_calibrated


def _present(recipe: recipes.Classifying | recipes.Segmentation, absent: frozenset[int]) -> list[int]:
    return [0, *sorted(recipe.data.labels.keys() - absent)]


def merged(logits: torch.Tensor, absent: frozenset[int]) -> torch.Tensor:
    """Logits [B, K, ...] without the `absent` classes, whose probability is added to that of background (class 0): the
    marginal loss for partly labelled data (Shi et al. 2021, Medical Image Analysis 70; Fang and Yan 2020, IEEE TMI 39).

    A background voxel then asks that background or an absent class be there, and not which: with probabilities p, the
    gradient of its cross entropy by the logit of an absent class a is p_a - p_a / (p_0 + the sum over absent classes).
    """
    background = torch.logsumexp(logits[:, [0, *sorted(absent)]], dim=1, keepdim=True)
    others = [number for number in range(1, logits.shape[1]) if number not in absent]
    return torch.cat([background, logits[:, others]], dim=1)


def _among(present: Sequence[int], narrow: Callable[[torch.Tensor], torch.Tensor], loss: Loss) -> Loss:
    """`loss` of the narrowed logits, with labels numbered as they stand in `present`; another one is refused."""
    places = torch.full((max(present) + 1,), len(present))
    places[list(present)] = torch.arange(len(present))

    def among(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return loss(narrow(logits), places.to(labels.device)[labels.long()])

    return among


def cox_loss(risks: torch.Tensor, outcomes: torch.Tensor) -> torch.Tensor:
    """Minus the log partial likelihood (Cox 1972) within a batch, over its rows.

    Risks [B, 1], outcomes [B, 2] with time and event (1 or 0).

    Row i with the event gives logsumexp of the risks of all who were at risk then (times >= its own) minus its own
    risk; of several events at one time each has the same risk set (Breslow 1974).
    """
    risk, time, event = risks[:, 0], outcomes[:, 0], outcomes[:, 1]
    at_risk = time[None, :] >= time[:, None]
    everybody = torch.where(at_risk, risk[None, :], -torch.inf).logsumexp(dim=1)
    return (event * (everybody - risk)).mean()


def focal(logits: torch.Tensor, maps: torch.Tensor) -> torch.Tensor:
    """The focal loss of heat maps (Lin et al. 2017; less severe near a peak: Law and Deng 2018, CornerNet, equation 1).

    With p the sigmoid of a logit and y the map's value, summed over all pixels: -(1 - p)^2 log p where y is 1, else
    -(1 - y)^4 p^2 log(1 - p). Divided by the number of peaks in the batch, at least 1.
    """
    p = torch.sigmoid(logits)
    is_peak = maps == 1
    at_peaks = (1 - p) ** 2 * nn.functional.logsigmoid(logits) * is_peak
    elsewhere = (1 - maps) ** 4 * p**2 * nn.functional.logsigmoid(-logits)  # 0 at a peak
    return -(at_peaks + elsewhere).sum() / is_peak.sum().clamp(min=1)


def optimizer(recipe: Recipe, params: Iterable[nn.Parameter], lr: float) -> Optimizer:
    """The recipe's. A round starts with a fresh one: its moments never travel."""
    return Optimizer(recipe.training.optimizer, params, lr)


def add_proximal(params: Sequence[nn.Parameter], start: Sequence[torch.Tensor], mu: float) -> None:
    """Add to the gradients that of mu/2 ||w - w_global||^2 (FedProx: Li et al., MLSys 2020)."""
    with torch.no_grad():
        for param, origin in zip(params, start, strict=True):
            if param.grad is not None:
                param.grad.add_(param - origin, alpha=mu)


def add_correction(params: Sequence[nn.Parameter], correction: Sequence[torch.Tensor]) -> None:
    """Add c - c_i to the gradients (SCAFFOLD: Karimireddy et al., ICML 2020, algorithm 1)."""
    with torch.no_grad():
        for param, term in zip(params, correction, strict=True):
            if param.grad is not None:
                param.grad.add_(term)
