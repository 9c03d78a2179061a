"""Comparing and combining the updates of the open round in as few passes over the files as the strategy allows.

A strategy that needs no inner products is applied while they are made for the comparison of the updates. What came of
it is a draft in the spool: it becomes the model if all of these updates count, and is made anew if one is held.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from fedmed.coordinator import central, closing, decoded, drafting, memory, model, rounds
from fedmed.coordinator.sources import Archived
from fedmed.coordinator.updates import CHUNK, FileUpdates
from fedmed.errors import FedmedError
from fedmed.learning import screen, shapes
from fedmed.learning.central import lengths

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from fedmed.coordinator.desk import Started
    from fedmed.coordinator.drafting import Draft
    from fedmed.coordinator.rounds import Standing
    from fedmed.coordinator.sources import Vector
    from fedmed.exchange.workspace import Workspace
    from fedmed.learning.strategy import Block, Meta, Weights

UNKNOWN = np.empty((0, 0))  # inner products that nobody asked for


@dataclass(frozen=True)
class Counted:
    """The updates that count, by the name of their site."""

    ids: list[str]
    meta: list[Meta]


class Combiner:
    """The recipe's strategy over the updates of the open round, which answer the model `base`."""

    def __init__(self, found: Workspace, running: Started, progress: Callable[[str, int, int], None]) -> None:
        base = found.record.newest("model")
        if base is None:
            raise ValueError("a round is open without a model")
        self._found, self._running, self._progress = found, running, progress
        self.base = base
        self.strategy = central.noised(found, running, base, closing.chosen(running, rounds.open_round(found)))
        self._compared: list[str] = []
        self._products = UNKNOWN
        self._draft: Draft | None = None

    def compare(self, used: Sequence[Standing]) -> np.ndarray:
        """Inner products of these updates, [sites, sites]. Raises FedmedError FM-TRU-11, FM-STA-*, FM-RES-*."""
        counted = self._counted(used)
        if self.strategy.needs_products or len(used) < self.strategy.min_sites:
            self._products, self._draft = self._gram(counted), None
        else:
            weights = self.strategy.weigh(counted.meta, UNKNOWN)
            self._products, self._draft = self._pass(counted, weights, self._compared_by)
        self._compared = counted.ids
        return self._products

    def combine(self, used: Sequence[Standing]) -> tuple[Draft, Weights]:
        """The next model of these updates, and what each of them counts.

        Raises FedmedError FM-TEN-02 when it is not finite, FM-TRU-11, FM-STA-*, FM-RES-*.
        """
        counted = self._counted(used)
        weights = self.strategy.weigh(counted.meta, self._needed(counted))
        draft = self._draft if counted.ids == self._compared else None
        if draft is None:
            _, draft = self._pass(counted, weights)
        if draft is None:
            raise FedmedError("FM-TEN-02", "the combined model is not finite: an update is far too large")
        return draft, weights

    def norms(self, used: Sequence[Standing]) -> list[float]:
        """L2 norms of these updates, where the strategy needs inner products. Raises FedmedError FM-TRU-11."""
        return [float(each) for each in lengths(self._needed(self._counted(used)))]

    def _counted(self, used: Sequence[Standing]) -> Counted:
        is_lap = bool(rounds.order(self._found))
        meta = rounds.counted(self._running, list(used), is_lap=is_lap)
        return Counted([each.update.id for each in used if each.update], meta)

    def _needed(self, counted: Counted) -> np.ndarray:
        """The products that the strategy asks for: out of the comparison, without what is held, or made now."""
        if not self.strategy.needs_products:
            return UNKNOWN
        if set(counted.ids) <= set(self._compared):
            places = [self._compared.index(each) for each in counted.ids]
            return self._products[np.ix_(places, places)]
        self._products, self._compared = self._gram(counted), counted.ids
        return self._products

    def _gram(self, counted: Counted) -> np.ndarray:
        return screen.gram(self._updates(counted), lambda done: self._told("comparing", done))

    @property
    def _compared_by(self) -> Callable[[Block], np.ndarray]:
        """In a lap what each site added comes out as a difference of products, which takes all their digits."""
        return screen.products if rounds.order(self._found) else screen.estimates

    def _pass(
        self, counted: Counted, weights: Weights, compare: Callable[[Block], np.ndarray] | None = None
    ) -> tuple[np.ndarray, Draft | None]:
        return drafting.draft(
            self._found.spool,
            self._updates(counted),
            self.strategy,
            weights,
            compare=compare,
            done=lambda done: self._told("averaging", done),
        )

    def _told(self, what: str, done: int) -> None:
        total = shapes.elements(self._running.travelling)
        if done == total or done % CHUNK == 0:  # to draw a bar for every block costs more than the block
            self._progress(what, done, total)

    def _updates(self, counted: Counted) -> FileUpdates:
        return FileUpdates(
            self._running.travelling,
            Archived(self._found, self.base.id, model.PAYLOAD),
            decoded.vectors(self._found, self._running.layout, counted.ids),
            counted.meta,
            self._remembered,
        )

    @cached_property
    def _remembered(self) -> Mapping[str, Vector | None]:
        """Read once: all of it is verified before any of it is used."""
        return memory.recall(self._found, self._running, self.base, self.strategy.memory)
