"""From candidates and boxes of single images, which stay here, to the rows of a report, which leave."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fedmed.exchange import bodies
from fedmed.exchange.bodies_reports import Curve, Froc, ModelName, Score
from fedmed.reporting import detection, discrimination
from fedmed.site import floors

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from fedmed.recipe import Localisation
    from fedmed.training.localisation import Located

    Figures = dict[str, tuple[int, float | None]]

COLUMNS = ("model", "case", "label", "what", "score", "x", "y", "width", "height")


def rows(model: ModelName, located: Sequence[Located], recipe: Localisation, min_count: int) -> list[Score]:
    """One row a metric over all labels (the mean of those where it is defined), and, where there are several labels,
    one a metric and label of which enough images have a box (`_told`).

    `n` of sensitivities is the number of boxes, that of AUROC the number of images.
    """
    by_label = {label: _figures(_of(located, label), label) for label in sorted(recipe.data.labels)}
    named = [*(detection.MEAN, *detection.NAMES)] if "froc" in recipe.evaluation.metrics else []
    metrics = [*named, *(["auroc"] if "auroc" in recipe.evaluation.metrics else [])]
    found, told = [], _told(located, recipe, min_count) if len(by_label) > 1 else []
    for metric in metrics:
        defined = [(n, value) for n, value in (each[metric] for each in by_label.values()) if value is not None]
        n = (max if metric == "auroc" else sum)([count for count, _ in defined] or [0])
        mean = sum(value for _, value in defined) / len(defined) if defined else None
        found.append(Score.figure(model, metric, bodies.ALL, n, mean))
        found += [Score.figure(model, metric, recipe.data.labels[label], *by_label[label][metric]) for label in told]
    return found


def frocs(model: ModelName, located: Sequence[Located], recipe: Localisation, min_count: int) -> list[Froc]:
    """Counts of hits and false positives by score, for the labels of which enough images have a box."""
    found = []
    for label in _told(located, recipe, min_count):
        mine = _of(located, label)
        hits, false_positives = _scores(mine, label)
        found.append(
            Froc(
                model=model,
                label=recipe.data.labels[label],
                hits=discrimination.histogram(hits),
                false_positives=discrimination.histogram(false_positives),
                boxes=_boxes(mine, label),
                images=len(mine),
            )
        )
    return found


def curves(model: ModelName, located: Sequence[Located], recipe: Localisation, min_count: int) -> list[Curve]:
    """Of each image the highest score, in histograms by label, where both kinds of images are at least `min_count`."""
    found = []
    for label in _told(located, recipe, min_count):
        truth, scores = _images(_of(located, label), label)
        if min(truth.sum(), (~truth).sum()) >= min_count:
            with_, without = discrimination.histogram(scores[truth]), discrimination.histogram(scores[~truth])
            name = recipe.data.labels[label]
            found.append(Curve(model=model, label=name, positives=with_, negatives=without))
    return found


def lines(model: str, located: Sequence[Located], recipe: Localisation) -> Iterator[tuple[str, ...]]:
    """Under COLUMNS, in pixels of the stored image: each candidate as a point, and each box that none of them hit."""
    for each in located:
        for one in each.candidates:
            numbers = (f"{one.score:.6f}", f"{one.x:.1f}", f"{one.y:.1f}", "", "")
            yield (model, each.case, recipe.data.labels[one.label], one.outcome, *numbers)
        hit = {one.box for one in each.candidates}
        for box in (box for number, box in enumerate(each.boxes) if number not in hit):
            sides = (f"{side:.1f}" for side in box[:4])
            yield (model, each.case, recipe.data.labels[box.label], "missed", "", *sides)


def _of(located: Sequence[Located], label: int) -> list[Located]:
    """The images from where the label is labelled at all."""
    return [each for each in located if label not in each.absent]


def _figures(located: Sequence[Located], label: int) -> Figures:
    """Every metric of a label, as (n, value)."""
    boxes = _boxes(located, label)
    at_rates = detection.sensitivities(*_scores(located, label), boxes, len(located))
    values = [detection.mean(at_rates), *at_rates] if at_rates else [None] * (1 + len(detection.NAMES))
    found: Figures = {
        name: (boxes, value) for name, value in zip((detection.MEAN, *detection.NAMES), values, strict=True)
    }
    return {**found, "auroc": (len(located), discrimination.auroc(*_images(located, label)))}


def _boxes(located: Sequence[Located], label: int) -> int:
    return sum(box.label == label for each in located for box in each.boxes)


def _scores(located: Sequence[Located], label: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Of all candidates that are hits, and of those that are false positives."""
    mine = [one for each in located for one in each.candidates if one.label == label]
    hits, false_positives = (
        np.array([one.score for one in mine if one.outcome == kind], np.float64) for kind in ("hit", "false positive")
    )
    return hits, false_positives


def _images(located: Sequence[Located], label: int) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Which images have a box, and the highest score of each; 0 without a candidate."""
    truth = np.array([any(box.label == label for box in each.boxes) for each in located], bool)
    scores = [max((one.score for one in each.candidates if one.label == label), default=0.0) for each in located]
    return truth, np.array(scores, np.float64)


def _told(located: Sequence[Located], recipe: Localisation, min_count: int) -> list[int]:
    """Labels with enough images that have a box; see `floors`. Without any no figure is defined."""
    kinds = {label: _kinds(_of(located, label), label) for label in recipe.data.labels}
    counts = {label: min(with_, without or with_) for label, (with_, without) in kinds.items() if with_}
    return floors.told(counts, {label for label, count in counts.items() if count >= min_count})


def _kinds(located: Sequence[Located], label: int) -> tuple[int, int]:
    """Images with a box and without: a figure about a handful of one kind would tell of single patients."""
    truth, _ = _images(located, label)
    return int(truth.sum()), int((~truth).sum())
