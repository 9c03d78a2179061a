"""Tables of cases that fit into a test: rows of four columns, and recipes of milliseconds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fedmed import recipe as recipes
from fedmed.cases import find
from fedmed.cases.case import Case, Row
from fedmed.recipe import Survival, Tabular
from fedmed.settings import DataFolder, Layout, TableLayout
from fedmed.site import partition
from tests import small

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from fedmed.cases.find import Found
    from fedmed.recipe import Rowwise

KEY = b"k" * 32
PATIENTS = tuple(f"person-{number:02d}" for number in range(30))  # too long to stand in a tensor by chance
COLUMNS: list[dict[str, Any]] = [
    {"name": "age"},
    {"name": "pressure"},
    {"name": "pain", "levels": ["none", "mild", "severe"]},
]
SPLIT = {"validation": 0.2, "testing": 0.2}
TABULAR: dict[str, Any] = {
    "schema": 1,
    "name": "ward",
    "task": "tabular",
    "seed": 7,
    "data": {"columns": COLUMNS, "outcome": {"column": "grade", "above": 0}, "labels": {1: "ill"}, "split": SPLIT},
    "network": {"name": "Linear"},
    "training": {"batch_size": 4, "local_steps": 4, "optimizer": {"name": "SGD", "client_lr": 0.1}},
}
AS_IT_STANDS = {"normalisation": "none", "imputation": "drop"}  # nothing has to be fitted
SURVIVAL: dict[str, Any] = {
    **TABULAR,
    "task": "survival",
    "data": {"columns": COLUMNS, "outcome": {"time": "days", "event": "died"}, "split": SPLIT},
}


def tabular(**changed: Any) -> Tabular:
    found = recipes.parse(_merged(TABULAR, changed), "recipe")
    assert isinstance(found, Tabular)
    return found


def survival(**changed: Any) -> Survival:
    found = recipes.parse(_merged(SURVIVAL, changed), "recipe")
    assert isinstance(found, Survival)
    return found


def _merged(base: dict[str, Any], changed: dict[str, Any]) -> dict[str, Any]:
    """`data` and `training` are merged, all else is replaced."""
    return {**base, **changed, **{name: {**base[name], **changed.get(name, {})} for name in ("data", "training")}}


def write_hospital(folder: Path, patients: Sequence[str] = PATIENTS, seed: int = 0) -> Path:
    """ward.csv: the old, with high pressure and severe pain are ill (grade 1 or 2), and die earlier; some gaps."""
    random = np.random.RandomState(seed)
    folder.mkdir(parents=True)
    lines = ["patient,age,pressure,pain,ward,grade,days,died"]
    for patient in patients:
        age, pressure, pain = random.randint(40, 90), random.randint(100, 180), random.randint(3)
        risk = (age - 65) / 15 + (pressure - 140) / 25 + pain - 1 + 0.5 * random.randn()
        grade = 0 if risk < 0 else random.randint(1, 3)
        days, died = int(1000 * np.exp(-risk) * random.rand()), int(random.rand() < 0.7)
        shown = "?" if random.rand() < 0.1 else str(pressure)
        lines.append(
            f"{patient},{age},{shown},{('none', 'mild', 'severe')[pain]},{'AB'[age > 65]},{grade},{days},{died}"
        )
    (folder / "ward.csv").write_text("\n".join(lines) + "\n")
    return folder


def cases(labels: Sequence[int]) -> list[Case]:
    """A row a label: the first number rises with it."""
    return [
        Case(f"case-{n:02d}", f"p{n}", "", {}, label, {}, None, row=Row(n + 1, (float(label), n % 5 / 5, n % 3)))
        for n, label in enumerate(labels)
    ]


def found(
    root: Path, text: str, recipe: Rowwise | None = None, label_map: Mapping[int, int] | None = None, **layout: Any
) -> Found:
    """What `find` makes of a table with this text."""
    root.mkdir(exist_ok=True)
    (root / "ward.csv").write_bytes(text.encode())
    folder = DataFolder(root=str(root), layout=Layout(table=TableLayout(file="ward.csv", **layout)))
    return find.find(folder, recipe or tabular(), pseudonym_key=KEY, label_map=label_map or {})


def founded(
    root: Path, sites: Sequence[str] = small.SITES, recipe: Mapping[str, Any] = TABULAR, **changed: Any
) -> small.Federation:
    """As `small.founded`, of hospitals with a table, behind `partition`."""
    world = small.founded(
        root, sites, initial=small.unet_initial, recipe=recipe, patients=PATIENTS, hospital=write_hospital,
        channels=(), **changed,
    )  # fmt: skip
    for name in sites:
        partition.partition(world.site(name), small.now())
    return world
