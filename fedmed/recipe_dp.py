"""Differential privacy of patients: the part of a recipe that asks for DP-SGD (Abadi et al. 2016) at every hospital."""

from typing import TYPE_CHECKING

from pydantic import Field

from fedmed.strict import Strict

if TYPE_CHECKING:
    from fedmed.recipe import Recipe

HARD_STOP = 10.0  # beyond this epsilon a patient is promised next to nothing


class DP(Strict):
    """`target_epsilon` and `delta` are those of a patient of one hospital over all rounds of the federation; the noise
    follows from them, from `patients_per_step` and from how many patients and steps there are.
    """

    target_epsilon: float = Field(default=8.0, ge=0.01, le=HARD_STOP)
    delta: float = Field(default=1e-5, ge=1e-9, le=1e-3)
    clip_norm: float = Field(ge=1e-6, le=1e6)
    patients_per_step: int = Field(ge=1, le=65536)
    max_images: int = Field(default=1, ge=1, le=64)

    def check(self, recipe: "Recipe") -> None:
        """Raises ValueError with all that would let more of a patient out than the noise covers."""
        if found := [words for is_there, words in faults(recipe) if is_there]:
            raise ValueError("dp does not go with " + "; ".join(found))


def faults(recipe: "Recipe") -> list[tuple[bool, str]]:
    """Whether each thing that differential privacy excludes is in `recipe`, and why it is excluded."""
    training, data = recipe.training, recipe.data
    normalisation = getattr(data, "normalisation", "image")
    imputation = getattr(data, "imputation", "drop")
    balance = getattr(training, "balance", "none")
    return [
        (getattr(recipe.network, "norm", "") == "batch", "network.norm: batch (its statistics mix patients)"),
        (recipe.task == "survival", "task: survival (its loss compares patients with one another)"),
        (balance != "none", f"training.balance: {balance} (counted from the site's patients; none is possible)"),
        (
            getattr(training, "logit_calibration", 0) > 0,
            "training.logit_calibration (counted from the site's patients)",
        ),
        (normalisation in ("site", "federated"), f"data.normalisation: {normalisation} (measured on patients)"),
        (
            imputation in ("median", "mean"),
            f"data.imputation: {imputation} (measured on patients; constant or drop are possible)",
        ),
        (
            training.local_epochs is not None,
            "training.local_epochs (steps may not depend on patients; use local_steps)",
        ),
        (training.grad_clip is not None, "training.grad_clip (dp.clip_norm takes its place)"),
        (training.fine_tune_steps > 0, "training.fine_tune_steps (it makes a model without noise)"),
        (training.ditto_lambda > 0, "training.ditto_lambda (it makes a model without noise)"),
        (recipe.stopping is not None, "stopping (it looks at validation patients)"),
        (recipe.strategy.controls, f"strategy {recipe.strategy.name} (its control variates are not covered)"),
    ]
