"""The samples of a round over rows of a table: the numbers of a row, and its class or its time and event."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from fedmed import recipe as recipes
from fedmed.cases import encoding
from fedmed.errors import FedmedError
from fedmed.training import samples

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    import numpy as np

    from fedmed.cases.case import Case
    from fedmed.preprocessing import Preprocessing
    from fedmed.recipe import Survival, Tabular
    from fedmed.training.cache import Tensors


class Rows(samples.Samples):
    """Inputs [width] float32 and outcome of each case, which are not altered. See `prepared`."""

    kind = "rows"
    keys = ()
    recipe: Tabular | Survival

    def classes(self, case: Case) -> Collection[int]:
        if isinstance(self.recipe, recipes.Survival):
            return ()
        return (samples.class_of(case, self.recipe, self.label_map),)

    @property
    def sample_bytes(self) -> int:
        return 4 * self.recipe.data.width + 8

    def prepare(self, case: Case) -> Tensors:
        return prepared(case, self.recipe, self.label_map, self.preprocessing)

    def sample(self, i: int) -> samples.Sample:
        """A row as it is: nothing is drawn, and so no generator made, which would take longer than the row."""
        prepared = self.prepared(self.case_number(i))
        return prepared["inputs"], prepared["outcome"]

    def draw(self, prepared: Tensors, random: np.random.RandomState) -> samples.Sample:  # noqa: ARG002
        return prepared["inputs"], prepared["outcome"]


def prepared(
    case: Case, recipe: Tabular | Survival, label_map: Mapping[int, int], preprocessing: Preprocessing | None
) -> Tensors:
    """inputs [width] float32; outcome the class [] int64, or for a survival time and event [2] float32.

    Raises FedmedError FM-TRN-03 for a case without an outcome, FM-DAT-28 for a class that is not in label_map.
    """
    label, time = outcome(case, recipe, label_map)
    if case.row is None:
        raise FedmedError("FM-TRN-03", f"case {case.case}: no row to learn from")
    inputs = torch.tensor(encoding.encode(case.row, recipe.data, preprocessing), dtype=torch.float32)
    if isinstance(recipe, recipes.Survival):
        return {"inputs": inputs, "outcome": torch.tensor([time, label], dtype=torch.float32)}
    return {"inputs": inputs, "outcome": torch.tensor(label)}


def outcome(case: Case, recipe: Tabular | Survival, label_map: Mapping[int, int]) -> tuple[int, float]:
    """The class, or whether the event came; and the time of a survival. Raises as `prepared`."""
    label = samples.class_of(case, recipe, label_map)
    time = case.row.time if case.row else None
    return label, 0.0 if time is None else time
