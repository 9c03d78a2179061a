"""What is odd about cases that can be used: doubts about one case, about cases beside each other, and about folds.

A doubt is (code, message): a person should look, and the recipe says what it counts for (`severities`). To add one,
write a function, put it into its table here, and its code into `severities`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING

import numpy as np

from fedmed.cases import doubts, identifiers, likeness, regions
from fedmed.recipe import Localisation
from fedmed.recipe_fields import Pictures
from fedmed.recipe_tables import ClassTable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from fedmed.cases.case import Case, Volume
    from fedmed.cases.doubts import Doubt
    from fedmed.cases.examined import Examined
    from fedmed.cases.splits import Fold
    from fedmed.recipe import Imaging, Recipe
    from fedmed.recipe_fields import Data

    Aliased = tuple[str, Doubt]  # the case it is about, or nothing for the whole folder

FEW_POSITIVES = 5  # of a class in a fold that is scored: with fewer, an interval of AUROC spans half its range
ROBUST_Z = 6.0  # far beyond what a normal spread gives in any folder
LEAST_SPREAD = {"spacing": 0.1, "intensity": 100.0}  # log of mm; Hounsfield units: below, nothing counts as far
SHOWN = 5  # aliases in a message: of a thousand empty images each would else name all others
FEWEST = 8  # cases that have a usual value
POLARITY_GAP = 0.3  # between classes, of the share of MONOCHROME1


def of_volume(volume: Volume, data: Data, where: str) -> list[Doubt]:
    """About a volume and its mask, as training would read them."""
    return [doubt for check in OF_VOLUME for doubt in check(volume, data, where)]


def across(examined: Sequence[Examined], recipe: Imaging, absent: frozenset[int] = frozenset()) -> list[Aliased]:
    """About cases that can be used, beside each other; about what the folder lacks; and what identifies patients."""
    usable = [one for one in examined if one.case is not None]
    found = [doubt for check in ACROSS for doubt in check(usable, recipe)]
    found += absent_classes(usable, recipe, absent)
    trace = identifiers.together(one.facts.trace for one in examined)
    return found + [("", doubt) for doubt in identifiers.doubts(trace)]


def of_folds(
    folds: Mapping[Fold, Sequence[Case]], recipe: Recipe, absent: frozenset[int] = frozenset()
) -> Iterator[Doubt]:
    """Classes of which a fold that is scored has few cases (FM-CHK-02), but for `absent` ones; images that look alike
    in several folds.
    """
    if parted := likeness.parted(folds):
        yield parted
    if not isinstance(recipe.data, Pictures | ClassTable) or _several_in_one(recipe):
        return
    for fold in ("validation", "testing"):
        cases = folds[fold]
        counts = Counter(case.group for case in cases if case.group)
        for number, name in recipe.data.labels.items() if counts else ():
            if counts[name] < FEW_POSITIVES and number not in absent:
                found = f"{counts[name]} cases of {name} among {len(cases)}, expected at least {FEW_POSITIVES}"
                yield "FM-CHK-02", f"{fold}: {found}"


def absent_classes(
    usable: Sequence[Examined], recipe: Imaging, absent: frozenset[int] = frozenset()
) -> Iterator[Aliased]:
    """Classes that no case has (FM-CHK-03), but for those that the site says it never labels."""
    groups = {one.case.group for one in usable if one.case and one.case.group}
    if isinstance(recipe.data, Pictures) and groups and not _several_in_one(recipe):
        for number, name in sorted(recipe.data.labels.items()):
            if name not in groups and number not in absent:
                yield "", ("FM-CHK-03", f"class {number} ({name}) occurs in none of {len(usable)} cases")


def _several_in_one(recipe: Recipe) -> bool:
    """An image with boxes of several classes is in the group of the first: the groups then count no class."""
    return isinstance(recipe, Localisation) and len(recipe.data.labels) > 1


def polarity(usable: Sequence[Examined], recipe: Imaging) -> Iterator[Aliased]:
    """MONOCHROME1 more often in one class than in another (FM-CHK-04): a network may learn the device, not the
    finding, even though each is shown the right way.
    """
    shares: dict[str, list[bool]] = defaultdict(list)
    for one in usable:
        if one.case and one.case.group and one.facts.polarity:
            shares[one.case.group].append("MONOCHROME1" in one.facts.polarity)
    found = {name: sum(each) / len(each) for name, each in shares.items() if len(each) >= FEW_POSITIVES}
    if isinstance(recipe.data, Pictures) and found and max(found.values()) - min(found.values()) >= POLARITY_GAP:
        shown = ", ".join(f"{share:.0%} of {name}" for name, share in sorted(found.items()))
        yield "", ("FM-CHK-04", f"MONOCHROME1 in {shown}")


def odd_spacing(usable: Sequence[Examined], _: Imaging) -> Iterator[Aliased]:
    """A voxel edge far from the usual one along the same direction of the patient (FM-CHK-05)."""
    edges: dict[str, dict[str, float]] = defaultdict(dict)
    for one in usable:
        for axis, step in _edges(one.case).items() if one.case else ():
            edges[axis][one.alias] = step
    for axis, steps in sorted(edges.items()):
        usual, far = _far({alias: float(np.log(step)) for alias, step in steps.items()}, LEAST_SPREAD["spacing"])
        for alias in far:
            message = f"{alias}: {steps[alias]:.3g} mm {axis}, usual is {np.exp(usual):.3g} mm"
            yield alias, ("FM-CHK-05", message)


def _edges(case: Case) -> dict[str, float]:
    """Voxel edges in mm by direction; of a picture by rows and columns; without those that no file says."""
    names = {"L": "across", "R": "across", "A": "front to back", "P": "front to back", "S": "upward", "I": "upward"}
    grid = case.geometry
    axes = [names[letter] for letter in grid.axcodes] or ["between columns", "between rows"]
    return {axis: step for axis, step in zip(axes, grid.spacing, strict=False) if step > 0}


def coverage(usable: Sequence[Examined], recipe: Imaging) -> Iterator[Aliased]:
    """Radiographs that do not say which side or which view they show (FM-CHK-06)."""
    total = sum(one.facts.dicom for one in usable)
    sided, viewed = (sum(getattr(one.facts, name) for one in usable) for name in ("laterality", "view"))
    if recipe.data.modality == "XR" and min(sided, viewed) < total:
        said = f"{sided} say the side (Laterality), {viewed} the view (ViewPosition)"
        yield "", ("FM-CHK-06", f"of {total} DICOM radiographs {said}")


def repeated(usable: Sequence[Examined], _: Imaging) -> Iterator[Aliased]:
    """The same files twice, of one patient (FM-CHK-08) or of two (FM-CHK-09)."""
    same: dict[str, list[Case]] = defaultdict(list)
    for one in usable:
        if one.case:
            same[one.facts.images].append(one.case)
    for cases in same.values():
        code = "FM-CHK-08" if len({case.patient for case in cases}) == 1 else "FM-CHK-09"
        for case in cases if len(cases) > 1 else ():
            others = [other.case for other in cases[: SHOWN + 1] if other is not case][:SHOWN]
            more = f" and {len(cases) - 1 - len(others)} more" if len(cases) - 1 > len(others) else ""
            yield case.case, (code, f"{case.case}: the very same images as {', '.join(others)}{more}")


def alike(usable: Sequence[Examined], _: Imaging) -> Iterator[Aliased]:
    """Patients who have nearly the same images (FM-DAT-75, or -77 where most of them do)."""
    for doubt in likeness.doubts([one.case for one in usable if one.case]):
        yield "", doubt


def odd_intensity(usable: Sequence[Examined], recipe: Imaging) -> Iterator[Aliased]:
    """In CT, where numbers are physical: a 1st or 99th percentile far from the usual one (FM-CHK-10)."""
    if recipe.data.modality != "CT":
        return
    for name, percentile in (("low", "1st"), ("high", "99th")):
        values = {one.alias: float(getattr(one.facts, name)) for one in usable}
        usual, far = _far(values, LEAST_SPREAD["intensity"])
        for alias in far:
            message = f"{alias}: {percentile} percentile {values[alias]:.0f} HU, usual is {usual:.0f} HU"
            yield alias, ("FM-CHK-10", message)


def _far(values: Mapping[str, float], least: float) -> tuple[float, list[str]]:
    """The median, and who lies beyond ROBUST_Z robust standard deviations of it (1.4826 MAD; Rousseeuw and Croux
    1993), each at least `least`/ROBUST_Z; nobody among fewer than FEWEST.
    """
    if len(values) < FEWEST:
        return 0.0, []
    array = np.array(list(values.values()))
    usual = float(np.median(array))
    spread = max(1.4826 * float(np.median(np.abs(array - usual))), least / ROBUST_Z)
    return usual, [alias for alias, value in values.items() if abs(value - usual) > ROBUST_Z * spread]


def odd_regions(usable: Sequence[Examined], _: Imaging) -> Iterator[Aliased]:
    """A number of a DICOM mask that is called otherwise than in most cases (FM-DAT-74)."""
    named = {one.alias: one.facts.regions for one in usable if one.facts.regions}
    for alias, numbers in regions.otherwise(named).items():
        shown = ", ".join(map(str, numbers))
        message = f"{alias}: what its mask numbers {shown} is called otherwise than in most of {len(named)} cases"
        yield alias, ("FM-DAT-74", message)


OF_VOLUME: tuple[Callable[[Volume, Data, str], list[Doubt]], ...] = (doubts.of_label,)
ACROSS: tuple[Callable[[Sequence[Examined], Imaging], Iterator[Aliased]], ...] = (
    *(polarity, odd_spacing, coverage, repeated, alike, odd_intensity, odd_regions),
)
