"""One study of one patient: where its files lie, what is known about it, and what it looks like when read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray


ShiftKind = Literal["intensity", "noise"]


@dataclass(frozen=True)
class Geometry:
    """The grid of the source image: voxels, spacing in mm, and where its axes point (NIfTI axcodes such as RAS)."""

    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]
    axcodes: str


class Box(NamedTuple):
    """A finding in an image, in pixels as stored: `x` and `y` are its left and upper edge, counted from the image's
    upper left corner, so that the first pixel reaches from 0 to 1. `label` is the hospital's number or the recipe's.
    """

    x: float
    y: float
    width: float
    height: float
    label: int


NO_GRID = Geometry((0, 0, 0), (0.0, 0.0, 0.0), "")  # of a row of a table


@dataclass(frozen=True)
class Row:
    """A row of a table at rest: the `number` of its line, from 1, and its cells for the columns of the recipe.

    A category is the number of its level, from 0; None is a gap. `time` is that of a survival.
    """

    number: int
    inputs: tuple[float | None, ...]
    time: float | None = None


@dataclass(frozen=True)
class Shift:
    """How a virtual site alters its images when they are read (see `shifts`); hospitals have none."""

    kind: ShiftKind
    amount: float
    seed: int


@dataclass(frozen=True)
class Case:
    """A case at rest. `case` and `patient` are pseudonyms; paths are POSIX and relative to the data root.

    `image` has one file for a channel (NIfTI, a picture, a single DICOM image), or the files of a DICOM series in
    reading order. `label` is the path of a mask, or a class in the hospital's own numbers (before `label_map`), or
    boxes with such numbers, none of them where there is no finding. `group` is the stratum of Dirichlet partitions: q1
    to q4, the quartile of the foreground volume; or the class, of several boxes the first; or empty.
    `content` is the digest of its files when it was partitioned (content.digest), empty where nobody asked. `shift`
    belongs to experiments alone. `likeness` is what the image looks like (see `likeness`).
    """

    case: str
    patient: str
    group: str
    image: Mapping[str, tuple[str, ...]]
    label: str | int | tuple[Box, ...] | None
    covariates: Mapping[str, str | int | float]
    geometry: Geometry
    content: str = ""
    shift: Shift | None = None
    row: Row | None = None
    likeness: str = ""


@dataclass(frozen=True)
class Volume:
    """A case in memory: image float32 [C, X, Y, Z], affine float64 [4, 4] to RAS+ mm, label uint8 [X, Y, Z].

    `label_off_mm` says how far the label's own grid lies from the image's, at the farthest corner.
    """

    image: NDArray[np.float32]
    affine: NDArray[np.float64]
    label: NDArray[np.uint8] | None
    label_off_mm: float = 0.0


@dataclass(frozen=True)
class Picture:
    """A case in memory as it is classified or pointed into, each slice as a viewer would show it, row 0 at the top.

    `slices` float32 [S, C, rows, columns], S = 1 for a radiograph; `spacing` in mm between rows and between columns,
    (1, 1) where no file says it; `label` the recipe's class, 0 for none of them.
    """

    slices: NDArray[np.float32]
    spacing: tuple[float, float]
    label: int | None
