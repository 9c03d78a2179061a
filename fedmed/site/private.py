"""A round of training with differential privacy: what it costs is reserved before its first step, or it does not begin.

One reservation, one trajectory, one sealed update. A killed round goes on with the same reservation and fresh noise,
and steps that the crash threw away are charged again.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from fedmed import files, recipe
from fedmed.errors import FedmedError
from fedmed.exchange import bodies, secret
from fedmed.exchange.bodies_privacy import PrivacyBlock
from fedmed.exchange.recovery import RESERVED
from fedmed.learning import accounting
from fedmed.learning.accounting import Event
from fedmed.site import budget, pseudonyms
from fedmed.site.budget import Reserved

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime
    from pathlib import Path

    from fedmed.cases.datalist import Datalist
    from fedmed.recipe_dp import DP
    from fedmed.site.desk import Approved, Site
    from fedmed.training.dp_sgd import Mechanism

BEGUN = ".begun"  # of the file beside a checkpoint: a reservation, and how many of its steps were begun


@dataclass(frozen=True)
class Private:
    """A reserved round."""

    taken: Reserved
    mechanism: Mechanism


def begin(
    site: Site, consent: Approved, cases: Datalist, round_: int, checkpoint: Path, now: datetime
) -> Private | None:
    """Reserve a round, or go on with the reservation of the one that was killed. None where the recipe has no `dp`.

    Raises FedmedError FM-PRV-01 to -06, before anything is trained.
    """
    asked = consent.recipe.dp
    if asked is None:
        return None
    from fedmed.training.dp_sgd import Mechanism  # noqa: PLC0415 - torch, only when there is work

    begun = checkpoint.with_suffix(BEGUN)
    with budget.opened(site, now) as store:
        persons = pseudonyms.persons_of(site, store, cases)
        _settle(site, store, now)
        taken = _held(store, begun, _planned(site, consent, persons, round_))
        if taken is None:
            taken = _wanted(site, consent, store, persons, round_)
            _require_affordable(site, store, persons, taken)
            store.reserve(taken, persons, now)
            site.workspace.write_entry("train-local", "note", now, what=RESERVED, id=taken.id, round=round_)
            _write(begun, taken.id, 0)
    mechanism = Mechanism(
        clip_norm=asked.clip_norm,
        noise_multiplier=taken.noise_multiplier,
        expected=taken.patients_per_step,
        rate=taken.rate,
        max_images=asked.max_images,
        reservation=taken.id,
        take=secret.fresh(),
        tally=_tally(site, begun, asked.target_epsilon, taken, persons, now),
    )
    return Private(taken, mechanism)


def require_left(site: Site, consent: Approved, cases: Datalist, round_: int, checkpoint: Path) -> None:
    """That `begin` would find enough for this round; nothing is written. Raises FedmedError FM-PRV-01 to -06."""
    store = budget.peek(site)
    persons = pseudonyms.persons_of(site, store, cases)
    if _held(store, checkpoint.with_suffix(BEGUN), _planned(site, consent, persons, round_)) is None:
        _require_affordable(site, store, persons, _wanted(site, consent, store, persons, round_))


def block(site: Site, private: Private | None) -> PrivacyBlock | None:
    """What the update of a round says, once it is trained: a crash on the way may have cost more than was reserved.

    Raises FedmedError FM-PRV-01, -02, -03.
    """
    if private is None:
        return None
    taken = private.taken
    spent = accounting.epsilon(_of_federation(budget.peek(site), taken.federation), taken.delta)
    return PrivacyBlock(
        unit="patient",
        epsilon=bodies.decimal(math.ceil(spent * 10) / 10),
        delta=bodies.decimal(taken.delta),
        noise_multiplier=bodies.decimal(taken.noise_multiplier),
    )


def end(site: Site, private: Private | None, sealed: str, now: datetime) -> None:
    """Its update has been sealed."""
    if private is not None:
        with budget.opened(site, now) as store:
            store.confirm(private.taken.id, sealed, now)


def _settle(site: Site, store: budget.Store, now: datetime) -> None:
    """Confirm what a killed command had sealed: of one reservation there is one update, also with --again."""
    for reservation, statement_id in budget.sealed(site).items():
        if not store.reserved[reservation].sealed:
            store.confirm(reservation, statement_id, now)


def declared(num_patients: int) -> int:
    """The number of patients that is treated as public: rounded to two digits."""
    unit: int = 10 ** max(0, len(str(num_patients)) - 2)
    return unit * ((2 * num_patients + unit) // (2 * unit))


def too_few(asked: DP, num_patients: int) -> str:
    """Why nothing can be trained with so many training patients; empty where it can."""
    number = declared(num_patients)
    if number >= asked.patients_per_step:
        return ""
    return f"expected at least {asked.patients_per_step} training patients, got about {number}"


def cap(site: Site) -> float:
    """The most that any patient of this hospital may spend, over everything."""
    if site.settings.privacy is None:
        raise FedmedError("FM-PRV-01", "fedmed.yaml: privacy.budget_dir: expected a folder, got nothing")
    return site.settings.privacy.max_epsilon


def rounds_left(
    site: Site, consent: Approved, store: budget.Store, persons: Sequence[str], round_: int
) -> tuple[int, float]:
    """How many of the rounds that the federation plays from `round_` on the patients' budget has, and with how much
    noise; 0 and 0 where the federation's own target is spent. Raises FedmedError FM-PRV-06.
    """
    left = consent.agreement.federation.body.limits.rounds - round_
    if left <= 0:
        return 0, 0.0
    try:
        wanted = _wanted(site, consent, store, persons, round_)
    except FedmedError as error:
        if error.code != "FM-PRV-04":
            raise
        return 0, 0.0
    low, high = 0, left
    while low < high:
        middle = (low + high + 1) // 2
        event = Event(wanted.rate, wanted.noise_multiplier, middle * wanted.steps)
        fits = store.spent(persons, wanted.delta, [event]) <= cap(site)
        low, high = (middle, high) if fits else (low, middle - 1)
    return low, wanted.noise_multiplier


def _planned(site: Site, consent: Approved, persons: Sequence[str], round_: int) -> Reserved:
    """What this round would reserve, without its noise. Raises FedmedError FM-PRV-06."""
    asked, training = consent.recipe.dp, consent.recipe.training
    if asked is None or training.local_steps is None:
        raise ValueError("a recipe with dp has local_steps")
    number, federation = declared(len(persons)), consent.agreement.federation
    if words := too_few(asked, len(persons)):
        raise FedmedError("FM-PRV-06", words)
    return Reserved(
        id=budget.new_id(),
        workspace=site.workspace.name,
        federation=federation.founding.id,
        recipe=recipe.digest(consent.recipe),
        round=round_,
        patients_per_step=asked.patients_per_step,
        num_patients=number,
        noise_multiplier=0.0,
        steps=training.local_steps,
        delta=asked.delta,
        cohort=budget.cohort_of(persons),
    )


def _wanted(site: Site, consent: Approved, store: budget.Store, persons: Sequence[str], round_: int) -> Reserved:
    """What this round would reserve. Raises FedmedError FM-PRV-04, -06."""
    planned, asked = _planned(site, consent, persons, round_), consent.recipe.dp
    if asked is None:
        raise ValueError("a recipe with dp")
    left = max(1, consent.agreement.federation.body.limits.rounds - round_)
    mine = [each for each in store.reserved.values() if each.federation == planned.federation]
    noise = _noise(asked, mine, planned.rate, left * planned.steps + _spare(planned.steps))
    if noise is None:
        spent = accounting.epsilon(_of_federation(store, planned.federation), asked.delta)
        message = f"this federation's target is epsilon {asked.target_epsilon:g}, and {spent:.2f} of it is spent"
        next_ = "nothing at this site: tell the coordinator to go on without it; what was spent: fedmed privacy status"
        raise FedmedError("FM-PRV-04", f"{message}; rounds left: 0", next=f"{next_} -w HERE")
    return replace(planned, noise_multiplier=noise)


def _spare(steps: int) -> int:
    """Steps that the noise has room for beyond those of the rounds, so that a crash in the last one can be paid."""
    return math.ceil(steps / 10)


def _noise(asked: DP, mine: Sequence[Reserved], rate: float, steps: int) -> float | None:
    """As little noise as the rest of the federation can have; the round before's, while that still reaches."""
    before = [event for each in mine for event in each.events]
    last = mine[-1] if mine else None
    if last is not None and last.rate == rate:
        rest = Event(rate, last.noise_multiplier, steps)
        if accounting.epsilon([*before, rest], asked.delta) <= asked.target_epsilon:
            return last.noise_multiplier
    return accounting.calibrate(asked.target_epsilon, asked.delta, rate, steps, before)


def _of_federation(store: budget.Store, federation: str) -> list[Event]:
    """Everything that this federation took here, as if every patient had been in all of it."""
    return [event for each in store.reserved.values() if each.federation == federation for event in each.events]


def _require_affordable(site: Site, store: budget.Store, persons: Sequence[str], wanted: Reserved) -> None:
    would = store.spent(persons, wanted.delta, wanted.events)
    if would > cap(site):
        spent = store.spent(persons, wanted.delta)
        left = f"epsilon {spent:.2f} of {cap(site):g} is spent and {max(0.0, cap(site) - spent):.2f} left"
        raise FedmedError("FM-PRV-04", f"{left}, with this round it would be {would:.2f}; rounds left: 0")


def _held(store: budget.Store, begun: Path, wanted: Reserved) -> Reserved | None:
    """The reservation of a killed round that may go on: not sealed yet, and of the same patients and constants."""
    name, _ = _read(begun)
    found = store.reserved.get(name)
    if found is None or found.sealed:
        return None
    same = ("federation", "recipe", "round", "patients_per_step", "num_patients", "steps", "delta", "cohort")
    return found if all(getattr(found, field) == getattr(wanted, field) for field in same) else None


def _tally(
    site: Site, begun: Path, target: float, taken: Reserved, persons: Sequence[str], now: datetime
) -> Callable[[int], None]:
    """Told of every step before it: how many were begun is on the disk first, and what a crash threw away is charged.

    It raises FedmedError FM-PRV-04 where the budget does not have that.
    """
    is_first = True

    def told(step: int) -> None:
        nonlocal is_first
        if is_first:
            is_first = False
            lost = _read(begun)[1] - step
            if lost > 0:
                _charge(site, target, taken, lost, persons, now)
        _write(begun, taken.id, step + 1)

    return told


def _charge(site: Site, target: float, taken: Reserved, lost: int, persons: Sequence[str], now: datetime) -> None:
    """Refused before it is written: nobody pays for a refusal, however often it is tried."""
    with budget.opened(site, now) as store:
        again = Event(taken.rate, taken.noise_multiplier, lost)
        in_all = store.spent(persons, taken.delta, [again])
        here = accounting.epsilon([*_of_federation(store, taken.federation), again], taken.delta)
        if in_all > cap(site) or here > target:
            words = f"{lost} steps that a crash threw away make it epsilon {in_all:.2f}, {here:.2f} in this federation"
            limits = f"expected at most {cap(site):g} and {target:g}"
            raise FedmedError("FM-PRV-04", f"{words}; {limits}; rounds left: 0")
        store.charge(taken.id, lost, now)
        site.workspace.write_entry("train-local", "note", now, what=budget.CHARGED, id=taken.id, steps=lost)


def _read(begun: Path) -> tuple[str, int]:
    """Reservation and steps begun; nothing where no round was killed."""
    try:
        name, _, steps = files.read_bounded(begun, 200).decode("ascii").partition(" ")
        return name, int(steps)
    except (OSError, ValueError):
        return "", 0


def _write(begun: Path, reservation: str, steps: int) -> None:
    files.write_atomic(begun, f"{reservation} {steps}".encode(), mode=0o600)
