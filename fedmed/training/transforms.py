"""From a case to the arrays that a network sees: one fixed chain, then the recipe's random one.

Fixed: read, turn to `axcodes`, resample to `spacing` (image linear, label nearest), z-score of each channel over its
non-zero voxels, in CT over all, by its own numbers or by those that were fitted. Random: the recipe's `augment`, in its
order, out of a closed table. Nothing here draws from a global random state.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from fedmed.cases import geometry, reading
from fedmed.errors import FedmedError
from fedmed.recipe_fields import FEDERATED
from fedmed.training.monai_parts import MetaTensor, get_track_meta, set_track_meta
from fedmed.training.monai_parts import transforms as mt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from fedmed.cases.case import Case, Volume
    from fedmed.preprocessing import Intensity, Preprocessing
    from fedmed.recipe import Recipe, Segmentation
    from fedmed.recipe_augment import RandAffine
    from fedmed.recipe_fields import Data, Volumes

KEYS = ("image", "label")
LETTERS = (("L", "R"), ("P", "A"), ("I", "S"))


class LoadCase:
    """Dictionary transform: {"case": Case} to {"image": [C, X, Y, Z], "label": [1, X, Y, Z] where there is one}.

    The only way of a file into this room. Both are MetaTensors with the affine of the case (RAS, mm).
    """

    def __init__(self, recipe: Segmentation, root: Path, label_map: Mapping[int, int]) -> None:
        self.recipe, self.root, self.label_map = recipe, root, dict(label_map)

    def __call__(self, data: Mapping[str, Case]) -> dict[str, Any]:
        return as_sample(reading.read(data["case"], self.root, self.recipe.data, self.label_map))


def as_sample(volume: Volume) -> dict[str, Any]:
    """A volume as the dictionary that MONAI's transforms take."""
    affine = torch.tensor(volume.affine)
    sample = {"image": MetaTensor(torch.from_numpy(np.ascontiguousarray(volume.image)), affine=affine)}
    if volume.label is not None:
        sample["label"] = MetaTensor(torch.from_numpy(np.ascontiguousarray(volume.label[None])), affine=affine)
    return sample


def standardise(
    recipe: Segmentation, preprocessing: Preprocessing | None = None
) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """The fixed chain behind `LoadCase`: the same for training, validation and prediction.

    With `preprocessing.channels` each channel is cut off and scaled by those numbers, else by its own. Raises
    FedmedError FM-NRM-02 when the recipe asks for numbers that are not given; the chain FM-DAT-25 for a case that
    would become too large in the spacing.
    """
    pixdim = _spacing(recipe.data, preprocessing)
    by_name = channels(recipe.data, preprocessing)
    fitted = [by_name[name] for name in recipe.data.channels] if by_name else None
    zero_is_outside = recipe.data.zero_is_outside
    steps = [
        mt.Orientationd(KEYS, axcodes=recipe.data.axcodes, labels=LETTERS, allow_missing_keys=True),
        mt.Spacingd(
            KEYS,
            pixdim=pixdim,
            mode=("bilinear", "nearest"),
            padding_mode="border",
            allow_missing_keys=True,
        ),
        lambda sample: {**sample, "image": z_score(sample["image"], zero_is_outside=zero_is_outside, fitted=fitted)},
    ]
    chain: Callable[[dict[str, Any]], dict[str, Any]] = mt.Compose(steps)

    def bounded(sample: dict[str, Any]) -> dict[str, Any]:  # outside of Compose, which would wrap what is raised
        image = sample["image"]
        geometry.check_resampled(np.asarray(image.affine), image.shape[1:], recipe.data.axcodes, pixdim, "an image")
        return chain(sample)

    return bounded


def channels(data: Data, preprocessing: Preprocessing | None) -> Mapping[str, Intensity] | None:
    """The fitted numbers of the channels by name; None where each image goes by its own.

    Raises FedmedError FM-NRM-02 for a recipe that asks for numbers and gets none: to go on without would be another
    model in silence.
    """
    found = preprocessing.channels if preprocessing else None
    if data.normalisation != "image" and (found is None or set(found) != set(data.channels)):
        raise FedmedError("FM-NRM-02", f"normalisation: {data.normalisation}: expected fitted numbers of each channel")
    return found


def _spacing(data: Volumes, preprocessing: Preprocessing | None) -> tuple[float, float, float]:
    """In mm: the recipe's, or the federation's."""
    if data.spacing != FEDERATED:
        return data.spacing
    if preprocessing is None or preprocessing.spacing is None:
        raise FedmedError("FM-NRM-02", "spacing: federated: expected the federation's spacing")
    return preprocessing.spacing


def z_score(image: Any, *, zero_is_outside: bool, fitted: Sequence[Intensity] | None = None) -> Any:
    """Each channel [X, Y, Z] with mean 0 and standard deviation 1 over its voxels, or by the `fitted` numbers.

    With `zero_is_outside` over the non-zero ones alone, and zeros stay zero. The rule of MONAI's
    NormalizeIntensity(nonzero=zero_is_outside, channel_wise=True), summed in float64 by numpy: torch's sum depends on
    the number of threads, and a loader process has fewer of them than the main one. A channel of one value becomes
    zero.
    """
    array = np.array(image, np.float32)
    for number, channel in enumerate(array):
        inside = channel != 0 if zero_is_outside else np.ones_like(channel, bool)
        scale(channel, inside, fitted[number] if fitted else None)
    return MetaTensor(torch.from_numpy(array), meta=image.meta)


def scale(channel: np.ndarray, inside: np.ndarray, fitted: Intensity | None = None) -> None:
    """Mean 0 and standard deviation 1 over the voxels that are `inside`, in place; the others stay as they are.

    With `fitted` by those numbers, after values beyond its low and high were cut off.
    """
    values = channel[inside].astype(np.float64)
    if fitted is not None:
        cut = values if fitted.low is None else np.clip(values, fitted.low, fitted.high)
        channel[inside] = (cut - fitted.mean) / fitted.sd
    elif values.size:
        channel[inside] = (values - values.mean()) / (values.std() or 1.0)


def augmentation(recipe: Recipe, keys: tuple[str, ...]) -> Any:
    """The recipe's random chain over `keys` ("image", and "label" where there is a mask), as a MONAI Compose. Tell it
    with `draw_from` where its random numbers come from.
    """
    return mt.Compose([AUGMENT[step.name](step, keys) for step in recipe.augment])


def draw_from(augmentation: Any, random: np.random.RandomState) -> None:
    """All steps draw in turn from `random`. MONAI's own way makes a generator for each of them, for each sample, which
    costs more than many of the steps.
    """
    for step in augmentation.transforms:
        step.set_random_state(state=random)


@contextmanager
def plain_tensors() -> Iterator[None]:
    """Inside, MONAI keeps no record of what it did to a tensor: nobody inverts an augmentation, and it costs time."""
    before = get_track_meta()
    set_track_meta(False)
    try:
        yield
    finally:
        set_track_meta(before)


def _affine(step: RandAffine, keys: tuple[str, ...]) -> Any:
    return mt.RandAffined(
        keys,
        prob=step.prob,
        rotate_range=(step.rotate_range,) * 3,
        scale_range=(step.scale_range,) * 3,
        mode=("bilinear", "nearest")[: len(keys)],
        padding_mode="border",
    )


AUGMENT: dict[str, Callable[[Any, tuple[str, ...]], Any]] = {
    "RandFlip": lambda step, keys: mt.RandFlipd(keys, prob=step.prob, spatial_axis=step.spatial_axis),
    "RandRotate90": lambda step, keys: mt.RandRotate90d(keys, prob=step.prob, spatial_axes=step.spatial_axes),
    "RandAffine": _affine,
    "RandScaleIntensity": lambda step, _: mt.RandScaleIntensityd("image", prob=step.prob, factors=step.factors),
    "RandShiftIntensity": lambda step, _: mt.RandShiftIntensityd("image", prob=step.prob, offsets=step.offsets),
    "RandGaussianNoise": lambda step, _: mt.RandGaussianNoised("image", prob=step.prob, std=step.std),
}
