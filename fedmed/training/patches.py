"""The samples of a segmentation round: patches of volumes, centred on a label or anywhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from fedmed.errors import FedmedError
from fedmed.training import samples, transforms

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from fedmed.cases.case import Case
    from fedmed.preprocessing import Preprocessing
    from fedmed.recipe import Segmentation

MAX_FOREGROUND = 10_000  # places to centre a patch on, evenly taken from all labelled voxels of a case


@dataclass(frozen=True)
class Prepared:
    """A case after the fixed chain: image [C, X, Y, Z] float32, label [1, X, Y, Z] uint8, foreground [n, 3] int32."""

    image: torch.Tensor
    label: torch.Tensor
    foreground: np.ndarray

    @property
    def num_bytes(self) -> int:
        return self.image.nbytes + self.label.nbytes + self.foreground.nbytes


class Patches(samples.Samples[Prepared]):
    """Image [C, *patch_size] float32, label [1, *patch_size] uint8."""

    def __init__(
        self,
        recipe: Segmentation,
        cases: Sequence[Case],
        root: Path,
        label_map: Mapping[int, int],
        where: tuple[str | int, ...],
        cache_limit: int = samples.CACHE_BYTES,
        preprocessing: Preprocessing | None = None,
    ) -> None:
        super().__init__(recipe, cases, where, cache_limit)
        self.recipe = recipe
        self.load = transforms.LoadCase(recipe, root, label_map)
        self.standardise = transforms.standardise(recipe, preprocessing)
        self.augmentation = transforms.augmentation(recipe, transforms.KEYS)

    def prepare(self, case: Case) -> Prepared:
        sample = self.load({"case": case})
        if "label" not in sample:
            raise FedmedError("FM-TRN-03", f"case {case.case}: no reference segmentation to learn from")
        sample = self.standardise(sample)
        label = sample["label"].as_tensor().to(torch.uint8)
        foreground = np.argwhere(label[0].numpy()).astype(np.int32)
        foreground = foreground[:: -(-len(foreground) // MAX_FOREGROUND) or 1].copy()
        return Prepared(sample["image"].as_tensor(), label, foreground)

    def draw(self, prepared: Prepared, random: np.random.RandomState) -> samples.Sample:
        low = corner(prepared, self.recipe.training.patch_size, self.recipe.training.foreground, random)
        sample: dict[str, Any] = {
            "image": cut(prepared.image, low, self.recipe.training.patch_size),
            "label": cut(prepared.label, low, self.recipe.training.patch_size),
        }
        with transforms.plain_tensors():
            self.augmentation.set_random_state(int(random.randint(2**31 - 1)))
            sample = self.augmentation(sample)
        return sample["image"].contiguous(), sample["label"].to(torch.uint8).contiguous()


def corner(
    prepared: Prepared, patch_size: tuple[int, int, int], foreground: float, random: np.random.RandomState
) -> tuple[int, ...]:
    """The lowest corner of a patch, in voxels, negative where the image is smaller than the patch.

    With probability `foreground` the patch is centred on a labelled voxel, as far as the image's borders allow;
    otherwise it lies anywhere. An image smaller than the patch lies in the middle of it.
    """
    forced = random.random_sample() < foreground
    point, place = random.random_sample(), random.random_sample(3)
    shape = prepared.label.shape[1:]
    spare = [size - side for size, side in zip(shape, patch_size, strict=True)]
    if forced and len(prepared.foreground):
        centre = prepared.foreground[int(point * len(prepared.foreground))]
        low = [int(middle) - side // 2 for middle, side in zip(centre, patch_size, strict=True)]
    else:
        low = [int(share * (free + 1)) for share, free in zip(place, spare, strict=True)]
    return tuple(min(max(x, 0), free) if free >= 0 else free // 2 for x, free in zip(low, spare, strict=True))


def cut(volume: torch.Tensor, low: tuple[int, ...], patch_size: tuple[int, int, int]) -> torch.Tensor:
    """A copy of the patch of `volume` [C, X, Y, Z] at `low`, zero (background, or the mean) where there is no image."""
    patch = volume.new_zeros((volume.shape[0], *patch_size))
    source, target = [slice(None)], [slice(None)]
    for x, size, side in zip(low, volume.shape[1:], patch_size, strict=True):
        start, stop = max(x, 0), min(x + side, size)
        source.append(slice(start, stop))
        target.append(slice(start - x, stop - x))
    patch[tuple(target)] = volume[tuple(source)]
    return patch
