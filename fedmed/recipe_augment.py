"""What a recipe alters by chance when it trains: MONAI's transforms by their names, their settings in bounds."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from fedmed.recipe_fields import Probability
from fedmed.strict import Strict

Axis = Annotated[int, Field(ge=0, le=2)]


class RandFlip(Strict):
    name: Literal["RandFlip"]
    prob: Probability
    spatial_axis: Axis


class RandRotate90(Strict):
    name: Literal["RandRotate90"]
    prob: Probability
    spatial_axes: tuple[Axis, Axis]

    @model_validator(mode="after")
    def _a_plane_has_two_axes(self) -> Self:
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
