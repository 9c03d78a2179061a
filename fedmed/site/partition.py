"""`partition`: which cases there are and which fold each patient belongs to. Virtual sites stand in `virtual`."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedmed import logs, recipe
from fedmed.cases import datalist, find, likeness, splits
from fedmed.settings import DataFolder
from fedmed.site import desk, outgoing, pseudonyms

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from datetime import datetime
    from pathlib import Path

    from fedmed.cases.datalist import Datalist
    from fedmed.cases.find import Found

QUARTILE, CLASS, EVENT = "quartile of labelled volume", "class", "event"


@dataclass(frozen=True)
class Share:
    """What one site got: cases by fold and by group (quartile of foreground volume, or class)."""

    site: str
    counts: Mapping[str, int]
    groups: Mapping[str, int]


@dataclass(frozen=True)
class Partitioned:
    """`excluded` counts cases by code; `changes` compares with the cases.json before, as +14 -2. `too_few`: why these
    patients cannot be trained on with the recipe's `dp`.
    """

    shares: list[Share]
    excluded: Mapping[str, int]
    notes: list[str]
    changes: str
    seed: int
    grouped_by: str
    too_few: str = ""


def partition(root: Path, now: datetime, progress: Callable[[int, int], None] | None = None) -> Partitioned:
    """Write cases.json of this site. Patients of an earlier one keep their fold.

    Raises FedmedError FM-TRU-07 before `approve`, FM-DAT-*, FM-CHK-01, FM-PRV-*.
    """
    with desk.opened(root, now) as site:
        consent = desk.require_approved(site)
        folder = DataFolder(root=str(site.data_root), layout=site.data.layout)
        labelling = desk.labelling(site, consent.recipe)
        store_key = pseudonyms.store_key(site, now) if consent.recipe.dp else None
        found = find.find(
            folder,
            consent.recipe,
            pseudonym_key=desk.pseudonym_key(root),
            label_map=labelling.label_map,
            absent=labelling.absent,
            store_key=store_key,
            progress=progress,
        )
        log(found)
        before = datalist.load(site.cases_file) if site.cases_file.exists() else None
        cases = datalist.build(found, consent.recipe, before)
        folds = {fold: datalist.cases(cases, fold) for fold in splits.FOLDS}
        find.refuse_errors(find.judge_folds(folds, consent.recipe, labelling.absent))
        datalist.save(site.cases_file, cases)
        if store_key is not None:
            pseudonyms.keep_persons(site, store_key, found.persons)
        outgoing.keep(site, outgoing.collect(site, _aliases(found), lambda _done, _all: None))
        site.workspace.write_entry("partition", "note", now, what="cases", data=datalist.digest(cases))
        share = share_of(site.settings.name, cases)
        changes = datalist.changes(before, cases)
        excluded, seed = cases.header.excluded, consent.recipe.seed
        notes = [*found.notes, *_parted(cases)]
        return Partitioned(
            [share], excluded, notes, changes, seed, grouped_by(consent.recipe), _too_few(consent.recipe, found, cases)
        )


def _too_few(chosen: recipe.Recipe, found: Found, cases: Datalist) -> str:
    if chosen.dp is None:
        return ""
    from fedmed.site import private  # noqa: PLC0415 - numbers, which most federations need not for this

    return private.too_few(chosen.dp, len({found.persons[case.patient] for case in datalist.cases(cases, "training")}))


def _parted(cases: Datalist) -> list[str]:
    """Who was assigned before stays, also where a later patient turns out to look the same."""
    found = likeness.parted({fold: datalist.cases(cases, fold) for fold in splits.FOLDS})
    return [f"{found[1]}: each stays where it was ({found[0]})"] if found else []


def _aliases(found: Found) -> Iterator[str]:
    for case in found.cases:
        yield from (case.case, case.patient)
    for excluded in found.excluded:
        yield excluded.alias


def grouped_by(chosen: recipe.Recipe) -> str:
    if isinstance(chosen, recipe.Survival):
        return EVENT
    return QUARTILE if isinstance(chosen, recipe.Segmentation) else CLASS


def share_of(name: str, cases: Datalist) -> Share:
    groups = Counter(entry.group for fold in splits.FOLDS for entry in datalist.entries_of(cases, fold))
    return Share(name, {fold: cases.header.counts[fold] for fold in splits.FOLDS}, dict(sorted(groups.items())))


def log(found: Found) -> None:
    for excluded in found.excluded:
        logs.shareable.info("%s excluded: %s", excluded.code, excluded.message)
        logs.local.info("%s excluded: %s %s", excluded.code, excluded.message, excluded.local)
    for line in found.local:
        logs.local.info("%s", line)
