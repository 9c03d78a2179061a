"""A whole run in which, after every step, every file that was ever sealed is brought to everybody again.

Beside them go the files of another federation: of the same hospitals with other keys, or of the same people with the
same keys under another id.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.federation import masked_world
from tests.federation.simulator import Simulation, end, predicate_of, statement_id
from tests.vectors import samples

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from tests.federation.simulator import Actor

AGAIN, MASKED = "files of this run", "files of this run, masked"
OTHER_KEYS, OTHER_ID = "of a federation with other keys", "of the same keys, another id"
FOREIGN_ID = "f00d" * 8


@dataclass
class Replayed:
    """How many deliveries ended how (by relation, kind and end); what changed; the payloads of the models."""

    ends: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    changed: list[str] = field(default_factory=list)
    models: list[str] = field(default_factory=list)
    steps: int = 0


def play(simulation: Simulation, rounds: int, after_step: Callable[[], None]) -> list[str]:
    """Every site answers every round, with a report; the digests of all models' payloads."""
    after_step()
    for round_ in range(rounds):
        for value, name in enumerate(simulation.names, start=1):
            simulation.send_update(name, value + round_)
            simulation.coordinator.deliver(simulation.sites[name].report(simulation.now), simulation.now)
        simulation.coordinator.look(simulation.now)
        after_step()
        simulation.coordinator.aggregate(simulation.now)
        simulation.carry_down()
        after_step()
        simulation.pass_time(hours=1)
    return models_of(simulation, rounds)


def play_masked(simulation: Simulation, rounds: int, after_step: Callable[[], None]) -> list[str]:
    """Every site masks, is asked, and answers; the models are the same whatever the masks were."""
    after_step()
    for round_ in range(rounds):
        values = {name: value + round_ for value, name in enumerate(simulation.names, start=1)}
        masked_world.send(simulation, values)
        simulation.coordinator.look(simulation.now)
        after_step()
        asked = masked_world.ask(simulation)
        after_step()
        masked_world.answer(simulation, asked.sites)
        simulation.coordinator.look(simulation.now)
        after_step()
        simulation.coordinator.aggregate(simulation.now)
        simulation.carry_down()
        after_step()
        simulation.pass_time(hours=1)
    return models_of(simulation, rounds)


def models_of(simulation: Simulation, rounds: int) -> list[str]:
    models = [simulation.coordinator.posted(f"model-r{round_:04d}") for round_ in range(rounds + 1)]
    return [samples.sha256(samples.members(data)[2][1]) for data in models]


Play = Callable[[Simulation, int, Callable[[], None]], list[str]]


def replay(
    simulation: Simulation, rounds: int, foreign: Iterable[bytes] = (), relation: str = AGAIN, how: Play = play
) -> Replayed:
    """Play it with deliveries after each step: `foreign` files, or all that were sealed so far."""
    found = Replayed()
    actors: list[Actor] = [simulation.coordinator, *simulation.sites.values()]

    def after_step() -> None:
        found.steps += 1
        files = list(foreign) or stored(simulation)
        for actor in actors:
            deliver_again(actor, files, simulation, relation, found)

    found.models = how(simulation, rounds, after_step)
    return found


def deliver_again(actor: Actor, files: list[bytes], simulation: Simulation, relation: str, found: Replayed) -> None:
    actor.look(simulation.now)
    before = state_of(actor)
    paths = {actor.deliver(data, simulation.now, f"again-{n:04d}.fedmed"): data for n, data in enumerate(files)}
    for arrival in actor.look(simulation.now):
        if data := paths.get(arrival.path):
            outcome, code, _ = end(arrival.verdict)
            found.ends[relation, predicate_of(data)["kind"], f"{outcome} {code}".strip()] += 1
    for path in paths:
        path.unlink()
    if state_of(actor) != before:
        found.changed.append(f"{actor.name} at step {found.steps}")


def stored(simulation: Simulation) -> list[bytes]:
    """Everything that was sealed so far, by anybody."""
    workspaces = [simulation.coordinator.root, *(site.root for site in simulation.sites.values())]
    found = {path.name: path.read_bytes() for root in workspaces for path in (root / "archive").glob("*.fedmed")}
    return [found[name] for name in sorted(found)]


def state_of(actor: Actor) -> tuple[bytes, list[str], list[str]]:
    """What a delivery must not move: the ledger, the archive, what lies ready to be carried."""
    names = [sorted(path.name for path in (actor.root / room).iterdir()) for room in ("archive", "outbox")]
    return (actor.root / "state" / "ledger.jsonl").read_bytes(), names[0], names[1]


def under_another_id(simulation: Simulation) -> list[bytes]:
    """Everything of this run as if the same people had founded another federation with the same keys."""
    federation = simulation.coordinator.posted("federation-v0001")
    first = statement_id(federation)
    by_key = {actor.actor["key"]: actor.key for actor in [simulation.coordinator, *simulation.sites.values()]}
    own = predicate_of(federation)["federation"]["id"]
    other = samples.resigned(federation, simulation.coordinator.key, lambda p: p["federation"].update(id=FOREIGN_ID))
    found = [other]
    for data in stored(simulation):
        said = samples.statement_in(data)
        if said["predicate"]["kind"] in ("federation", "join"):
            continue
        text = json.dumps(said).replace(own, FOREIGN_ID).replace(first, statement_id(other))
        key = by_key[said["predicate"]["sender"]["key"]]
        found.append(samples.signed(json.loads(text), samples.members(data)[2:], by=key))
    return found


def founded(root: Path, sites: int, rounds: int) -> Simulation:
    names = tuple(f"site-{letter}" for letter in "abcdefgh"[:sites])
    return Simulation(root, names).found(rounds=rounds, min_sites=2)


def masked(root: Path, sites: int, rounds: int) -> Simulation:
    """A federation that masks, up to model r0; every site has called the others."""
    names = masked_world.NAMES[:sites]
    aggregation = {**masked_world.MASKED, "clip": {"norm": 100.0}}
    simulation = Simulation(root, names).found(rounds=rounds, min_sites=3, aggregation=aggregation, max_num_cases=100)
    simulation.coordinator.aggregate(simulation.now)
    simulation.carry_down()
    for name in names:
        masked_world.call(simulation, name, names)
    return simulation


def matrix(root: Path, relation: str, sites: int, rounds: int) -> tuple[Replayed, list[str]]:
    """The run with deliveries, and the models of the same run without."""
    if relation == MASKED:
        base = masked(root / "base", sites, rounds)
        quiet = play_masked(base.copied_to(root / "quiet"), rounds, lambda: None)
        return replay(base, rounds, relation=relation, how=play_masked), quiet
    base = founded(root / "base", sites, rounds)
    quiet = play(base.copied_to(root / "quiet"), rounds, lambda: None)
    foreign: list[bytes] = []
    if relation == OTHER_KEYS:
        other = founded(root / "other", sites, rounds)
        play(other, rounds, lambda: None)
        foreign = stored(other)
    if relation == OTHER_ID:
        played = base.copied_to(root / "played")
        play(played, rounds, lambda: None)
        foreign = under_another_id(played)
    return replay(base, rounds, foreign, relation), quiet
