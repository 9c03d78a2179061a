"""What needs no learning: an untrained network, and one number of an image against a threshold.

Both are scored on the test cases of all hospitals, as the models are; what they choose, they choose on training cases.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from fedmed import recipe as recipes
from fedmed.cases import datalist, pictures, reading
from fedmed.reporting import discrimination
from fedmed.site import desk, results
from fedmed.training import networks, scoring, transforms
from fedmed.training import pictures as chain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from fedmed.cases.case import Case
    from fedmed.cases.splits import Fold
    from fedmed.recipe import Classification, Recipe, Segmentation

    Found = list[tuple[Case, Path]]

CPU = torch.device("cpu")
LEVELS = np.arange(-2, 5.01, 0.25)  # standard deviations of an image
PERCENTILES = (1, 5, 10, 25, 50, 75, 90, 95, 99)


def every_seed(work: Path, figure: Callable[[Recipe, Path], float]) -> list[float]:
    """A figure for each seed of a finished simulation."""
    folders = sorted(path for path in work.glob("seed-*") if path.is_dir())
    return [figure(recipes.load(folder / "recipe.yaml"), folder) for folder in folders]


def untrained(recipe: Recipe, folder: Path) -> float:
    """The recipe's first metric of its network before any training."""
    weights, _ = networks.initial_params(recipe)
    scored = [
        each
        for case, root in _cases(folder, "testing")
        for each in scoring.evaluate(recipe, weights, [case], root=root, label_map={}, device=CPU)
    ]
    row = results.rows("global", scored, recipe, len(scored) + 1, {})[0]
    return float(row.mean or "nan")


def threshold_dice(recipe: Segmentation, folder: Path) -> float:
    """Mean Dice of `z-score above (or below) a level`, the level with the best mean on training cases."""

    def table(fold: Fold) -> np.ndarray:
        return np.array([_dice(recipe, case, root) for case, root in _cases(folder, fold)]).mean(axis=0)

    return float(table("testing")[int(np.argmax(table("training")))])


def _dice(recipe: Segmentation, case: Case, root: Path) -> list[float]:
    """For every level, above it and below it."""
    volume = reading.read(case, root, recipe.data, {})
    sample = transforms.standardise(recipe)(transforms.as_sample(volume))
    image, truth = sample["image"].numpy()[0], sample["label"].numpy()[0] > 0
    guesses = [guess for level in LEVELS for guess in (image > level, (image < level) & (image != 0))]
    return [2 * float((guess & truth).sum()) / max(1.0, float(guess.sum() + truth.sum())) for guess in guesses]


def statistic_auroc(recipe: Classification, folder: Path) -> float:
    """AUROC of the one intensity statistic, up or down, that is best on training cases."""

    def table(fold: Fold) -> tuple[np.ndarray, np.ndarray]:
        rows = [_statistics(recipe, case, root) for case, root in _cases(folder, fold)]
        return np.array([truth for truth, _ in rows]), np.array([values for _, values in rows])

    def figures(fold: Fold) -> np.ndarray:
        truth, values = table(fold)
        return np.array([discrimination.auroc(truth, column) for column in values.T], float)

    trained = figures("training")
    best = int(np.argmax(np.abs(trained - 0.5)))
    figure = figures("testing")[best]
    return float(figure if trained[best] > 0.5 else 1 - figure)


def _statistics(recipe: Classification, case: Case, root: Path) -> tuple[bool, list[float]]:
    """Of the grey values as read, and of the shares above levels after the recipe's chain."""
    picture = pictures.read(case, root, recipe.data, {})
    raw = picture.slices.astype(np.float64)
    fitted = chain.standardise(picture, recipe.data).numpy()
    plain = [raw.mean(), raw.std(), raw.min(), raw.max(), *np.percentile(raw, PERCENTILES)]
    return picture.label == 1, [float(x) for x in (*plain, *((fitted > level).mean() for level in LEVELS))]


def _cases(folder: Path, fold: Fold) -> Iterator[tuple[Case, Path]]:
    for workspace in sorted(path.parent for path in folder.glob("*/cases.json")):
        site = desk.peek(workspace)
        for case in datalist.cases(datalist.load(site.cases_file), fold):
            yield case, site.data_root
