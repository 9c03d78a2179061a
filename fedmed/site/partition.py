"""`partition`: which cases there are and which fold each patient belongs to; or virtual sites for an experiment."""

from __future__ import annotations

import dataclasses
import hashlib
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from fedmed import files, logs, recipe
from fedmed.cases import datalist, find, layout, splits
from fedmed.settings import DataFolder
from fedmed.site import desk

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    from fedmed.cases.case import Case
    from fedmed.cases.datalist import Datalist
    from fedmed.cases.find import Found

How = Literal["iid", "sizes", "dirichlet"]


@dataclass(frozen=True)
class Share:
    """What one site got: cases by fold and by group (quartile of foreground volume)."""

    site: str
    counts: Mapping[str, int]
    groups: Mapping[str, int]


@dataclass(frozen=True)
class Partitioned:
    """`excluded` counts cases by code; `changes` compares with the cases.json before, as +14 -2."""

    shares: list[Share]
    excluded: Mapping[str, int]
    notes: list[str]
    changes: str
    seed: int


def partition(root: Path, now: datetime, progress: Callable[[int, int], None] | None = None) -> Partitioned:
    """Write cases.json of this site. Patients of an earlier one keep their fold.

    Raises FedmedError FM-TRU-07 before `approve`, FM-DAT-*.
    """
    with desk.opened(root, now) as site:
        consent = desk.require_approved(site)
        folder = DataFolder(root=str(site.data_root), layout=site.data.layout)
        found = find.find(
            folder,
            consent.recipe,
            pseudonym_key=desk.pseudonym_key(root),
            label_map=site.settings.label_map,
            progress=progress,
        )
        _log(found)
        before = datalist.load(site.cases_file) if site.cases_file.exists() else None
        cases = datalist.build(found, consent.recipe, before)
        datalist.save(site.cases_file, cases)
        site.workspace.write_entry("partition", "note", now, what="cases", data=datalist.digest(cases))
        share = _share(site.settings.name, cases)
        return Partitioned(
            [share], cases.header.excluded, found.notes, datalist.changes(before, cases), consent.recipe.seed
        )


def virtual_sites(
    data: Path,
    recipe_path: Path,
    out: Path,
    *,
    how: How,
    sites: int,
    sizes: Sequence[float] | None,
    alpha: float | None,
    seed: int | None,
    progress: Callable[[int, int], None] | None = None,
) -> Partitioned:
    """Write OUT/site-1/cases.json, OUT/site-2/cases.json, ...: one hospital's data played as several.

    The aliases come from the seed, so that an experiment repeats; that is no protection for real patients' names.
    Raises FedmedError FM-RCP-*, FM-DAT-*, FM-USE-01.
    """
    chosen = recipe.load(recipe_path)
    seed = chosen.seed if seed is None else seed
    folder = DataFolder(root=str(data.resolve()), layout=layout.detect_layout(data, chosen.data.channels))
    key = hashlib.sha256(f"virtual sites {seed}".encode()).digest()
    found = find.find(folder, chosen, pseudonym_key=key, label_map={}, progress=progress)
    _log(found)
    parts = splits.virtual_sites(found.cases, how=how, sites=sites, seed=seed, sizes=sizes, alpha=alpha)
    shares = []
    for number, part in enumerate(parts, start=1):
        name = f"site-{number}"
        cases = datalist.build(_only(found, part), chosen)
        files.make_private(out / name)
        datalist.save(out / name / "cases.json", cases)
        shares.append(_share(name, cases))
    return Partitioned(shares, Counter(each.code for each in found.excluded), found.notes, "", seed)


def _only(found: Found, cases: list[Case]) -> Found:
    return dataclasses.replace(found, cases=cases, excluded=[], notes=[])


def _share(name: str, cases: Datalist) -> Share:
    groups = Counter(entry.group for fold in splits.FOLDS for entry in datalist.entries_of(cases, fold))
    return Share(name, {fold: cases.header.counts[fold] for fold in splits.FOLDS}, dict(sorted(groups.items())))


def _log(found: Found) -> None:
    for excluded in found.excluded:
        logs.shareable.info("%s excluded: %s", excluded.code, excluded.message)
        logs.local.info("%s excluded: %s %s", excluded.code, excluded.message, excluded.local)
