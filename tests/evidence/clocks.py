"""What each party decides while its clock is wrong, and what the same file comes to once the clock is right again."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from fedmed.coordinator import admit, found
from fedmed.errors import FedmedError
from tests.federation.simulator import START, Simulation, filled
from tests.vectors import samples

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from pathlib import Path

    from tests.federation.simulator import Actor

RIGHT = "right"
CLOCKS = {
    "10 years slow": timedelta(days=-3653),
    "1 day slow": timedelta(days=-1),
    RIGHT: timedelta(),
    "1 day fast": timedelta(days=1),
    "10 years fast": timedelta(days=3653),
}
FRESH, MODEL_OVER, FEDERATION_OVER = timedelta(days=10), timedelta(days=200), timedelta(days=740)
DONE = "done"
TAKEN = {DONE, "accepted"}


@dataclass(frozen=True)
class Case:
    """Somebody whose clock is wrong does something `age` after the federation was founded.

    `act(simulation, true, local)` returns how it ends. `expired`: by the true time the file is over. `begun` is how far
    the federation had come.
    """

    party: str
    what: str
    act: Callable[[Simulation, datetime, datetime], str]
    begun: str = "approved"
    age: timedelta = FRESH
    expired: bool = False


def _end_of(call: Callable[[], object]) -> str:
    """`done`, or the code that stopped a command."""
    try:
        call()
    except FedmedError as error:
        return f"stopped {error.code}"
    return DONE


def _judged(actor: Actor, data: bytes, now: datetime) -> str:
    """Outcome and code of a file in the inbox."""
    path = actor.deliver(data, now)
    try:
        verdict = next(each.verdict for each in actor.look(now) if each.path == path)
    except FedmedError as error:
        return f"stopped {error.code}"
    return f"{verdict.outcome} {verdict.code}".strip()


def takes_an_update(simulation: Simulation, true: datetime, local: datetime) -> str:
    return _judged(simulation.coordinator, simulation.sites["aa"].update(true, filled(1.0)), local)


def takes_a_model(simulation: Simulation, true: datetime, local: datetime) -> str:
    return _judged(simulation.sites["aa"], simulation.coordinator.posted("model-r0000"), local)


def admits(simulation: Simulation, true: datetime, local: datetime) -> str:
    path = simulation.sites["aa"].root / "outbox" / "join-aa.fedmed"
    return _end_of(lambda: admit.admit(simulation.coordinator.root, [path], local))


def approves(simulation: Simulation, true: datetime, local: datetime) -> str:
    return _end_of(lambda: simulation.sites["aa"].approve(local))


def aggregates(simulation: Simulation, true: datetime, local: datetime) -> str:
    return _end_of(lambda: simulation.coordinator.aggregate(local))


def signs_an_update(simulation: Simulation, true: datetime, local: datetime) -> str:
    """With the wrong clock; what the coordinator decides about it, whose clock is right."""
    try:
        data = simulation.sites["aa"].update(local, filled(1.0))
    except FedmedError as error:
        return f"not signed {error.code}"
    return _judged(simulation.coordinator, data, true)


def signs_a_model(simulation: Simulation, true: datetime, local: datetime) -> str:
    """With the wrong clock; what a site decides about it, whose clock is right."""
    for name in simulation.names:
        simulation.coordinator.deliver(simulation.sites[name].update(true, filled(1.0)), true)
    simulation.coordinator.look(true)
    stopped = _end_of(lambda: simulation.coordinator.aggregate(local))
    if stopped != DONE:
        return f"not signed {stopped.removeprefix('stopped ')}"
    return _judged(simulation.sites["aa"], simulation.coordinator.posted("model-r0001"), true)


CASES = (
    Case("coordinator", "takes in an update", takes_an_update),
    Case("coordinator", "closes the round with updates that it has", aggregates, begun="answered"),
    Case("coordinator", "admits a site", admits, begun="joined"),
    Case("site", "takes in a model", takes_a_model),
    Case("site", "takes in a model that is over", takes_a_model, age=MODEL_OVER, expired=True),
    Case("site", "approves a federation", approves, begun="started"),
    Case("site", "approves a federation that is over", approves, "started", FEDERATION_OVER, expired=True),
    Case("site", "signs an update; the coordinator's clock is right", signs_an_update),
    Case("coordinator", "signs a model; the site's clock is right", signs_a_model),
)


@dataclass(frozen=True)
class Decided:
    """How a case ended with a clock; where that was not as it should, how it ended with the right clock afterwards."""

    case: Case
    clock: str
    end: str
    afterwards: str

    @property
    def takes_what_is_over(self) -> bool:
        return self.case.expired and bool({self.end, self.afterwards} & TAKEN)

    @property
    def is_stuck(self) -> bool:
        """The right clock does not make good what the wrong one did."""
        return not self.case.expired and self.afterwards not in {"", "duplicate", *TAKEN}


def begun(root: Path) -> dict[str, Simulation]:
    """A federation of two sites as far as each case needs it."""
    joined = _joined(root / "joined")
    root.mkdir(exist_ok=True)
    started = Simulation(root / "started", ("aa", "bb")).found(approved=())
    approved = Simulation(root / "approved", ("aa", "bb")).found()
    approved.coordinator.look(START)
    answered = approved.copied_to(root / "answered")
    for name in answered.names:
        answered.coordinator.deliver(answered.sites[name].update(START + FRESH, filled(1.0)), START + FRESH)
    answered.coordinator.look(START + FRESH)
    return {"joined": joined, "started": started, "approved": approved, "answered": answered}


def _joined(root: Path) -> Simulation:
    """A coordinator that has admitted nobody, and a site that has joined."""
    simulation = Simulation(root, ("aa",))
    root.mkdir(parents=True)
    (root / "recipe.yaml").write_bytes(samples.RECIPE)
    found.init(simulation.coordinator.root, root / "recipe.yaml", START, title="clocks")
    simulation.sites["aa"].create(START)
    return simulation


def decide(case: Case, clock: str, base: Simulation, root: Path) -> Decided:
    """In a copy of `base`."""
    simulation, true = base.copied_to(root), START + case.age
    end = case.act(simulation, true, true + CLOCKS[clock])
    later = true + timedelta(minutes=1)
    return Decided(case, clock, end, "" if end in TAKEN else case.act(simulation, later, later))
