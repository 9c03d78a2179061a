"""What a scored fold becomes, whatever the task: rows of a report, which leave, and a table by case, which stays."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, cast

from fedmed import recipe as recipes
from fedmed.exchange import bodies
from fedmed.site import findings, ratings, risks, scores

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from fedmed.exchange.bodies_reports import Curve, Froc, ModelName, Score
    from fedmed.recipe import Recipe
    from fedmed.training.localisation import Located
    from fedmed.training.metrics import CaseScores
    from fedmed.training.rated import Rated
    from fedmed.training.tabular import Followed

    Scored = Sequence[CaseScores] | Sequence[Rated] | Sequence[Followed] | Sequence[Located]


def thresholds(scored: Scored, recipe: Recipe) -> ratings.Thresholds:
    """By label, from validation cases; none for a task that needs none."""
    if not isinstance(recipe, recipes.Classifying):
        return {}
    return ratings.thresholds(cast("Sequence[Rated]", scored), recipe)


def rows(
    model: ModelName,
    scored: Scored,
    recipe: Recipe,
    min_count: int,
    above: Mapping[int, float],
) -> list[Score]:
    """One row a metric, over all labels first. `above` are the thresholds."""
    if isinstance(recipe, recipes.Classifying):
        return ratings.rows(model, cast("Sequence[Rated]", scored), recipe, min_count, above)
    if isinstance(recipe, recipes.Survival):
        return risks.rows(model, cast("Sequence[Followed]", scored), recipe)
    if isinstance(recipe, recipes.Localisation):
        return findings.rows(model, cast("Sequence[Located]", scored), recipe, min_count)
    if not isinstance(recipe, recipes.Imaging):
        raise TypeError(type(recipe).__name__)
    return scores.rows(model, cast("Sequence[CaseScores]", scored), recipe, min_count)


def overall(scored: Scored, recipe: Recipe) -> list[bodies.Metric]:
    """The rows over all labels alone, as an update carries them about the model it started from."""
    found = rows("global", scored, recipe, len(scored) + 1, thresholds(scored, recipe))
    return [bodies.Metric(metric=row.metric, label=row.label, n=row.n, mean=row.mean, sd=row.sd) for row in found]


def curves(model: ModelName, scored: Scored, recipe: Recipe, min_count: int) -> list[Curve]:
    """Histograms of the scores of cases; none for a task without such scores."""
    if isinstance(recipe, recipes.Localisation):
        return findings.curves(model, cast("Sequence[Located]", scored), recipe, min_count)
    if not isinstance(recipe, recipes.Classifying):
        return []
    return ratings.curves(model, cast("Sequence[Rated]", scored), recipe, min_count)


def frocs(model: ModelName, scored: Scored, recipe: Recipe, min_count: int) -> list[Froc]:
    """Histograms of the scores of candidates; none for a task without candidates."""
    if not isinstance(recipe, recipes.Localisation):
        return []
    return findings.frocs(model, cast("Sequence[Located]", scored), recipe, min_count)


def case_table(scored: Mapping[str, Scored], recipe: Recipe) -> bytes:
    """CSV: one line a model, case, label and metric; for a classifier one a model and case, with a column a class; for
    a survival one a model and case, for localisation one a candidate and one a missed box.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_columns(recipe))
    for model, found in scored.items():
        writer.writerows(_lines(model, found, recipe))
    return text.getvalue().encode()


def _columns(recipe: Recipe) -> Sequence[str]:
    if isinstance(recipe, recipes.Survival):
        return ("model", "case", "time", "event", "risk")
    if isinstance(recipe, recipes.Localisation):
        return findings.COLUMNS
    if isinstance(recipe, recipes.Classifying):
        unit = recipe.evaluation.unit if isinstance(recipe, recipes.Classification) else "case"
        return ("model", unit, "truth", *_names(recipe))
    return ("model", "case", "label", "metric", "value", "missed", "spurious", "empty")


def _lines(model: str, scored: Scored, recipe: Recipe) -> Iterator[Sequence[str | int]]:
    if isinstance(recipe, recipes.Survival):
        for one in cast("Sequence[Followed]", scored):
            yield (model, one.who, f"{one.time:g}", int(one.event), f"{one.risk:.6f}")
    elif isinstance(recipe, recipes.Localisation):
        yield from findings.lines(model, cast("Sequence[Located]", scored), recipe)
    elif isinstance(recipe, recipes.Classifying):
        for each in cast("Sequence[Rated]", scored):
            yield (model, each.who, _names(recipe)[each.truth], *(f"{p:.6f}" for p in each.probabilities))
    else:
        for case in cast("Sequence[CaseScores]", scored):
            for row in case.rows:
                value = "" if row.value is None else f"{row.value:.6f}"
                flags = (int(row.missed), int(row.spurious), int(row.empty))
                yield (model, case.case, row.label, row.metric, value, *flags)


def _names(recipe: recipes.Classifying) -> list[str]:
    return ["none", *(name for _, name in sorted(recipe.data.labels.items()))]
