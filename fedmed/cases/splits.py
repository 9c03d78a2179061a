"""Who is trained on and who is kept for validation and test, and how one folder plays several hospitals.

Pure functions: the same cases, seed and history give the same answer on every machine. A patient never stands on two
sides, nor do patients with nearly the same images (`likeness`): they are a unit, and nearly all units are one patient.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from fedmed.cases import likeness
from fedmed.errors import FedmedError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fedmed.cases.case import Case
    from fedmed.recipe_fields import Split

    Value = str | int | float

Fold = Literal["training", "validation", "testing"]
Division = Literal["iid", "sizes", "linear", "exponential", "quantity", "dirichlet", "shards"]
FOLDS: tuple[Fold, ...] = ("training", "validation", "testing")
SCORED: tuple[Fold, ...] = ("testing", "validation")  # in the order in which they are filled
MAX_DRAWS = 1000
MAX_SITES = 100
UNKNOWN = "unknown"
HELD_OUT = "held-out"  # a virtual hospital that takes no part


def split(
    cases: Sequence[Case], seed: int, shares: Split, previous: Mapping[str, Fold] | None = None
) -> dict[Fold, list[Case]]:
    """Cases by fold, each fold by alias.

    `previous` maps patients to folds: those stay where they are, so a new case moves nobody; who looks the same joins
    them, where they lie in several folds in the first of these. New units come in the order of a hash of their first
    pseudonym and the seed and fill the test fold to its share of all patients, then the validation fold, then training;
    one that is too large for a fold is not for it. From three patients on no fold with a share above 0 is left without
    a patient, as far as there are new units: an empty one then gets the smallest of training; training itself is never
    left empty.
    """
    known = previous or {}
    members = _members(likeness.units(cases))
    patients = {case.patient for case in cases}
    fold_of: dict[str, Fold] = {patient: known[patient] for patient in patients if patient in known}
    wanted = _sizes(len(patients), shares)
    have = Counter(fold_of.values())
    free: list[list[str]] = []
    for unit in sorted(members, key=lambda unit: _number("split", seed, unit)):
        new = [patient for patient in members[unit] if patient not in known]
        before = [known[patient] for patient in members[unit] if patient in known]
        if before:
            joined = min(before, key=FOLDS.index)
            fold_of.update(dict.fromkeys(new, joined))
            have[joined] += len(new)
        else:
            free.append(new)
    fold_of.update(_placed(free, wanted, have))
    ordered = sorted(cases, key=lambda case: case.case)
    return {fold: [case for case in ordered if fold_of[case.patient] == fold] for fold in FOLDS}


def _placed(units: Sequence[Sequence[str]], wanted: Mapping[Fold, int], have: Counter[Fold]) -> dict[str, Fold]:
    """The fold of every patient of new units, in their order; `have` counts the others and is added to."""
    found: list[Fold] = []
    for number, unit in enumerate(units, start=1):
        is_last_to_train = not have["training"] and number == len(units)
        rooms = (name for name in SCORED if _has_room(have[name], wanted[name], len(unit)))
        fold: Fold = "training" if is_last_to_train else next(rooms, "training")
        found.append(fold)
        have[fold] += len(unit)
    for empty in (name for name in SCORED if wanted[name] and not have[name]):
        spare = [number for number, fold in enumerate(found) if fold == "training" and len(units[number]) < have[fold]]
        if spare:
            smallest = min(spare, key=lambda number: len(units[number]))
            found[smallest] = empty
            have["training"] -= len(units[smallest])
            have[empty] += len(units[smallest])
    return {patient: fold for unit, fold in zip(units, found, strict=True) for patient in unit}


def _has_room(have: int, wanted: int, new: int) -> bool:
    """Whether a fold is no farther from its size with so many patients more."""
    return have < wanted and abs(have + new - wanted) <= wanted - have


def _members(unit_of: Mapping[str, str]) -> dict[str, list[str]]:
    """The patients of each unit, by name."""
    found: dict[str, list[str]] = defaultdict(list)
    for patient in sorted(unit_of):
        found[unit_of[patient]].append(patient)
    return found


def _sizes(patients: int, shares: Split) -> dict[Fold, int]:
    """How many patients a fold should have; training has the rest, and from three patients on at least one."""
    least = 1 if patients >= 3 else 0
    testing = max(least, int(shares.testing * patients + 0.5)) if shares.testing else 0
    validation = max(least, int(shares.validation * patients + 0.5)) if shares.validation else 0
    if testing + validation >= patients:  # both shares near a half, or fewer than three patients
        validation = max(min(validation, patients - 1 - testing), 0)
        testing = min(testing, max(patients - 1, 0))
    return {"testing": testing, "validation": validation, "training": patients - testing - validation}


def virtual_sites(
    cases: Sequence[Case],
    *,
    how: Division,
    sites: int,
    seed: int,
    sizes: Sequence[float] | None = None,
    alpha: float | None = None,
) -> list[list[Case]]:
    """`sites` lists of cases: disjoint, complete, none empty, every unit at one site, each list by alias.

    A unit counts as one patient. At random, in numbers that are equal (iid), in the proportions of `sizes`, of 1, 2, 3
    ... (linear) or of 1, e, e^2 ... (exponential), or drawn from Dirichlet(alpha) (quantity: Li et al. 2022, ICDE,
    arXiv:2102.02079). By group, so that hospitals see different cases: dirichlet draws for each group of cases which
    share of its patients goes to which site, as Yurochkin et al. 2019 (ICML, arXiv:1905.12022) do with classes and Hsu
    et al. 2019 (arXiv:1909.06335) with the sides swapped; alpha of .1 gives very different hospitals, 100 nearly equal
    ones. shards gives each site two of twice as many equal pieces of the patients in the order of their groups (McMahan
    et al. 2017, AISTATS, arXiv:1602.05629), so that most sites see two groups at the most.

    Raises FedmedError FM-DAT-42 (too few patients, or 1000 draws left a site empty) or FM-USE-01.
    """
    unit_of = likeness.units(cases)
    group_of: dict[str, str] = {}
    for case in sorted(cases, key=lambda case: case.case):
        group_of.setdefault(unit_of[case.patient], case.group)
    if not 1 <= sites <= len(group_of):
        raise FedmedError("FM-DAT-42", f"{len(group_of)} patients cannot be divided among {sites} sites")
    random = np.random.Generator(np.random.PCG64(_number("virtual-sites", seed, how)))
    shuffled = [str(patient) for patient in random.permutation(sorted(group_of))]
    if how in ("dirichlet", "quantity") and (alpha is None or not 0 < alpha < float("inf")):
        raise FedmedError("FM-USE-01", "alpha: expected a number above 0")
    if how == "dirichlet":
        site_of = _dirichlet(shuffled, group_of, sites, alpha or 0.0, random)
    elif how == "shards":
        site_of = _shards(shuffled, group_of, sites, random)
    else:
        counts = _apportioned(len(shuffled), _proportions(how, sites, sizes, alpha or 0.0, random))
        site_of = dict(zip(shuffled, np.repeat(np.arange(sites), counts).tolist(), strict=True))
    parts: list[list[Case]] = [[] for _ in range(sites)]
    for case in sorted(cases, key=lambda case: case.case):
        parts[site_of[unit_of[case.patient]]].append(case)
    return parts


def by_value(
    cases: Sequence[Case], values: Mapping[str, Value | None], sites: int | None = None
) -> tuple[list[tuple[str, list[Case]]], int]:
    """One site for each value, in the order of the values, as (value, cases by alias); and how many patients had two.

    `values` is by case alias. Numbers come before text, and who has no value in any case comes last, as `unknown`. A
    patient, or unit, with several values goes whole to the most frequent, of equally frequent ones to the first.
    `sites` is only compared.

    Raises FedmedError FM-DAT-42 for fewer than two sites, more than MAX_SITES, or not `sites`.
    """
    unit_of = likeness.units(cases)
    said: dict[str, Counter[Value]] = defaultdict(Counter)
    for case in cases:
        value = values.get(case.case)
        value = value.strip() if isinstance(value, str) else value
        said[unit_of[case.patient]].update([] if value is None or value == "" else [value])
    site_of = {
        unit: min(counts, key=lambda value: (-counts[value], _order(value))) if counts else UNKNOWN
        for unit, counts in said.items()
    }
    parts: dict[Value, list[Case]] = {value: [] for value in sorted(set(site_of.values()), key=_order)}
    expected = f"2 to {MAX_SITES}" if sites is None else str(sites)
    if not 2 <= len(parts) <= MAX_SITES or len(parts) != (sites or len(parts)):
        next_ = "choose another --by, or leave --sites out"
        raise FedmedError("FM-DAT-42", f"{len(parts)} different values, expected {expected}", next=next_)
    for case in sorted(cases, key=lambda case: case.case):
        parts[site_of[unit_of[case.patient]]].append(case)
    moved = sum(len(counts) > 1 for counts in said.values())
    return [(str(value), members) for value, members in parts.items()], moved


def _order(value: Value) -> tuple[bool, bool, Any]:
    return value == UNKNOWN, isinstance(value, str), value


def _apportioned(total: int, proportions: Sequence[float]) -> list[int]:
    """One for each, the rest by proportion and largest remainder."""
    exact = np.asarray(proportions) / sum(proportions) * total
    counts = np.maximum(1, np.floor(exact).astype(int))
    while counts.sum() < total:
        counts[np.argmax(exact - counts)] += 1
    while counts.sum() > total:  # the ones given to small sites come from the best served
        counts[np.argmax(np.where(counts > 1, counts - exact, -np.inf))] -= 1
    return [int(count) for count in counts]


def _proportions(
    how: Division, sites: int, sizes: Sequence[float] | None, alpha: float, random: np.random.Generator
) -> list[float]:
    """How large the sites are beside each other. Raises FedmedError FM-USE-01 where `sizes` do not say it."""
    if how == "iid":
        return [1.0] * sites
    if how == "linear":
        return [float(number) for number in range(1, sites + 1)]
    if how == "exponential":
        return [float(share) for share in np.exp(np.arange(sites) - sites + 1)]  # the largest 1, so none overflows
    if how == "quantity":
        return [float(share) for share in random.dirichlet([alpha] * sites)]
    found = list(sizes or ())
    if len(found) != sites or not all(0 < size < float("inf") for size in found):
        raise FedmedError("FM-USE-01", f"sizes: expected {sites} numbers above 0")
    return found


def _shards(
    shuffled: Sequence[str], group_of: Mapping[str, str], sites: int, random: np.random.Generator
) -> dict[str, int]:
    """Raises FedmedError FM-DAT-42 for fewer patients than shards."""
    if len(shuffled) < 2 * sites and sites > 1:  # one site has them all, however few
        raise FedmedError("FM-DAT-42", f"{len(shuffled)} patients cannot be divided into {2 * sites} shards")
    ordered = sorted(shuffled, key=lambda patient: group_of[patient])  # within a group as shuffled
    pieces = [piece.tolist() for piece in np.array_split(np.array(ordered, object), 2 * sites)]
    dealt = random.permutation(2 * sites) // 2
    return {patient: int(site) for piece, site in zip(pieces, dealt, strict=True) for patient in piece}


def _dirichlet(
    shuffled: Sequence[str], group_of: Mapping[str, str], sites: int, alpha: float, random: np.random.Generator
) -> dict[str, int]:
    groups: dict[str, list[str]] = defaultdict(list)
    for patient in shuffled:
        groups[group_of[patient]].append(patient)
    for _ in range(MAX_DRAWS):
        site_of: dict[str, int] = {}
        for group in sorted(groups):
            members = groups[group]
            edges = np.cumsum(random.dirichlet([alpha] * sites))[:-1] * len(members)
            chosen = np.searchsorted(edges, np.arange(len(members)) + 0.5)
            site_of.update(zip(members, chosen.tolist(), strict=True))
        if len(set(site_of.values())) == sites:
            return site_of
    raise FedmedError(
        "FM-DAT-42",
        f"{MAX_DRAWS} draws with alpha {alpha:g} left one of {sites} sites without any of {len(shuffled)} patients",
    )


def _number(purpose: str, seed: int, text: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{purpose}\0{seed}\0{text}".encode()).digest()[:16], "big")
