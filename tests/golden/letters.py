"""Phantoms that a person can read: letters that no turn and no mirror leaves as they are, and how a viewer shows them.

Everything here is written out from definitions (PS3.3 C.7.6.2.1.1, NIfTI-1, EXIF 2.3) and uses nothing of fedmed.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

FOLDER = Path(__file__).parent / "images"
SHAPE = (26, 30, 34)  # to the patient's left, posterior, superior
SPACING = (0.6, 1.0, 1.4)  # in mm; in steps of 0.2 mm all odd, so that an enlarged voxel has a middle
AXIAL, CORONAL, SAGITTAL = 5, 25, 21  # a slice through each letter: along superior, posterior, left
FONT = {
    "F": ("#####", "#....", "#....", "####.", "#....", "#....", "#...."),
    "G": (".###.", "#...#", "#....", "#.###", "#...#", "#...#", ".###."),
    "R": ("####.", "#...#", "#...#", "####.", "#.#..", "#..#.", "#...#"),
}
ZOOM = 4  # pixels of a golden image for one of the phantom


def letter(name: str, scale: int = 2) -> np.ndarray:
    """bool [row, column], 7 by 5 times `scale`."""
    dots = np.array([[dot == "#" for dot in row] for row in FONT[name]])
    return np.kron(dots, np.ones((scale, scale), bool))


def labels() -> np.ndarray:
    """uint8 [left, posterior, superior]: 1 an F that axial slices show, 2 an R in coronal ones, 3 a G in sagittal ones.

    As a radiologist looks at them: left is on the right of axial and coronal images, posterior on the right of
    sagittal ones; posterior at the bottom of axial images, inferior at the bottom of the others.
    """
    found = np.zeros(SHAPE, np.uint8)
    found[8:18, 8:22, 4:8][letter("F").T] = 1  # [row, column] is [posterior, left]
    found[8:18, 24:28, 14:28][np.broadcast_to(letter("R").T[:, None, ::-1], (10, 4, 14))] = 2
    found[20:24, 6:16, 14:28][np.broadcast_to(letter("G").T[None, :, ::-1], (4, 10, 14))] = 3
    return found


def volume() -> np.ndarray:
    """int16 [left, posterior, superior]: bright letters on a ground that brightens along every axis; no voxel is 0."""
    left, posterior, superior = np.indices(SHAPE)
    ground = 200 + 2 * left + 3 * posterior + 4 * superior
    return (ground + 700 * (labels() > 0)).astype(np.int16)


def panels(lps: np.ndarray) -> dict[str, np.ndarray]:
    """The three slices through the letters, [row, column] as a viewer shows them."""
    return {
        "LPS": lps[:, :, AXIAL].T,
        "LIP": lps[:, CORONAL, ::-1].T,
        "PIR": lps[SAGITTAL, :, ::-1].T,
    }


def film() -> np.ndarray:
    """[row, column] of 12 bits: a bright F, a small R at its right, a dark bar at the bottom right on a ramp."""
    row, column = np.indices((48, 40))
    levels = 600 + 8 * row + 5 * column
    levels[6:34, 4:24][letter("F", 4)] = 3600
    levels[24:38, 27:37][letter("R")] = 2800
    levels[42:46, 20:] = 90
    return levels


@dataclass(frozen=True)
class Turn:
    """Array axis i runs along the patient's axis `axes[i]` (0 left, 1 posterior, 2 superior), or against it."""

    axes: tuple[int, int, int]
    signs: tuple[int, int, int]

    @property
    def name(self) -> str:
        return "".join("LPSRAI"[axis + 3 * (sign < 0)] for axis, sign in zip(self.axes, self.signs, strict=True))

    def stored(self, lps: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(lps.transpose(self.axes)[tuple(slice(None, None, sign) for sign in self.signs)])

    def affine(self, rotation: np.ndarray | None = None) -> np.ndarray:
        """Of a voxel to mm in LPS; the phantom with the patient's axes `rotation` where given."""
        found = np.zeros((4, 4))
        found[3, 3] = 1
        for column, (axis, sign) in enumerate(zip(self.axes, self.signs, strict=True)):
            found[axis, column] = sign * SPACING[axis]
            found[axis, 3] = (SHAPE[axis] - 1) * SPACING[axis] if sign < 0 else 0.0
        found[:3, 3] += [-11.0, 23.0, 5.0]
        if rotation is not None:
            found[:3] = rotation @ found[:3]
        return found


TURNS = [
    Turn((a, b, c), (u, v, w))
    for a, b, c in itertools.permutations(range(3))
    for u, v, w in itertools.product((1, -1), repeat=3)
]
RIGHT_HANDED = [turn for turn in TURNS if np.linalg.det(turn.affine()[:3, :3]) > 0]  # a DICOM series always is


def grey(values: np.ndarray) -> np.ndarray:
    """uint8, from the darkest to the brightest."""
    low, high = values.min(), values.max()
    return np.rint((values - low) / (high - low) * 255).astype(np.uint8)


def save(name: str, levels: np.ndarray) -> None:
    """uint8 [row, column] as PNG, each pixel ZOOM by ZOOM so that a person sees it."""
    FOLDER.mkdir(exist_ok=True)
    Image.fromarray(np.kron(levels, np.ones((ZOOM, ZOOM), np.uint8)), "L").save(FOLDER / f"{name}.png", optimize=True)


def golden(name: str) -> np.ndarray:
    """uint8 [row, column] of a committed image."""
    with Image.open(FOLDER / f"{name}.png") as image:
        return np.asarray(image.convert("L"))[ZOOM // 2 :: ZOOM, ZOOM // 2 :: ZOOM]
