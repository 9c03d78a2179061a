"""The samples of a round: which case, which place in it, and how it is altered, each from its own seed.

A fixed chain is run once per case and kept in memory up to CACHE_BYTES, so that an epoch reads no file twice.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from fedmed.errors import FedmedError
from fedmed.training import seeds, transforms

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from fedmed.cases.case import Case
    from fedmed.recipe import Recipe

CACHE_BYTES = 2 << 30
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


@dataclass(frozen=True)
class Refusal:
    """A FedmedError on its way out of a loader process: torch would give it back as a RuntimeError without its code."""

    code: str
    message: str
    next: str
    local: str


Sample = tuple[torch.Tensor, torch.Tensor]


class Patches(torch.utils.data.Dataset[Sample | Refusal]):
    """Sample i = step * batch_size + index of a round: image [C, *patch_size] float32, label [1, *patch_size] uint8."""

    def __init__(
        self,
        recipe: Recipe,
        cases: Sequence[Case],
        root: Path,
        label_map: Mapping[int, int],
        where: tuple[str | int, ...],
        cache_limit: int = CACHE_BYTES,
    ) -> None:
        """`where` is (recipe.seed, site, round, attempt), to which the step and the index are added."""
        self.recipe, self.where = recipe, where
        self.cases = sorted(cases, key=lambda case: case.case)  # the order they were listed in must not matter
        self.load = transforms.LoadCase(recipe, root, label_map)
        self.standardise = transforms.standardise(recipe)
        self.augmentation = transforms.augmentation(recipe)
        self.cache: OrderedDict[int, Prepared] = OrderedDict()
        self.cache_bytes, self.cache_limit = 0, cache_limit
        self.order: tuple[int, np.ndarray] = (-1, np.empty(0, np.int64))

    def __getitem__(self, i: int) -> Sample | Refusal:
        try:
            return self.sample(i)
        except FedmedError as error:
            return Refusal(error.code, error.message, error.next, error.local)

    def sample(self, i: int) -> Sample:
        """Raises what `prepared` raises."""
        step, index = divmod(i, self.recipe.training.batch_size)
        random = seeds.stream(*self.where, step, index)
        prepared = self.prepared(self.case_number(i))
        low = corner(prepared, self.recipe.training.patch_size, self.recipe.training.foreground, random)
        sample: dict[str, Any] = {
            "image": cut(prepared.image, low, self.recipe.training.patch_size),
            "label": cut(prepared.label, low, self.recipe.training.patch_size),
        }
        with transforms.plain_tensors():
            self.augmentation.set_random_state(int(random.randint(2**31 - 1)))
            sample = self.augmentation(sample)
        return sample["image"].contiguous(), sample["label"].to(torch.uint8).contiguous()

    def case_number(self, i: int) -> int:
        """Every case once per epoch, in an order of the epoch's own; a batch may lie across two epochs."""
        epoch, place = divmod(i, len(self.cases))
        if self.order[0] != epoch:
            self.order = epoch, seeds.stream(*self.where, "epoch", epoch).permutation(len(self.cases))
        return int(self.order[1][place])

    def prepared(self, number: int) -> Prepared:
        """The case behind the fixed chain.

        Raises FedmedError FM-TRN-03 for a case without a label, and what reading it raises.
        """
        if number in self.cache:
            self.cache.move_to_end(number)
            return self.cache[number]
        sample = self.load({"case": self.cases[number]})
        if "label" not in sample:
            raise FedmedError("FM-TRN-03", f"case {self.cases[number].case}: no reference segmentation to learn from")
        sample = self.standardise(sample)
        label = sample["label"].as_tensor().to(torch.uint8)
        foreground = np.argwhere(label[0].numpy()).astype(np.int32)
        foreground = foreground[:: -(-len(foreground) // MAX_FOREGROUND) or 1].copy()
        self.keep(number, Prepared(sample["image"].as_tensor(), label, foreground))
        return self.cache[number]

    def keep(self, number: int, prepared: Prepared) -> None:
        """Into the cache, and the least recently used out of it; the newest stays even when it alone is too large."""
        self.cache[number] = prepared
        self.cache_bytes += prepared.num_bytes
        while self.cache_bytes > self.cache_limit and len(self.cache) > 1:
            self.cache_bytes -= self.cache.popitem(last=False)[1].num_bytes


def stack(samples: Sequence[Sample | Refusal]) -> Sample | Refusal:
    """Images [B, C, *patch_size] and labels [B, 1, *patch_size], or the first refusal among them."""
    images, labels = [], []
    for sample in samples:
        if isinstance(sample, Refusal):
            return sample
        images.append(sample[0])
        labels.append(sample[1])
    return torch.stack(images), torch.stack(labels)


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
