"""What this site remembers between rounds, in one signed `state` a round that never leaves the workspace.

It belongs to the update that was sealed with it. Where that update did not count (late, held, refused, excluded, or
corrected by a later one), neither does what was remembered with it: the site goes on from its newest update that the
coordinator's models name as a parent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from fedmed.errors import FedmedError
from fedmed.exchange import archived, artifact, bodies, predicates, states
from fedmed.learning import params, shapes
from fedmed.site import ditto, own

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from fedmed.exchange.record import Known
    from fedmed.learning.params import Params
    from fedmed.learning.shapes import Table
    from fedmed.site.desk import Approved, Site

RESIDUAL = "residual"  # what the encoding of updates left out so far (learning.layout)


def parts(consent: Approved) -> list[bodies.StatePart]:
    """What the recipe makes a site remember, by name, each with the rows of the federation's table that it has."""
    named: dict[str, list[str] | Literal["all", "param"]] = {
        own.PART: sorted(own.staying(consent)),
        RESIDUAL: consent.layout.with_feedback,
        shapes.CONTROL: "param" if consent.recipe.strategy.controls else [],
        ditto.PART: "all" if consent.recipe.training.ditto_lambda else [],
    }
    return [bodies.StatePart(name=name, tensors=tensors) for name, tensors in named.items() if tensors]


def load(site: Site, consent: Approved, round_: int) -> dict[str, Params]:
    """Every part with which this site enters round `round_`; nothing before its first update that counted.

    Raises FedmedError FM-STA-01 (missing or damaged), -02 (of another round), -03 (other parts), -04 (the model that
    says whether the last update counted has not arrived).
    """
    expected = parts(consent)
    update = _counted(site, round_) if expected else None
    if update is None:
        return {}
    answered = site.workspace.record.model(update.round_number)
    body = archived.read_archived(site.workspace, update.id).predicate.body
    state = body.state if isinstance(body, bodies.Update) else None
    if answered is None or state is None:
        raise FedmedError("FM-STA-03", f"update of round {update.round_number}: expected one that names a state")
    return _read(site, consent, state, answered, expected)


def _counted(site: Site, round_: int) -> Known | None:
    """This site's newest update of a round before `round_` that a model was made of. Raises FedmedError FM-STA-04."""
    said = site.workspace.record.of("update", sender=site.workspace.name)
    for answered in sorted({each.round_number for each in said if each.round_number < round_}, reverse=True):
        model = site.workspace.record.model(answered + 1)
        if model is None:
            name = f"model-r{answered + 1:04d}.fedmed"
            words, next_ = "expected it before this site goes on from its last update", f"put {name} into inbox/"
            raise FedmedError("FM-STA-04", f"{name}: {words}", next=f"{next_} and run the command again")
        body = archived.read_archived(site.workspace, model.id).predicate.body
        used = {parent.update for parent in body.parents} if isinstance(body, bodies.Model) else set()
        if found := next((each for each in said if each.id in used), None):
            return found
    return None


def _read(
    site: Site, consent: Approved, state: str, answered: Known, expected: Sequence[bodies.StatePart]
) -> dict[str, Params]:
    said = states.named(site.workspace, consent.agreement.federation, state, answered)
    table = _table(consent, expected)
    predicate = said.predicate
    same = isinstance(predicate, predicates.StatePredicate) and predicate.tensor_table == shapes.digest(table)
    if not same:
        names = ", ".join(part.name for part in expected)
        raise FedmedError("FM-STA-03", f"state of round {answered.round}: expected the tensors of {names}")
    found: dict[str, Params] = {part.name: {} for part in expected}
    for name, array in params.from_payload(states.read_payload(site.workspace, state), table).items():
        part, _, tensor = name.partition("/")
        found[part][tensor] = array
    return found


def keep(site: Site, consent: Approved, model: Known, kept: Mapping[str, Params], now: datetime) -> str | None:
    """Seal what this site remembers with its answer to `model`, for the update that is sealed next; its id.

    `kept` has exactly the parts and tensors that the recipe asks for. Raises FedmedError FM-RES-*, FM-TEN-02.
    """
    expected = parts(consent)
    if not expected:
        return None
    table = _table(consent, expected)
    named = {f"{part}/{name}": array for part, tensors in kept.items() for name, array in tensors.items()}
    content = artifact.tensor_content(states.PAYLOAD, params.to_payload(named, table))
    body, federation = bodies.State(parts=list(expected)), consent.agreement.federation
    digest = shapes.digest(table)
    return states.keep(site.workspace, federation, "train-local", model, body, digest, content, now).id


def _table(consent: Approved, expected: Sequence[bodies.StatePart]) -> Table:
    rows = (shapes.part_table(consent.table, part.name, part.tensors) for part in expected)
    return tuple(tensor for each in rows for tensor in each)
