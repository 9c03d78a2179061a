"""What a network that tells classes says of one case, of a picture as of a row of a table."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Rated:
    """`who` is the alias of a case, or of a patient; `truth` a class, `probabilities` one for each class.

    Of the `absent` classes nothing is known here: nobody labels them where the case comes from.
    """

    who: str
    truth: int
    probabilities: tuple[float, ...]
    absent: frozenset[int] = frozenset()
