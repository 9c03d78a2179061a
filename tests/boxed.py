"""Radiographs with boxes that fit into a test: PNG files of 32 x 24 pixels, and a recipe of milliseconds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fedmed import recipe as recipes
from fedmed.cases.case import Box, Case, Geometry
from fedmed.recipe import Localisation
from tests import radiographs

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

ROWS, COLUMNS = 32, 24
PATIENTS = tuple(f"p{number:02d}" for number in range(16))
RECIPE: dict[str, Any] = {
    "schema": 1,
    "name": "marks",
    "task": "localisation",
    "seed": 7,
    "data": {
        "modality": "XR",
        "channels": ["XR"],
        "labels": {1: "mark"},
        "image_size": [32, 32],
        "split": {"validation": 0.3, "testing": 0.3},
    },
    "augment": [
        {"name": "RandFlip", "prob": 0.5, "spatial_axis": 1},
        {"name": "RandAffine", "prob": 0.7, "rotate_range": 0.2, "scale_range": 0.1},
        {"name": "RandGaussianNoise", "prob": 0.5, "std": 0.1},
    ],
    "network": {"name": "UNet", "channels": [8, 16, 32], "strides": [2, 2]},
    "training": {
        "batch_size": 4,
        "local_steps": 4,
        "optimizer": {"name": "AdamW", "client_lr": 0.01},
        "grad_clip": 1.0,
    },
    "evaluation": {"min_distance": 4},
}


def fields(**changed: Any) -> dict[str, Any]:
    """The recipe as a person writes it; `data`, `training` and `evaluation` are merged, all else is replaced."""
    merged = {name: {**RECIPE[name], **changed.pop(name, {})} for name in ("data", "training", "evaluation")}
    return {**RECIPE, **merged, **changed}


def recipe(**changed: Any) -> Localisation:
    found = recipes.parse(fields(**changed), "recipe")
    assert isinstance(found, Localisation)
    return found


def film(random: np.random.RandomState, count: int) -> tuple[np.ndarray, tuple[Box, ...]]:
    """Noise with so many crosses, each in a box of 7 x 7 pixels, in the upper and the lower half; and in both halves a
    bar that is as bright and no cross.
    """
    levels = random.randint(60, 100, (ROWS, COLUMNS))
    boxes = []
    for half in range(2):
        start = random.randint(2, COLUMNS - 8)
        levels[16 * half + 15, start : start + 6] = 240
        if half >= count:
            continue
        row, column = random.randint(4, 11) + 16 * half, random.randint(4, COLUMNS - 4)
        levels[row - 2 : row + 3, column] = levels[row, column - 2 : column + 3] = 240
        boxes.append(Box(column - 3.0, row - 3.0, 7.0, 7.0, 1))
    return levels, tuple(sorted(boxes))


def cases(root: Path, counts: Sequence[int], seed: int = 0) -> list[Case]:
    """Films with so many crosses each, written, as cases with their boxes."""
    random = np.random.RandomState(seed)
    found = []
    for number, count in enumerate(counts):
        levels, boxes = film(random, count)
        name = f"case-{number:02d}"
        radiographs.write(root / f"{name}.png", levels)
        grid = Geometry((COLUMNS, ROWS, 1), (0.0, 0.0, 0.0), "")
        found.append(Case(name, name, "", {"XR": (f"{name}.png",)}, boxes, {}, grid))
    return found


def write_hospital(folder: Path, patients: Sequence[str] = PATIENTS, seed: int = 0) -> Path:
    """images/PATIENT.png and boxes.csv: none, one and two crosses by turns."""
    random = np.random.RandomState(seed)
    lines = ["path,x,y,width,height,label,patient"]
    for number, patient in enumerate(patients):
        levels, boxes = film(random, number % 3)
        radiographs.write(folder / "images" / f"{patient}.png", levels)
        cells = [f"{box.x:g},{box.y:g},{box.width:g},{box.height:g},{box.label}" for box in boxes] or [",,,,"]
        lines += [f"images/{patient}.png,{each},{patient}" for each in cells]
    (folder / "boxes.csv").write_text("\n".join(lines) + "\n")
    return folder
