"""Heat maps of a frame, one for each label: drawn from boxes to be learned, and read back as candidates.

As in CenterNet (Zhou, Wang and Kraehenbuehl 2019, arXiv:1904.07850), but as large as the image and without a size:
a reader looks where a candidate points.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy import ndimage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from fedmed.cases.case import Box
    from fedmed.training.pictures import Place

SPREAD = 1 / 6  # a bump's standard deviation as a share of the box's side: it ends with the box
MAX_CANDIDATES = 32  # for an image and label; the FROC looks at 4 false positives an image


@dataclass(frozen=True)
class Peak:
    """A local maximum: its label, its height from 0 to 1, and the middle of its pixel in the frame."""

    label: int
    score: float
    x: float
    y: float


def drawn(boxes: Sequence[Box], size: tuple[int, int], num_labels: int) -> torch.Tensor:
    """float32 [num_labels, *size]: 1 at the pixel in the middle of each box, falling off as a Gaussian with the box's
    proportions, 0 far away. A box whose middle lies outside leaves nothing. Labels count from 1.
    """
    maps = np.zeros((num_labels, *size), np.float32)
    rows, columns = np.ogrid[: size[0], : size[1]]
    for x, y, width, height, label in boxes:
        row, column = int(np.floor(y + height / 2)), int(np.floor(x + width / 2))
        if 0 <= row < size[0] and 0 <= column < size[1]:
            down = (rows - row) / max(height * SPREAD, 1.0)
            across = (columns - column) / max(width * SPREAD, 1.0)
            bump = np.exp(-(down**2 + across**2) / 2).astype(np.float32)
            np.maximum(maps[label - 1], bump, out=maps[label - 1])
    return torch.from_numpy(maps)


def peaks(maps: NDArray[np.float32], place: Place, min_distance: int) -> list[Peak]:
    """Of maps [num_labels, *size] the local maxima inside the image at `place`, the highest first for each label.

    Of two nearer than `min_distance` pixels, along both axes, the higher one stays (of equals the upper left one);
    at most MAX_CANDIDATES a label.
    """
    found = []
    for number, heat in enumerate(maps, start=1):
        image = heat[place.top : place.top + place.height, place.left : place.left + place.width]
        highest = ndimage.maximum_filter(image, size=2 * min_distance - 1, mode="nearest")
        places = np.argwhere(image == highest)
        order = np.argsort(-image[tuple(places.T)], kind="stable")
        kept: list[NDArray[np.int64]] = []
        for at in places[order]:
            if all(np.abs(at - other).max() >= min_distance for other in kept):
                kept.append(at)
                score = float(image[tuple(at)])
                found.append(Peak(number, score, place.left + int(at[1]) + 0.5, place.top + int(at[0]) + 0.5))
            if len(kept) == MAX_CANDIDATES:
                break
    return found
