"""The layers that a site keeps to itself: batch norm under the policy `local` (FedBN, Li et al., ICLR 2021), and heads.

They stand in the model that everybody gets as they were in model r0, and an update says zero about them. What the site
has learned of them is the part `own` of what it remembers (`memory`), and never leaves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fedmed.errors import FedmedError
from fedmed.learning import params

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fedmed.learning.params import Params
    from fedmed.site.desk import Approved

PART = "own"


def staying(consent: Approved) -> frozenset[str]:
    """Names of the tensors that do not travel."""
    from fedmed.training import networks  # noqa: PLC0415 - torch, only when there is work

    return networks.staying(consent.recipe)


def entering(model: Params, remembered: Mapping[str, Params]) -> Params:
    """The weights of a model with this site's own layers in place of the common ones, where it has any."""
    return {**model, **remembered.get(PART, {})}


def is_scorable(consent: Approved, round_: int, remembered: Mapping[str, Params]) -> bool:
    """Whether figures about the model mean anything here: not trained weights around layers that never saw an image."""
    return not round_ or PART in remembered or not staying(consent)


def for_scores(consent: Approved, round_: int, model: Params, remembered: Mapping[str, Params]) -> Params:
    """As `entering`, for figures that are reported. Raises FedmedError FM-TRN-05."""
    if not is_scorable(consent, round_, remembered):
        raise FedmedError("FM-TRN-05", f"model r{round_:04d}: no update of this site counted, so it has no own layers")
    return entering(model, remembered)


def change(trained: Params, model: Params, names: frozenset[str]) -> Params:
    """What an update says: trained weights minus the model's, and zero about the layers `names` that stay."""
    delta = params.subtract(trained, model)
    return {name: np.zeros_like(array) if name in names else array for name, array in delta.items()}
