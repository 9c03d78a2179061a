"""What a scored fold becomes, whatever the task: rows of a report, which leave, and a table by case, which stays."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Literal, cast

from fedmed import recipe as recipes
from fedmed.exchange import bodies
from fedmed.site import ratings, risks, scores

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fedmed.recipe import Recipe
    from fedmed.training.classification import Rated
    from fedmed.training.metrics import CaseScores
    from fedmed.training.tabular import Followed

    Scored = Sequence[CaseScores] | Sequence[Rated] | Sequence[Followed]


def thresholds(scored: Scored, recipe: Recipe) -> ratings.Thresholds:
    """By label, from validation cases; none for a task that needs none."""
    if not isinstance(recipe, recipes.Classifying):
        return {}
    return ratings.thresholds(cast("Sequence[Rated]", scored), recipe)


def rows(
    model: Literal["global", "alone"],
    scored: Scored,
    recipe: Recipe,
    min_count: int,
    above: Mapping[int, float],
) -> list[bodies.Score]:
    """One row a metric, over all labels first. `above` are the thresholds."""
    if isinstance(recipe, recipes.Classifying):
        return ratings.rows(model, cast("Sequence[Rated]", scored), recipe, min_count, above)
    if isinstance(recipe, recipes.Survival):
        return risks.rows(model, cast("Sequence[Followed]", scored), recipe)
    if not isinstance(recipe, recipes.Imaging):
        raise TypeError(type(recipe).__name__)
    return scores.rows(model, cast("Sequence[CaseScores]", scored), recipe, min_count)


def overall(scored: Scored, recipe: Recipe) -> list[bodies.Metric]:
    """The rows over all labels alone, as an update carries them about the model it started from."""
    found = rows("global", scored, recipe, len(scored) + 1, thresholds(scored, recipe))
    return [bodies.Metric(metric=row.metric, label=row.label, n=row.n, mean=row.mean, sd=row.sd) for row in found]


def curves(model: Literal["global", "alone"], scored: Scored, recipe: Recipe, min_count: int) -> list[bodies.Curve]:
    """Score histograms of a classifier; none for another task."""
    if not isinstance(recipe, recipes.Classifying):
        return []
    return ratings.curves(model, cast("Sequence[Rated]", scored), recipe, min_count)


def case_table(scored: Mapping[str, Scored], recipe: Recipe) -> bytes:
    """CSV: one line a model, case, label and metric; for a classifier one a model and case, with a column a class; for
    a survival one a model and case.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    if isinstance(recipe, recipes.Survival):
        writer.writerow(["model", "case", "time", "event", "risk"])
        for model, followed in scored.items():
            for one in cast("Sequence[Followed]", followed):
                writer.writerow([model, one.who, f"{one.time:g}", int(one.event), f"{one.risk:.6f}"])
        return text.getvalue().encode()
    if isinstance(recipe, recipes.Classifying):
        names = ["none", *(name for _, name in sorted(recipe.data.labels.items()))]
        unit = recipe.evaluation.unit if isinstance(recipe, recipes.Classification) else "case"
        writer.writerow(["model", unit, "truth", *names])
        for model, rated in scored.items():
            for each in cast("Sequence[Rated]", rated):
                writer.writerow([model, each.who, names[each.truth], *(f"{p:.6f}" for p in each.probabilities)])
        return text.getvalue().encode()
    writer.writerow(["model", "case", "label", "metric", "value", "missed", "spurious", "empty"])
    for model, cases in scored.items():
        for case in cast("Sequence[CaseScores]", cases):
            for row in case.rows:
                value = "" if row.value is None else f"{row.value:.6f}"
                flags = (int(row.missed), int(row.spurious), int(row.empty))
                writer.writerow([model, case.case, row.label, row.metric, value, *flags])
    return text.getvalue().encode()
