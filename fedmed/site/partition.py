"""`partition`: which cases there are and which fold each patient belongs to; or virtual sites for an experiment."""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from fedmed import files, logs, recipe
from fedmed.cases import datalist, find, headers, layout, splits
from fedmed.errors import FedmedError
from fedmed.settings import DataFolder
from fedmed.site import desk

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    from fedmed.cases.case import Case
    from fedmed.cases.datalist import Datalist
    from fedmed.cases.find import Found
    from fedmed.recipe import Recipe
    from fedmed.settings import Layout

How = Literal[splits.Division, "column", "header"]
QUARTILE, CLASS = "quartile of labelled volume", "class"


@dataclass(frozen=True)
class Share:
    """What one site got: cases by fold and by group (quartile of foreground volume, or class)."""

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
    grouped_by: str


@dataclass(frozen=True)
class Virtual:
    """`values` says which value of a column or header field makes a site: for a person's screen here, for no file."""

    partitioned: Partitioned
    values: Mapping[str, str]


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
        changes = datalist.changes(before, cases)
        excluded, seed = cases.header.excluded, consent.recipe.seed
        return Partitioned([share], excluded, found.notes, changes, seed, _grouped_by(consent.recipe))


def virtual_sites(
    data: Path,
    recipe_path: Path,
    out: Path,
    *,
    how: How,
    sites: int | None,
    sizes: Sequence[float] | None,
    alpha: float | None,
    seed: int | None,
    by: str = "",
    progress: Callable[[int, int], None] | None = None,
) -> Virtual:
    """Write OUT/site-1/cases.json, OUT/site-2/cases.json, ...: one hospital's data played as several.

    With `how` column or header, `by` names a column of the table of labels (or another covariate), or a DICOM
    keyword, and each of its values makes a site; see splits.by_value.

    The aliases come from the seed, so that an experiment repeats; that is no protection for real patients' names.
    Raises FedmedError FM-RCP-*, FM-DAT-*, FM-USE-01.
    """
    if any(out.glob("site-*/cases.json")):
        message = "another division is here; nothing was changed"
        raise FedmedError("FM-SET-04", message, next="choose another --out, or delete the folder")
    chosen = recipe.load(recipe_path)
    if how == "header":
        headers.check_keyword(by)
    seed = chosen.seed if seed is None else seed
    found_layout = _layout(data, chosen)
    folder = DataFolder(root=str(data.resolve()), layout=found_layout)
    key = hashlib.sha256(f"virtual sites {seed}".encode()).digest()
    found = find.find(folder, chosen, pseudonym_key=key, label_map={}, progress=progress)
    _log(found)
    parts, notes = _divided(found.cases, data, how, by, sites=sites, sizes=sizes, alpha=alpha, seed=seed)
    shares: list[Share] = []
    values: dict[str, str] = {}
    for number, (value, part) in enumerate(parts, start=1):
        name = f"site-{number}"
        cases = datalist.build(_only(found, part), chosen)
        files.make_private(out / name)
        datalist.save(out / name / "cases.json", cases)
        shares.append(_share(name, cases))
        values |= {name: value} if value else {}
    excluded = Counter(each.code for each in found.excluded)
    partitioned = Partitioned(shares, excluded, [*found.notes, *notes], "", seed, _grouped_by(chosen))
    return Virtual(partitioned, values)


def _divided(
    cases: Sequence[Case],
    root: Path,
    how: How,
    by: str,
    *,
    sites: int | None,
    sizes: Sequence[float] | None,
    alpha: float | None,
    seed: int,
) -> tuple[list[tuple[str, list[Case]]], list[str]]:
    """The sites as (value or nothing, cases), and what is worth a note."""
    said: dict[str, splits.Value | None]
    if how == "column":
        said = {case.case: case.covariates.get(by) for case in cases}
    elif how == "header":
        said = {case.case: headers.value(case, root, by) for case in cases}
    else:
        parts = splits.virtual_sites(cases, how=how, sites=sites or 2, seed=seed, sizes=sizes, alpha=alpha)
        return [("", part) for part in parts], []
    if all(value is None for value in said.values()):
        columns = sorted({name for case in cases for name in case.covariates}) if how == "column" else []
        near = difflib.get_close_matches(by, columns, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise FedmedError("FM-USE-01", f"--by: no case has such a {how}{hint}", local=by)
    named, moved = splits.by_value(cases, said, sites)
    return named, [f"{moved} patients have several values: each is at the most frequent"] if moved else []


def _grouped_by(chosen: recipe.Recipe) -> str:
    return CLASS if chosen.task in ("classification", "localisation") else QUARTILE


def _layout(data: Path, chosen: Recipe) -> Layout:
    """Of a folder that no fedmed.yaml describes. Raises FedmedError FM-DAT-05."""
    try:
        return layout.detect_layout(data, chosen.data.channels, task=chosen.task)
    except FedmedError as error:
        if error.code == "FM-DAT-05":
            error.next = "lay DATA out like that; where each folder in it is a hospital, simulate takes --how folders"
        raise


def _only(found: Found, cases: list[Case]) -> Found:
    return dataclasses.replace(found, cases=cases, excluded=[], notes=[])


def _share(name: str, cases: Datalist) -> Share:
    groups = Counter(entry.group for fold in splits.FOLDS for entry in datalist.entries_of(cases, fold))
    return Share(name, {fold: cases.header.counts[fold] for fold in splits.FOLDS}, dict(sorted(groups.items())))


def _log(found: Found) -> None:
    for excluded in found.excluded:
        logs.shareable.info("%s excluded: %s", excluded.code, excluded.message)
        logs.local.info("%s excluded: %s %s", excluded.code, excluded.message, excluded.local)
    for line in found.local:
        logs.local.info("%s", line)
