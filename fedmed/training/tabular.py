"""What a network for rows of a table says of each case: probabilities of the classes, or how soon the event comes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from fedmed import recipe as recipes
from fedmed.training import devices, networks, rows
from fedmed.training.rated import Rated

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from fedmed.cases.case import Case
    from fedmed.preprocessing import Preprocessing
    from fedmed.recipe import Survival, Tabular
    from fedmed.training.networks import Params

BATCH = 4096


@dataclass(frozen=True)
class Followed:
    """`who` is the alias of a case; the event was at `time`, or had not come until then; a higher `risk` is sooner."""

    who: str
    time: float
    event: bool
    risk: float


def evaluate(
    recipe: Tabular | Survival,
    params: Params,
    cases: Sequence[Case],
    *,
    label_map: Mapping[int, int],
    device: torch.device,
    preprocessing: Preprocessing | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[Rated] | list[Followed]:
    """One row a case, in the order of the cases.

    Raises FedmedError FM-TRN-03 for a case without an outcome, FM-DAT-28, FM-TEN-01, FM-RES-04.
    """
    network = networks.loaded(recipe, params, device)
    outputs: list[list[float]] = []
    for first in range(0, len(cases), BATCH):
        part = [rows.prepared(case, recipe, label_map, preprocessing) for case in cases[first : first + BATCH]]
        inputs = torch.stack([each["inputs"] for each in part]).to(device)
        with devices.out_of_memory(device), torch.inference_mode():
            outputs += network(inputs).double().cpu().tolist()
        if progress:
            progress(len(outputs), len(cases))
    truths = [rows.outcome(case, recipe, label_map) for case in cases]
    if isinstance(recipe, recipes.Survival):
        return [
            Followed(case.case, time, bool(event), risk)
            for case, (event, time), (risk,) in zip(cases, truths, outputs, strict=True)
        ]
    return [
        Rated(case.case, label, probabilities(logits))
        for case, (label, _), logits in zip(cases, truths, outputs, strict=True)
    ]


def probabilities(logits: Sequence[float]) -> tuple[float, ...]:
    """Of every class, from the logits of all, or from the one logit of the only label."""
    every = torch.tensor([0.0, *logits] if len(logits) == 1 else logits, dtype=torch.float64)
    return tuple(torch.softmax(every, dim=0).tolist())
