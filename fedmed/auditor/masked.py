"""A round whose updates came masked: what they add up to, out of the seeds that the next model reveals."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedmed.errors import FedmedError
from fedmed.exchange import bodies, bundles, certificates, seeds, unmasking
from fedmed.learning import masking, masking_terms

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fedmed.auditor.inspection import Reference
    from fedmed.auditor.shelf import Taken
    from fedmed.exchange.seeds import Context
    from fedmed.exchange.unmasking import Unmasking
    from fedmed.learning.masking import Pooled, Quantiser
    from fedmed.learning.masking_terms import Terms

UPDATE = "update.safetensors"


def pooled(base: Taken, updates: Sequence[Taken], made: Taken) -> Pooled:
    """The mean of the updates that answer `base`, of which `made` was made.

    Every seed is held against what its site committed to before anybody knew who would be in the sum. Raises
    FedmedError FM-SHR-01, FM-SHR-02, FM-SHR-07, FM-SHR-11, FM-SHR-12, the last one also while its pieces are taken.
    """
    body, terms = _model(base), _terms(base.known)
    certificates.check_signed(body.masks, base.known.federation)
    context = seeds.context(base.envelope.id, body.masks, terms.threshold)
    tables = {each.said.sender: _table(context, each) for each in updates}
    revealed = unmasking.from_bytes(made.payload(unmasking.UNMASK))
    unmasking.require_seeds(context, revealed, tables)
    _require_parents(revealed, updates, terms.least)
    return _without_masks(context, terms.quantiser(float(body.clip or 0)), updates, revealed)


def _terms(known: Reference) -> Terms:
    body, chosen = known.federation.body, known.recipe
    return masking_terms.terms(
        [member.max_num_cases for member in body.roster],
        chosen.aggregation.colluders,
        chosen.aggregation.ring,
        min_sites=body.limits.min_sites,
        equal=chosen.strategy.weight == "equal",
    )


def _without_masks(context: Context, quantiser: Quantiser, updates: Sequence[Taken], revealed: Unmasking) -> Pooled:
    masks, layout = unmasking.to_take_off(context, revealed), updates[0].known.layout
    elements = layout.entries[0].tensor.size - 1
    reads = [each.numbers(UPDATE, len(layout.header), quantiser.dtype.str) for each in updates]
    return masking.pooled(quantiser, reads, elements, masks.added, masks.subtracted, seeds.keystream(context))


def _table(context: Context, update: Taken) -> bundles.Table:
    said, body = update.said, update.said.predicate.body
    if not isinstance(body, bodies.Update) or body.masked is None or body.masked.context != context.x:
        raise FedmedError("FM-SHR-11", f"update of {said.sender}: not masked for the model that it answers")
    return bundles.read_table(
        update.payload(bundles.SHARES), body.masked.table, context, said.sender, body.masked.dealt
    )


def _require_parents(revealed: Unmasking, updates: Sequence[Taken], least: int) -> None:
    """The seeds are those of the updates that the model names, and as many as make a sum."""
    named = [(each.said.sender, each.envelope.id) for each in updates]
    if [(each.site, each.update) for each in revealed.included] != named or len(named) < least:
        raise FedmedError("FM-SHR-11", f"{unmasking.UNMASK}: of other updates than the model names, or too few")


def _model(taken: Taken) -> bodies.Model:
    body = taken.said.predicate.body
    if not isinstance(body, bodies.Model):
        raise TypeError("a model has the body of a model")
    return body
