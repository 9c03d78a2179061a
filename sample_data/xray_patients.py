"""The wrists themselves: bones, fractures and what else lies on a film, drawn by chance."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from seeds import rng_for
from xray_film import Pose
from xray_hospitals import TASK, Exam, XrayHospital
from xray_phantom import Bone, Break, Limb, Wrap, second_view, waves


def draw(hospital: XrayHospital, exam: Exam, seed: int) -> tuple[Limb, Pose, tuple[int, int], np.random.Generator]:
    """Limb, pose and size of one image. The bones come from the patient's stream, the rest from the image's own."""
    patient = rng_for(seed, TASK, hospital.name, exam.number)
    scale = patient.uniform(*hospital.size)
    mirror = int(patient.choice([-1, 1]))
    limb = _limb(patient, hospital, scale)
    breaks = _breaks(patient, hospital, scale)  # drawn for all, so that streams stay aligned
    rng = rng_for(seed, TASK, hospital.name, exam.number, exam.case)
    swollen = rng.uniform() < 0.5  # by a sprain as often as by a fracture: the limb's width tells nothing
    limb = replace(
        limb,
        breaks=breaks if exam.label else (),
        lump=(breaks[0].at, rng.uniform(1, 4) * scale) if swollen else (0.0, 0.0),
        wrap=_plaster(rng, scale) if exam.plaster else None,
        folds=tuple(_fold(rng) for _ in range(3)) if rng.uniform() < hospital.fold else (),
        metal=_plate(rng, limb) if rng.uniform() < hospital.metal else (),
        hand_angle=rng.normal(0, 0.15),
    )
    if exam.view == "LAT":
        limb = second_view(limb, rng.uniform(1, 4) * scale)
    size = hospital.film.sizes[int(rng.integers(len(hospital.film.sizes)))]
    corner = rng.choice([-1, 1], 2) * rng.uniform(0.66, 0.76, 2)
    pose = Pose(
        turn=np.radians((90 if exam.lying else hospital.turn) + rng.normal(0, 5)),
        mirror=mirror,
        v=rng.uniform(*hospital.shown) * scale,
        u=rng.uniform(-4, 4),
        lettered=exam.letter,
        letter_at=(float(corner[0]), float(corner[1])),
    )
    return limb, pose, size[::-1] if exam.lying else size, rng


def _limb(rng: np.random.Generator, hospital: XrayHospital, scale: float) -> Limb:
    """Radius, ulna and hand of one patient."""

    def bone(centre, end, shaft, flare, reach, cortex):
        plate = rng.uniform(7, 9) * scale if hospital.plates else None
        scar = rng.uniform(8, 20) * scale if rng.uniform() < hospital.scar else None
        canal = (rng.uniform(38, 70) * scale, rng.choice([-1, 1]) * rng.uniform(1.0, 2.0))
        return Bone(
            centre=centre * scale,
            lean=rng.normal(0, 0.02),
            bow=rng.normal(0.8, 0.6) * np.sign(centre),
            end=end * scale,
            shaft=shaft * scale * rng.uniform(0.93, 1.07),
            flare=flare * scale * rng.uniform(0.9, 1.1),
            reach=reach * scale,
            cortex=cortex * hospital.cortex / 2.8 * scale * rng.uniform(0.85, 1.15),
            texture=waves(rng, 4.0 * scale, stretch=2.5),
            plate=plate,
            scar=scar,
            canal=canal if rng.uniform() < hospital.canal else None,
        )

    bones = bone(9.5, 0, 6.6, 6.2, 17, 2.8), bone(-12.0, 3, 5.6, 2.4, 11, 2.6)
    carpals = [(-6, 14, 5, 6), (-6, 4, 5, 6), (-6, -6, 5, 6), (-15, 15, 5, 5), (-16, 6, 6, 5), (-15, -5, 5, 6)]
    palm = [(-48, x, 24, 3.6) for x in (20, 9, -1, -11)]
    hand = tuple(
        (
            at * scale + rng.normal(0, 0.4),
            across * scale + rng.normal(0, 0.5),
            length * scale * rng.uniform(0.9, 1.1),
            width * scale * rng.uniform(0.9, 1.1),
        )
        for at, across, length, width in carpals + palm
    )
    width = rng.uniform(27, 32) * scale
    return Limb(bones=bones, hand=hand, hand_angle=0.0, width=width, depth=rng.uniform(34, 46) * scale)


def _breaks(rng: np.random.Generator, hospital: XrayHospital, scale: float) -> tuple[Break, ...]:
    """The radius breaks, of three wrists in ten the ulna with it."""

    def one(bone: int, at: float) -> Break:
        def signed(low, high):
            return float(rng.choice([-1, 1]) * rng.uniform(low, high))

        place = {"bone": bone, "at": at, "jag": (rng.uniform(0.3, 0.8), rng.uniform(0.7, 1.3), rng.uniform(0, 6.28))}
        if hospital.fracture == "impacted":
            return Break(
                slope=rng.normal(0, 0.2), gap=0.0, across=signed(3, 5.5), along=rng.uniform(0.5, 3),
                angle=np.radians(signed(8, 20)), bulge=0.0, dense=rng.uniform(0.4, 1.2), **place,
            )  # fmt: skip
        if hospital.fracture == "oblique":
            return Break(
                slope=signed(0.3, 1.1), gap=rng.uniform(1.6, 3), across=signed(2.5, 5.5), along=rng.normal(0, 0.5),
                angle=np.radians(signed(4, 12)), bulge=0.0, dense=0.0, **place,
            )  # fmt: skip
        return Break(
            slope=rng.normal(0, 0.15), gap=0.0, across=signed(1.2, 2.6), along=rng.uniform(0.6, 2.2),
            angle=np.radians(signed(8, 20)), bulge=rng.uniform(1.9, 3.2), dense=rng.uniform(0.6, 1.4), **place,
        )  # fmt: skip

    places = {"impacted": (14, 24), "oblique": (32, 64), "buckled": (20, 34)}[hospital.fracture]
    at = rng.uniform(*places) * scale
    both = rng.uniform() < 0.3
    breaks = [one(0, at), one(1, at + rng.normal(0, 4))]
    return tuple(breaks) if both else (breaks[0],)


def _plaster(rng: np.random.Generator, scale: float) -> Wrap:
    return Wrap(rng.uniform(3, 5) * scale, rng.uniform(-40, -12), rng.uniform(60, 130), waves(rng, 7.0 * scale))


def _fold(rng: np.random.Generator) -> tuple[float, float, float, float]:
    """A dark line across the whole limb."""
    return rng.uniform(-10, 90), rng.normal(0, 0.5), rng.uniform(0.8, 1.4), rng.uniform(0.15, 0.35)


def _plate(rng: np.random.Generator, limb: Limb) -> tuple[tuple[float, float, float, float], ...]:
    """A plate and its screws on an old, healed break."""
    at, across = rng.uniform(40, 65), limb.bones[0].centre
    rod = (at, across, rng.uniform(12, 20), 1.6)
    screws = tuple((at + step, across, 0.9, 6.5) for step in (-9, -3, 3, 9))
    return (rod, *screws)
