"""The recipe: all that changes the numbers, as data that two hospitals can read and neither can run.

A recipe names networks, losses, transforms and metrics out of closed tables. It travels inside the federation file as
canonical JSON, and its SHA-256 is what everybody agreed to.
"""

from __future__ import annotations

import hashlib
import json
from math import prod
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, model_validator

from fedmed import files
from fedmed.errors import FedmedError
from fedmed.strict import PlainText, Strict, read_yaml, validate

if TYPE_CHECKING:
    from pathlib import Path

MAX_BYTES = 64 * 1024
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9]*(-[a-z0-9]+)*$", min_length=2, max_length=64)]
Channel = Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9]{0,15}$")]
ClassName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9]*([_-][a-z0-9]+)*$", max_length=32)]
Probability = Annotated[float, Field(ge=0, le=1)]
Size3 = tuple[
    Annotated[int, Field(ge=1, le=512)],
    Annotated[int, Field(ge=1, le=512)],
    Annotated[int, Field(ge=1, le=512)],
]
Millimetres = Annotated[float, Field(gt=0, le=20)]
Axis = Annotated[int, Field(ge=0, le=2)]


class Series(Strict):
    """Which DICOM series of a study is meant, when there are several."""

    min_slices: int = Field(default=8, ge=2, le=5000)
    description: str = Field(default="*", max_length=64)


class Split(Strict):
    """Shares of patients kept for validation and for the final test."""

    validation: float = Field(default=0.15, ge=0, lt=0.5)
    testing: float = Field(default=0.2, ge=0, lt=0.5)


class Data(Strict):
    modality: Literal["MR", "CT"]
    channels: tuple[Channel, ...] = Field(min_length=1, max_length=4)
    labels: dict[Annotated[int, Field(ge=1, le=32)], ClassName] = Field(min_length=1, max_length=32)
    spacing: tuple[Millimetres, Millimetres, Millimetres]
    axcodes: Literal["RAS", "LPS", "LAS", "RPI"] = "RAS"
    normalisation: Literal["image"] = "image"
    series: Series = Series()
    split: Split = Split()
    max_excluded: Probability = 0.05

    @model_validator(mode="after")
    def _classes_count_up(self) -> Data:
        if sorted(self.labels) != list(range(1, len(self.labels) + 1)):
            raise ValueError("labels must be numbered 1, 2, 3, ... without a gap; 0 is background")
        if len(set(self.labels.values())) != len(self.labels) or len(set(self.channels)) != len(self.channels):
            raise ValueError("two labels or two channels have the same name")
        return self


class RandFlip(Strict):
    name: Literal["RandFlip"]
    prob: Probability
    spatial_axis: Axis


class RandRotate90(Strict):
    name: Literal["RandRotate90"]
    prob: Probability
    spatial_axes: tuple[Axis, Axis]

    @model_validator(mode="after")
    def _a_plane_has_two_axes(self) -> RandRotate90:
        if self.spatial_axes[0] == self.spatial_axes[1]:
            raise ValueError("expected two different axes")
        return self


class RandAffine(Strict):
    name: Literal["RandAffine"]
    prob: Probability
    rotate_range: float = Field(default=0.0, ge=0, le=3.15)
    scale_range: float = Field(default=0.0, ge=0, le=0.5)


class RandScaleIntensity(Strict):
    name: Literal["RandScaleIntensity"]
    prob: Probability
    factors: float = Field(gt=0, le=1)


class RandShiftIntensity(Strict):
    name: Literal["RandShiftIntensity"]
    prob: Probability
    offsets: float = Field(gt=0, le=2)


class RandGaussianNoise(Strict):
    name: Literal["RandGaussianNoise"]
    prob: Probability
    std: float = Field(gt=0, le=2)


Augment = Annotated[
    RandFlip | RandRotate90 | RandAffine | RandScaleIntensity | RandShiftIntensity | RandGaussianNoise,
    Field(discriminator="name"),
]
Width = Annotated[int, Field(ge=1, le=1024)]
Stride = Annotated[int, Field(ge=1, le=4)]
Norm = Literal["instance", "group"]


class UNet(Strict):
    name: Literal["UNet"]
    channels: tuple[Width, ...] = Field(min_length=2, max_length=8)
    strides: tuple[Stride, ...] = Field(min_length=1, max_length=7)
    num_res_units: int = Field(default=0, ge=0, le=4)
    norm: Norm = "instance"
    dropout: float = Field(default=0.0, ge=0, lt=1)

    @model_validator(mode="after")
    def _one_stride_between_two_levels(self) -> UNet:
        if len(self.strides) != len(self.channels) - 1:
            raise ValueError(f"expected {len(self.channels) - 1} strides for {len(self.channels)} levels")
        return self

    @property
    def reduction(self) -> int:
        """By how much the deepest level is smaller than the patch, along every axis."""
        return prod(self.strides)


class SegResNet(Strict):
    name: Literal["SegResNet"]
    init_filters: int = Field(default=16, ge=8, le=64)
    blocks_down: tuple[Annotated[int, Field(ge=1, le=8)], ...] = Field(default=(1, 2, 2, 4), min_length=2, max_length=7)
    blocks_up: tuple[Annotated[int, Field(ge=1, le=8)], ...] = Field(default=(1, 1, 1), min_length=1, max_length=6)
    norm: Norm = "group"
    dropout: float = Field(default=0.0, ge=0, lt=1)

    @model_validator(mode="after")
    def _one_up_block_between_two_levels(self) -> SegResNet:
        if len(self.blocks_up) != len(self.blocks_down) - 1:
            raise ValueError("blocks_up must be one shorter than blocks_down")
        return self

    @property
    def reduction(self) -> int:
        """By how much the deepest level is smaller than the patch, along every axis."""
        return 1 << len(self.blocks_up)


class Loss(Strict):
    name: Literal["DiceCELoss", "DiceLoss", "DiceFocalLoss"] = "DiceCELoss"
    include_background: bool = False


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


class Training(Strict):
    patch_size: Size3
    batch_size: int = Field(ge=1, le=64)
    local_steps: int | None = Field(default=None, ge=1, le=1_000_000)
    local_epochs: int | None = Field(default=None, ge=1, le=1000)
    foreground: Probability = 0.5
    loss: Loss = Loss()
    optimizer: Optimizer
    schedule: Schedule = Schedule()
    grad_clip: float | None = Field(default=None, gt=0, le=1000)
    proximal_mu: float = Field(default=0.0, ge=0, le=100)

    @model_validator(mode="after")
    def _steps_or_epochs(self) -> Training:
        if (self.local_steps is None) == (self.local_epochs is None):
            raise ValueError("give either local_steps or local_epochs")
        return self


class Strategy(Strict):
    name: Literal["fedavg"] = "fedavg"
    weight: Literal["cases"] = "cases"


class Evaluation(Strict):
    metrics: tuple[Literal["dice", "hd95", "sensitivity"], ...] = Field(
        default=("dice", "hd95", "sensitivity"), min_length=1
    )
    overlap: float = Field(default=0.5, ge=0, lt=0.9)
    window_batch: int = Field(default=2, ge=1, le=64)


class Recipe(Strict):
    version: Literal[1] = Field(alias="schema")
    name: Name
    task: Literal["segmentation"]
    description: PlainText = Field(default="", max_length=500)
    seed: int = Field(ge=0, le=2**31 - 1)
    data: Data
    augment: tuple[Augment, ...] = ()
    network: Annotated[UNet | SegResNet, Field(discriminator="name")]
    training: Training
    strategy: Strategy = Strategy()
    evaluation: Evaluation = Evaluation()

    @model_validator(mode="after")
    def _patch_fits(self) -> Recipe:
        patch, reduction = self.training.patch_size, self.network.reduction
        if any(side % reduction for side in patch) or all(side == reduction for side in patch):
            raise ValueError(
                f"for this network, the sides of patch_size must be multiples of {reduction}, and not all {reduction}"
            )
        for step in self.augment:
            if isinstance(step, RandRotate90) and len({patch[axis] for axis in step.spatial_axes}) > 1:
                raise ValueError("RandRotate90 needs a patch_size with equal sides along its spatial_axes")
        return self

    @property
    def num_classes(self) -> int:
        """Output channels of the network: the labels and background."""
        return len(self.data.labels) + 1


def load(path: Path) -> Recipe:
    """Read a recipe that a person wrote (YAML). Raises FedmedError FM-RCP-01, -02 or -03."""
    try:
        text = files.read_bounded(path, MAX_BYTES).decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise FedmedError("FM-RCP-01", f"{path.name}: cannot be read", local=str(error)) from error
    return read_yaml(text, Recipe, name=path.name, area="RCP")


def to_bytes(recipe: Recipe) -> bytes:
    """The canonical JSON that travels and is hashed: every default written out, keys sorted, shortest floats."""
    data = recipe.model_dump(mode="json", by_alias=True)
    return json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def from_bytes(data: bytes) -> Recipe:
    """A recipe out of a verified federation file. Raises FedmedError FM-RCP-*, also if the bytes are not canonical."""
    try:
        recipe = validate(json.loads(data), Recipe, name="recipe.json", area="RCP")
    except (ValueError, RecursionError) as error:
        raise FedmedError("FM-RCP-01", "recipe.json: not JSON") from error
    if to_bytes(recipe) != data:
        raise FedmedError("FM-RCP-01", "recipe.json: not in the canonical form that fedmed writes")
    return recipe


def digest(recipe: Recipe) -> str:
    return hashlib.sha256(to_bytes(recipe)).hexdigest()
