"""Laps, as far as the files are here: who came when, and whether each update goes on from the one before."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedmed.errors import FedmedError
from fedmed.exchange import laps, predicates

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fedmed.auditor.inspection import Reference
    from fedmed.exchange.predicates import ModelPredicate
    from fedmed.exchange.statement import Statement


def verify(files: Mapping[str, Statement], known: Reference) -> int:
    """All models and updates of a workspace, by id; how many laps were found unbroken, each update with its neighbours.

    A site has no updates but its own and that of the site before: links that are not here are passed over, and such a
    lap is not counted. Raises FedmedError FM-CYC-02, FM-CYC-04.
    """
    told = (said.predicate for said in files.values())
    models = {each.round: each for each in told if isinstance(each, predicates.ModelPredicate)}
    whole = 0
    for round_, model in sorted(models.items()):
        before = models.get(round_ - 1)
        laps.require_order(model, known.federation, known.recipe.lap_seed, before.body.order if before else None)
        if before and before.body.order and model.body.parents:
            whole += _is_whole(model, files)
    return whole


def _is_whole(model: ModelPredicate, files: Mapping[str, Statement]) -> bool:
    """Whether every parent is here. Raises FedmedError FM-CYC-02 where one goes on from another than its neighbour."""
    chain, whole = None, True
    for parent in model.body.parents:
        said = files.get(parent.update)
        if said is None:
            whole = False
        elif not _goes_on(said, parent.site, model.round - 1, chain):
            message = f"model of round {model.round}: the update of {parent.site} does not go on from the one before it"
            raise FedmedError("FM-CYC-02", message)
        chain = parent.update
    return whole


def _goes_on(said: Statement, site: str, round_: int, chain: str | None) -> bool:
    predicate = said.predicate
    if not isinstance(predicate, predicates.UpdatePredicate):
        return False
    return (predicate.sender.name, predicate.round, predicate.body.chain) == (site, round_, chain)
