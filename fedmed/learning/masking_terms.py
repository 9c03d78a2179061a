"""How many sites a masked sum needs, how many may collude, and in which numbers it is formed: PRIVACY.md section 1."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedmed.errors import FedmedError
from fedmed.learning.masking import Quantiser

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fedmed.learning.masking import Ring

MAX_SUM = 2**31  # of all case counts: they are added up in the ring


@dataclass(frozen=True)
class Parameters:
    """`threshold` is how many replies open a sum, and how many sites a sum has at least: floor((N + c) / 2) + 1.

    Two sets of sites would take 2t replies, honest sites answer once and colluders twice: N + c < 2t. At least two
    honest sites are in every sum, because t >= c + 2.
    """

    num_sites: int
    colluders: int
    threshold: int


def parameters(num_sites: int, colluders: int | None, max_num_cases: int) -> Parameters:
    """`colluders`: how many sites may share all they know with the coordinator; None: a third of those beside one.

    Raises FedmedError FM-SHR-06.
    """
    if num_sites < 3:
        raise _unsafe(f"sites: expected 3 or more, got {num_sites}: of two, each can take itself out of the sum")
    assumed = max(1, (num_sites - 1) // 3) if colluders is None else colluders
    if not 1 <= assumed <= num_sites - 2:
        raise _unsafe(f"colluders: expected 1 to {num_sites - 2} of {num_sites} sites, got {assumed}")
    if max_num_cases < 1 or num_sites * max_num_cases >= MAX_SUM:
        most = (MAX_SUM - 1) // num_sites
        raise _unsafe(f"max_num_cases: expected 1 to {most} for {num_sites} sites, got {max_num_cases}")
    return Parameters(num_sites, assumed, (num_sites + assumed) // 2 + 1)


@dataclass(frozen=True)
class Terms:
    """What a federation that masks has agreed to. A sum has at least `least` sites; `largest` is the highest number
    that one of them may count, n_max.
    """

    num_sites: int
    colluders: int
    threshold: int
    least: int
    ring: Ring
    largest: int

    def quantiser(self, clip: float) -> Quantiser:
        return Quantiser(self.num_sites, self.ring, clip, self.largest)


def terms(max_num_cases: Sequence[int], colluders: int | None, ring: Ring, *, min_sites: int, equal: bool) -> Terms:
    """`max_num_cases` of every site of the roster; `equal`: every update counts one, however many cases it is of.

    Raises FedmedError FM-SHR-06.
    """
    largest = 1 if equal else max(max_num_cases)
    found = parameters(len(max_num_cases), colluders, largest)
    least = max(min_sites, found.threshold)
    return Terms(found.num_sites, found.colluders, found.threshold, least, ring, largest)


def _unsafe(message: str) -> FedmedError:
    return FedmedError("FM-SHR-06", message)
