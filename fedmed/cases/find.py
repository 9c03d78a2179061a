"""From a folder of studies to a list of cases: matched by the layout, read once in full, pseudonymised, judged.

One bad case never stops a site: it is excluded with its code, and only the recipe's limit stops. What leaves here has
pseudonyms; the key that makes them stays in the workspace. `survey` is the whole of it and tells everything; `find`
is what training needs of it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from fedmed import severities
from fedmed.cases import checks, labels, nifti, raster
from fedmed.cases.layout import LABEL
from fedmed.cases.rows import Rows
from fedmed.cases.search import Search
from fedmed.errors import FedmedError
from fedmed.recipe import Imaging, Rowwise, Segmentation, Survival, Tabular
from fedmed.recipe_fields import Pictures

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from fedmed.cases.case import Case
    from fedmed.cases.doubts import Doubt
    from fedmed.cases.examined import Examined, Finding
    from fedmed.cases.layout import Study
    from fedmed.cases.splits import Fold
    from fedmed.recipe import Recipe
    from fedmed.recipe_fields import Cohort
    from fedmed.settings import DataFolder, Layout
    from fedmed.severities import Severity

Status = Literal["ok", "warn", "excluded", "error"]
STATUS: dict[Severity, Status] = {"error": "error", "exclude": "excluded", "warn": "warn"}


@dataclass(frozen=True)
class Excluded:
    """A case that cannot be used: its alias, the code, and the message. `local` has paths: for local.log only."""

    alias: str
    code: str
    message: str
    local: str


NEEDED = {"segmentation": "label", "classification": "labels", "localisation": "boxes"}  # keys of the layout


@dataclass(frozen=True)
class Found:
    """What a folder holds. `local` has lines with paths: for local.log only. `persons`: what each patient is called in
    the hospital's budget store, by alias, where its key was given.
    """

    cases: list[Case]
    excluded: list[Excluded]
    notes: list[str]
    local: tuple[str, ...] = ()
    persons: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Judgement:
    """What was noticed, and what the recipe says it counts for."""

    code: str
    severity: Severity
    message: str
    part: str = ""
    local: str = ""

    @property
    def ignored(self) -> bool:
        return self.severity == "ignore"


@dataclass(frozen=True)
class Judged:
    """A study with all that was noticed about it and is not ignored; the gravest of it gives the status."""

    examined: Examined
    case: Case | None
    judgements: tuple[Judgement, ...]

    @property
    def status(self) -> Status:
        said = {judgement.severity for judgement in self.judgements}
        return next((status for severity, status in STATUS.items() if severity in said), "ok")

    @property
    def is_usable(self) -> bool:
        return self.case is not None and self.status in ("ok", "warn")


@dataclass(frozen=True)
class Survey:
    """Every study of a folder, by alias, and what was noticed about the whole; see Found."""

    studies: list[Judged]
    folder: list[Judgement]
    ignored: Mapping[str, int]
    notes: list[str]
    local: tuple[str, ...]
    persons: Mapping[str, str]

    @property
    def judgements(self) -> list[Judgement]:
        """About the whole folder, then about each study."""
        return [*self.folder, *(one for each in self.studies for one in each.judgements)]

    def found(self) -> Found:
        """What training needs of it, whatever the limits say."""
        usable = [each.case for each in self.studies if each.case and each.is_usable]
        excluded = [_excluded(each) for each in self.studies if not each.is_usable]
        alike = [f"{one.message} ({one.code})" for one in self.folder if one.code == "FM-DAT-75"]
        return Found(usable, excluded, [*self.notes, *alike], self.local, self.persons)


def find(
    folder: DataFolder,
    recipe: Recipe,
    *,
    pseudonym_key: bytes,
    label_map: Mapping[int, int],
    absent: frozenset[int] = frozenset(),
    store_key: bytes | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Found:
    """Every case below the data root; each is read in full, so that what is broken is found now.

    Without masks (for segmentation) or a table of labels (for classification) in the layout the cases come without a
    label; with them, or with the table of boxes (for localisation), a case whose label is missing is excluded.
    `progress` is told (cases done, cases in all). `absent` classes are expected of no case.

    Raises FedmedError FM-CHK-01 (a finding is an error by the recipe), FM-DAT-04, -06, -07, -08 (none usable), -09
    (above the recipe's max_excluded), -10, -15 or -49 (the table of labels), FM-BOX-01 (that of boxes),
    FM-DAT-53, FM-SET-03, FM-TAB-01 to -04.
    """
    seen = survey(
        folder, recipe, pseudonym_key=pseudonym_key, label_map=label_map, absent=absent, store_key=store_key,
        progress=progress,
    )  # fmt: skip
    found = seen.found()
    refuse_errors(seen.judgements)
    check_limit(found, recipe.data.max_excluded)
    return found


def survey(
    folder: DataFolder,
    recipe: Recipe,
    *,
    pseudonym_key: bytes,
    label_map: Mapping[int, int],
    absent: frozenset[int] = frozenset(),
    store_key: bytes | None = None,
    progress: Callable[[int, int], None] | None = None,
    examine: Callable[[Search, Study], Examined] = Search.examine,
) -> Survey:
    """As `find`, but every study stays in it with all that was noticed, and nothing about a case is raised.

    `examine` may know studies from an earlier time (see `remembered`).
    """
    check_settings(folder.layout, recipe, label_map)
    tell = progress or (lambda _done, _total: None)
    if isinstance(recipe, Rowwise) and folder.layout.table:
        rows = Rows(Path(folder.root), recipe, folder.layout.table, pseudonym_key, label_map, store_key)
        seen = []
        for done, number in enumerate(rows.numbers, start=1):
            seen.append(rows.examine(number))
            tell(done, len(rows.numbers))
        return judged(rows, seen, recipe)
    if not isinstance(recipe, Imaging):
        raise TypeError(type(recipe).__name__)
    search = Search(Path(folder.root), recipe, folder.layout, pseudonym_key, label_map, store_key)
    total = len(search.studies)
    examined = []
    for index, study in enumerate(search.studies):
        examined.append(examine(search, study))
        tell(index + 1, total)
    return judged(search, examined, recipe, absent)


def judged(
    search: Search | Rows, examined: Sequence[Examined], recipe: Recipe, absent: frozenset[int] = frozenset()
) -> Survey:
    """Everything noticed about the studies, one by one and beside each other, and what it counts for."""
    about: dict[str, list[Doubt]] = {}
    for alias, doubt in checks.across(examined, recipe, absent) if isinstance(recipe, Imaging) else ():
        about.setdefault(alias, []).append(doubt)
    studies = []
    for one in sorted(examined, key=lambda one: one.alias):
        said = [_of_finding(finding, recipe.data) for finding in one.findings]
        said += [judge(recipe.data, code, message) for code, message in about.get(one.alias, ())]
        studies.append(Judged(one, one.case, tuple(said)))
    folder = [judge(recipe.data, code, message) for code, message in about.get("", ())]
    ignored = Counter(
        one.code for one in [*folder, *(one for each in studies for one in each.judgements)] if one.ignored
    )
    studies = [replace(each, judgements=tuple(one for one in each.judgements if not one.ignored)) for each in studies]
    folder = [one for one in folder if not one.ignored]
    if isinstance(recipe, Segmentation):
        studies = _in_quartiles(studies)
    rows = tuple(f"{code} {path}" for code, astray in search.without_image().items() for path in astray)
    return Survey(studies, folder, ignored, search.notes(examined), rows, search.persons)


def judge(data: Cohort, code: str, message: str) -> Judgement:
    return Judgement(code, data.severities.get(code, severities.default(code)), message)


def judge_folds(
    folds: Mapping[Fold, Sequence[Case]], recipe: Recipe, absent: frozenset[int] = frozenset()
) -> list[Judgement]:
    """What is noticed only when cases are divided, and is not ignored."""
    found = [judge(recipe.data, code, message) for code, message in checks.of_folds(folds, recipe, absent)]
    return [one for one in found if not one.ignored]


def refuse_errors(judgements: Iterable[Judgement]) -> None:
    """Raises FedmedError FM-CHK-01 where the recipe calls one of them an error."""
    errors = [one for one in judgements if one.severity == "error"]
    if errors:
        counts = Counter(one.code for one in errors)
        shown = ", ".join(f"{count} x {code}" for code, count in sorted(counts.items()))
        local = "\n".join(f"{one.code} {one.message} [{one.local}]" for one in errors)
        raise FedmedError("FM-CHK-01", f"errors by the recipe's severities: {shown}", local=local)


def _of_finding(finding: Finding, data: Cohort) -> Judgement:
    return replace(judge(data, finding.code, finding.message), part=finding.part, local=finding.local)


def _excluded(each: Judged) -> Excluded:
    grave = [one for one in each.judgements if one.severity in ("exclude", "error")]
    return Excluded(each.examined.alias, grave[0].code, grave[0].message, grave[0].local)


def _in_quartiles(studies: Sequence[Judged]) -> list[Judged]:
    grouped = {case.case: case for case in with_groups([each.case for each in studies if each.case and each.is_usable])}
    return [replace(each, case=grouped.get(each.examined.alias, each.case)) for each in studies]


def check_settings(layout: Layout, recipe: Recipe, label_map: Mapping[int, int]) -> None:
    """Raises FedmedError FM-DAT-06, -07, -53, FM-SET-03 or FM-TAB-03 where fedmed.yaml does not fit the recipe."""
    if isinstance(recipe, Rowwise) != (layout.table is not None):
        right, wrong = ("image", "table") if layout.table else ("table", "image")
        raise FedmedError("FM-TAB-03", f"fedmed.yaml: data.layout: {recipe.task} needs {right}, got {wrong}")
    mapped = {value: target for value, target in label_map.items() if target != labels.NEVER}
    if isinstance(recipe, Tabular | Survival):
        labels.check_map(mapped, recipe.data)
    if not isinstance(recipe, Imaging):
        return
    expected, got = ", ".join(sorted(recipe.data.channels)), ", ".join(sorted(layout.image))
    if expected != got:
        raise FedmedError("FM-DAT-06", f"fedmed.yaml: data.layout.image: expected {expected}, got {got}")
    labels.check_map(mapped, recipe.data)
    given = [name for name in ("label", "labels", "boxes") if getattr(layout, name)]
    if given and NEEDED[recipe.task] not in given:
        message = f"{recipe.task} needs {NEEDED[recipe.task]}, got {' and '.join(given)}"
        raise FedmedError("FM-DAT-53", f"fedmed.yaml: data.layout: {message}")
    if layout.label and not nifti.is_nifti(layout.label) and not layout.label.endswith((".dcm", "/")):
        raise _pattern(LABEL, ".nii, .nii.gz, .dcm or a folder/", layout.label)
    for channel, pattern in layout.image.items():
        if recipe.data.modality == "XR" and nifti.is_nifti(pattern):
            raise _pattern(f"image.{channel}", ".dcm, .png, .jpg or a folder/", pattern)
        is_slice = isinstance(recipe.data, Pictures) and raster.is_named(pattern)
        if recipe.data.modality != "XR" and not (nifti.is_nifti(pattern) or pattern.endswith("/") or is_slice):
            pictures = ", .png, .jpg" if isinstance(recipe.data, Pictures) else ""
            raise _pattern(f"image.{channel}", f".nii, .nii.gz{pictures} or a folder/", pattern)


def _pattern(name: str, expected: str, pattern: str) -> FedmedError:
    message = f"fedmed.yaml: data.layout.{name}: expected a pattern that ends in {expected}"
    return FedmedError("FM-SET-03", message, local=pattern)


def with_groups(cases: list[Case]) -> list[Case]:
    """Each case with its quartile q1 to q4 of foreground volume; fewer than four have no groups."""
    ranked = sorted(
        (case.covariates["foreground_mm3"], case.case) for case in cases if "foreground_mm3" in case.covariates
    )
    group = (
        {alias: f"q{1 + 4 * rank // len(ranked)}" for rank, (_, alias) in enumerate(ranked)} if len(ranked) >= 4 else {}
    )
    return [replace(case, group=group.get(case.case, "")) for case in cases]


def check_limit(found: Found, max_excluded: float) -> None:
    """Raises FedmedError FM-DAT-08 or FM-DAT-09 with the funnel by code."""
    total, dropped = len(found.cases) + len(found.excluded), len(found.excluded)
    counts = Counter(one.code for one in found.excluded)
    funnel = ", ".join(f"{count} x {code}" for code, count in sorted(counts.items()))
    local = "\n".join(f"{one.code} {one.message} [{one.local}]" for one in found.excluded)
    if not found.cases:
        raise FedmedError("FM-DAT-08", f"{total} cases found, 0 usable{': ' if funnel else ''}{funnel}", local=local)
    if dropped > max_excluded * total:
        share = f"{dropped / total:.1%} excluded, the recipe allows {max_excluded:.1%}"
        raise FedmedError(
            "FM-DAT-09", f"{total} cases found, {len(found.cases)} usable: {share}: {funnel}", local=local
        )
