"""`partition DATA`: one folder plays several hospitals, or the folders in it do, for an experiment.

Writes OUT/site-1/cases.json, OUT/site-2/cases.json, ... and what each site got, as partition.csv and partition.png.
"""

from __future__ import annotations

import csv
import dataclasses
import difflib
import hashlib
import io
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from fedmed import files, recipe
from fedmed.cases import content, datalist, find, headers, layout, likeness, paths, shifts, splits, tables
from fedmed.errors import FedmedError
from fedmed.reporting import plots
from fedmed.settings import DataFolder
from fedmed.site.partition import Partitioned, grouped_by, log, share_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from fedmed.cases.case import Case, ShiftKind
    from fedmed.cases.datalist import Datalist
    from fedmed.cases.find import Found
    from fedmed.recipe import Recipe

How = Literal[splits.Division, "column", "header", "folders"]


@dataclass(frozen=True)
class Virtual:
    """`values` says which value of a column or header field, or which folder, makes a site: for a person's screen here,
    for no file. That of a site with one patient is not in it: it may be the patient's name or number.
    """

    partitioned: Partitioned
    values: Mapping[str, str]


@dataclass(frozen=True)
class _Divided:
    """The sites as (value or nothing, cases), what was left out by code, and what is worth a note."""

    parts: list[tuple[str, list[Case]]]
    excluded: Mapping[str, int]
    notes: list[str]


def virtual_sites(
    data: Path,
    recipe_path: Path,
    out: Path,
    *,
    how: How,
    sites: int | None = None,
    sizes: Sequence[float] | None = None,
    alpha: float | None = None,
    by: str = "",
    leave_out: str = "",
    shift: ShiftKind | None = None,
    strength: float = 0.5,
    seed: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Virtual:
    """Divide `data` and write one cases.json a site.

    With `how` column or header, `by` names a column of the table of labels (or another covariate), or a DICOM keyword,
    and each of its values makes a site (splits.by_value); with folders each folder below `data` does, and the paths of
    its cases.json begin below that folder. `leave_out` is such a value or folder: all its cases become the test fold of
    OUT/held-out and no site has them. `shift` makes the images of the sites differ (see shifts.of_site).

    The aliases come from the seed, so that an experiment repeats; that is no protection for real patients' names.
    Raises FedmedError FM-RCP-*, FM-DAT-*, FM-USE-01.
    """
    if any(out.glob("*/cases.json")):
        message = "another division is here; nothing was changed"
        raise FedmedError("FM-SET-04", message, next="choose another --out, or delete the folder")
    chosen = recipe.load(recipe_path)
    seed = chosen.seed if seed is None else seed
    if isinstance(chosen, recipe.Rowwise) and (shift or how == "header"):
        what = "--shift" if shift else "--how header"
        raise FedmedError("FM-USE-01", f"{what}: the rows of a table have no images", next="leave it out")
    if how == "folders":
        divided = _by_folders(data, chosen, seed, progress)
    else:
        divided = _of_one(data, chosen, how, by, seed, sites=sites, sizes=sizes, alpha=alpha, progress=progress)
    values = [value for value, _ in divided.parts]
    names = _names(values, leave_out)
    parts = _shifted([part for _, part in divided.parts], shift, strength, seed)
    lists: dict[str, Datalist] = {}
    for name, part in sorted(zip(names, parts, strict=True), key=lambda named: named[0] == splits.HELD_OUT):
        lists[name] = _write(out / name, part, chosen, held_out=name == splits.HELD_OUT)
    group = grouped_by(chosen)
    _draw(out, lists, group, seed)
    shares = [share_of(name, cases) for name, cases in lists.items()]
    told = {
        name: value
        for name, (value, part) in zip(names, divided.parts, strict=True)
        if value == splits.UNKNOWN or (value and len({case.patient for case in part}) > 1)
    }
    return Virtual(Partitioned(shares, divided.excluded, divided.notes, "", seed, group), told)


def held_out(data: Path, recipe_path: Path, out: Path, *, seed: int) -> None:
    """OUT/cases.json of a hospital that takes no part: all cases of `data` in the test fold. Raises as above."""
    chosen = recipe.load(recipe_path)
    _write(out, _found(data, chosen, _key(seed, data.name)).cases, chosen, held_out=True)


def hospitals(data: Path) -> dict[str, Path]:
    """Each folder below `data` by its name. Raises FedmedError FM-DAT-04, or FM-USE-01 with fewer than two."""
    paths.require_folder(data)
    found = {path.name: path for path in sorted(data.iterdir()) if path.is_dir() and not path.name.startswith(".")}
    if len(found) < 2:
        raise FedmedError("FM-USE-01", f"--how folders: expected at least 2 folders below DATA, got {len(found)}")
    return found


def check_left_out(values: Sequence[str], leave_out: str) -> None:
    """Raises FedmedError FM-USE-01 where nothing is called so, FM-DAT-42 where fewer than two others are left."""
    if leave_out not in values:
        raise FedmedError("FM-USE-01", f"--leave-out: none of the {len(values)} sites is called so", local=leave_out)
    if len(values) < 3:
        raise FedmedError("FM-DAT-42", f"{len(values) - 1} site is left, expected 2", next="leave out none of them")


def _by_folders(data: Path, chosen: Recipe, seed: int, progress: Callable[[int, int], None] | None) -> _Divided:
    """Patients are told apart by their hospital, whatever they are called."""
    parts: list[tuple[str, list[Case]]] = []
    excluded: Counter[str] = Counter()
    notes: list[str] = []
    for number, (name, folder) in enumerate(hospitals(data).items(), start=1):
        found = _found(folder, chosen, _key(seed, name), progress)
        parts.append((name, found.cases))
        excluded.update(each.code for each in found.excluded)
        notes += [f"site-{number}: {note}" for note in found.notes]
    if alike := likeness.parted(dict(parts), "folders"):
        notes.append(f"{alike[1]} ({alike[0]})")
    return _Divided(parts, excluded, notes)


def _of_one(
    data: Path,
    chosen: Recipe,
    how: splits.Division | Literal["column", "header"],
    by: str,
    seed: int,
    *,
    sites: int | None,
    sizes: Sequence[float] | None,
    alpha: float | None,
    progress: Callable[[int, int], None] | None,
) -> _Divided:
    if how == "header":
        headers.check_keyword(by)
    found = _found(data, chosen, _key(seed), progress)
    excluded = Counter(each.code for each in found.excluded)
    if how == "column":
        said = {case.case: case.covariates.get(by) for case in found.cases}
    elif how == "header":
        said = {case.case: headers.value(case, data, by) for case in found.cases}
    else:
        parts = splits.virtual_sites(found.cases, how=how, sites=sites or 2, seed=seed, sizes=sizes, alpha=alpha)
        return _Divided([("", part) for part in parts], excluded, found.notes)
    if all(value is None for value in said.values()):
        columns = sorted({name for case in found.cases for name in case.covariates}) if how == "column" else []
        near = difflib.get_close_matches(by, columns, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise FedmedError("FM-USE-01", f"--by: no case has such a {how}{hint}", local=by)
    named, moved = splits.by_value(found.cases, said, sites)
    notes = [f"{moved} patients have several values: each is at the most frequent"] if moved else []
    return _Divided(named, excluded, [*found.notes, *notes])


def _found(data: Path, chosen: Recipe, key: bytes, progress: Callable[[int, int], None] | None = None) -> Found:
    found = find.find(described(data, chosen), chosen, pseudonym_key=key, label_map={}, progress=progress)
    log(found)
    return found


def _key(seed: int, hospital: str = "") -> bytes:
    """Behind the aliases of an experiment."""
    return hashlib.sha256(f"virtual sites {seed} {hospital}".rstrip().encode()).digest()


def described(data: Path, chosen: Recipe) -> DataFolder:
    """A folder that no fedmed.yaml describes. Raises FedmedError FM-DAT-04, FM-DAT-05, FM-TAB-01 or -02."""
    paths.require_folder(data)
    if isinstance(chosen, recipe.Rowwise):
        return DataFolder(root=str(data.resolve()), layout=tables.detect(data, chosen.data.names))
    if not isinstance(chosen, recipe.Imaging):
        raise TypeError(type(chosen).__name__)
    try:
        found = layout.detect_layout(data, chosen.data.channels, task=chosen.task)
    except FedmedError as error:
        if error.code == "FM-DAT-05":
            error.next = (
                "lay DATA out like that, or give one hospital's folder (several beside each other: --how folders)"
            )
        raise
    return DataFolder(root=str(data.resolve()), layout=found)


def _names(values: Sequence[str], leave_out: str) -> list[str]:
    """What the sites are called in OUT, in their order."""
    if leave_out:
        check_left_out(values, leave_out)
    numbers = iter(range(1, len(values) + 1))
    return [splits.HELD_OUT if leave_out and value == leave_out else f"site-{next(numbers)}" for value in values]


def _shifted(parts: Sequence[list[Case]], kind: ShiftKind | None, strength: float, seed: int) -> list[list[Case]]:
    if kind is None:
        return list(parts)
    found = []
    for number, part in enumerate(parts, start=1):
        shift = shifts.of_site(kind, strength, seed, number, len(parts))
        changed = [
            dataclasses.replace(case, shift=shift, content=content.shifted(case.content, shift)) for case in part
        ]
        found.append(changed)
    return found


def _write(folder: Path, cases: list[Case], chosen: Recipe, *, held_out: bool) -> Datalist:
    found = find.Found(cases, [], [])
    listed = datalist.held_out(found, chosen) if held_out else datalist.build(found, chosen)
    files.make_private(folder)
    datalist.save(folder / "cases.json", listed)
    return listed


def _draw(out: Path, lists: Mapping[str, Datalist], group: str, seed: int) -> None:
    """partition.csv: how many cases of each site lie in which fold and group; partition.png: the same as bars."""
    counts = {
        name: Counter((fold, entry.group) for fold in splits.FOLDS for entry in datalist.entries_of(cases, fold))
        for name, cases in lists.items()
    }
    text = io.StringIO(newline="")
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["site", "fold", "group", "cases"])
    table.writerows([name, *key, count] for name, cells in counts.items() for key, count in sorted(cells.items()))
    files.write_atomic(out / "partition.csv", text.getvalue().encode())
    groups = sorted({each for cells in counts.values() for _, each in cells})
    panels: dict[str, dict[str, list[int]]] = {
        "cases by fold": {
            fold: [sum(cells[fold, each] for each in groups) for cells in counts.values()] for fold in splits.FOLDS
        },
        f"cases by {group}": {
            each or "none": [sum(cells[fold, each] for fold in splits.FOLDS) for cells in counts.values()]
            for each in groups
        },
    }
    drawn = plots.stacks(title=f"what each site got, seed {seed}", names=list(lists), panels=panels)
    files.write_atomic(out / "partition.png", drawn)
