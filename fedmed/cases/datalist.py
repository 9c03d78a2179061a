"""cases.json: which cases a site trains, validates and tests on. A local file, readable by its owner only.

The shape is the Decathlon datalist of MONAI (`training`, `validation`, `testing`) with a header `fedmed`. It holds
paths and pseudonyms and never leaves the site; only `digest` does.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from fedmed import files
from fedmed import recipe as recipes
from fedmed.cases.case import Box, Case, Geometry, Row, Shift, ShiftKind
from fedmed.cases.splits import FOLDS, Fold, split
from fedmed.errors import FedmedError
from fedmed.recipe_fields import Channel
from fedmed.strict import Strict

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from fedmed.cases.find import Found

MAX_BYTES = 512 << 20  # 20,000 cases of 300 slices
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
CaseAlias = Annotated[str, Field(pattern=r"^case-[0-9a-f]{16}$")]
PatientAlias = Annotated[str, Field(pattern=r"^patient-[0-9a-f]{16}$")]
Number = Annotated[int, Field(ge=0)]
Class = Annotated[int, Field(ge=-999_999_999, le=999_999_999)]
Edge = Annotated[float, Field(ge=0, le=1_000_000)]
Extent = Annotated[float, Field(gt=0, le=1_000_000)]
Rectangle = tuple[Edge, Edge, Extent, Extent, Class]  # a JSON twin of case.Box


class Grid(Strict):
    """The source grid; a JSON twin of case.Geometry. A radiograph has no axcodes."""

    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]
    axcodes: Annotated[str, Field(pattern=r"^([RLAPIS]{3})?$")]


class Shifted(Strict):
    """What a virtual site does to the images of a case; a JSON twin of case.Shift."""

    kind: ShiftKind
    amount: Annotated[float, Field(ge=-10, le=10)]
    seed: Number


class RowEntry(Strict):
    """A row of a table; a JSON twin of case.Row."""

    number: Annotated[int, Field(ge=1)]
    inputs: tuple[float | None, ...]
    time: float | None = None


class Entry(Strict):
    """One case; a JSON twin of case.Case. It has images, or is a row."""

    case: CaseAlias
    patient: PatientAlias
    group: Annotated[str, Field(max_length=32)]
    image: dict[Channel, str | tuple[str, ...]] = Field(max_length=4)
    label: str | Class | tuple[Rectangle, ...] | None
    covariates: dict[str, str | int | float]
    geometry: Grid
    content: Digest
    shift: Shifted | None = None
    row: RowEntry | None = None
    likeness: Annotated[str, Field(pattern=r"^([0-9a-f]{2}){0,512}$")] = ""

    @field_validator("image", "label")
    @classmethod
    def _below_the_root(cls, value: dict[str, str | tuple[str, ...]] | str | int | tuple[object, ...] | None) -> object:
        groups = value.values() if isinstance(value, dict) else [value] if isinstance(value, str) else []
        for group in groups:
            for path in (group,) if isinstance(group, str) else group:
                if not path or path.startswith("/") or "\\" in path or "\0" in path or ".." in path.split("/"):
                    raise ValueError("expected a path below the data root")
        return value

    @model_validator(mode="after")
    def _images_or_a_row(self) -> Entry:
        if bool(self.image) == (self.row is not None):
            raise ValueError("expected images or a row")
        return self


class Header(Strict):
    """How the list came about. `former` remembers the fold of patients who are gone: they may come back."""

    version: Literal[1] = Field(alias="schema")
    dataset: Digest
    recipe: Digest
    excluded: dict[str, Number]
    counts: dict[Fold, Number]
    patients: dict[Fold, Number]
    former: dict[PatientAlias, Fold]


class Datalist(Strict):
    """cases.json as it stands on disk; `cases` gives a fold as Case objects."""

    header: Header = Field(alias="fedmed")
    training: tuple[Entry, ...]
    validation: tuple[Entry, ...]
    testing: tuple[Entry, ...]

    @model_validator(mode="after")
    def _adds_up(self) -> Datalist:
        folds: dict[str, set[Fold]] = {}
        seen: Counter[str] = Counter()
        for fold in FOLDS:
            entries = entries_of(self, fold)
            seen.update(entry.case for entry in entries)
            for entry in entries:
                folds.setdefault(entry.patient, set()).add(fold)
            if len(entries) != self.header.counts.get(fold):
                raise ValueError("the number of cases is not the header's")
        if any(len(sides) > 1 for sides in folds.values()):
            raise ValueError("a patient stands in two folds")
        if any(count > 1 for count in seen.values()):
            raise ValueError("a case stands twice")
        return self


def build(found: Found, recipe: recipes.Recipe, previous: Datalist | None = None) -> Datalist:
    """Split what was found, keeping every patient of `previous` in place; seed and shares are the recipe's.

    Raises FedmedError FM-DAT-12 where a case has no label, FM-DAT-47 where no patient of `previous` is known any more.
    """
    known = assignments(previous) if previous else {}
    here = {case.patient for case in found.cases}
    if known and not here & known.keys():  # another key: patients of the test fold would be drawn anew
        raise FedmedError("FM-DAT-47", f"cases.json: expected some of its {len(known)} patients again, got none")
    return _listed(split(found.cases, recipe.seed, recipe.data.split, known), found, recipe, known)


def held_out(found: Found, recipe: recipes.Recipe) -> Datalist:
    """Every case in the test fold: a hospital on which a model of other hospitals is tried. Raises as `build`."""
    return _listed({"training": [], "validation": [], "testing": found.cases}, found, recipe, {})


def _listed(
    folds: Mapping[Fold, list[Case]], found: Found, recipe: recipes.Recipe, known: Mapping[str, Fold]
) -> Datalist:
    for case in found.cases:
        if case.label is None:
            raise FedmedError("FM-DAT-12", f"{case.case}: no label, expected one to train and score with")
    here = {case.patient for case in found.cases}
    header = Header(
        schema=1,
        dataset=_dataset(folds),
        recipe=recipes.digest(recipe),
        excluded=dict(sorted(Counter(one.code for one in found.excluded).items())),
        counts={fold: len(folds[fold]) for fold in FOLDS},
        patients={fold: len({case.patient for case in folds[fold]}) for fold in FOLDS},
        former={patient: fold for patient, fold in sorted(known.items()) if patient not in here},
    )
    entries = {fold: tuple(to_entry(case) for case in folds[fold]) for fold in FOLDS}
    return Datalist(fedmed=header, **entries)


def _dataset(folds: Mapping[Fold, list[Case]]) -> str:
    """SHA-256 over the content of every case and its fold, in the order of the contents: no name goes in."""
    lines = sorted(f"{fold} {case.content}\n" for fold in FOLDS for case in folds[fold])
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def digest(datalist: Datalist) -> str:
    """The dataset digest an update carries: it changes with any image, label or fold, and tells nothing else."""
    return datalist.header.dataset


def cases(datalist: Datalist, fold: Fold) -> list[Case]:
    """The cases of a fold, by alias."""
    return [to_case(entry) for entry in entries_of(datalist, fold)]


def entries_of(datalist: Datalist, fold: Fold) -> tuple[Entry, ...]:
    return {"training": datalist.training, "validation": datalist.validation, "testing": datalist.testing}[fold]


def assignments(datalist: Datalist) -> dict[str, Fold]:
    """The fold of every patient, also of those who are gone."""
    here = {entry.patient: fold for fold in FOLDS for entry in entries_of(datalist, fold)}
    return {**datalist.header.former, **here}


def changes(old: Datalist | None, new: Datalist) -> str:
    """How many cases came and went, as `+14 -2`."""
    before = {entry.case for fold in FOLDS for entry in entries_of(old, fold)} if old else set()
    after = {entry.case for fold in FOLDS for entry in entries_of(new, fold)}
    return f"+{len(after - before)} -{len(before - after)}"


def save(path: Path, datalist: Datalist) -> None:
    """Write cases.json in one step, mode 0600. Raises FedmedError FM-RES-01 or FM-RES-02."""
    data = datalist.model_dump(mode="json", by_alias=True, exclude_none=True)
    files.write_atomic(
        path, json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False).encode() + b"\n", mode=0o600
    )


def load(path: Path) -> Datalist:
    """Read cases.json. Raises FedmedError FM-DAT-01 (unreadable), -02 (unknown key) or -03 (bad value).

    The message names the field and never its value, which may be a path.
    """
    try:
        data = json.loads(files.read_bounded(path, MAX_BYTES))
    except (OSError, ValueError, RecursionError) as error:
        raise FedmedError("FM-DAT-01", f"{path.name}: cannot be read as JSON", local=str(error)) from error
    try:
        return Datalist.model_validate(data)
    except ValidationError as error:
        faults = error.errors(include_url=False, include_input=False, include_context=False)
        unknown = [fault for fault in faults if fault["type"] == "extra_forbidden"]
        fault = (unknown or faults)[0]
        place = ".".join(str(part) for part in fault["loc"][:3]) or "top level"
        code = "FM-DAT-02" if unknown else "FM-DAT-03"
        what = "unknown key" if unknown else fault["msg"].lower()
        raise FedmedError(code, f"{path.name}: {place}: {what}", local=str(error)) from error


def to_entry(case: Case) -> Entry:
    image = {name: group[0] if len(group) == 1 else group for name, group in case.image.items()}
    grid = Grid(shape=case.geometry.shape, spacing=case.geometry.spacing, axcodes=case.geometry.axcodes)
    return Entry(
        case=case.case,
        patient=case.patient,
        group=case.group,
        image=image,
        label=case.label,
        covariates=dict(case.covariates),
        geometry=grid,
        content=case.content,
        shift=Shifted(**vars(case.shift)) if case.shift else None,
        row=RowEntry(**vars(case.row)) if case.row else None,
        likeness=case.likeness,
    )


def to_case(entry: Entry) -> Case:
    image = {name: (group,) if isinstance(group, str) else group for name, group in entry.image.items()}
    grid = Geometry(entry.geometry.shape, entry.geometry.spacing, entry.geometry.axcodes)
    label = tuple(Box(*each) for each in entry.label) if isinstance(entry.label, tuple) else entry.label
    shift = Shift(**vars(entry.shift)) if entry.shift else None
    row = Row(**vars(entry.row)) if entry.row else None
    return Case(
        *(entry.case, entry.patient, entry.group, image, label, entry.covariates, grid),
        content=entry.content,
        shift=shift,
        row=row,
        likeness=entry.likeness,
    )
