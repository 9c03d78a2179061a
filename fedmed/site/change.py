"""What a round is entered with at a site, and what its training changed: what travels, and what is remembered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fedmed.errors import FedmedError
from fedmed.exchange import archived
from fedmed.learning import control, params, payloads, shapes
from fedmed.site import desk, memory, own, rounds

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fedmed.exchange.record import Known
    from fedmed.learning.params import Params
    from fedmed.learning.payloads import Encoded
    from fedmed.site.desk import Approved, Site
    from fedmed.site.laps import Turn
    from fedmed.training.fit import Fitted

PAYLOAD = "update.safetensors"


@dataclass(frozen=True)
class Entered:
    """The model of a round as it came, `common` control variates with it (none unless the recipe has some), and what
    this site `remembered`, by part.
    """

    round: int
    received: Params
    common: Params
    remembered: Mapping[str, Params]

    @property
    def start(self) -> Params:
        """The model's weights with this site's own layers in their place."""
        return own.entering(self.received, self.remembered)

    @property
    def variates(self) -> Params:
        """This site's own control variates, zero before its first update that counted."""
        zeros = {name: np.zeros_like(array) for name, array in self.common.items()}
        return self.remembered.get(shapes.CONTROL, zeros)

    @property
    def correction(self) -> Params | None:
        """What is added to every gradient."""
        return control.correction(self.common, self.variates) if self.common else None


@dataclass(frozen=True)
class Change:
    """An update, as it travels unless it will be masked, and what is sealed for this site alone beside it, by part."""

    update: Params
    encoded: Encoded | None
    kept: dict[str, Params]


def enter(site: Site, consent: Approved, model: Known) -> Entered:
    """Raises FedmedError FM-STA-*."""
    received, common = desk.model_parts(site, consent, model)
    return Entered(model.round_number, received, common, memory.load(site, consent, model.round_number))


def begin(site: Site, consent: Approved, model: Params, turn: Turn) -> Params:
    """The weights to train from: the model's and what the sites before have added. Raises FedmedError FM-TEN-02."""
    if turn.before is None:
        return model
    added = payloads.decode(archived.read_payload(site.workspace, turn.before.id, PAYLOAD), consent.layout)
    weights = params.add(model, added)
    if not all(map(params.are_finite, weights.values())):
        message = f"update of {turn.before.sender}: with the model it goes beyond {params.MAX_MAGNITUDE:.0e}"
        raise FedmedError("FM-TEN-02", message, next="call the coordinator: this lap cannot go on from that update")
    return weights


def changed(consent: Approved, entered: Entered, fitted: Fitted) -> Change:
    """Raises FedmedError FM-TRN-01 for what could not be sealed, FM-ENC-01."""
    staying = own.staying(consent)
    kept: dict[str, Params] = {own.PART: {name: fitted.params[name] for name in staying}} if staying else {}
    update = own.change(fitted.params, entered.received, staying)
    if entered.common:
        variates = _renewed(consent, entered, fitted, staying)
        update = params.with_control(update, params.subtract(variates, entered.variates))
    rounds.require_sane(update, "the update")
    if consent.masks:
        return Change(update, None, kept)
    encoded = payloads.encode(update, consent.layout, entered.remembered.get(memory.RESIDUAL))
    if encoded.residual:
        kept[memory.RESIDUAL] = encoded.residual
    if entered.common:  # as the coordinator reads it, or the sum over the sites would drift away from the common one
        _, told = params.without_control(payloads.decode(encoded.payload, consent.layout))
        kept[shapes.CONTROL] = {name: array + told[name] for name, array in entered.variates.items()}
    return Change(update, encoded, kept)


def _renewed(consent: Approved, entered: Entered, fitted: Fitted, staying: frozenset[str]) -> Params:
    """The control variates after the round; of a layer that stays there are none, nobody else steps on it."""
    client_lr = consent.recipe.training.learning_rate(entered.round, consent.agreement.federation.body.limits.rounds)
    before = entered.variates
    found = control.renewed(before, entered.common, entered.start, fitted.params, fitted.num_steps, client_lr)
    return {name: before[name] if name in staying else array for name, array in found.items()}
