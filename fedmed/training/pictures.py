"""The samples of a classification round: one picture, or one slice of a volume, with the class of its case."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn.functional import interpolate

from fedmed import fingerprint
from fedmed.cases import pictures
from fedmed.cases.case import Box
from fedmed.training import samples, transforms

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from fedmed.cases.case import Case, Picture
    from fedmed.preprocessing import Preprocessing
    from fedmed.recipe import Classification
    from fedmed.recipe_fields import Pictures as Rules
    from fedmed.training.cache import Tensors

DARKEST, BRIGHTEST = fingerprint.LOWEST, fingerprint.HIGHEST  # beyond lie letters of lead, screws and dead pixels


class Pictures(samples.Samples):
    """Image [C, *image_size] float32, class [] int64. See `seen` for a prepared case."""

    kind = "pictures"
    keys = ("image",)
    recipe: Classification

    def classes(self, case: Case) -> tuple[int]:
        return (samples.class_of(case, self.recipe, self.label_map),)

    def class_weights(self) -> torch.Tensor | None:
        """float32 [num_classes] for `balance: loss`, else None: n / (number of classes there are * n of the class).

        From the site's own counts, or from `preprocessing.class_counts`. So every class weighs the same; one that
        nobody has seen gets 1, and no sample carries it.
        """
        if self.recipe.training.balance != "loss":
            return None
        found = self.counts
        if self.preprocessing is not None and self.preprocessing.class_counts is not None:
            found = self.preprocessing.class_counts
        counts = [found.get(label, 0) for label in range(self.recipe.num_classes)]
        here = sum(count > 0 for count in counts)
        return torch.tensor([sum(counts) / (here * n) if n else 1.0 for n in counts])

    @property
    def sample_bytes(self) -> int:
        return math.prod(self.recipe.data.image_size) * 4 * len(self.recipe.data.channels)

    def prepare(self, case: Case) -> Tensors:
        return seen(case, self.root, self.recipe, self.label_map, self.preprocessing)

    def draw(self, prepared: Tensors, random: np.random.RandomState) -> samples.Sample:
        slices = prepared["slices"]
        image = slices[random.randint(len(slices))]
        with transforms.plain_tensors():
            transforms.draw_from(self.augmentation, random)
            image = self.augmentation({"image": image.clone()})["image"]
        return image.contiguous(), prepared["label"].clone()


def seen(
    case: Case,
    root: Path,
    recipe: Classification,
    label_map: Mapping[int, int],
    preprocessing: Preprocessing | None,
) -> Tensors:
    """A case behind the fixed chain: slices [S, C, *image_size] float32, label [] int64. Raises as `samples.class_of`
    does, and what reading the case raises.
    """
    label = torch.tensor(samples.class_of(case, recipe, label_map))
    picture = pictures.read(case, root, recipe.data, label_map)
    return {"slices": standardise(picture, recipe.data, preprocessing), "label": label}


def standardise(picture: Picture, rules: Rules, preprocessing: Preprocessing | None = None) -> torch.Tensor:
    """The fixed chain, the same for training and prediction: [S, C, *image_size] float32.

    Each channel, over all slices, is cut off at its 0.5 and 99.5 percentile and given mean 0 and standard deviation 1;
    in MR over what is not 0, and 0 becomes as dark as the darkest of it. With `preprocessing.channels` all of this by
    those numbers. Then each slice is brought into `image_size` with its proportions in mm kept, in the middle of a
    frame as dark as its darkest pixel.
    """
    slices = np.array(picture.slices, np.float32)
    by_name = transforms.channels(rules, preprocessing)
    for name, channel in zip(rules.channels, slices.swapaxes(0, 1), strict=True):
        inside = channel != 0 if rules.zero_is_outside else np.ones_like(channel, bool)
        if inside.any() and not by_name:
            channel[inside] = np.clip(channel[inside], *np.percentile(channel[inside], (DARKEST, BRIGHTEST)))
        transforms.scale(channel, inside, by_name[name] if by_name else None)
        channel[~inside] = channel[inside].min() if inside.any() else 0  # air is dark, not of a mean grey
    return fitted(torch.from_numpy(slices), picture.spacing, rules.image_size)


@dataclass(frozen=True)
class Place:
    """Where an image of `rows` x `columns` pixels lies in its frame: its upper left corner and its size there."""

    rows: int
    columns: int
    top: int
    left: int
    height: int
    width: int

    def into(self, box: Box) -> Box:
        """A box of the image, in pixels of the frame."""
        across, down = self.width / self.columns, self.height / self.rows
        x, y, width, height, label = box
        return Box(self.left + x * across, self.top + y * down, width * across, height * down, label)

    def back(self, x: float, y: float) -> tuple[float, float]:
        """A point of the frame, in pixels of the image."""
        return (x - self.left) * self.columns / self.width, (y - self.top) * self.rows / self.height


def place(shape: tuple[int, int], spacing: tuple[float, float], size: tuple[int, int]) -> Place:
    """An image of `shape` with `spacing` mm in a frame of `size`: as large as fits, its proportions in mm kept, in the
    middle.
    """
    lengths = [count * step for count, step in zip(shape, spacing, strict=True)]
    ratio = min(side / length for side, length in zip(size, lengths, strict=True))
    # at least 2: to a width of 1, torch's antialiased interpolation repeats the first row
    height, width = (min(side, max(2, round(length * ratio))) for side, length in zip(size, lengths, strict=True))
    return Place(*shape, (size[0] - height) // 2, (size[1] - width) // 2, height, width)


def fitted(slices: torch.Tensor, spacing: tuple[float, float], size: tuple[int, int]) -> torch.Tensor:
    """[S, C, rows, columns] with `spacing` mm to [S, C, *size], as `place` says; around it as dark as the darkest."""
    where = place((slices.shape[2], slices.shape[3]), spacing, size)
    small = interpolate(slices, size=(where.height, where.width), mode="bilinear", antialias=True, align_corners=False)
    frame = small.amin(dim=(2, 3), keepdim=True).expand(-1, -1, *size).clone()
    frame[:, :, where.top : where.top + where.height, where.left : where.left + where.width] = small
    return frame
