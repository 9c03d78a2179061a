"""From a folder of studies to a list of cases: matched by the layout, read once in full, pseudonymised, counted.

One bad case never stops a site: it is excluded with its code, and only the recipe's limit stops. What leaves here has
pseudonyms; the key that makes them stays in the workspace.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from fedmed.cases import nifti, raster
from fedmed.cases.layout import LABEL
from fedmed.cases.search import Excluded, Search
from fedmed.errors import FedmedError
from fedmed.recipe_fields import Pictures

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from fedmed.cases.case import Case
    from fedmed.recipe import Recipe
    from fedmed.settings import DataFolder, Layout

NEEDED = {"segmentation": "label", "classification": "labels", "localisation": "boxes"}  # keys of the layout


@dataclass(frozen=True)
class Found:
    """What a folder holds. `local` has lines with paths: for local.log only."""

    cases: list[Case]
    excluded: list[Excluded]
    notes: list[str]
    local: tuple[str, ...] = ()


def find(
    folder: DataFolder,
    recipe: Recipe,
    *,
    pseudonym_key: bytes,
    label_map: Mapping[int, int],
    progress: Callable[[int, int], None] | None = None,
) -> Found:
    """Every case below the data root; each is read in full, so that what is broken is found now.

    Without masks (for segmentation) or a table of labels (for classification) in the layout the cases come without a
    label; with them, or with the table of boxes (for localisation), a case whose label is missing is excluded.
    `progress` is told (cases done, cases in all).

    Raises FedmedError FM-DAT-04, -06, -07, -08 (none usable), -09 (above the recipe's max_excluded), -10, -15 or -49
    (the table of labels), FM-BOX-01 (that of boxes), FM-DAT-53, FM-SET-03.
    """
    check_settings(folder.layout, recipe, label_map)
    search = Search(Path(folder.root), recipe, folder.layout, pseudonym_key, label_map)
    total = len(search.studies)
    for index, study in enumerate(search.studies):
        search.take(study)
        if progress:
            progress(index + 1, total)
    cases = search.cases if isinstance(recipe.data, Pictures) else with_groups(search.cases)
    rows = tuple(f"{code} {path}" for code, astray in search.without_image().items() for path in astray)
    found = Found(sorted(cases, key=lambda case: case.case), search.excluded, search.notes(), rows)
    _check_limit(found, recipe.data.max_excluded)
    return found


def check_settings(layout: Layout, recipe: Recipe, label_map: Mapping[int, int]) -> None:
    """Raises FedmedError FM-DAT-06, -07, -53 or FM-SET-03 where fedmed.yaml does not fit the recipe."""
    expected, got = ", ".join(sorted(recipe.data.channels)), ", ".join(sorted(layout.image))
    if expected != got:
        raise FedmedError("FM-DAT-06", f"fedmed.yaml: data.layout.image: expected {expected}, got {got}")
    for value, target in label_map.items():
        if target != 0 and target not in recipe.data.labels:
            allowed = len(recipe.data.labels)
            raise FedmedError("FM-DAT-07", f"fedmed.yaml: label_map: {value}: expected 0 to {allowed}, got {target}")
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


def _check_limit(found: Found, max_excluded: float) -> None:
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
