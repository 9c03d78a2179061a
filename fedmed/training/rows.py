"""The samples of a round over rows of a table: the numbers of a row, and its class or its time and event."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from fedmed import recipe as recipes
from fedmed.cases import encoding
from fedmed.errors import FedmedError
from fedmed.training import pictures, samples

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np

    from fedmed.cases.case import Case
    from fedmed.preprocessing import Preprocessing
    from fedmed.recipe import Survival, Tabular


@dataclass(frozen=True)
class Prepared:
    """inputs [width] float32; the class [] int64, or for a survival time and event [2] float32."""

    inputs: torch.Tensor
    outcome: torch.Tensor

    @property
    def num_bytes(self) -> int:
        return self.inputs.nbytes + self.outcome.nbytes


class Rows(samples.Samples[Prepared]):
    """Inputs [width] float32 and outcome of each case, which are not altered."""

    def __init__(
        self,
        recipe: Tabular | Survival,
        cases: Sequence[Case],
        label_map: Mapping[int, int],
        where: tuple[str | int, ...],
        preprocessing: Preprocessing | None,
    ) -> None:
        super().__init__(recipe, cases, where)
        self.recipe, self.label_map, self.preprocessing = recipe, dict(label_map), preprocessing

    def prepare(self, case: Case) -> Prepared:
        return prepared(case, self.recipe, self.label_map, self.preprocessing)

    def draw(self, prepared: Prepared, random: np.random.RandomState) -> samples.Sample:  # noqa: ARG002
        return prepared.inputs, prepared.outcome


def prepared(
    case: Case, recipe: Tabular | Survival, label_map: Mapping[int, int], preprocessing: Preprocessing | None
) -> Prepared:
    """Raises FedmedError FM-TRN-03 for a case without an outcome, FM-DAT-28 for a class that is not in label_map."""
    label, time = outcome(case, recipe, label_map)
    if case.row is None:
        raise FedmedError("FM-TRN-03", f"case {case.case}: no row to learn from")
    inputs = torch.tensor(encoding.encode(case.row, recipe.data, preprocessing), dtype=torch.float32)
    if isinstance(recipe, recipes.Survival):
        return Prepared(inputs, torch.tensor([time, label], dtype=torch.float32))
    return Prepared(inputs, torch.tensor(label))


def outcome(case: Case, recipe: Tabular | Survival, label_map: Mapping[int, int]) -> tuple[int, float]:
    """The class, or whether the event came; and the time of a survival. Raises as `prepared`."""
    label = pictures.class_of(case, recipe, label_map)
    time = case.row.time if case.row else None
    return label, 0.0 if time is None else time
