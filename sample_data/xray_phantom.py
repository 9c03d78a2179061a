"""A forearm at the wrist, as arithmetic: what an X-ray loses in it, point by point of the film, in millimetres.

The limb's own frame: v runs along the forearm, 0 at the wrist's joint and growing towards the elbow; t runs across it.
Bones are tubes of cortex around spongiosa with elliptic sections, so that the path of a ray through them is known in
closed form; a broken bone is the sum of its two ends, one of them moved, cut along a jagged line. Nothing here knows
files or films.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

# Attenuation per millimetre at about 55 kV.
CORTEX, SPONGIOSA, SOFT, PLASTER, METAL = 0.085, 0.030, 0.020, 0.017, 0.8


@dataclass(frozen=True)
class Bone:
    """A tube along v from its end at `end`; `shaft` and `flare` give half its width, `cortex` its wall."""

    centre: float
    lean: float
    bow: float
    end: float
    shaft: float
    flare: float
    reach: float
    cortex: float
    texture: tuple[np.ndarray, np.ndarray]
    plate: float | None = None  # where the growth plate lies, from the end
    scar: float | None = None  # where a growth line is left, from the end: dense, thin, harmless
    canal: tuple[float, float] | None = None  # of the nutrient vessel: where, and its slope


@dataclass(frozen=True)
class Break:
    """A fracture of one bone. Lengths in mm, angles in radians; what two views see of it differs."""

    bone: int
    at: float
    slope: float
    gap: float
    across: float  # how far the hand's end has slid
    along: float  # above 0: driven into the other end, below 0: pulled apart
    angle: float
    bulge: float  # of the cortex, as in a child's buckled bone
    dense: float  # of the band where spongiosa is crushed
    jag: tuple[float, float, float]  # height, wave number and phase of the cut's teeth


@dataclass(frozen=True)
class Wrap:
    """Plaster from `start` to `stop` along the limb, or a splint's rod beside it."""

    thickness: float
    start: float
    stop: float
    weave: tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Limb:
    bones: tuple[Bone, ...]
    hand: tuple[tuple[float, float, float, float], ...]  # carpal bones and the rays of the hand: ellipses
    hand_angle: float
    width: float
    depth: float
    breaks: tuple[Break, ...] = ()
    wrap: Wrap | None = None
    folds: tuple[tuple[float, float, float, float], ...] = ()  # skin folds: place, slope, half width, strength
    metal: tuple[tuple[float, float, float, float], ...] = ()  # rods and screws: v, t, half length, half width
    lump: tuple[float, float] = (0.0, 0.0)  # swollen soft tissue: where, how much


def edge(x: np.ndarray, width: float) -> np.ndarray:
    """From 0 (x below) to 1 (x above) over a few times `width`."""
    return 0.5 * (1 + np.tanh(x / width))


def bump(x: np.ndarray, width: float) -> np.ndarray:
    return np.exp(-((x / width) ** 2))


def waves(rng: np.random.Generator, length: float, stretch: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Plane waves whose sum is a smooth random field; `stretch` above 1 draws it out along v."""
    k = rng.normal(size=(8, 2))
    k *= 2 * np.pi / length / np.sqrt(np.sum(k**2, axis=1, keepdims=True))
    return k / np.array([stretch, 1.0]), rng.uniform(0, 2 * np.pi, 8)


def field(v: np.ndarray, t: np.ndarray, wave: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """About 0, with variance 1."""
    return sum(np.cos(k[0] * v + k[1] * t + phase) for k, phase in zip(*wave, strict=True)) / np.sqrt(len(wave[1]) / 2)


def chord(t: np.ndarray, half_width: np.ndarray) -> np.ndarray:
    """The way through a round section at `t` from its middle."""
    half = np.maximum(half_width, 1e-3)
    return 2 * half * np.sqrt(np.maximum(0.0, 1 - (t / half) ** 2))


def loss(limb: Limb, v: np.ndarray, u: np.ndarray) -> np.ndarray:
    """How much of the X-ray is lost (the exponent of Beer and Lambert) at points of the film."""
    total = _soft(limb, v, u)
    for number, bone in enumerate(limb.bones):
        found = next((b for b in limb.breaks if b.bone == number), None)
        total = total + (_bone(bone, v, u) if found is None else _broken(bone, found, v, u))
    moved = next((b for b in limb.breaks if b.bone == 0), None)  # the hand goes with the end of the radius
    hand_v, hand_u = (v, u) if moved is None else _moved(limb.bones[0], moved, v, u)
    total = total + _hand(limb, hand_v, hand_u)
    if limb.wrap:
        total = total + _wrap(limb, limb.wrap, v, u)
    for at, across, length, width in limb.metal:
        total = total + METAL * edge(length - np.abs(v - at), 0.3) * edge(width - np.abs(u - across), 0.3)
    return total


def middle(bone: Bone, v: np.ndarray) -> np.ndarray:
    return bone.centre + bone.lean * v + bone.bow * (v / 50) ** 2


def half_width(bone: Bone, v: np.ndarray) -> np.ndarray:
    return bone.shaft + bone.flare * bump(v - bone.end, bone.reach)


def _bone(bone: Bone, v: np.ndarray, u: np.ndarray, bulge_at: float = 0.0, bulge: float = 0.0) -> np.ndarray:
    """The loss in one whole bone; spongiosa (of the marrow's water only the bone's trabeculae count) near its end."""
    t = u - middle(bone, v)
    half = half_width(bone, v) + bulge * bump(v - bulge_at, 2.6)
    wall = bone.cortex * (1 - 0.72 * bump(v - bone.end, 1.4 * bone.reach))
    inner = chord(t, half - wall)
    cortex = chord(t, half) - inner
    grain = 1 + 0.16 * field(v, t, bone.texture)
    spongiosa = inner * (0.12 + 0.88 * bump(v - bone.end, 1.7 * bone.reach)) * grain
    if bone.plate is not None:
        away = v - bone.end - bone.plate - 0.8 * np.cos(t / 3.1)
        open_plate = 1 - 0.75 * bump(away, 0.9)
        cortex, spongiosa = cortex * open_plate, spongiosa * open_plate * (1 + 0.35 * bump(np.abs(away) - 2.0, 0.7))
    if bone.scar is not None:
        spongiosa = spongiosa * (1 + 0.9 * bump(v - bone.end - bone.scar - 0.5 * np.cos(t / 4), 0.8))
    if bone.canal is not None:
        at, slope = bone.canal
        canal = bump(v - at - slope * t, 1.2) * edge(t * np.sign(slope) + 0.5, 0.8)
        cortex = cortex * (1 - 0.55 * canal)
    cap = edge(v - bone.end + 0.012 * t**2, 0.8)
    return (CORTEX * cortex + SPONGIOSA * spongiosa) * cap


def _cut(bone: Bone, found: Break, v: np.ndarray, u: np.ndarray) -> np.ndarray:
    """Above 0 on the elbow's side of the fracture, below 0 on the hand's."""
    height, number, phase = found.jag
    t = u - middle(bone, v)
    return (v - found.at - found.slope * t - height * np.sin(number * t + phase)) / np.hypot(1, found.slope)


def _moved(bone: Bone, found: Break, v: np.ndarray, u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where the points of the hand's end lay before the fracture, for points of the film."""
    v0, u0 = found.at, float(middle(bone, np.array(found.at)))
    dv, du = v - found.along - v0, u - found.across - u0
    cos, sin = np.cos(found.angle), np.sin(found.angle)
    return v0 + cos * dv + sin * du, u0 - sin * dv + cos * du


def _broken(bone: Bone, found: Break, v: np.ndarray, u: np.ndarray) -> np.ndarray:
    """Both ends, added up: where one is driven into the other the film is lighter, where they part it is darker."""
    far = _bone(bone, v, u, found.at, found.bulge) * edge(_cut(bone, found, v, u) - found.gap / 2, 0.35)
    was_v, was_u = _moved(bone, found, v, u)
    near = _bone(bone, was_v, was_u, found.at, found.bulge)
    near = near * edge(-_cut(bone, found, was_v, was_u) - found.gap / 2, 0.35)
    crushed = (
        found.dense * SPONGIOSA * bump(_cut(bone, found, v, u), 1.5) * chord(u - middle(bone, v), half_width(bone, v))
    )
    return far + near + crushed


def extent(bone: Bone, found: Break) -> tuple[float, float, float, float]:
    """What a reader would frame of a fracture: from and to along the limb, from and to across it, in mm.

    The width of the bone there with the end that slid, and along it the cut with its slope, gap and bulge.
    """
    half = float(half_width(bone, np.array(found.at))) + found.bulge
    along = 3.0 + abs(found.slope) * half + found.gap / 2 + max(found.along, 0.0)
    middle_ = float(middle(bone, np.array(found.at)))
    slid = (min(found.across, 0.0), max(found.across, 0.0))
    return found.at - along, found.at + along, middle_ - half - 1 + slid[0], middle_ + half + 1 + slid[1]


def _hand(limb: Limb, v: np.ndarray, u: np.ndarray) -> np.ndarray:
    """Carpal bones and the bones of the palm, as shells: a wall and a core."""
    cos, sin = np.cos(limb.hand_angle), np.sin(limb.hand_angle)
    v, u = cos * v - sin * u, sin * v + cos * u
    total = np.zeros_like(v)
    for at, across, length, width in limb.hand:
        inside = np.maximum(0.0, 1 - ((v - at) / length) ** 2 - ((u - across) / width) ** 2)
        core = np.maximum(0.0, 1 - ((v - at) / (length - 1)) ** 2 - ((u - across) / (width - 1)) ** 2)
        outer, inner = 1.6 * width * np.sqrt(inside), 1.6 * (width - 1) * np.sqrt(core)
        total += CORTEX * (outer - inner) * 0.8 + SPONGIOSA * inner
    return total


def _outline(limb: Limb, v: np.ndarray) -> np.ndarray:
    """Half the limb's width: the wrist is its narrowest place, the palm is broad."""
    at, much = limb.lump
    return limb.width * (1 + 0.12 * edge(v - 45, 25) + 0.22 * edge(-8 - v, 8)) + much * bump(v - at, 14)


def _soft(limb: Limb, v: np.ndarray, u: np.ndarray) -> np.ndarray:
    half = _outline(limb, v)
    total = SOFT * limb.depth * np.sqrt(np.maximum(0.0, 1 - (u / half) ** 2))
    for at, slope, width, strength in limb.folds:
        total = total * (1 - strength * bump(v - at - slope * u, width))
    return total


def _wrap(limb: Limb, wrap: Wrap, v: np.ndarray, u: np.ndarray) -> np.ndarray:
    """A shell of plaster: bright along its sides, with the gauze's weave and ends that cross the film as lines."""
    half = _outline(limb, v) + 2
    shell = chord(u, half + wrap.thickness) - chord(u, half)
    weave = 1 + 0.12 * field(v, u, wrap.weave)
    ends = edge(v - wrap.start - 0.05 * u, 0.6) * edge(wrap.stop - v, 0.6)
    return PLASTER * np.minimum(shell, 30.0) * weave * ends


def second_view(limb: Limb, shift: float) -> Limb:
    """The same limb from the side: the bones lie nearly behind each other, and the limb is narrower."""
    bones = tuple(replace(b, centre=0.25 * b.centre + shift * i, lean=-0.5 * b.lean) for i, b in enumerate(limb.bones))
    hand = tuple((at, 0.35 * across, length, 0.9 * width) for at, across, length, width in limb.hand)
    metal = tuple((at, 0.25 * across, length, width) for at, across, length, width in limb.metal)
    breaks = tuple(replace(b, across=b.across * 0.8, angle=-1.3 * b.angle, slope=0.6 * b.slope) for b in limb.breaks)
    return replace(limb, bones=bones, hand=hand, metal=metal, breaks=breaks, width=0.8 * limb.width)
