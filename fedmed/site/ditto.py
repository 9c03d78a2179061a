"""A personal model beside the federation's: Ditto (Li et al., ICML 2021, arXiv:2012.04221).

In every round a site also trains a model v of its own, from where it left it, by as many steps: on its loss plus
lambda/2 ||v - w||^2, w being the round's global model. v is the part `personal` of what the site remembers and never
leaves; of the federation it takes nothing but w, and gives nothing to it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedmed.site import rounds

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from fedmed.cases.datalist import Datalist
    from fedmed.learning.params import Params
    from fedmed.recipe import Recipe
    from fedmed.site.desk import Approved, Site

PART = "personal"


def train(
    site: Site,
    consent: Approved,
    cases: Datalist,
    round_: int,
    received: Params,
    remembered: Mapping[str, Params],
    *,
    checkpoint: Path,
    device: str,
    progress: Callable[[int, int], None],
) -> dict[str, Params]:
    """v after the round, as a part to remember; nothing where the recipe does not ask for it. It begins as the first
    global model that the site trains on. Raises FedmedError as `rounds.train_round` does.
    """
    if not consent.recipe.training.ditto_lambda:
        return {}
    start = remembered.get(PART, received)
    fitted = rounds.train_round(
        site, consent, cases, round_, start, anchor=received, checkpoint=checkpoint, device=device,
        chosen=pulled(consent.recipe), progress=progress,
    )  # fmt: skip
    return {PART: fitted.params}


def pulled(recipe: Recipe) -> Recipe:
    """The recipe by which v is trained: the federation's, with lambda as the pull, and all layers at once."""
    training = recipe.training
    changed = {"proximal_mu": training.ditto_lambda, "head_steps": 0}
    return recipe.model_copy(update={"training": training.model_copy(update=changed)})
