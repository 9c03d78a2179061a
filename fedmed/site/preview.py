"""What the model will see of each case, as strips for contact sheets: behind the fixed chain, with mask or class."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from fedmed.errors import FedmedError
from fedmed.recipe import Localisation, Segmentation
from fedmed.recipe_fields import Pictures
from fedmed.reporting.sheets import Panel, Strip

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from fedmed.cases.case import Case
    from fedmed.preprocessing import Preprocessing
    from fedmed.recipe import Recipe

OPPOSITE = dict(zip("RLAPSI", "LRPAIS", strict=True))
PLANES = ((0, 1), (0, 2), (1, 2))  # of a volume: across and upward
SLICES = 3  # of a volume that is classified
CHANNELS = 3  # beside the planes of the first


def strips(
    cases: Sequence[Case],
    root: Path,
    recipe: Recipe,
    label_map: Mapping[int, int],
    preprocessing: Preprocessing | None,
    notes: Mapping[str, str],
    progress: Callable[[int, int], None],
) -> Iterator[Strip]:
    """One strip a case, in their order, read one by one; who cannot be read any more is left out.

    `notes` stand below a case, by alias.
    """
    draw: Callable[..., tuple[str, tuple[Panel, ...]]] = _of_picture
    if isinstance(recipe, Segmentation | Localisation):
        draw = _of_volume if isinstance(recipe, Segmentation) else _of_boxed
    for number, case in enumerate(cases, start=1):
        try:
            said, panels = draw(case, root, recipe, label_map, preprocessing)
        except FedmedError:
            continue
        finally:
            progress(number, len(cases))
        yield Strip(f"{case.case[:13]}  {said}", notes.get(case.case, ""), panels)


def _of_volume(
    case: Case, root: Path, recipe: Segmentation, label_map: Mapping[int, int], preprocessing: Preprocessing | None
) -> tuple[str, tuple[Panel, ...]]:
    """Three planes of the first channel where most of the mask lies, else the middle; the first of others."""
    from fedmed.cases import geometry  # noqa: PLC0415 - with those below
    from fedmed.training import transforms  # noqa: PLC0415 - seconds

    sample = transforms.LoadCase(recipe, root, label_map)({"case": case})
    sample = transforms.standardise(recipe, preprocessing)(sample)
    image = sample["image"].numpy()
    mask = sample["label"].numpy()[0].astype(np.uint8) if "label" in sample else None
    at = _cut(mask, image.shape[1:])
    spacing, codes = geometry.spacing(sample["image"].affine.numpy()), recipe.data.axcodes
    panels = [_plane(image[0], mask, axes, at, spacing, codes) for axes in PLANES]
    panels += [_plane(each, mask, PLANES[0], at, spacing, codes) for each in image[1 : 1 + CHANNELS]]
    return f"{' x '.join(map(str, image.shape[1:]))} voxels", tuple(panels)


def _cut(mask: np.ndarray | None, shape: Sequence[int]) -> tuple[int, ...]:
    """Along each axis the place where most of the mask lies."""
    if mask is None or not mask.any():
        return tuple(size // 2 for size in shape)
    inside = mask > 0
    others = [tuple(other for other in range(3) if other != axis) for axis in range(3)]
    return tuple(int(inside.sum(axis=each).argmax()) for each in others)


def _plane(
    image: np.ndarray, mask: np.ndarray | None, axes: tuple[int, int], at: Sequence[int], spacing: Any, codes: str
) -> Panel:
    """The second axis upward, so that a head stands on its neck."""
    (across, up), through = axes, 3 - sum(axes)

    def cut(array: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(np.take(array, at[through], axis=through).T[::-1])

    sides = OPPOSITE[codes[across]], codes[across], codes[up], OPPOSITE[codes[up]]
    return Panel(cut(image), None if mask is None else cut(mask), spacing[up] / spacing[across], sides)


def _of_picture(
    case: Case, root: Path, recipe: Recipe, label_map: Mapping[int, int], preprocessing: Preprocessing | None
) -> tuple[str, tuple[Panel, ...]]:
    """The first channels of a radiograph, or slices of a volume from its first to its last quarter."""
    from fedmed.cases import pictures  # noqa: PLC0415 - with those below
    from fedmed.training import pictures as chain  # noqa: PLC0415 - seconds

    if not isinstance(recipe.data, Pictures):
        raise TypeError("pictures have a size")
    picture = pictures.read(case, root, recipe.data, label_map)
    slices = chain.standardise(picture, recipe.data, preprocessing).numpy()
    if recipe.data.slices is None:
        panels = tuple(Panel(channel) for channel in slices[0, :CHANNELS])
    else:
        codes = recipe.data.slices.axcodes
        sides = OPPOSITE[codes[0]], codes[0], OPPOSITE[codes[1]], codes[1]
        places = [(2 * number + 1) * len(slices) // (2 * SLICES) for number in range(SLICES)]
        panels = tuple(Panel(slices[place, 0], sides=sides) for place in places)
    return _class(picture.label, recipe.data), panels


def _of_boxed(
    case: Case, root: Path, recipe: Localisation, label_map: Mapping[int, int], preprocessing: Preprocessing | None
) -> tuple[str, tuple[Panel, ...]]:
    """The first channels of a radiograph with the boxes in it."""
    from fedmed.training import boxed  # noqa: PLC0415 - seconds

    is_labelled = case.label is not None
    seen = boxed.seen(case if is_labelled else replace(case, label=()), root, recipe, label_map, preprocessing)
    boxes = boxed.boxes_in(seen)
    counts = Counter(recipe.data.labels[box.label] for box in boxes)
    said = ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))
    panels = tuple(Panel(channel, boxes=tuple(boxes)) for channel in seen["image"].numpy()[:CHANNELS])
    return said or ("none" if is_labelled else "no label"), panels


def _class(label: int | None, rules: Pictures) -> str:
    if label is None:
        return "no label"
    return f"{label} {rules.labels.get(label, 'none')}"
