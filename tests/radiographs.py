"""Radiographs that fit into a test: PNG files of 16 x 16 pixels, a table of classes, and a recipe of milliseconds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fedmed import recipe as recipes
from fedmed.cases.case import Case, Geometry
from fedmed.recipe import Classification
from fedmed.site import partition
from tests import small

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

SIDE = 16
PATIENTS = tuple(f"p{number:02d}" for number in range(16))
NETWORK: dict[str, Any] = {
    "name": "ResNet",
    "layers": [1, 1, 1, 1],
    "block_inplanes": [4, 4, 8, 8],
    "conv1_t_size": 3,
    "conv1_t_stride": 1,
    "no_max_pool": True,
}
BATCH_NORM = {policy: {**NETWORK, "norm": "batch", "batch_norm": policy} for policy in ("average", "local", "frozen")}
RECIPE: dict[str, Any] = {
    "schema": 1,
    "name": "film",
    "task": "classification",
    "seed": 7,
    "data": {
        "modality": "XR",
        "channels": ["XR"],
        "labels": {1: "fracture"},
        "image_size": [SIDE, SIDE],
        "split": {"validation": 0.3, "testing": 0.3},
    },
    "augment": [
        {"name": "RandAffine", "prob": 0.7, "rotate_range": 0.2, "scale_range": 0.1},
        {"name": "RandScaleIntensity", "prob": 0.5, "factors": 0.2},
        {"name": "RandShiftIntensity", "prob": 0.5, "offsets": 0.2},
        {"name": "RandGaussianNoise", "prob": 0.5, "std": 0.1},
    ],
    "network": NETWORK,
    "training": {"batch_size": 4, "local_steps": 4, "optimizer": {"name": "AdamW", "client_lr": 0.01}},
}


def fields(**changed: Any) -> dict[str, Any]:
    """The recipe as a person writes it; `data`, `training` and `evaluation` are merged, all else is replaced."""
    merged = {name: {**RECIPE.get(name, {}), **changed.pop(name, {})} for name in ("data", "training", "evaluation")}
    return {**RECIPE, **merged, **changed}


def recipe(**changed: Any) -> Classification:
    found = recipes.parse(fields(**changed), "recipe")
    assert isinstance(found, Classification)
    return found


def write(path: Path, levels: np.ndarray) -> Path:
    """8 bits of grey, [row, column]."""
    from PIL import Image  # noqa: PLC0415 - few tests here write an image

    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(levels.astype(np.uint8), "L").save(path)
    return path


def film(random: np.random.RandomState, kind: int) -> np.ndarray:
    """Noise, in which kind 1 has a bright bar at the top left and kind 2 one at the bottom right."""
    levels = random.randint(60, 100, (SIDE, SIDE))
    levels[2:4, 1:9] += 120 * (kind == 1)
    levels[-5:-1, -4:-2] += 120 * (kind == 2)
    return levels


def write_hospital(folder: Path, patients: Sequence[str] = PATIENTS, seed: int = 0) -> Path:
    """images/PATIENT.png and labels.csv: every other patient has a fracture."""
    random = np.random.RandomState(seed)
    lines = ["path,label,patient"]
    for number, patient in enumerate(patients):
        write(folder / "images" / f"{patient}.png", film(random, number % 2))
        lines.append(f"images/{patient}.png,{number % 2},{patient}")
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    return folder


def case(name: str, label: int | None, *, patient: str = "", files: tuple[str, ...] = ()) -> Case:
    """A case whose one file lies in the data root under its own name."""
    image = {"XR": files or (f"{name}.png",)}
    return Case(name, patient or name, "", image, label, {}, Geometry((SIDE, SIDE, 1), (0.0, 0.0, 0.0), ""))


def cases(root: Path, kinds: Sequence[int], seed: int = 0) -> list[Case]:
    """Films of these kinds, written, as cases with the kind as their class."""
    random = np.random.RandomState(seed)
    found = []
    for number, kind in enumerate(kinds):
        write(root / f"case-{number:02d}.png", film(random, kind))
        found.append(case(f"case-{number:02d}", kind))
    return found


def founded(
    root: Path, sites: Sequence[str] = small.SITES, *, limits: Mapping[str, Any] | None = None, **changed: Any
) -> small.Federation:
    """As `small.founded`, of hospitals with radiographs, behind `partition`; `changed` are fields of the recipe."""
    world = small.founded(
        root,
        sites,
        initial=small.unet_initial,
        recipe=fields(**changed),
        patients=PATIENTS,
        hospital=write_hospital,
        channels=("XR",),
        limits=limits,
    )
    for name in sites:
        partition.partition(world.site(name), small.now())
    return world
