"""The part of a recipe that says how a hospital learns: loss, optimiser, steps, and what it keeps to itself."""

import math
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from fedmed.recipe_fields import Probability
from fedmed.strict import Strict

Size3 = tuple[
    Annotated[int, Field(ge=1, le=512)],
    Annotated[int, Field(ge=1, le=512)],
    Annotated[int, Field(ge=1, le=512)],
]
Calibration = Annotated[float, Field(ge=0, le=10)]


class SegmentationLoss(Strict):
    name: Literal["DiceCELoss", "DiceLoss", "DiceFocalLoss"] = "DiceCELoss"
    include_background: bool = False


class LocalisationLoss(Strict):
    """The focal loss of heat maps, less severe near a peak (Law and Deng 2018; Zhou et al. 2019, arXiv:1904.07850)."""

    name: Literal["FocalLoss"] = "FocalLoss"


class ClassificationLoss(Strict):
    name: Literal["CrossEntropyLoss"] = "CrossEntropyLoss"


class Optimizer(Strict):
    name: Literal["AdamW", "SGD"] = "AdamW"
    client_lr: float = Field(gt=0, le=10)
    weight_decay: float = Field(default=0.0, ge=0, le=1)
    momentum: float = Field(default=0.0, ge=0, lt=1)

    @model_validator(mode="after")
    def _momentum_is_of_sgd(self) -> Self:
        if self.name == "AdamW" and self.momentum:
            raise ValueError("momentum belongs to SGD; AdamW has its own")
        return self


class Schedule(Strict):
    """How `client_lr` changes over rounds; within a round it is constant."""

    name: Literal["constant", "cosine", "polynomial"] = "constant"
    warmup_rounds: int = Field(default=0, ge=0, le=100)
    power: float = Field(default=0.9, gt=0, le=4)

    def factor(self, round: int, rounds: int) -> float:  # noqa: A002 - the field's word
        """What `client_lr` is multiplied by in round 0 ... rounds - 1.

        Warm-up over w rounds gives round r the share (r + 1) / (w + 1). Behind it, with t = (r - w) / (rounds - w):
        cosine (1 + cos(pi t)) / 2 (Loshchilov and Hutter 2017), polynomial (1 - t) ** power. A round behind the last,
        as after an extension, keeps the last one's value.
        """
        warmup = self.warmup_rounds
        if round < warmup:
            return (round + 1) / (warmup + 1)
        share = (min(round, rounds - 1) - warmup) / max(rounds - warmup, 1)
        share = max(share, 0.0)  # a warm-up longer than the federation
        if self.name == "cosine":
            return 0.5 * (1 + math.cos(math.pi * share))
        if self.name == "polynomial":
            return math.pow(1 - share, self.power)
        return 1.0


class Training(Strict):
    """What a hospital does in a round, whatever the task."""

    batch_size: int = Field(ge=1, le=256)
    local_steps: int | None = Field(default=None, ge=1, le=1_000_000)
    local_epochs: int | None = Field(default=None, ge=1, le=1000)
    optimizer: Optimizer
    schedule: Schedule = Field(default_factory=Schedule)
    grad_clip: float | None = Field(default=None, gt=0, le=1000)
    proximal_mu: float = Field(default=0.0, ge=0, le=100)
    personal: Literal["none", "head"] = "none"
    head_steps: int = Field(default=0, ge=0, le=1_000_000)
    fine_tune_steps: int = Field(default=0, ge=0, le=1_000_000)
    fine_tune_lr: float | None = Field(default=None, gt=0, le=10)
    ditto_lambda: float = Field(default=0.0, ge=0, le=100)

    def learning_rate(self, round: int, rounds: int) -> float:  # noqa: A002 - the field's word
        """Of the hospitals' optimiser in round 0 ... rounds - 1."""
        return self.optimizer.client_lr * self.schedule.factor(round, rounds)

    def num_steps(self, num_cases: int) -> int:
        """The optimiser steps of a round: `local_steps`, or `local_epochs` times ceil(num_cases / batch_size)."""
        if self.local_steps is not None:
            return self.local_steps
        return (self.local_epochs or 0) * math.ceil(num_cases / self.batch_size)

    @model_validator(mode="after")
    def _steps_or_epochs(self) -> Self:
        if (self.local_steps is None) == (self.local_epochs is None):
            raise ValueError("give either local_steps or local_epochs")
        return self

    @model_validator(mode="after")
    def _rate_of_some_steps(self) -> Self:
        if self.fine_tune_lr is not None and not self.fine_tune_steps:
            raise ValueError("fine_tune_lr belongs to fine_tune_steps")
        return self

    @model_validator(mode="after")
    def _one_personal_model(self) -> Self:
        if self.ditto_lambda and self.fine_tune_steps:
            raise ValueError("ditto_lambda and fine_tune_steps both make the personal model: give one of them")
        return self

    @property
    def makes_personal(self) -> bool:
        """Whether hospitals end with a model of their own beside the global one."""
        return bool(self.ditto_lambda or self.fine_tune_steps)

    @model_validator(mode="after")
    def _body_is_trained_too(self) -> Self:
        if self.head_steps and self.personal == "none":
            raise ValueError("head_steps belongs to personal: head")
        if self.local_steps is not None and self.head_steps >= self.local_steps:
            raise ValueError("head_steps must be below local_steps: the rest of the network learns in the steps behind")
        return self


class SegmentationTraining(Training):
    patch_size: Size3
    foreground: Probability = 0.5
    loss: SegmentationLoss = Field(default_factory=SegmentationLoss)


class ClassificationTraining(Training):
    """`balance`: against rare classes, from the site's own counts: drawn more often, or weighing more in the loss.

    `logit_calibration` is FedLC's tau (Zhang et al., ICML 2022), see `training.objective.margins`.
    """

    balance: Literal["none", "sampling", "loss"] = "sampling"
    logit_calibration: Calibration = 0.0
    loss: ClassificationLoss = Field(default_factory=ClassificationLoss)

    @model_validator(mode="after")
    def _rare_classes_are_dealt_with_once(self) -> Self:
        if self.logit_calibration and self.balance != "none":
            raise ValueError("logit_calibration does what balance does in another way: expected balance: none")
        return self


class LocalisationTraining(Training):
    """`balance`: images with each finding, and those without one, are drawn equally often, or as often as they are."""

    balance: Literal["none", "sampling"] = "sampling"
    loss: LocalisationLoss = Field(default_factory=LocalisationLoss)
