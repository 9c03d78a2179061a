"""A federation of the simulator whose hospitals mask: rounds by hand, and the lies that are told in them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from fedmed.coordinator import unmask
from fedmed.exchange import canonical
from tests import small
from tests.federation.simulator import Simulation, filled
from tests.vectors import samples

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from fedmed.coordinator.aggregate import Aggregated

NAMES = ("aa", "bb", "cc", "dd", "ee")
CLIP = 10.0
MASKED = {"masking": "dm2", "clip": {"norm": CLIP}}


def founded(
    root: Path,
    names: tuple[str, ...] = NAMES,
    *,
    strategy: Any = None,
    encryption: str = "none",
    called: tuple[str, ...] | None = None,
    rounds: int = 3,
    **aggregation: Any,
) -> Simulation:
    """All have approved, all, or those in `called`, were called by everybody, and model r0 lies in every inbox."""
    limits = {"rounds": rounds, "min_sites": 3, "deadline_days": 7, "max_num_cases": 100, "encryption": encryption}
    world = Simulation(root, names).found(strategy=strategy, aggregation={**MASKED, **aggregation}, **limits)
    world.coordinator.aggregate(world.now)
    world.carry_down()
    for name in names:
        call(world, name, names if called is None else called)
    return world


def call(world: Simulation, name: str, others: Iterable[str]) -> None:
    """The operator of a site compares the joins of others with them."""
    small.call_all(world.sites[name].root, [other for other in others if other != name])


def send(world: Simulation, values: dict[str, float], cases: dict[str, int] | None = None) -> None:
    """Masked updates of these hospitals, each number moved by its value, lie in the coordinator's inbox."""
    for name, value in values.items():
        counted = (cases or {}).get(name, 10)
        data = world.sites[name].masked_update(world.now, filled(value), counted)
        world.coordinator.deliver(data, world.now)


def ask(world: Simulation, *, close: bool = True) -> unmask.Asked:
    """The coordinator decides who is in the sum, and its requests lie in every inbox."""
    asked = unmask.unmask(world.coordinator.root, world.now, close=close)
    world.carry_down()
    return asked


def answer(world: Simulation, names: Iterable[str]) -> None:
    for name in names:
        world.coordinator.deliver(world.sites[name].unmask(world.now), world.now)


def play(world: Simulation, values: dict[str, float], cases: dict[str, int] | None = None) -> Aggregated:
    """A whole round: updates, requests, answers, model."""
    send(world, values, cases)
    asked = ask(world)
    answer(world, asked.sites)
    made = world.coordinator.aggregate(world.now)
    world.carry_down()
    return made


def request_for(world: Simulation, site: str, round_: int = 0, attempt: int = 1) -> bytes:
    """What the coordinator asked of a site."""
    name = f"unmask-request-r{round_:04d}" + (f"-a{attempt}" if attempt > 1 else "")
    return world.coordinator.posted(f"{name}-{site}")


def forged(
    world: Simulation, request: bytes, change: Callable[[dict[str, Any], dict[str, Any]], object], *, seq: int = 90
) -> bytes:
    """A request after `change(predicate, payload)`, signed by the coordinator again as another statement."""
    payload, predicate = json.loads(samples.members(request)[2][1]), samples.statement_in(request)["predicate"]
    predicate |= {"seq": seq, "prev": samples.sha256(str(seq).encode())}
    change(predicate, payload)

    def changed(found: dict[str, Any]) -> None:
        described = found["payload"]
        found |= {**predicate, "payload": described}

    return samples.resigned(request, world.coordinator.key, changed, payload=canonical.encode(payload))


def answer_to(world: Simulation, site: str, request: bytes, consent: str = "") -> bytes:
    """What a site answers to a request that was brought to it."""
    world.sites[site].deliver(request, world.now)
    return world.sites[site].unmask(world.now, consent)
