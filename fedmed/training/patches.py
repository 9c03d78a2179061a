"""The samples of a segmentation round: patches of volumes, centred on a label or anywhere."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from fedmed.errors import FedmedError
from fedmed.training import samples, transforms

if TYPE_CHECKING:
    from fedmed.cases.case import Case
    from fedmed.recipe import Segmentation
    from fedmed.training.cache import Tensors

MAX_FOREGROUND = 10_000  # places to centre a patch on, evenly taken from all labelled voxels of a case


class Patches(samples.Samples):
    """Image [C, *patch_size] float32, label [1, *patch_size] uint8.

    A prepared case is image [C, X, Y, Z] float32, label [1, X, Y, Z] uint8, foreground [n, 3] int32.
    """

    kind = "patches"
    keys = transforms.KEYS
    recipe: Segmentation

    @property
    def sample_bytes(self) -> int:
        return math.prod(self.recipe.training.patch_size) * (4 * len(self.recipe.data.channels) + 1)

    def prepare(self, case: Case) -> Tensors:
        sample = transforms.LoadCase(self.recipe, self.root, self.label_map)({"case": case})
        if "label" not in sample:
            raise FedmedError("FM-TRN-03", f"case {case.case}: no reference segmentation to learn from")
        sample = transforms.standardise(self.recipe, self.preprocessing)(sample)
        label = sample["label"].as_tensor().to(torch.uint8)
        foreground = np.argwhere(label[0].numpy()).astype(np.int32)
        foreground = foreground[:: -(-len(foreground) // MAX_FOREGROUND) or 1].copy()
        image = sample["image"].as_tensor().contiguous()
        return {"image": image, "label": label.contiguous(), "foreground": torch.from_numpy(foreground)}

    def draw(self, prepared: Tensors, random: np.random.RandomState) -> samples.Sample:
        size = self.recipe.training.patch_size
        low = corner(prepared, size, self.recipe.training.foreground, random)
        sample: dict[str, Any] = {name: cut(prepared[name], low, size) for name in self.keys}
        with transforms.plain_tensors():
            transforms.draw_from(self.augmentation, random)
            sample = self.augmentation(sample)
        return sample["image"].contiguous(), sample["label"].to(torch.uint8).contiguous()


def corner(
    prepared: Tensors, patch_size: tuple[int, int, int], foreground: float, random: np.random.RandomState
) -> tuple[int, ...]:
    """The lowest corner of a patch, in voxels, negative where the image is smaller than the patch.

    With probability `foreground` the patch is centred on a labelled voxel, as far as the image's borders allow;
    otherwise it lies anywhere. An image smaller than the patch lies in the middle of it.
    """
    forced = random.random_sample() < foreground
    point, place = random.random_sample(), random.random_sample(3)
    shape = prepared["label"].shape[1:]
    spare = [size - side for size, side in zip(shape, patch_size, strict=True)]
    labelled = prepared["foreground"]
    if forced and len(labelled):
        centre = labelled[int(point * len(labelled))].tolist()
        low = [middle - side // 2 for middle, side in zip(centre, patch_size, strict=True)]
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
