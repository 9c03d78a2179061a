"""From what a limb takes out of an X-ray beam to the grey values of one film."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter
from xray_phantom import Limb, loss

FINE = 2  # samples a pixel along each side
LETTERS = {
    "L": ("1....", "1....", "1....", "1....", "1....", "1....", "11111"),
    "R": ("1111.", "1...1", "1...1", "1111.", "1.1..", "1..1.", "1...1"),
}


@dataclass(frozen=True)
class Film:
    """How one hospital's tube and detector look. Lengths in pixels unless said otherwise."""

    spacing: tuple[float, float]  # mm, between rows first
    sizes: tuple[tuple[int, int], ...]  # rows, columns; drawn image by image
    blur: float
    noise: float  # of the detected share of the beam, where nothing is in the way
    scatter: float
    contrast: tuple[float, float]  # the width of the curve, drawn between
    middle: tuple[float, float]  # the loss shown as mid-grey, from the limb's median
    collimated: float  # mm of the film's edge that the shutters cover, at most
    letter_size: float  # mm of one dot of the side letter
    brightest: tuple[float, float] = (0.8, 1.0)  # the end of the curve, against the range of the numbers


@dataclass(frozen=True)
class Pose:
    """How the limb lies on the film."""

    turn: float  # radians; 0: fingers up
    mirror: int  # -1: the other side
    v: float  # what of the limb lies in the film's middle, mm
    u: float
    lettered: bool
    letter_at: tuple[float, float]  # share of the half height and half width

    @property
    def side(self) -> str:
        return "L" if self.mirror > 0 else "R"


def expose(rng: np.random.Generator, film: Film, limb: Limb, pose: Pose, size: tuple[int, int]) -> np.ndarray:
    """Grey values from 0 (much light went through) to 1 (bone)."""
    down, right = _millimetres(film, size)
    v = np.cos(pose.turn) * down + np.sin(pose.turn) * right + pose.v
    u = pose.mirror * (np.cos(pose.turn) * right - np.sin(pose.turn) * down) + pose.u
    lost = loss(limb, v, u)
    lost = lost + _letter(film, pose, size, down, right)
    through = np.exp(-lost).reshape(size[0], FINE, size[1], FINE).mean(axis=(1, 3))
    through = gaussian_filter(through, film.blur)
    through = through + film.scatter * gaussian_filter(through, 12)
    through = through + film.noise * np.sqrt(through) * rng.normal(size=size)
    seen = -np.log(np.maximum(through, 0.002))
    limb_only = seen[seen > 0.35]
    middle = np.median(limb_only) + rng.uniform(*film.middle)
    grey = 1 / (1 + np.exp(-(seen - middle) / rng.uniform(*film.contrast)))
    grey = np.minimum(grey / rng.uniform(0.76, 0.86), 1.0)  # dense bone and lead alike reach the end of the curve
    return grey * rng.uniform(*film.brightest) * _shutters(rng, film, size)


def to_pixels(
    film: Film, pose: Pose, size: tuple[int, int], v: np.ndarray, u: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Where points of the limb lie on the film, as columns and rows from its upper left corner: `expose` backwards."""
    along, across = v - pose.v, pose.mirror * (u - pose.u)
    down = np.cos(pose.turn) * along - np.sin(pose.turn) * across
    right = np.sin(pose.turn) * along + np.cos(pose.turn) * across
    return right / film.spacing[1] + size[1] / 2, down / film.spacing[0] + size[0] / 2


def _millimetres(film: Film, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    steps = [(np.arange(n * FINE) - (n * FINE - 1) / 2) / FINE * mm for n, mm in zip(size, film.spacing, strict=True)]
    down, right = np.meshgrid(*steps, indexing="ij")
    return down, right


def _letter(film: Film, pose: Pose, size: tuple[int, int], down: np.ndarray, right: np.ndarray) -> np.ndarray:
    """The lead letter of the side, upright on the film wherever the limb points."""
    if not pose.lettered:
        return np.zeros_like(down)
    dots = np.array([[dot == "1" for dot in row] for row in LETTERS[pose.side]])
    middle = [share * n * mm / 2 for share, n, mm in zip(pose.letter_at, size, film.spacing, strict=True)]
    row = np.floor((down - middle[0]) / film.letter_size + dots.shape[0] / 2).astype(int)
    column = np.floor((right - middle[1]) / film.letter_size + dots.shape[1] / 2).astype(int)
    inside = (row >= 0) & (row < dots.shape[0]) & (column >= 0) & (column < dots.shape[1])
    lead = np.zeros_like(down)
    lead[inside] = 1.5 * dots[row[inside], column[inside]]
    return lead


def _shutters(rng: np.random.Generator, film: Film, size: tuple[int, int]) -> np.ndarray:
    """1 where the beam went, 0 behind the collimator."""
    open_field = np.ones(size)
    top, left, bottom, right = (int(rng.uniform(0, film.collimated) / mm) for mm in (*film.spacing, *film.spacing))
    open_field[:top] = open_field[size[0] - bottom :] = 0
    open_field[:, :left] = open_field[:, size[1] - right :] = 0
    return open_field
