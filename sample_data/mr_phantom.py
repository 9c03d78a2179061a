"""A head with a tumour, as arithmetic: tissue by tissue at points in millimetres (RAS, the centre at 0).

Nothing here knows files. Everything is float64 and cut to integers only at the end, so that two processors
whose last bits differ still write the same bytes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

VESSEL = 2.8  # radius, mm
SUBSAMPLES = (2, 2, 3)  # per voxel: partial volume, more of it through the thick slice


@dataclass(frozen=True)
class Look:
    """How one hospital's scanner and patients look; intensities in units of its white matter."""

    tissue: dict[str, float]
    tumour_types: dict[str, float]  # share of each of: solid, ring, faint
    radius: tuple[float, float]  # of the tumour, mm
    spot: float  # radius of the harmless spots, mm
    bias: float
    noise: float
    scale: float


# Rim, core and swelling of each type of tumour. `faint`: its core cannot be told from the brain, its rim can.
TUMOURS = {"solid": (2.05, 1.95, 1.2), "ring": (2.05, 0.45, 1.2), "faint": (2.3, 1.25, 1.1)}
RIM_BEGINS = {"solid": 0.6, "ring": 0.7, "faint": 0.6}


@dataclass(frozen=True)
class Head:
    """One patient: all that is drawn by chance, drawn once."""

    axes: np.ndarray
    turn: np.ndarray
    ventricle: float
    vessels: np.ndarray
    spots: np.ndarray
    centre: np.ndarray
    radius: float
    stretch: np.ndarray
    kind: str
    waves: dict[str, tuple[np.ndarray, np.ndarray]]


def draw_head(rng: np.random.Generator, look: Look, kind: str) -> Head:
    """A patient. The tumour lies in the brain of one side, away from the ventricles."""
    axes = np.array([60.0, 72.0, 58.0]) * rng.uniform(0.95, 1.05, 3)
    angles = np.radians(rng.uniform(-5, 5, 3))
    radius = rng.uniform(*look.radius)
    side = rng.choice([-1.0, 1.0])
    centre = np.array([side * rng.uniform(20, 33), rng.uniform(-34, 34), rng.uniform(-12, 28)])
    reach = np.sqrt(np.sum((centre / axes) ** 2))
    centre *= min(1.0, 0.62 / reach)
    return Head(
        axes=axes,
        turn=_rotation(angles),
        ventricle=rng.uniform(0.85, 1.25),
        vessels=np.concatenate([_sinus(axes), *(_vessel(rng, axes) for _ in range(6))]),
        spots=_in_brain(rng, axes, 5),
        centre=centre,
        radius=radius,
        stretch=rng.uniform(0.85, 1.18, 3),
        kind=kind,
        waves={name: _waves(rng, length) for name, length in (("folds", 20.0), ("shape", 26.0), ("bias", 190.0))},
    )


def render(rng: np.random.Generator, head: Head, look: Look, affine: np.ndarray, shape: tuple[int, int, int]):
    """The image (uint16) and the tumour's mask (uint8) on a grid given by its voxel-to-RAS affine."""
    fine = tuple(n * s for n, s in zip(shape, SUBSAMPLES, strict=True))
    signal, tumour = _paint(_turned(head.turn, _points(affine, fine)), head, look)
    signal, share = _blocks(signal, shape), _blocks(tumour.astype(float), shape)
    signal = signal * np.exp(look.bias * _field(_points(affine, shape, at=(1, 1, 1)), head.waves["bias"]))
    noise = rng.normal(0, look.noise, (2, *shape))
    magnitude = np.hypot(signal + noise[0], noise[1])  # a magnitude image: noise is Rician, air is not zero
    image = np.clip(np.round(magnitude * look.scale), 0, 4095).astype(np.uint16)
    return image, (share > 0.5).astype(np.uint8)


def _paint(p: np.ndarray, head: Head, look: Look) -> tuple[np.ndarray, np.ndarray]:
    """Signal and tumour at points of the head's own frame, from the skin inwards; later paint covers."""
    t = look.tissue
    folds = _field(p, head.waves["folds"])
    depth = np.sqrt(_ball(p, (0, 0, 0), head.axes))
    neck = (np.hypot(p[0], p[1] + 8) < 36) & (p[2] < 0)
    signal = np.where(neck, t["muscle"], 0.0)
    for edge, name in ((1.0, "fat"), (0.93, "skull"), (0.865, "fluid")):
        signal = np.where(depth < edge, t[name], signal)
    for x in (-25.0, 25.0):
        signal = np.where(_ball(p, (x, 0.72 * head.axes[1], -24.0), (10, 10, 10)) < 1, t["eye"], signal)
    brain = depth < 0.82 + 0.02 * folds
    signal = np.where(brain, np.where(depth > 0.68 + 0.09 * folds, t["grey"], t["white"]), signal)
    inner = np.stack([np.abs(p[0]), p[1], p[2]])  # left and right alike
    signal = np.where(_ball(inner, (19, 4, 0), (7, 12, 9)) < 1, t["grey"], signal)
    body = _ball(inner, (8, 0, 10), np.array([5.5, 26, 8]) * head.ventricle)
    horn = _ball(inner, (16, -26, 2), np.array([5, 11, 7]) * head.ventricle)
    signal = np.where(np.minimum(body, horn) < 1, t["ventricle"], signal)
    signal, tumour = _paint_tumour(p, head, look, signal, brain)
    for spot in head.spots:
        away = np.where(brain & ~tumour, _ball(p, spot, [look.spot] * 3), np.inf)
        signal = np.where(away < 1, np.where(away < 0.4, t["spot"], t["vessel"]), signal)
    free = (depth < 0.865) & ~tumour
    far, _ = cKDTree(head.vessels).query(p[:, free].T, distance_upper_bound=VESSEL)  # infinite where there is none
    signal[free] = np.where(far < VESSEL, t["vessel"], signal[free])
    return signal, tumour


def _paint_tumour(p: np.ndarray, head: Head, look: Look, signal: np.ndarray, brain: np.ndarray):
    rim, core, swelling = TUMOURS[head.kind]
    rim, core, swelling = (1 + (value - 1) * look.tissue["contrast"] for value in (rim, core, swelling))
    lumps = _field(p, head.waves["shape"])
    distance = np.sqrt(_ball(p, head.centre, head.radius * head.stretch)) / (1 + 0.16 * lumps)
    signal = np.where(brain & (distance < 1.45), np.maximum(signal, swelling), signal)
    tumour = brain & (distance < 1)
    inside = np.where(distance < RIM_BEGINS[head.kind], core, rim) * (1 + 0.06 * lumps)
    return np.where(tumour, inside, signal), tumour


def _points(affine: np.ndarray, shape: tuple[int, ...], at: tuple[int, ...] = SUBSAMPLES) -> np.ndarray:
    """x, y and z (first axis) of a grid that has `at` samples in every voxel along each axis."""
    steps = [(np.arange(n) + 0.5) / s - 0.5 for n, s in zip(shape, at, strict=True)]
    index = np.stack(np.meshgrid(*steps, indexing="ij"))
    return _turned(affine[:3, :3], index) + affine[:3, 3].reshape(3, 1, 1, 1)


def _turned(matrix: np.ndarray, p: np.ndarray) -> np.ndarray:
    return np.stack([row[0] * p[0] + row[1] * p[1] + row[2] * p[2] for row in matrix])


def _ball(p: np.ndarray, centre, axes) -> np.ndarray:
    return sum(((x - c) / a) ** 2 for x, c, a in zip(p, centre, axes, strict=True))


def _blocks(values: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """Means over each voxel's subsamples."""
    split = [n for pair in zip(shape, SUBSAMPLES, strict=True) for n in pair]
    return values.reshape(split).mean(axis=(1, 3, 5))


def _waves(rng: np.random.Generator, length: float) -> tuple[np.ndarray, np.ndarray]:
    directions = rng.normal(size=(10, 3))
    directions /= np.sqrt(np.sum(directions**2, axis=1, keepdims=True))
    return directions * (2 * np.pi / length), rng.uniform(0, 2 * np.pi, 10)


def _field(p: np.ndarray, waves: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """A smooth random field about 0 with variance 1: a sum of plane waves."""
    total = np.zeros(p.shape[1:])
    for k, phase in zip(*waves, strict=True):
        total += np.cos(k[0] * p[0] + k[1] * p[1] + k[2] * p[2] + phase)
    return total / np.sqrt(len(waves[1]) / 2)


def _in_brain(rng: np.random.Generator, axes: np.ndarray, count: int) -> np.ndarray:
    directions = rng.normal(size=(count, 3))
    directions /= np.sqrt(np.sum(directions**2, axis=1, keepdims=True))
    return directions * axes * rng.uniform(0.45, 0.7, (count, 1))


def _vessel(rng: np.random.Generator, axes: np.ndarray) -> np.ndarray:
    """A bent tube between two places of the brain, as nodes close enough for spheres to merge."""
    start, middle, end = _in_brain(rng, axes, 3)
    s = np.linspace(0, 1, 24)[:, None]
    return (1 - s) ** 2 * start + 2 * s * (1 - s) * middle + s**2 * end


def _sinus(axes: np.ndarray) -> np.ndarray:
    """The great vein under the skull's midline, from front to back."""
    angle = np.linspace(0.3, 2.9, 40)
    return np.stack([0 * angle, 0.82 * axes[1] * np.cos(angle), 0.82 * axes[2] * np.sin(angle)], axis=1)


def _rotation(angles: np.ndarray) -> np.ndarray:
    result = np.eye(3)
    for axis, angle in enumerate(angles):
        i, j = [a for a in range(3) if a != axis]
        step = np.eye(3)
        step[i, i] = step[j, j] = np.cos(angle)
        step[i, j], step[j, i] = -np.sin(angle), np.sin(angle)
        result = result @ step
    return result
