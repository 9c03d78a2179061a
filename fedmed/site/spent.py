"""`privacy status`: what this hospital's patients have spent, what is left, and how many rounds that is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fedmed.learning import accounting
from fedmed.site import budget, desk, private, pseudonyms, rounds

if TYPE_CHECKING:
    from pathlib import Path

    from fedmed.recipe import Recipe
    from fedmed.site.desk import Site


@dataclass(frozen=True)
class Spending:
    """One federation's part: what its own trainings come to, by themselves, for a patient who was in all of them."""

    federation: str
    workspace: str
    trainings: int
    steps: int
    epsilon: float


@dataclass(frozen=True)
class Spent:
    """`epsilon` of the patient of this workspace who has spent most, over everything, of `most`. Of the `rounds` that
    the federation still plays the budget has `rounds_left`. All of it is empty without `dp` in the recipe.
    """

    is_private: bool
    delta: float = 0.0
    epsilon: float = 0.0
    most: float = 0.0
    left: float = 0.0
    target: float = 0.0
    noise_multiplier: float = 0.0
    patients: int = 0
    rounds: int = 0
    rounds_left: int = 0
    federations: list[Spending] = field(default_factory=list)


def status(root: Path) -> Spent:
    """Nothing is written. Raises FedmedError FM-TRU-07, FM-DAT-43, FM-PRV-*."""
    site = desk.peek(root)
    consent = desk.require_approved(site)
    asked = consent.recipe.dp
    if asked is None:
        return Spent(False)
    store, cases = budget.peek(site), rounds.require_cases(site, consent)
    persons = pseudonyms.persons_of(site, store, cases)
    model = site.workspace.record.newest("model")
    round_ = 0 if model is None else model.round_number
    is_answered = site.workspace.record.newest("update", sender=site.workspace.name, round=round_) is not None
    begins = min(consent.agreement.federation.body.limits.rounds, round_ + is_answered)
    affordable, noise = private.rounds_left(site, consent, store, persons, begins)
    spent = store.spent(persons, asked.delta)
    return Spent(
        is_private=True,
        delta=asked.delta,
        epsilon=spent,
        most=private.cap(site),
        left=max(0.0, private.cap(site) - spent),
        target=asked.target_epsilon,
        noise_multiplier=noise,
        patients=len(persons),
        rounds=consent.agreement.federation.body.limits.rounds - begins,
        rounds_left=affordable,
        federations=_by_federation(store, asked.delta),
    )


def outlook(site: Site, chosen: Recipe) -> str:
    """Before there are cases: what a federation would spend, and what whoever has spent most here has left. Empty
    without `dp`. Raises FedmedError FM-PRV-01 (a store inside of a workspace), FM-PRV-02, -03.
    """
    if chosen.dp is None:
        return ""
    asked = f"this federation takes up to epsilon {chosen.dp.target_epsilon:g} of each training patient by itself"
    if site.settings.privacy is None:
        return f"{asked}; no budget store is named yet: put privacy: {{budget_dir: FOLDER}} into fedmed.yaml"
    most = private.cap(site)
    if not budget.is_there(site):
        return f"{asked}; the budget store is new, and nothing of {most:g} is spent"
    store = budget.peek(site)
    epsilon = store.spent(store.everyone(), chosen.dp.delta)
    told = f"{asked}; whoever has spent most here has spent {epsilon:.2f} of {most:g}"
    enough = "" if epsilon < most else ": nothing is left for them"
    return f"{told}{enough}; behind partition fedmed privacy status says how many rounds that is"


def _by_federation(store: budget.Store, delta: float) -> list[Spending]:
    found: dict[tuple[str, str], list[budget.Reserved]] = {}
    for each in store.reserved.values():
        found.setdefault((each.federation, each.workspace), []).append(each)
    return [
        Spending(
            federation=federation,
            workspace=workspace,
            trainings=len(group),
            steps=sum(event.steps for each in group for event in each.events),
            epsilon=accounting.epsilon([event for each in group for event in each.events], delta),
        )
        for (federation, workspace), group in found.items()
    ]
