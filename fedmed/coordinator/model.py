"""Sealing a global model: its parents, the receipts for every site, and whether it is the last."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fedmed.coordinator import central, masks
from fedmed.exchange import approvals, artifact, bodies, laps, predicates, sealing, statement
from fedmed.exchange.federation import COORDINATOR
from fedmed.learning import shapes

if TYPE_CHECKING:
    from datetime import datetime

    from fedmed.coordinator.desk import Started
    from fedmed.exchange.artifact import Content
    from fedmed.exchange.bodies_privacy import CentralBlock
    from fedmed.exchange.record import Known
    from fedmed.exchange.sealing import Opening
    from fedmed.exchange.workspace import Workspace

PAYLOAD = "model.safetensors"


@dataclass(frozen=True)
class Next:
    """What a model says beside its tensors; `stops`: it is the last one, though more rounds were agreed to.

    Where updates are masked: `clip` is how long those may be that answer it, and `unmask` what took the masks off.
    """

    round: int
    parents: list[bodies.Parent] = field(default_factory=list)
    ack: list[bodies.SiteAck] = field(default_factory=list)
    pooled: list[bodies.Metric] = field(default_factory=list)
    state: str | None = None
    stops: bool = False
    clip: float | None = None
    unmask: bytes | None = None
    central: CentralBlock | None = None


def say(found: Workspace, running: Started, next_: Next, content: Content, now: datetime, command: str) -> Known:
    """Seal the model of round `next_.round`."""
    federation = running.agreement.federation
    limits = federation.body.limits
    before = found.record.model(next_.round - 1)
    last = next_.stops or next_.round == limits.rounds
    body = bodies.Model(
        parents=next_.parents,
        order=_order(running, next_, before),
        masks=masks.listed(found, running) if running.masks and not last else [],
        clip=None if next_.clip is None or last else bodies.decimal(next_.clip),
        central=next_.central if next_.round else central.first(running),
        previous=before.id if before else None,
        state=next_.state,
        last=last,
        pooled=next_.pooled,
    )
    contents = [
        content,
        approvals.gathered(found, federation),
        *([artifact.json_content(statement.UNMASK, next_.unmask)] if next_.unmask else []),
    ]

    def build(
        opening: Opening, payload: list[predicates.Payload], subject: list[statement.Subject]
    ) -> statement.Statement:
        predicate = predicates.ModelPredicate(
            **opening.fields(),
            kind="model",
            federation=federation.membership,
            recipients=federation.sites(),
            round=next_.round,
            attempt=1,
            ack=next_.ack,
            tensor_table=shapes.digest(running.travelling),
            expires=opening.expires(limits.valid_days),
            payload=payload,
            body=body,
        )
        return statement.make("model", subject, predicate)

    readers = federation.readers(COORDINATOR, *federation.site_names)
    return sealing.say(found, command, "model", next_.round, contents, build, now, readers=readers)


def _order(running: Started, next_: Next, before: Known | None) -> list[str]:
    """Who trains when in the lap that this model opens; nobody where all train at once."""
    federation, seed = running.agreement.federation, running.recipe.lap_seed
    if seed is None or not laps.is_lap(next_.round, federation.body.limits.rounds):
        return []
    lap = before.order if before else ()
    return laps.drawn(seed, next_.round, federation.site_names, lap, next_.ack)
