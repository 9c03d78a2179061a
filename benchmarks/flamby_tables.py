"""FLamby's two tables: rows, folds and preparation as FLamby has them, from the files of the hospitals.

Source: Ogier du Terrail et al., FLamby, NeurIPS 2022; https://github.com/owkin/FLamby (MIT), commit edacf54d.
"""

from __future__ import annotations

import csv
import itertools
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from sklearn.model_selection import train_test_split

from fedmed.reporting import survival

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

HOSPITALS = ("cleveland", "hungarian", "switzerland", "va")
HEART_COLUMNS = (
    *("age", "sex", "cp", "trestbps", "chol", "fbs", "restecg", "thalach", "exang", "oldpeak", "slope", "ca", "thal"),
    "num",
)
DROPPED = (10, 11, 12)  # slope, ca, thal: known to one hospital alone
CATEGORIES = (2, 6)  # cp, restecg


@dataclass(frozen=True)
class Rows:
    """Inputs [rows, width] and outcomes [rows] or, of a survival, [rows, time and event]; both float32."""

    inputs: torch.Tensor
    outcomes: torch.Tensor

    def __len__(self) -> int:
        return len(self.inputs)


@dataclass(frozen=True)
class Split:
    training: Rows
    testing: Rows


@dataclass(frozen=True)
class Table:
    """One of the two tables. `sites` in FLamby's order; `pooled` is all of them in one place.

    `loss` is FLamby's own where it is not the product's. Its loaders for TCGA `reads_ahead`, with worker processes.
    """

    name: str
    recipe: Mapping[str, Any]
    sites: Sequence[Split]
    pooled: Split
    score: Callable[[np.ndarray, np.ndarray], float]
    epochs: int
    central_lr: float
    rounds: int
    loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] | None = None
    reads_ahead: bool = False


def heart(data: Path) -> Table:
    """Four hospitals, 13 inputs; train and test stratified within each, drawn with seed 43."""
    parts = [hospital(data / "fed_heart_disease" / f"processed.{name}.data") for name in HOSPITALS]
    encoded = _one_hot(np.concatenate([inputs for inputs, _ in parts]))
    edges = list(itertools.accumulate([0, *(len(inputs) for inputs, _ in parts)]))
    drawn = []
    for (start, stop), (_, labels) in zip(itertools.pairwise(edges), parts, strict=True):
        drawn.append([(encoded[start:stop][part], labels[part]) for part in halves(labels)])
    together = [
        (np.concatenate([part[fold][0] for part in drawn]), np.concatenate([part[fold][1] for part in drawn]))
        for fold in (0, 1)
    ]
    fields = _recipe("tabular", [*range(13)], {"outcome": {"column": "num"}, "labels": {1: "disease"}})
    fields["training"] = {"batch_size": 4, "loss": {"name": "CrossEntropyLoss"}}
    sites = [_normalised(*part) for part in drawn]
    return Table("heart", fields, sites, _normalised(*together), accuracy, epochs=50, central_lr=1e-3, rounds=15)


def halves(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Places of training and test rows, in their order; stratified where each class has more than 2."""
    counts = np.unique(labels, return_counts=True)[1]
    training, testing = train_test_split(
        np.arange(len(labels)), test_size=1 - 0.66, train_size=0.66, random_state=43, shuffle=True,
        stratify=labels if len(counts) > 1 and (counts > 2).all() else None,
    )  # fmt: skip
    return np.sort(training), np.sort(testing)


def breast(data: Path) -> Table:
    """Six regions, 39 inputs as they are; FLamby's own folds, rows in the order of the file."""
    _, *rows = brca(data)

    def part(fold: str) -> Rows:
        """Of one site's fold, or of all sites' where no site is named, in the order of the file."""
        return _survivals([cells for said, *cells in rows if said.startswith(fold)])

    sites = [Split(part(f"train_{site}"), part(f"test_{site}")) for site in range(6)]
    pooled = Split(part("train"), part("test"))
    fields = _recipe("survival", [*range(39)], {"outcome": {"time": "T", "event": "E"}})
    fields["training"] = {"batch_size": 8, "loss": {"name": "CoxPHLoss"}}
    found = Table("breast", fields, sites, pooled, concordance, epochs=30, central_lr=0.1, rounds=5)
    return replace(found, loss=cox_loss, reads_ahead=True)


def brca(data: Path) -> list[list[str]]:
    """The names of the columns, then the rows that are in a fold: the fold, with its site, stands for the patient."""
    folder = data / "fed_tcga_brca"
    with (folder / "train_test_split.csv").open(newline="") as file:
        fold_of = {row["pid"]: row["fold2"] for row in csv.DictReader(file)}
    with (folder / "brca.csv").open(newline="") as file:
        head, *rows = csv.reader(file)
    return [head, *([fold_of[name], *cells] for name, *cells in rows if name in fold_of)]


def _recipe(task: str, inputs: Sequence[int], data: Mapping[str, Any]) -> dict[str, Any]:
    columns = [{"name": f"input {number}"} for number in inputs]
    return {
        "schema": 1, "name": "flamby", "task": task, "seed": 0, "network": {"name": "Linear"},
        "data": {"columns": columns, "normalisation": "none", "imputation": "drop", **data},
    }  # fmt: skip


def hospital(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Inputs [rows, 10] of the rows without a gap, and whether there is disease."""
    known = np.array(without_gaps(path), float)
    return known[:, :-1], (known[:, -1] > 0).astype(float)


def without_gaps(path: Path) -> list[list[str]]:
    """Rows that have all that is kept of the columns."""
    with path.open(newline="") as file:
        rows = [[cell for place, cell in enumerate(row) if place not in DROPPED] for row in csv.reader(file)]
    return [row for row in rows if "?" not in row]


def _one_hot(inputs: np.ndarray) -> np.ndarray:
    """Categories behind the numbers, 0 or 1 for each level of all hospitals but the first."""
    numbers = np.delete(inputs, CATEGORIES, axis=1)
    levels = [(place, level) for place in CATEGORIES for level in np.unique(inputs[:, place])[1:]]
    return np.column_stack([numbers, *((inputs[:, place] == level).astype(float) for place, level in levels)])


def _normalised(training: tuple[np.ndarray, np.ndarray], testing: tuple[np.ndarray, np.ndarray]) -> Split:
    """By mean and standard deviation of the training rows, counted as torch does, in float32."""
    inputs = [torch.tensor(part[0], dtype=torch.float32) for part in (training, testing)]
    mean, sd = inputs[0].mean(dim=0), inputs[0].std(dim=0)
    labels = [torch.tensor(part[1], dtype=torch.float32) for part in (training, testing)]
    one, two = (Rows((each - mean) / (sd + 1e-9), said) for each, said in zip(inputs, labels, strict=True))
    return Split(one, two)


def _survivals(rows: Sequence[Sequence[str]]) -> Rows:
    """The last two cells are event and time."""
    cells = torch.tensor(np.array(rows, float), dtype=torch.float32)
    return Rows(cells[:, :-2], cells[:, [-1, -2]])


def cox_loss(risks: torch.Tensor, outcomes: torch.Tensor) -> torch.Tensor:
    """FLamby's: of rows with the same time, the one that stands first in the batch is not at risk for the others'
    event. The product's `objective.cox_loss` has all of them at risk (Breslow).
    """
    order = torch.sort(outcomes[:, 0], descending=True, stable=True).indices
    risk = risks[order, 0] - risks.max()
    return (outcomes[order, 1] * (risk.exp().cumsum(0).log() - risk)).mean()


def accuracy(outputs: np.ndarray, outcomes: np.ndarray) -> float:
    return float(((outputs > 0) == (outcomes > 0.5)).mean())


def concordance(outputs: np.ndarray, outcomes: np.ndarray) -> float:
    found = survival.c_index(outcomes[:, 0].astype(float), outcomes[:, 1] > 0.5, outputs.astype(float))
    return float("nan") if found is None else found
