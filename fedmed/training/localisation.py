"""Where a model points, and what it hits: the candidates of each image beside its reference boxes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal

import torch

from fedmed.cases.boxes import edges
from fedmed.training import boxed, cache, devices, heatmaps, networks

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from torch import nn

    from fedmed.cases.case import Box, Case
    from fedmed.preprocessing import Preprocessing
    from fedmed.recipe import Localisation
    from fedmed.training.cache import Cache, Tensors
    from fedmed.training.heatmaps import Peak
    from fedmed.training.networks import Params

    Outcome = Literal["hit", "again", "false positive"]


@dataclass(frozen=True)
class Candidate:
    """A point in pixels of the stored image, with its score from 0 to 1; `box` is the number of the box it hit."""

    label: int
    score: float
    x: float
    y: float
    outcome: Outcome
    box: int | None = None


@dataclass(frozen=True)
class Located:
    """An image by its alias: reference boxes with the recipe's classes, and candidates, the highest score first.

    Of the `absent` classes nothing is known here: nobody labels them where the image comes from.
    """

    case: str
    boxes: tuple[Box, ...]
    candidates: tuple[Candidate, ...]
    absent: frozenset[int] = frozenset()


def evaluate(
    recipe: Localisation,
    params: Params,
    cases: Sequence[Case],
    *,
    root: Path,
    label_map: Mapping[int, int],
    absent: frozenset[int] = frozenset(),
    device: torch.device,
    preprocessing: Preprocessing | None = None,
    disk: Cache | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[Located]:
    """One row a case, in the order given.

    Raises FedmedError FM-TRN-03 for a case without boxes, FM-TEN-01, FM-RES-04, and what reading a case raises.
    """
    network = networks.loaded(recipe, params, device)
    found = []
    for done, case in enumerate(cases, start=1):
        reference = boxed.boxes_of(case, recipe, label_map)
        make = partial(boxed.seen, case, root, recipe, label_map, preprocessing)
        prepared = cache.prepared(disk, "boxed", case, recipe, label_map, preprocessing, make).tensors
        place = boxed.place_in(prepared)
        peaks = [peak for peak in _peaks(network, prepared, recipe, device) if peak.label not in absent]
        points = [(peak, place.back(peak.x, peak.y)) for peak in peaks]
        found.append(Located(case.case, reference, matched(points, reference), absent))
        if progress:
            progress(done, len(cases))
    return found


def matched(points: Sequence[tuple[Peak, tuple[float, float]]], boxes: Sequence[Box]) -> tuple[Candidate, ...]:
    """What each point hits, from the highest score down: the box of its label around it that no higher one has hit.

    Of several such boxes it hits the one whose middle is nearest. A point that lies in boxes that were hit before says
    nothing new (`again`): it counts neither as a hit nor as a false positive, as in LUNA16 and CAMELYON16.
    """
    open_: set[int | None] = set(range(len(boxes)))
    found = []
    for peak, (x, y) in sorted(points, key=lambda point: -point[0].score):
        around = [
            number
            for number, box in enumerate(boxes)
            if box.label == peak.label and edges(box)[0] <= x <= edges(box)[2] and edges(box)[1] <= y <= edges(box)[3]
        ]
        new = [number for number in around if number in open_]
        outcome: Outcome = "hit" if new else "again" if around else "false positive"
        hit = min(new, key=lambda number: _distance(boxes[number], x, y)) if new else None
        open_ -= {hit}
        found.append(Candidate(peak.label, peak.score, x, y, outcome, hit))
    return tuple(found)


def _distance(box: Box, x: float, y: float) -> float:
    return (box.x + box.width / 2 - x) ** 2 + (box.y + box.height / 2 - y) ** 2


def _peaks(network: nn.Module, prepared: Tensors, recipe: Localisation, device: torch.device) -> list[Peak]:
    """Raises FedmedError FM-RES-04."""
    with devices.out_of_memory(device), torch.inference_mode():
        with devices.autocast(device):
            logits = network(prepared["image"][None].to(device))
        maps = torch.sigmoid(logits.float())[0].cpu().numpy()
    return heatmaps.peaks(maps, boxed.place_in(prepared), recipe.evaluation.min_distance)
