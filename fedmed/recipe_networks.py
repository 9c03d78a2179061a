"""The networks that a recipe can name: with the fields of MONAI's classes of the same names, and two for tables."""

from math import prod
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from fedmed.strict import Strict

Width = Annotated[int, Field(ge=1, le=1024)]
Stride = Annotated[int, Field(ge=1, le=4)]
Depth = Annotated[int, Field(ge=1, le=8)]
Norm = Literal["instance", "group"]
BatchNorm = Literal["average", "local", "frozen"]


class Network(Strict):
    name: str


class UNet(Network):
    name: Literal["UNet"]
    channels: tuple[Width, ...] = Field(min_length=2, max_length=8)
    strides: tuple[Stride, ...] = Field(min_length=1, max_length=7)
    num_res_units: int = Field(default=0, ge=0, le=4)
    norm: Norm = "instance"
    dropout: float = Field(default=0.0, ge=0, lt=1)

    @model_validator(mode="after")
    def _one_stride_between_two_levels(self) -> Self:
        if len(self.strides) != len(self.channels) - 1:
            raise ValueError(f"expected {len(self.channels) - 1} strides for {len(self.channels)} levels")
        return self

    @property
    def reduction(self) -> int:
        """By how much the deepest level is smaller than the patch, along every axis."""
        return prod(self.strides)


class SegResNet(Network):
    name: Literal["SegResNet"]
    init_filters: int = Field(default=16, ge=8, le=64)
    blocks_down: tuple[Annotated[int, Field(ge=1, le=8)], ...] = Field(default=(1, 2, 2, 4), min_length=2, max_length=7)
    blocks_up: tuple[Annotated[int, Field(ge=1, le=8)], ...] = Field(default=(1, 1, 1), min_length=1, max_length=6)
    norm: Norm = "group"
    dropout: float = Field(default=0.0, ge=0, lt=1)

    @model_validator(mode="after")
    def _one_up_block_between_two_levels(self) -> Self:
        if len(self.blocks_up) != len(self.blocks_down) - 1:
            raise ValueError("blocks_up must be one shorter than blocks_down")
        return self

    @property
    def reduction(self) -> int:
        """By how much the deepest level is smaller than the patch, along every axis."""
        return 1 << len(self.blocks_up)


class Classifier(Network):
    """What both classification networks have.

    `batch_norm` says what becomes of batch norm layers, and must be said when there are any. `average`: their weights
    and running statistics are averaged like everything else. `local`: each site keeps its own (FedBN: Li et al., ICLR
    2021, arXiv:2102.07623). `frozen`: they stay as they were in the initial weights.
    """

    norm: Literal["group", "instance", "batch"] = "group"
    batch_norm: BatchNorm | None = None

    @model_validator(mode="after")
    def _batch_norm_is_never_forgotten(self) -> Self:
        if (self.norm == "batch") != (self.batch_norm is not None):
            raise ValueError("batch_norm (average, local or frozen) belongs to norm: batch, and must be given there")
        return self


class DenseNet121(Classifier):
    name: Literal["DenseNet121"]
    dropout_prob: float = Field(default=0.0, ge=0, lt=1)

    @property
    def reduction(self) -> int:
        """By how much the last features are smaller than the image, along both axes."""
        return 32


class ResNet(Classifier):
    """A residual network of basic blocks (He et al. 2016); `conv1_t_stride` 1 and `no_max_pool` suit small images."""

    name: Literal["ResNet"]
    layers: tuple[Depth, Depth, Depth, Depth] = (1, 1, 1, 1)
    block_inplanes: tuple[Width, Width, Width, Width] = (64, 128, 256, 512)
    conv1_t_size: Literal[3, 5, 7] = 7
    conv1_t_stride: Stride = 2
    no_max_pool: bool = False

    @property
    def reduction(self) -> int:
        """By how much the last features are smaller than the image, along both axes."""
        return self.conv1_t_stride * (1 if self.no_max_pool else 2) * 8


class Linear(Network):
    """A weighted sum of the inputs: logistic regression, or Cox's proportional hazards."""

    name: Literal["Linear"]


class MLP(Network):
    """Layers of these widths with ReLU between them (multilayer perceptron)."""

    name: Literal["MLP"]
    hidden: tuple[Width, ...] = Field(min_length=1, max_length=8)
    dropout: float = Field(default=0.0, ge=0, lt=1)
