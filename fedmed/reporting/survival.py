"""How well predicted risks order patients by the time of an event that not everybody was seen to have."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def c_index(time: NDArray[np.float64], event: NDArray[np.bool_], risk: NDArray[np.float64]) -> float | None:
    """Concordance (Harrell et al. 1982): of the pairs that can be ordered, the share in which the one whose event came
    first has the higher risk, equal risks counting half. None where there is no such pair.

    A pair can be ordered when one of the two had the event before the other's time, or at the other's time while the
    other was not seen to have it; two events at one time have no order.
    """
    pairs, right = 0, 0.0
    for when, mine in zip(time[event], risk[event], strict=True):
        later = (time > when) | ((time == when) & ~event)
        pairs += int(later.sum())
        right += float((risk[later] < mine).sum()) + 0.5 * float((risk[later] == mine).sum())
    return right / pairs if pairs else None
