"""dataset.json of the Medical Segmentation Decathlon (Antonelli et al. 2022, Nature Communications 13:4128) and of
nnU-Net: which images are for training, and how it names channels and classes.

What it says is compared with the recipe and never obeyed: only label_map changes a class. imagesTs is no pattern of any
layout and so never read.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from fedmed import files
from fedmed.cases import labels, paths
from fedmed.errors import FedmedError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from fedmed.cases.layout import Study
    from fedmed.recipe_fields import Data
    from fedmed.settings import Layout

NAME = "dataset.json"
MAX_BYTES = 64 << 20
WHERE = "data.layout.dataset"
CHANNELS = {"MRI": "MR", "X-RAY": "XR", "XRAY": "XR"}
NUMBER = re.compile(r"_(\d{4})\.nii(\.gz)?$")  # nnU-Net's number of a channel


@dataclass(frozen=True)
class Dataset:
    """`channels` as recipes would call them, by number; `classes` by number; `images` are the paths to train on, None
    where the file has no list.
    """

    channels: tuple[str, ...]
    classes: Mapping[int, str]
    images: frozenset[str] | None


@dataclass(frozen=True)
class Listed:
    """The studies on the training list, and how many are not on it. For local.log only: listed images that are not
    there, and a line for each class or channel whose name differs from the recipe's.
    """

    studies: list[Study]
    others: int
    missing: list[str]
    differ: list[str]


def read(root: Path, relative: str) -> Dataset:
    """Raises FedmedError FM-DAT-78, or -15."""
    try:
        data = json.loads(files.read_bounded(paths.locate(root, relative, WHERE), MAX_BYTES))
        channels = data.get("channel_names") or data.get("modality") or {}
        training = data.get("training")
        named = data.get("labels") or {}
        return Dataset(
            tuple(channel_name(str(channels[number])) for number in sorted(channels, key=int)),
            {number: name for number, name in map(_class, named.items()) if number is not None},
            None if training is None else frozenset(_image(each) for each in training),
        )
    except (OSError, ValueError, TypeError, AttributeError, LookupError, RecursionError) as error:
        raise FedmedError("FM-DAT-78", f"{NAME}: expected channels, labels and training", local=str(error)) from error


def channel_name(name: str) -> str:
    """As a recipe calls it: upper case, letters and digits, MR for MRI."""
    plain = name.strip().upper()
    return CHANNELS.get(plain, re.sub(r"[^A-Z0-9]", "", plain))


def _class(pair: tuple[str, Any]) -> tuple[int | None, str]:
    """Number and name; nnU-Net writes them the other way round, and regions as lists, which have no number."""
    key, value = pair
    if key.isdigit():
        return int(key), str(value)
    return (value if type(value) is int else None), key


def _image(entry: Any) -> str:
    path = entry["image"] if isinstance(entry, dict) else entry
    return labels.key(cast("str", path[0] if isinstance(path, list) else path))


def listed(root: Path, layout: Layout, studies: Sequence[Study], data: Data, label_map: Mapping[int, int]) -> Listed:
    """Raises FedmedError FM-DAT-78, or -80 where nothing on the list is there."""
    found = read(root, layout.dataset or NAME)
    kept, seen = list(studies), set[str]()
    if found.images is not None:
        kept = []
        for study in studies:
            images = {labels.key(path) for name in layout.image for path in study.matches.get(name, ())}
            names = images | {NUMBER.sub(lambda match: f".nii{match[2] or ''}", path) for path in images}
            if names & found.images:
                kept.append(study)
            seen |= names
    if found.images and not kept:
        next_ = f"correct {NAME}, or leave data.layout.dataset out of fedmed.yaml"
        message = f"{NAME}: none of its {len(found.images)} training images is there"
        raise FedmedError("FM-DAT-80", message, next=next_)
    missing = sorted((found.images or frozenset()) - seen)
    differ = [*_classes(found, data, label_map), *_channels(found, layout)]
    return Listed(kept, len(studies) - len(kept), missing, differ)


def _classes(found: Dataset, data: Data, label_map: Mapping[int, int]) -> list[str]:
    """Classes whose name is another one in the recipe, behind label_map; background is 0."""
    differ = []
    for number, name in sorted(found.classes.items()):
        target = label_map.get(number, number)
        expected = data.labels.get(target, "background")
        if number and _plain(name) != _plain(expected) and (target or not label_map):
            differ.append(f"label {number} is {name!r} there, {expected!r} in the recipe")
    return differ


def _channels(found: Dataset, layout: Layout) -> list[str]:
    """Files of nnU-Net whose number says another channel than the pattern."""
    differ = []
    for name, pattern in layout.image.items():
        number = int(match[1]) if (match := NUMBER.search(pattern)) else 0
        said = found.channels[number] if number < len(found.channels) else ""
        if said != name and (match or len(found.channels) == 1):
            differ.append(f"channel {number} is {said!r} there, {name!r} in fedmed.yaml")
    return differ


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
