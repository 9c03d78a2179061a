"""`start`: freeze roster, recipe and limits into the federation file, and seal model r0.

Where the first model waits for the sites' fingerprints, or for the approvals of all of them because updates will be
masked, its weights are kept until these are in (`opening`).
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fedmed import files, recipe, settings
from fedmed.coordinator import central, closing, desk, model, opening
from fedmed.coordinator.admit import roster
from fedmed.errors import FedmedError
from fedmed.exchange import agekeys, artifact, bodies, bodies_roster, keys, predicates, sealing, statement
from fedmed.learning import masking_terms, params, shapes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import datetime
    from pathlib import Path

    from fedmed.exchange.record import Known
    from fedmed.exchange.sealing import Opening
    from fedmed.exchange.workspace import Workspace
    from fedmed.learning.params import Params
    from fedmed.learning.shapes import Table
    from fedmed.recipe import Recipe
    from fedmed.settings import FederationDraft

Initial = tuple["Params", "Iterable[Mapping[str, Any]]"]


@dataclass(frozen=True)
class StartedFederation:
    """What to read out: the fingerprint of the federation statement. `pools`: model r0 waits for fingerprints; `masks`:
    it waits for the approvals of all sites.
    """

    title: str
    fingerprint: str
    sites: list[str]
    posted: list[Path]
    pools: bool = False
    masks: bool = False


def start(
    root: Path, initial: Callable[[Recipe], Initial], now: datetime, *, from_file: bool = False
) -> StartedFederation:
    """Safe to repeat: a second call posts the same files again.

    `initial` makes the initial weights and the table's rows: this room has no torch. `from_file` says that they come
    from a file that the operator named. Raises FedmedError FM-FED-01, FM-FED-02 (weights named after model r0 was
    sealed), FM-FED-05 (others than those a killed start began with), FM-STR-02, FM-SHR-06, FM-RCP-*, FM-SET-*.
    """
    with desk.opened(root, now) as found:
        if from_file and found.record.model(0) is not None:
            raise FedmedError("FM-FED-02", "model r0 is sealed already: other weights would need a new federation")
        running = desk.started(found)
        if running is None:
            chosen = recipe.load(root / "recipe.yaml")
            draft = settings.load_federation(root)
            _check_roster(found, draft, chosen)
            weights, rows = initial(chosen)
            table = shapes.table_from_rows(rows)
            buffers = [row.name for row in table if row.group != "param"]
            central.require_enough(chosen, len(roster(found)), draft.rounds, shapes.elements(table), buffers)
            payload = _opening(weights, table, chosen)
            found.write_entry("start", "note", now, what="initial-weights", sha256=artifact.sha256(payload))
            _say_federation(found, draft, chosen, table, now)
            running = desk.require_started(found)
        else:
            payload = b""
        is_kept = running.waits and opening.is_kept(found, opening.begun_with(found))
        if found.record.newest("model") is None and (from_file or not is_kept):
            payload = payload or _opening(initial(running.recipe)[0], running.table, running.recipe)
            _check_weights(found, payload)
        if running.waits and payload:
            files.write_atomic(opening.initial_file(found), payload, mode=0o600)
        elif found.record.newest("model") is None and not running.waits:
            content = artifact.tensor_content(model.PAYLOAD, payload)
            model.say(found, running, model.Next(round=0), content, now, "start")
        known = [*found.record.of("federation"), found.record.model(0)]
        posted = [sealing.post(found, each) for each in known if each is not None]
        federation = running.agreement.federation
        return StartedFederation(
            federation.founding.title,
            keys.spoken(federation.root),
            federation.site_names,
            posted,
            running.pools,
            running.masks,
        )


def _opening(weights: Params, table: Table, chosen: Recipe) -> bytes:
    """Model r0: the initial weights, and control variates of zero where the strategy has some."""
    whole = shapes.travelling(table, control=chosen.strategy.controls)
    control = {row.name: np.zeros(row.shape, np.float32) for row in whole if row.group == shapes.CONTROL}
    return params.to_payload({**weights, **control}, whole)


def _check_weights(found: Workspace, payload: bytes) -> None:
    """A start that was killed before model r0 goes on with the weights it began with, not with others in silence.

    Raises FedmedError FM-FED-05.
    """
    begun = [facts["sha256"] for _, facts in found.record.notes if facts.get("what") == "initial-weights"]
    if begun and begun[-1] != artifact.sha256(payload):
        raise FedmedError("FM-FED-05", "model r0: expected the initial weights with which start began, got others")


def _check_roster(found: Workspace, draft: FederationDraft, chosen: Recipe) -> None:
    admitted = len(roster(found))
    if admitted < draft.min_sites:
        raise FedmedError("FM-FED-01", f"expected at least {draft.min_sites} admitted sites, got {admitted}")
    needed = closing.strategy_of(chosen, 0, draft.rounds, admitted).min_sites
    if admitted < needed:
        raise FedmedError(
            "FM-STR-02", f"{chosen.strategy.name}: expected at least {needed} admitted sites, got {admitted}"
        )
    if chosen.aggregation.masks:
        bounds = [draft.bound(seat.name) for seat in roster(found)]
        is_equal = chosen.strategy.weight == "equal"
        ring, colluders = chosen.aggregation.ring, chosen.aggregation.colluders
        masking_terms.terms(bounds, colluders, ring, min_sites=draft.min_sites, equal=is_equal)


def _say_federation(found: Workspace, draft: FederationDraft, chosen: Recipe, table: Table, now: datetime) -> Known:
    seats = roster(found)
    contents = [
        artifact.json_content("recipe.json", recipe.to_bytes(chosen)),
        artifact.json_content("tensors.json", shapes.table_to_bytes(table)),
    ]
    body = bodies_roster.Federation(
        coordinator=keys.public_line(found.public_key),
        coordinator_age=agekeys.recipient(found.age_key),
        roster=[
            bodies_roster.Member(
                name=seat.name, key=seat.key, age=seat.age, join=seat.join, max_num_cases=draft.bound(seat.name)
            )
            for seat in seats
        ],
        limits=bodies_roster.Limits(
            rounds=draft.rounds,
            min_sites=draft.min_sites,
            max_share=bodies.decimal(draft.max_share),
            deadline_days=None if draft.deadline_days is None else bodies.decimal(draft.deadline_days),
            valid_days=draft.valid_days,
            min_count=draft.min_count,
            max_norm_ratio=bodies.decimal(draft.max_norm_ratio),
            min_cosine=bodies.decimal(draft.min_cosine),
        ),
        encryption=draft.encryption,
        rotations=[],
    )
    recipients = [statement.actor(seat.name, keys.parse_public_line(seat.key)) for seat in seats]

    def build(
        opening: Opening, payload: list[predicates.Payload], subject: list[statement.Subject]
    ) -> statement.Statement:
        founding = predicates.Founding(
            id=secrets.token_hex(16), title=draft.title, version=1, previous=None, approved=None
        )
        predicate = predicates.FederationPredicate(
            **opening.fields(),
            kind="federation",
            federation=founding,
            recipients=recipients,
            ack=None,
            expires=opening.expires(draft.federation_days),
            payload=payload,
            body=body,
        )
        return statement.make("federation", subject, predicate)

    return sealing.say(found, "start", "federation", None, contents, build, now)
