"""Three hospitals' tables of patients: findings and heart disease, and breast cancer with the time to death."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from seeds import rng_for

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import numpy as np

HEART = (
    *("patient", "age", "sex", "cp", "trestbps", "chol", "fbs", "restecg", "thalach", "exang", "oldpeak"),
    *("ward", "num"),
)  # fmt: skip
GROUPS = {  # of a breast cancer: the levels but the first, each a column with 0 or 1, and how frequent they are
    "ethnicity": {"not hispanic or latino": 0.8, "not reported": 0.15},
    "race": {"asian": 0.06, "black or african american": 0.17, "not reported": 0.08, "white": 0.68},
    "ajcc_pathologic_m": {"MX": 0.15},
    "ajcc_pathologic_n": {"N0 (i-)": 0.14, "N1": 0.1, "N1a": 0.14, "N2": 0.05, "N2a": 0.06},
    "ajcc_pathologic_stage": {
        "Stage IA": 0.08,
        "Stage IIA": 0.33,
        "Stage IIB": 0.23,
        "Stage IIIA": 0.15,
        "Stage IIIC": 0.06,
    },
    "ajcc_pathologic_t": {"T1c": 0.16, "T2": 0.58, "T3": 0.12},
    "ajcc_staging_system_edition": {"5th": 0.12, "6th": 0.35, "7th": 0.4},
    "icd_10_code": {"C50.9": 0.9},
    "morphology": {"8500/3": 0.72, "8520/3": 0.19},
    "primary_diagnosis": {"Infiltrating duct carcinoma, NOS": 0.72, "Lobular carcinoma, NOS": 0.19},
    "prior_malignancy": {"yes": 0.06},
    "synchronous_malignancy": {"Not Reported": 0.05},
    "treatment_or_therapy": {"not reported": 0.3, "yes": 0.5},
    "tumor_stage": {
        "stage i": 0.08,
        "stage ia": 0.08,
        "stage iia": 0.33,
        "stage iib": 0.23,
        "stage iiia": 0.15,
        "stage iiic": 0.06,
    },
}
SURVIVAL = (
    "patient", "age_at_index", *(f"{group}_{level}" for group, levels in GROUPS.items() for level in levels), "E", "T"
)  # fmt: skip
HAZARD = {"IA": -1.5, "IIA": -0.6, "IIB": 0.2, "IIIA": 1.2, "IIIC": 2.2, "N2": 0.7, "N2a": 0.7, "T3": 0.6, "yes": -0.5}


@dataclass(frozen=True)
class TableHospital:
    """`gap` is what stands where nothing was recorded; `gaps` how often, by column; `odd` a row that is no use."""

    name: str
    patients: int
    ages: tuple[float, float]  # mean and spread
    men: float
    offset: float  # of what is measured: pressure, cholesterol, pulse
    followed: float  # years that a patient is followed, on average
    delimiter: str
    gap: str
    gaps: dict[str, float]
    whole: str  # how a whole number is written
    odd: tuple[int, dict[str, str]]  # a patient, and what stands there instead


HOSPITALS = (
    TableHospital(
        "st-olav", 90, (55, 9), 0.68, 0.0, 9.0, ",", "?", {"restecg": 0.04}, "{:.1f}", (31, {"num": "", "E": ""})
    ),
    TableHospital(
        "north-bay",
        70,
        (48, 8),
        0.72,
        6.0,
        5.0,
        ";",
        "",
        {"chol": 0.12, "fbs": 0.05},
        "{:d}",
        (12, {"chol": "high", "T": "-1"}),
    ),
    TableHospital(
        "lakeside",
        60,
        (56, 8),
        0.8,
        -8.0,
        4.0,
        ",",
        "NA",
        {"trestbps": 0.25, "oldpeak": 0.2},
        "{:d}",
        (7, {"cp": "5", "age_at_index": "60y"}),
    ),
)


def write_heart(out: Path, hospital: TableHospital, seed: int) -> None:
    _write(out / "table-heart", hospital, HEART, _heart, seed)


def write_survival(out: Path, hospital: TableHospital, seed: int) -> None:
    _write(out / "table-survival", hospital, SURVIVAL, _survival, seed)


TASKS = {"table-heart": write_heart, "table-survival": write_survival}


def _write(
    folder: Path,
    hospital: TableHospital,
    columns: tuple[str, ...],
    draw: Callable[[np.random.Generator, TableHospital], dict[str, str]],
    seed: int,
) -> None:
    lines = [hospital.delimiter.join(f'"{name}"' if hospital.delimiter in name else name for name in columns)]
    for number in range(1, hospital.patients + 1):
        cells = draw(rng_for(seed, folder.name, hospital.name, number), hospital)
        cells["patient"] = f"{hospital.name.upper()}-{8000 + number}"
        odd, shown = hospital.odd
        if number == odd:
            cells |= {name: cell for name, cell in shown.items() if name in cells}
        lines.append(hospital.delimiter.join(cells[name] for name in columns))
    path = folder / hospital.name / "patients.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(("\n".join(lines) + "\n").encode())


def _heart(rng: np.random.Generator, hospital: TableHospital) -> dict[str, str]:
    """Somebody with or without narrowed arteries; what is measured follows from it, with much noise."""
    age = min(max(rng.normal(*hospital.ages), 29), 79)
    man = rng.random() < hospital.men
    risk = (age - 54) / 9 + (1.1 if man else -1.1) + rng.normal(0, 0.8)
    grade = 0 if risk < 0 else int(min(1 + rng.poisson(0.6 * max(risk, 0)), 4))
    ill = grade > 0
    pain = int(rng.choice([1, 2, 3, 4], p=[0.07, 0.15, 0.25, 0.53] if ill else [0.1, 0.3, 0.33, 0.27]))
    known = {
        "age": round(age),
        "sex": int(man),
        "cp": pain,
        "trestbps": round(rng.normal(130 + 4 * ill + 0.4 * (age - 54) + hospital.offset, 16)),
        "chol": round(rng.normal(240 + 10 * ill + 2 * hospital.offset, 45)),
        "fbs": int(rng.random() < 0.12 + 0.05 * ill),
        "restecg": int(rng.choice([0, 1, 2], p=[0.5, 0.2, 0.3] if ill else [0.65, 0.15, 0.2])),
        "thalach": round(rng.normal(154 - 10 * ill - 0.7 * (age - 54) - hospital.offset, 18)),
        "exang": int(rng.random() < (0.42 if ill else 0.18)),
    }
    cells = {name: hospital.whole.format(value) for name, value in known.items()}
    cells["oldpeak"] = f"{max(0.0, rng.normal(1.1 if ill else 0.6, 1.0)):.1f}"
    cells |= {"ward": "AB"[int(rng.integers(2))], "num": str(grade)}
    return {name: hospital.gap if rng.random() < hospital.gaps.get(name, 0) else cell for name, cell in cells.items()}


def _survival(rng: np.random.Generator, hospital: TableHospital) -> dict[str, str]:
    """A tumour of some stage; the hazard of death grows with the stage, and with age."""
    chosen = {group: _level(rng, levels) for group, levels in GROUPS.items()}
    chosen["tumor_stage"] = chosen["ajcc_pathologic_stage"].lower()  # two columns for one fact, as in the original
    age = min(max(rng.normal(hospital.ages[0] + 3, 13), 26), 90)
    said = [level.removeprefix("Stage ") for level in chosen.values()]
    hazard = 0.06 * math.exp(0.03 * (age - 58) + sum(HAZARD.get(level, 0.0) for level in said))
    death, lost = rng.exponential(1 / hazard), rng.exponential(hospital.followed)
    cells = {
        f"{group}_{level}": str(int(chosen[group] == level)) for group, levels in GROUPS.items() for level in levels
    }
    cells |= {"age_at_index": str(round(age)), "E": str(int(death < lost)), "T": str(round(365 * min(death, lost)))}
    return cells


def _level(rng: np.random.Generator, levels: dict[str, float]) -> str:
    """One of the levels, or the first, which has no column."""
    place = rng.random()
    for level, share in levels.items():
        place -= share
        if place < 0:
            return level
    return ""
