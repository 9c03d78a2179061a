"""Secure aggregation as arithmetic: updates as whole numbers modulo 2^k, which are masked, added up and read back.

Pure functions over vectors. Masks come from a `keystream` that is passed in: nothing here knows a key. Integer sums are
exact, so the sum of masked updates without the masks is, bit for bit, the sum of the updates. Source: PRIVACY.md
section 1; double masking after Bonawitz et al., Practical Secure Aggregation for Privacy-Preserving Machine Learning,
CCS 2017.
"""

from __future__ import annotations

from dataclasses import dataclass

from fedmed.errors import FedmedError

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


def _unsafe(message: str) -> FedmedError:
    return FedmedError("FM-SHR-06", message)
