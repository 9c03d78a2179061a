"""The samples of a round: which case, and how it is altered, each from its own seed. What a task adds stands in
`patches` (segmentation), `pictures` (classification), `boxed` (localisation) and `rows` (tables).

A fixed chain is run once per case. What it gives lies in the workspace's cache (see `cache`), else in memory up to
MEMORY_BYTES, so that an epoch reads no file twice.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import OrderedDict
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch

from fedmed.cases import labels
from fedmed.errors import FedmedError
from fedmed.training import cache, seeds

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

    from fedmed.cases.case import Case
    from fedmed.preprocessing import Preprocessing
    from fedmed.recipe import Classifying, Recipe, Survival
    from fedmed.training.cache import Cache, Kept, Kind, Tensors

MEMORY_BYTES = 2 << 30


@dataclass(frozen=True)
class Refusal:
    """A FedmedError on its way out of a loader process: torch would give it back as a RuntimeError without its code."""

    code: str
    message: str
    next: str
    local: str


Sample = tuple[torch.Tensor, torch.Tensor]


class Samples(torch.utils.data.Dataset[Sample | Refusal]):
    """Sample i = step * batch_size + index of a round: an image and what is to be learned from it."""

    kind: ClassVar[Kind]
    keys: ClassVar[tuple[str, ...]]  # what the augmentation alters together

    def __init__(
        self,
        recipe: Recipe,
        cases: Sequence[Case],
        root: Path,
        label_map: Mapping[int, int],
        where: tuple[str | int, ...],
        preprocessing: Preprocessing | None = None,
        disk: Cache | None = None,
        memory_limit: int = MEMORY_BYTES,
    ) -> None:
        """`where` is (recipe.seed, site, round, attempt), to which the step and the index are added."""
        self.where, self.batch_size = where, recipe.training.batch_size
        self.recipe, self.root, self.label_map = recipe, root, dict(label_map)
        self.preprocessing = preprocessing
        self.cases = sorted(cases, key=lambda case: case.case)  # the order they were listed in must not matter
        self.disk, self.memory_limit, self.memory_bytes = disk, memory_limit, 0
        self.kept: OrderedDict[int, Kept] = OrderedDict()
        self.order: tuple[int, np.ndarray] = (-1, np.empty(0, np.int64))
        self.members: dict[int, list[int]] = {}
        for number, case in enumerate(self.cases):
            for each in self.classes(case):
                self.members.setdefault(each, []).append(number)

    @property
    def counts(self) -> dict[int, int]:
        """How many cases can be drawn as each class."""
        return {each: len(numbers) for each, numbers in self.members.items()}

    def __getstate__(self) -> dict[str, Any]:
        """For a loader process that is no fork: it maps what it needs itself, a copy of everything would fill it."""
        return {**self.__dict__, "kept": OrderedDict(), "memory_bytes": 0}

    @cached_property
    def augmentation(self) -> Any:
        """The recipe's random chain."""
        from fedmed.training import transforms  # noqa: PLC0415 - monai, which tables do without

        return transforms.augmentation(self.recipe, self.keys)

    @property
    @abstractmethod
    def sample_bytes(self) -> int:
        """What one sample takes of memory."""

    @abstractmethod
    def prepare(self, case: Case) -> Tensors:
        """The fixed chain. Raises FedmedError FM-TRN-03 without a label, and what reading it raises."""

    @abstractmethod
    def draw(self, prepared: Tensors, random: np.random.RandomState) -> Sample:
        """One sample of a prepared case, which stays as it is."""

    def __getitem__(self, i: int) -> Sample | Refusal:
        try:
            return self.sample(i)
        except FedmedError as error:
            return Refusal(error.code, error.message, error.next, error.local)

    def sample(self, i: int) -> Sample:
        """Raises what `prepare` raises."""
        step, index = divmod(i, self.batch_size)
        return self.draw(self.prepared(self.case_number(i)), seeds.stream(*self.where, step, index))

    def classes(self, case: Case) -> Collection[int]:  # noqa: ARG002
        """What a case can be drawn as, where the recipe balances. Raises FedmedError FM-TRN-03 without a label."""
        return ()

    def class_weights(self) -> torch.Tensor | None:
        """What each class weighs in the loss, where the recipe balances by it."""
        return None

    def case_number(self, i: int) -> int:
        """Every case once per epoch, in an order of the epoch's own; a batch may lie across two epochs.

        With balanced sampling every class is as likely as every other, and within it every case.
        """
        if getattr(self.recipe.training, "balance", "none") == "sampling":
            random = seeds.stream(*self.where, "balanced", i)
            chosen = self.members[sorted(self.members)[random.randint(len(self.members))]]
            return chosen[random.randint(len(chosen))]
        epoch, place = divmod(i, len(self.cases))
        if self.order[0] != epoch:
            self.order = epoch, seeds.stream(*self.where, "epoch", epoch).permutation(len(self.cases))
        return int(self.order[1][place])

    def prepared(self, number: int) -> Tensors:
        """The case behind the fixed chain. Raises what `prepare` raises."""
        if number in self.kept:
            self.kept.move_to_end(number)
        else:
            case = self.cases[number]
            make = lambda: self.prepare(case)  # noqa: E731
            facts = (self.kind, case, self.recipe, self.label_map, self.preprocessing)
            self.keep(number, cache.prepared(self.disk, *facts, make))
        return self.kept[number].tensors

    def keep(self, number: int, kept: Kept) -> None:
        """And let the least recently used go; the newest stays even when it alone is too large."""
        self.kept[number] = kept
        self.memory_bytes += kept.num_bytes
        while self.memory_bytes > self.memory_limit and len(self.kept) > 1:
            self.memory_bytes -= self.kept.popitem(last=False)[1].num_bytes


def class_of(case: Case, recipe: Classifying | Survival, label_map: Mapping[int, int]) -> int:
    """Raises FedmedError FM-TRN-03 for a case without a class, FM-DAT-28 for one that label_map does not know."""
    if not isinstance(case.label, int):
        raise FedmedError("FM-TRN-03", f"case {case.case}: no class to learn from")
    return labels.to_class(case.label, recipe.data, label_map, case.case)


def stack(samples: Sequence[Sample | Refusal]) -> Sample | Refusal:
    """Images [B, ...] and what is to be learned [B, ...], or the first refusal among them."""
    images, labels = [], []
    for sample in samples:
        if isinstance(sample, Refusal):
            return sample
        images.append(sample[0])
        labels.append(sample[1])
    return torch.stack(images), torch.stack(labels)
