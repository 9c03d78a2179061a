"""The samples of a localisation round: one radiograph with heat maps of its boxes, which follow every step it takes."""

from __future__ import annotations

import math
from dataclasses import astuple
from typing import TYPE_CHECKING

import numpy as np
import torch

from fedmed.cases import boxes as meanings
from fedmed.cases import pictures as reader
from fedmed.cases.case import Box
from fedmed.errors import FedmedError
from fedmed.training import heatmaps, pictures, samples, transforms
from fedmed.training.monai_parts import MetaTensor

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from fedmed.cases.case import Case
    from fedmed.preprocessing import Preprocessing
    from fedmed.recipe import Localisation
    from fedmed.training.cache import Tensors


class Boxed(samples.Samples):
    """Image [C, *image_size] float32, heat maps [labels, *image_size] float32. See `seen` for a prepared case."""

    kind = "boxed"
    keys = ("image",)
    recipe: Localisation

    def classes(self, case: Case) -> set[int]:
        """Every label that has a box, or 0 for a case without any."""
        return {box.label for box in boxes_of(case, self.recipe, self.label_map)} or {0}

    @property
    def sample_bytes(self) -> int:
        return math.prod(self.recipe.data.image_size) * 4 * (len(self.recipe.data.channels) + self.recipe.num_classes)

    def prepare(self, case: Case) -> Tensors:
        return seen(case, self.root, self.recipe, self.label_map, self.preprocessing)

    def draw(self, prepared: Tensors, random: np.random.RandomState) -> samples.Sample:
        transforms.draw_from(self.augmentation, random)
        image = self.augmentation({"image": MetaTensor(prepared["image"].clone())})["image"]
        boxes = moved(boxes_in(prepared), np.asarray(image.affine, np.float64))
        maps = heatmaps.drawn(boxes, self.recipe.data.image_size, self.recipe.num_classes)
        return image.as_tensor().contiguous(), maps


def boxes_of(case: Case, recipe: Localisation, label_map: Mapping[int, int]) -> tuple[Box, ...]:
    """In pixels as stored, with the recipe's classes.

    Raises FedmedError FM-TRN-03 for a case without boxes, FM-DAT-28 for a label that label_map does not know.
    """
    if not isinstance(case.label, tuple):
        raise FedmedError("FM-TRN-03", f"case {case.case}: no boxes to learn from")
    return meanings.to_classes(case.label, recipe.data, label_map, case.case)


def seen(
    case: Case, root: Path, recipe: Localisation, label_map: Mapping[int, int], preprocessing: Preprocessing | None
) -> Tensors:
    """A case behind the fixed chain: image [C, *image_size] float32, its place [6] in that frame and its boxes [n, 5]
    there. Raises as `boxes_of` does, and what reading the case raises.
    """
    boxes = boxes_of(case, recipe, label_map)
    picture = reader.read(case, root, recipe.data, label_map)
    _, _, rows, columns = picture.slices.shape
    place = pictures.place((rows, columns), picture.spacing, recipe.data.image_size)
    return {
        "image": pictures.standardise(picture, recipe.data, preprocessing)[0],
        "place": torch.tensor(astuple(place)),
        "boxes": torch.tensor([place.into(box) for box in boxes], dtype=torch.float64).reshape(-1, 5),
    }


def boxes_in(prepared: Tensors) -> list[Box]:
    """In pixels of the frame."""
    return [Box(x, y, width, height, int(label)) for x, y, width, height, label in prepared["boxes"].tolist()]


def place_in(prepared: Tensors) -> pictures.Place:
    return pictures.Place(*prepared["place"].tolist())


def moved(boxes: Sequence[Box], affine: NDArray[np.float64]) -> list[Box]:
    """Where boxes lie in an altered image, whose pixels stood at `affine` @ (row, column, 0, 1) before, as MONAI notes.

    What was turned is framed anew, along the rows and columns. The middle of the first pixel is (0, 0) there and
    (0.5, 0.5) in a box.
    """
    back = np.linalg.inv(affine)[:2, [0, 1, 3]]
    found = []
    for x, y, width, height, label in boxes:
        corners = np.array([(row, column, 1) for row in (y, y + height) for column in (x, x + width)]) - (0.5, 0.5, 0)
        rows, columns = back @ corners.T + 0.5
        top, left = rows.min(), columns.min()
        found.append(Box(float(left), float(top), float(np.ptp(columns)), float(np.ptp(rows)), label))
    return found
