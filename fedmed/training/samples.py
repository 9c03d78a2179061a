"""The samples of a round: which case, and how it is altered, each from its own seed. What a task adds stands in
`patches` (volumes) and `pictures` (two-dimensional images).

A fixed chain is run once per case and kept in memory up to CACHE_BYTES, so that an epoch reads no file twice.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

import numpy as np
import torch

from fedmed.errors import FedmedError
from fedmed.training import seeds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fedmed.cases.case import Case
    from fedmed.recipe import Recipe

CACHE_BYTES = 2 << 30


class Sized(Protocol):
    """A case after the fixed chain, of whatever kind."""

    @property
    def num_bytes(self) -> int: ...


@dataclass(frozen=True)
class Refusal:
    """A FedmedError on its way out of a loader process: torch would give it back as a RuntimeError without its code."""

    code: str
    message: str
    next: str
    local: str


Sample = tuple[torch.Tensor, torch.Tensor]
Prepared = TypeVar("Prepared", bound=Sized)


class Samples(torch.utils.data.Dataset[Sample | Refusal], Generic[Prepared]):
    """Sample i = step * batch_size + index of a round: an image and what is to be learned from it."""

    def __init__(
        self, recipe: Recipe, cases: Sequence[Case], where: tuple[str | int, ...], cache_limit: int = CACHE_BYTES
    ) -> None:
        """`where` is (recipe.seed, site, round, attempt), to which the step and the index are added."""
        self.where, self.batch_size = where, recipe.training.batch_size
        self.cases = sorted(cases, key=lambda case: case.case)  # the order they were listed in must not matter
        self.cache: OrderedDict[int, Prepared] = OrderedDict()
        self.cache_bytes, self.cache_limit = 0, cache_limit
        self.order: tuple[int, np.ndarray] = (-1, np.empty(0, np.int64))

    @abstractmethod
    def prepare(self, case: Case) -> Prepared:
        """The fixed chain. Raises FedmedError FM-TRN-03 without a label, and what reading it raises."""

    @abstractmethod
    def draw(self, prepared: Prepared, random: np.random.RandomState) -> Sample:
        """One sample of a prepared case."""

    def __getitem__(self, i: int) -> Sample | Refusal:
        try:
            return self.sample(i)
        except FedmedError as error:
            return Refusal(error.code, error.message, error.next, error.local)

    def sample(self, i: int) -> Sample:
        """Raises what `prepare` raises."""
        step, index = divmod(i, self.batch_size)
        return self.draw(self.prepared(self.case_number(i)), seeds.stream(*self.where, step, index))

    def case_number(self, i: int) -> int:
        """Every case once per epoch, in an order of the epoch's own; a batch may lie across two epochs."""
        epoch, place = divmod(i, len(self.cases))
        if self.order[0] != epoch:
            self.order = epoch, seeds.stream(*self.where, "epoch", epoch).permutation(len(self.cases))
        return int(self.order[1][place])

    def prepared(self, number: int) -> Prepared:
        """The case behind the fixed chain. Raises what `prepare` raises."""
        if number in self.cache:
            self.cache.move_to_end(number)
            return self.cache[number]
        self.keep(number, self.prepare(self.cases[number]))
        return self.cache[number]

    def keep(self, number: int, prepared: Prepared) -> None:
        """Into the cache, and the least recently used out of it; the newest stays even when it alone is too large."""
        self.cache[number] = prepared
        self.cache_bytes += prepared.num_bytes
        while self.cache_bytes > self.cache_limit and len(self.cache) > 1:
            self.cache_bytes -= self.cache.popitem(last=False)[1].num_bytes


def stack(samples: Sequence[Sample | Refusal]) -> Sample | Refusal:
    """Images [B, ...] and what is to be learned [B, ...], or the first refusal among them."""
    images, labels = [], []
    for sample in samples:
        if isinstance(sample, Refusal):
            return sample
        images.append(sample[0])
        labels.append(sample[1])
    return torch.stack(images), torch.stack(labels)
