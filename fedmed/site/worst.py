"""The images that a model points into worst, as a contact sheet for a reader in this hospital: it shows patients."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedmed.cases.case import Box
from fedmed.reporting import sheets

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from fedmed.cases.case import Case
    from fedmed.preprocessing import Preprocessing
    from fedmed.recipe import Localisation
    from fedmed.training.localisation import Candidate, Located

IMAGES = 24  # a page
CANDIDATES = 3  # the highest of an image
MARK = 0.03  # half the side of a candidate's mark, as a share of the frame


def sheet(
    located: Sequence[Located],
    cases: Sequence[Case],
    root: Path,
    recipe: Localisation,
    label_map: Mapping[int, int],
    preprocessing: Preprocessing | None,
    title: str,
) -> bytes:
    """PNG: reference boxes, and small squares for the highest candidates of each image.

    First the images with the most missed boxes and the highest false positives. Raises what reading a case raises.
    """
    classes = dict(recipe.data.labels) | {len(recipe.data.labels) + 1: "candidate"}
    worst = sorted(located, key=badness, reverse=True)[:IMAGES]
    by_alias = {case.case: case for case in cases}
    strips = _strips([(each, by_alias[each.case]) for each in worst], root, recipe, label_map, preprocessing)
    return next(sheets.pages(strips, title, classes))


def badness(located: Located) -> float:
    """Boxes that no candidate scored higher than every false positive hits, and the highest false positive."""
    wrong = max((one.score for one in located.candidates if one.outcome == "false positive"), default=0.0)
    found = sum(one.outcome == "hit" and one.score > wrong for one in located.candidates)
    return len(located.boxes) - found + wrong


def _strips(
    worst: Sequence[tuple[Located, Case]],
    root: Path,
    recipe: Localisation,
    label_map: Mapping[int, int],
    preprocessing: Preprocessing | None,
) -> Iterator[sheets.Strip]:
    from fedmed.training import boxed  # noqa: PLC0415 - seconds

    for located, case in worst:
        seen = boxed.seen(case, root, recipe, label_map, preprocessing)
        place, shown = boxed.place_in(seen), located.candidates[:CANDIDATES]
        half = MARK * max(recipe.data.image_size)
        marks = []
        for one in shown:
            x, y, *_ = place.into(Box(one.x, one.y, 0, 0, one.label))
            marks.append((x - half, y - half, 2 * half, 2 * half, len(recipe.data.labels) + 1))
        panel = sheets.Panel(seen["image"][0].numpy(), boxes=(*boxed.boxes_in(seen), *marks))
        yield sheets.Strip(case.case[:13], ", ".join(map(_said, shown)) or "no candidate", (panel,))


def _said(one: Candidate) -> str:
    return f"{one.score:.2f}{' hit' if one.outcome == 'hit' else ''}"
