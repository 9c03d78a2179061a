"""What a strategy is: pure functions over bounded blocks of the flat vector.

`weigh` looks at the round as a whole and says what each update counts; `combine` turns one block into the next model's.
Neither knows a file or the model's size, so memory stays that of a block, and blocks can be worked on side by side: the
numbers do not depend on how many of them are. What a strategy remembers (moments) is given to it and comes back as
vectors as long as the model.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import numpy as np

T = TypeVar("T")


@dataclass(frozen=True)
class Meta:
    """What is known of one update beside its numbers. `share` is its part of the whole after the cap."""

    name: str
    weight: int
    share: float
    num_steps: int


@dataclass(frozen=True)
class Weights:
    """What each update counts, float64 [sites] each.

    `learned` multiplies its change of what is learned. `running` is for running statistics, which no strategy steps,
    clips or sorts: the shares of those updates that count, as parts of one.
    """

    learned: np.ndarray
    running: np.ndarray


@dataclass(frozen=True)
class Block:
    """Elements `start`... of the flat vector, all of one `group` (`param`, `buffer`, `control`).

    `base` [elements] float32 is the model; `updates` [sites, elements] float32, sites by name, what each of them adds
    to it; `memory` what the strategy remembers, each [elements] float32, zeros before the first round.
    """

    start: int
    group: str
    base: np.ndarray
    updates: np.ndarray
    memory: Mapping[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class Combined:
    """The same elements of the next model and of what is remembered, float32."""

    base: np.ndarray
    memory: Mapping[str, np.ndarray] = field(default_factory=dict)


class Updates(Protocol):
    """The updates of a round. `map` works on every block, some of them side by side, and gives the results in order.

    A block's arrays are valid while `work` runs and are not to be written to. It may be called again.
    """

    @property
    def meta(self) -> Sequence[Meta]: ...

    def map(self, work: Callable[[Block], T]) -> Iterator[T]: ...


def _nothing(_meta: Sequence[Meta], _weights: Weights) -> str:
    return ""


@dataclass(frozen=True)
class Strategy:
    """`weigh(meta, products)` and `combine(block, weights)`; with fewer than `min_sites` updates neither is defined.

    `products` are the inner products of the updates, float64 [sites, sites], over what is learned (`screen.gram`).
    That costs a pass over the files of its own, so who does not say `needs_products` is given an empty array.
    `memory` names the vectors that `combine` is given and gives back for every block, whatever its group.
    `tell(meta, weights)` is what a person would ask about this round, empty where the shares say it all.
    """

    weigh: Callable[[Sequence[Meta], np.ndarray], Weights]
    combine: Callable[[Block, Weights], Combined]
    memory: tuple[str, ...] = ()
    min_sites: int = 1
    tell: Callable[[Sequence[Meta], Weights], str] = _nothing
    needs_products: bool = False
