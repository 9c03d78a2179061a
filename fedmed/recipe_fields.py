"""The parts of a recipe: which images, what is minimised and how, what is scored.

Each class is a closed list of fields with bounds. What only two parts together can break is checked in `recipe`.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator

from fedmed.severities import Severity, allowed
from fedmed.strict import Strict

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9]*(-[a-z0-9]+)*$", min_length=2, max_length=64)]
Channel = Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9]{0,15}$")]
ClassName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9]*([_-][a-z0-9]+)*$", max_length=32)]
Probability = Annotated[float, Field(ge=0, le=1)]
Size3 = tuple[
    Annotated[int, Field(ge=1, le=512)],
    Annotated[int, Field(ge=1, le=512)],
    Annotated[int, Field(ge=1, le=512)],
]
MAX_MILLIMETRES = 20
Millimetres = Annotated[float, Field(gt=0, le=MAX_MILLIMETRES)]
Side = Annotated[int, Field(ge=16, le=4096)]
FEDERATED: Literal["federated"] = "federated"  # found from all hospitals' fingerprints


class Series(Strict):
    """Which DICOM series of a study is meant, when there are several."""

    min_slices: int = Field(default=8, ge=2, le=5000)
    description: str = Field(default="*", max_length=64)


class Split(Strict):
    """Shares of patients kept for validation and for the final test."""

    validation: float = Field(default=0.15, ge=0, lt=0.5)
    testing: float = Field(default=0.2, ge=0, lt=0.5)


class Cohort(Strict):
    """Who is kept for what, whatever a case is."""

    split: Split = Split()
    max_excluded: Probability = 0.05
    severities: dict[str, Severity] = Field(default_factory=dict, max_length=100)

    @property
    def pools(self) -> bool:
        """Whether numbers fitted on all sites together come before the first round."""
        return False

    @field_validator("severities")
    @classmethod
    def _only_of_findings(cls, value: dict[str, Severity]) -> dict[str, Severity]:
        for code, severity in value.items():
            may = allowed(code)
            if not may:
                raise ValueError(f"{code[:20]} is no finding of the data check")
            if severity not in may:
                raise ValueError(f"{code} may be {', '.join(may)}")
        return dict(sorted(value.items()))


def _count_up(labels: dict[int, str]) -> dict[int, str]:
    if sorted(labels) != list(range(1, len(labels) + 1)):
        raise ValueError("labels must be numbered 1, 2, 3, ... without a gap; 0 is background, or no finding")
    if len(set(labels.values())) != len(labels):
        raise ValueError("two labels have the same name")
    return labels


Labels = Annotated[
    dict[Annotated[int, Field(ge=1, le=32)], ClassName],
    Field(min_length=1, max_length=32),
    AfterValidator(_count_up),
]


class Data(Cohort):
    """Which images a case consists of, and into which classes they fall."""

    modality: Literal["XR", "MR", "CT", "PT"]
    channels: tuple[Channel, ...] = Field(min_length=1, max_length=4)
    labels: Labels
    normalisation: Literal["image", "site", "federated"] = "image"
    series: Series = Series()
    grid_tolerance: float = Field(default=0.1, ge=0.001, le=0.5)

    @property
    def pools(self) -> bool:
        return self.normalisation == FEDERATED

    @property
    def zero_is_outside(self) -> bool:
        """Whether a value of 0 is no measurement but what lies outside of the patient; in CT it is water."""
        return self.modality in ("MR", "PT")

    @model_validator(mode="after")
    def _channels_differ(self) -> Data:
        if len(set(self.channels)) != len(self.channels):
            raise ValueError("two channels have the same name")
        return self


class Volumes(Data):
    """Whole volumes, as segmentation sees them."""

    modality: Literal["MR", "CT", "PT"]
    spacing: tuple[Millimetres, Millimetres, Millimetres] | Literal["federated"] = FEDERATED
    axcodes: Literal["RAS", "LPS", "LAS", "RPI"] = "RAS"

    @model_validator(mode="after")
    def _all_sites_share_a_spacing(self) -> Volumes:
        if self.spacing == FEDERATED and self.normalisation != FEDERATED:
            raise ValueError("spacing must be given, unless normalisation is federated")
        return self


class Slices(Strict):
    """Which slices of a volume are looked at: the middle ones, across the third of `axcodes`."""

    axcodes: Literal["LPS", "LIP", "PIR"] = "LPS"
    middle: float = Field(default=0.8, gt=0, le=1)


class Pictures(Data):
    """Two-dimensional images, as classification and localisation see them: radiographs, or slices of volumes."""

    image_size: tuple[Side, Side]
    slices: Slices | None = None

    @model_validator(mode="after")
    def _radiographs_have_no_slices(self) -> Pictures:
        if (self.modality == "XR") != (self.slices is None):
            raise ValueError("slices belong to volumes (MR, CT, PT), and only to them")
        return self


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
    def _momentum_is_of_sgd(self) -> Optimizer:
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
    schedule: Schedule = Schedule()
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
    def _steps_or_epochs(self) -> Training:
        if (self.local_steps is None) == (self.local_epochs is None):
            raise ValueError("give either local_steps or local_epochs")
        return self

    @model_validator(mode="after")
    def _rate_of_some_steps(self) -> Training:
        if self.fine_tune_lr is not None and not self.fine_tune_steps:
            raise ValueError("fine_tune_lr belongs to fine_tune_steps")
        return self

    @model_validator(mode="after")
    def _one_personal_model(self) -> Training:
        if self.ditto_lambda and self.fine_tune_steps:
            raise ValueError("ditto_lambda and fine_tune_steps both make the personal model: give one of them")
        return self

    @property
    def makes_personal(self) -> bool:
        """Whether hospitals end with a model of their own beside the global one."""
        return bool(self.ditto_lambda or self.fine_tune_steps)

    @model_validator(mode="after")
    def _body_is_trained_too(self) -> Training:
        if self.head_steps and self.personal == "none":
            raise ValueError("head_steps belongs to personal: head")
        if self.local_steps is not None and self.head_steps >= self.local_steps:
            raise ValueError("head_steps must be below local_steps: the rest of the network learns in the steps behind")
        return self


class SegmentationTraining(Training):
    patch_size: Size3
    foreground: Probability = 0.5
    loss: SegmentationLoss = SegmentationLoss()


Calibration = Annotated[float, Field(ge=0, le=10)]


class ClassificationTraining(Training):
    """`balance`: against rare classes, from the site's own counts: drawn more often, or weighing more in the loss.

    `logit_calibration` is FedLC's tau (Zhang et al., ICML 2022), see `training.objective.margins`.
    """

    balance: Literal["none", "sampling", "loss"] = "sampling"
    logit_calibration: Calibration = 0.0
    loss: ClassificationLoss = ClassificationLoss()

    @model_validator(mode="after")
    def _rare_classes_are_dealt_with_once(self) -> ClassificationTraining:
        if self.logit_calibration and self.balance != "none":
            raise ValueError("logit_calibration does what balance does in another way: expected balance: none")
        return self


class LocalisationTraining(Training):
    """`balance`: images with each finding, and those without one, are drawn equally often, or as often as they are."""

    balance: Literal["none", "sampling"] = "sampling"
    loss: LocalisationLoss = LocalisationLoss()


class Stopping(Strict):
    """The federation ends where the first metric of `evaluation`, on the validation cases of all sites, has not got
    better by more than `min_delta` for `patience` rounds.
    """

    patience: int = Field(ge=1, le=1000)
    min_delta: float = Field(default=0.0, ge=0, le=1000)


class Evaluation(Strict):
    """How a model is scored, whatever the task."""

    metrics: tuple[str, ...]


class SegmentationEvaluation(Evaluation):
    metrics: tuple[Literal["dice", "hd95", "sensitivity"], ...] = Field(
        default=("dice", "hd95", "sensitivity"), min_length=1
    )
    overlap: float = Field(default=0.5, ge=0, lt=0.9)
    window_batch: int = Field(default=2, ge=1, le=64)


ClassificationMetric = Literal["accuracy", "auroc", "auprc", "balanced_accuracy", "sensitivity_at_spec90"]


class ClassificationEvaluation(Evaluation):
    """`unit` is what is counted; a patient's score is pooled from all images and slices of that patient."""

    metrics: tuple[ClassificationMetric, ...] = Field(
        default=("auroc", "auprc", "balanced_accuracy", "sensitivity_at_spec90"), min_length=1
    )
    unit: Literal["case", "patient"] = "case"
    pooling: Literal["mean", "max"] = "mean"
    batch_size: int = Field(default=16, ge=1, le=256)


class LocalisationEvaluation(Evaluation):
    """Candidates are peaks of the heat map, at least `min_distance` of its pixels apart."""

    metrics: tuple[Literal["froc", "auroc"], ...] = Field(default=("froc", "auroc"), min_length=1)
    min_distance: int = Field(default=8, ge=1, le=512)
