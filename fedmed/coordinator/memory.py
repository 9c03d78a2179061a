"""What the strategy remembers between rounds: a signed `state` of this workspace, named by the model of the same round.

Its vectors are as long as the model, so they are read in blocks beside it and never held whole.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedmed.coordinator import drafting
from fedmed.coordinator.sources import Part
from fedmed.errors import FedmedError
from fedmed.exchange import archived, bodies, predicates, states
from fedmed.learning import shapes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from fedmed.coordinator.desk import Started
    from fedmed.coordinator.sources import Vector
    from fedmed.exchange.artifact import Content
    from fedmed.exchange.record import Known
    from fedmed.exchange.workspace import Workspace


def recall(found: Workspace, running: Started, base: Known, names: Sequence[str]) -> Mapping[str, Vector | None]:
    """The vectors `names` that the model `base` was made with; None, which is zeros, before the first round.

    Raises FedmedError FM-STA-01 (missing or damaged), -02 (of another round), -03 (other vectors).
    """
    if not names or base.round_number == 0:
        return dict.fromkeys(names)
    answered = found.record.model(base.round_number - 1)
    body = archived.read_archived(found, base.id).predicate.body
    state = body.state if isinstance(body, bodies.Model) else None
    if answered is None or state is None:
        raise FedmedError("FM-STA-03", f"model of round {base.round_number}: expected one that names a state")
    said = states.named(found, running.agreement.federation, state, answered)
    table = drafting.memory_table(running.table, names)
    predicate = said.predicate
    if not (isinstance(predicate, predicates.StatePredicate) and predicate.tensor_table == shapes.digest(table)):
        raise FedmedError("FM-STA-03", f"state of round {answered.round}: expected the vectors {', '.join(names)}")
    states.verify_payload(found, state)  # to its end before any of it is used: the vectors are read side by side
    header, size = len(shapes.wire_table(table)), 4 * shapes.elements(running.table)
    return {name: Part(found, state, states.PAYLOAD, header + n * size) for n, name in enumerate(sorted(names))}


def keep(found: Workspace, running: Started, base: Known, names: Sequence[str], content: Content, now: datetime) -> str:
    """Seal what the strategy remembers of the round that `base` opened, for the model that is sealed next; its id."""
    body = bodies.State(parts=[bodies.StatePart(name=name, tensors="all") for name in sorted(names)])
    digest = shapes.digest(drafting.memory_table(running.table, names))
    return states.keep(found, running.agreement.federation, "aggregate", base, body, digest, content, now).id
