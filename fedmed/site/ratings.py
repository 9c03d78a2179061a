"""From a classifier's probabilities of single cases, which stay here, to the rows of a report, which leave."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fedmed.exchange import bodies
from fedmed.exchange.bodies_reports import Curve, ModelName, Score
from fedmed.reporting import discrimination
from fedmed.site import floors

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from fedmed.recipe import Classifying
    from fedmed.training.rated import Rated

SPECIFICITY = "specificity_at_spec90"  # what the threshold reached, beside `sensitivity_at_spec90`
OVER_CLASSES = ("accuracy", "balanced_accuracy")  # no figure of a single label
Thresholds = dict[int, float]


def thresholds(rated: Sequence[Rated], recipe: Classifying) -> Thresholds:
    """For each label the score at specificity .90, chosen on these (validation) cases; a label without one is out."""
    found = {}
    for label in sorted(recipe.data.labels):
        truth, scores = _of(rated, label)
        above = discrimination.threshold(truth, scores)
        if above is not None:
            found[label] = above
    return found


def rows(
    model: ModelName,
    rated: Sequence[Rated],
    recipe: Classifying,
    min_count: int,
    above: Mapping[int, float],
) -> list[Score]:
    """One row a metric over all labels (the mean of those where it is defined), and, where there are several labels,
    one a metric and label that may be told (`_told`). `above` has the thresholds by label.
    """
    found = []
    named = [*recipe.evaluation.metrics]
    metrics = [*named, SPECIFICITY] if "sensitivity_at_spec90" in named else named
    for metric in metrics:
        values = {label: _value(metric, rated, label, above) for label in recipe.data.labels}
        defined = {label: value for label, value in values.items() if value is not None}
        n = max((_count(metric, rated, label) for label in defined), default=0)
        mean = sum(defined.values()) / len(defined) if defined else None
        found.append(Score.figure(model, metric, bodies.ALL, n, mean))
        if len(values) > 1 and metric not in OVER_CLASSES:
            for label in _told(rated, recipe, min_count):
                n = _count(metric, rated, label)
                found.append(Score.figure(model, metric, recipe.data.labels[label], n, values[label]))
    return found


def _told(rated: Sequence[Rated], recipe: Classifying, min_count: int) -> list[int]:
    """Labels with at least `min_count` cases of both kinds; see `floors`. Without one kind no figure is defined."""
    with_both = {label: _fewer(rated, label) for label in recipe.data.labels if _fewer(rated, label)}
    return floors.told(with_both, {label for label, count in with_both.items() if count >= min_count})


def _fewer(rated: Sequence[Rated], label: int) -> int:
    """Cases of the rarer kind, with the label or without: a figure about a handful would tell of single patients."""
    count = sum(each.truth == label for each in rated)
    return min(count, len(_labelled(rated, label)) - count)


def curves(model: ModelName, rated: Sequence[Rated], recipe: Classifying, min_count: int) -> list[Curve]:
    """Score histograms by label, of those that may be told (`_told`)."""
    found = []
    for label in _told(rated, recipe, min_count):
        truth, scores = _of(rated, label)
        positives, negatives = discrimination.histogram(scores[truth]), discrimination.histogram(scores[~truth])
        found.append(Curve(model=model, label=recipe.data.labels[label], positives=positives, negatives=negatives))
    return found


def _of(rated: Sequence[Rated], label: int) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Who has the label, and its probability; without those that cannot have it."""
    labelled = _labelled(rated, label)
    truth = np.array([each.truth == label for each in labelled], bool)
    return truth, np.array([each.probabilities[label] for each in labelled], np.float64)


def _labelled(rated: Sequence[Rated], label: int) -> list[Rated]:
    return [each for each in rated if label not in each.absent]


def _value(metric: str, rated: Sequence[Rated], label: int, above: Mapping[int, float]) -> float | None:
    truth, scores = _of(rated, label)
    if metric == "auroc":
        return discrimination.auroc(truth, scores)
    if metric == "auprc":
        return discrimination.auprc(truth, scores)
    if metric == "sensitivity_at_spec90":
        return discrimination.sensitivity(truth, scores, above.get(label))
    if metric == SPECIFICITY:
        return discrimination.specificity(truth, scores, above.get(label))
    predicted = np.array([int(np.argmax(each.probabilities)) for each in rated], np.int64)
    measure = discrimination.accuracy if metric == "accuracy" else discrimination.balanced_accuracy
    return measure(np.array([each.truth for each in rated], np.int64), predicted)


def _count(metric: str, rated: Sequence[Rated], label: int) -> int:
    """How many cases a figure is about, and so what it weighs in a pool: sensitivity is about findings alone."""
    with_it = sum(each.truth == label for each in rated)
    total = len(rated) if metric in OVER_CLASSES else len(_labelled(rated, label))
    counts = {"sensitivity_at_spec90": with_it, SPECIFICITY: total - with_it}
    return counts.get(metric, total)
