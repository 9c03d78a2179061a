"""What a federation promises to patients and hospitals, in the words that are used wherever a person reads of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fedmed.exchange.bodies_privacy import CentralBlock, PrivacyBlock
    from fedmed.recipe import Recipe
    from fedmed.recipe_aggregation import Central

NO_GUARANTEE = "no formal privacy guarantee"
UNMASKED_SUM = (
    "masking is no differential privacy: the sum of the updates still tells whether a case was in it",
    "no single update can be looked at: one hospital can replace the mean by what it likes within the clip",
    "of a hospital that comes or goes between two rounds the difference of two sums tells its update, without dp",
    "the masking protocol puts published parts together and has no outside proof",
)


def agreed(recipe: Recipe) -> list[str]:
    """Before anything is trained: what a hospital consents to."""
    return _of(recipe, None, None) or [
        f"{NO_GUARANTEE}: an update can tell something about the cases it was trained on"
    ]


def so_far(recipe: Recipe, patient: PrivacyBlock | None, site: CentralBlock | None = None) -> list[str]:
    """What has been spent, by the newest update of a hospital and the model; what is agreed where they do not say."""
    return _of(recipe, patient, site) or [NO_GUARANTEE]


def in_report(recipe: Recipe, patient: PrivacyBlock | None, site: CentralBlock | None) -> list[str]:
    """The same, and what masking does not give."""
    return [*so_far(recipe, patient, site), *(UNMASKED_SUM if recipe.aggregation.masks else ())]


def _of(recipe: Recipe, patient: PrivacyBlock | None, site: CentralBlock | None) -> list[str]:
    found, asked, central = [], recipe.dp, recipe.aggregation.central
    if asked is not None:
        spent = f"epsilon {asked.target_epsilon:g} at delta {asked.delta:g} over all rounds"
        if patient is not None:
            spent = f"epsilon {patient.epsilon} at delta {patient.delta} in this federation so far"
        found.append(f"differential privacy of each training patient: {spent}, of the weights alone")
    if central is not None:
        words = "differential privacy of each hospital as a whole, towards whoever gets the models"
        found.append(f"{words}: {_site(central, site)}")
        if asked is None:
            found.append("towards the coordinator, who sees every update, a patient has no guarantee")
    return found


def _site(asked: Central, said: CentralBlock | None) -> str:
    if said is not None:
        return f"epsilon {said.epsilon} at delta {said.delta} so far, of the weights alone"
    if asked.target_epsilon is not None:
        return f"epsilon {asked.target_epsilon:g} at delta {asked.delta:g} over all rounds, of the weights alone"
    return f"noise of {asked.noise_multiplier:g} clip norms in each round, of the weights alone"
