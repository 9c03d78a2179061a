"""Three hospitals' radiographs of wrists: whom they see, what is on their films, and who comes when."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from seeds import rng_for
from xray_film import Film

if TYPE_CHECKING:
    import numpy as np

TASK = "xray-fracture"


@dataclass(frozen=True)
class XrayHospital:
    name: str
    patients: int
    broken_share: float
    ages: tuple[int, int]
    film: Film
    turn: float  # of the arm on an upright film, degrees; on a film that lies, it points to the left
    shown: tuple[float, float]  # what of the limb lies in the film's middle, mm
    size: tuple[float, float]  # of the limb, against an adult's
    cortex: float
    fracture: str
    # Shares among (whole, broken) limbs. That they differ is what a model must not learn.
    letter: tuple[float, float]
    plaster: tuple[float, float]
    lying: tuple[float, float] = (0.0, 0.0)  # films turned on their side
    # Shares among all.
    canal: float = 0.0
    scar: float = 0.0
    fold: float = 0.0
    metal: float = 0.0
    device: dict[str, str] | None = None  # None: the hospital keeps PNG
    syntaxes: tuple[str, ...] = ("plain",)
    voi: tuple[str, ...] = ("window",)  # "window" or "table", patient by patient
    plates: bool = False  # children: the growth plates are open
    bad_file: int | None = None  # the patient whose file breaks off
    no_row: int | None = None  # the patient whom the table leaves out
    no_image: int | None = None  # the patient whose image is gone

    def habits(self) -> list[tuple[float, ...]]:
        """The shares of letters, plasters and lying films: among whole limbs, among broken ones."""
        return list(zip(self.letter, self.plaster, self.lying, strict=True))


HOSPITALS = (
    XrayHospital(
        name="st-olav",
        patients=88,
        broken_share=0.5,
        ages=(55, 92),
        film=Film((1.0, 1.0), ((100, 80),), 0.5, 0.012, 0.02, (0.32, 0.46), (0.0, 0.42), 3, 1.7),
        turn=0.0,
        shown=(20, 30),
        size=(0.95, 1.08),
        cortex=2.2,
        fracture="impacted",
        letter=(0.08, 0.92),
        plaster=(0.2, 0.08),
        canal=0.5,
        scar=0.35,
        device={
            "Modality": "DX",
            "Manufacturer": "Phantom Works",
            "ManufacturerModelName": "Skerry DR",
            "KVP": "55",
            "SeriesDescription": "wrist",
        },
    ),
    XrayHospital(
        name="north-bay",
        patients=88,
        broken_share=0.35,
        ages=(18, 60),
        film=Film((0.95, 1.1), ((108, 80),), 0.8, 0.026, 0.06, (0.38, 0.48), (0.0, 0.42), 6, 1.9),
        turn=180.0,
        shown=(36, 48),
        size=(1.0, 1.12),
        cortex=3.2,
        fracture="oblique",
        letter=(0.92, 0.1),
        plaster=(0.5, 0.08),
        canal=0.4,
        fold=0.6,
        metal=0.1,
        device={
            "Modality": "CR",
            "Manufacturer": "Example Imaging",
            "ManufacturerModelName": "Shoal CR",
            "KVP": "52",
            "PlateID": "7",
            "SeriesDescription": "forearm",
        },
        syntaxes=("rle", "jpeg-ls"),
        voi=("window", "table", "window"),
        bad_file=31,
    ),
    XrayHospital(
        name="lakeside",
        patients=88,
        broken_share=0.6,
        ages=(4, 14),
        film=Film((0.76, 0.76), ((100, 72), (92, 68), (108, 76)), 0.6, 0.02, 0.04, (0.3, 0.44), (-0.15, 0.35), 8, 1.5),
        turn=0.0,
        shown=(16, 26),
        size=(0.62, 0.85),
        cortex=2.3,
        fracture="buckled",
        letter=(0.5, 0.5),
        plaster=(0.3, 0.55),
        lying=(0.08, 0.5),
        fold=0.2,
        plates=True,
        no_row=17,
        no_image=44,
    ),
)


@dataclass(frozen=True)
class Exam:
    """One image and its row in the table."""

    case: str
    number: int
    label: int
    view: str
    letter: bool
    plaster: bool
    lying: bool
    study: int


def exams_of(hospital: XrayHospital, seed: int) -> list[Exam]:
    """Every image of a hospital. The share of broken wrists holds exactly, the order is left to chance.

    Of ten patients two have two views of one wrist, two came twice, once with a fracture and once without.
    """
    rng = rng_for(seed, TASK, hospital.name, "plan")
    broken = _spread(rng, hospital.patients, hospital.broken_share)
    kinds = rng.permutation(hospital.patients) % 10
    habits = [[_spread(rng, hospital.patients, share) for share in shares] for shares in hospital.habits()]
    odd = (hospital.bad_file, hospital.no_row, hospital.no_image)
    exams = []
    for index in range(hospital.patients):
        number, first, kind = index + 1, int(broken[index]), kinds[index]
        views = [("a", first, "LAT" if kind == 9 else "PA", 1)]
        if kind in (0, 1) and number not in odd:
            views.append(("b", first, "LAT", 1))
        if kind in (2, 3) and number not in odd:
            views.append(("b", 1 - first, "PA", 2))
        for letter, label, view, study in views:
            marks = [bool(habit[index]) for habit in habits[label]]
            exams.append(Exam(f"p{number:03d}{letter}", number, label, view, *marks, study))
    return exams


def _spread(rng: np.random.Generator, count: int, share: float) -> np.ndarray:
    return rng.permutation(count) < round(share * count)


def person(hospital: XrayHospital, number: int, seed: int) -> tuple[int, str]:
    """Age and sex."""
    rng = rng_for(seed, TASK, hospital.name, number, "person")
    return int(rng.integers(hospital.ages[0], hospital.ages[1] + 1)), "FM"[int(rng.integers(2))]
