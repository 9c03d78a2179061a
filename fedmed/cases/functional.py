"""Multi-frame functional groups (PS3.3 C.7.6.16): what a file of many frames says of each.

What a frame does not say itself, the shared groups say for all.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from fedmed.cases import dicomfile
from fedmed.errors import FedmedError

if TYPE_CHECKING:
    from fedmed.cases.series import Slice


def of_frames(data: Any, count: int, where: str) -> list[tuple[Any, ...]]:
    """For each frame the items that speak of it: its own, then the shared one.

    Raises FedmedError FM-DAT-33 where their number is not that of the frames.
    """
    own = data.get("PerFrameFunctionalGroupsSequence") or []
    shared = (data.get("SharedFunctionalGroupsSequence") or ())[:1]
    if len(own) != count:
        raise FedmedError("FM-DAT-33", f"{where}: {count} frames, and functional groups for {len(own)}")
    return [(item, *shared) for item in own]


def of_frame(data: Any, frame: int) -> tuple[Any, ...]:
    """The same for one frame alone, of a file whose groups are complete; none where it has no groups."""
    if not data.get("PerFrameFunctionalGroupsSequence"):
        return ()
    return (data.PerFrameFunctionalGroupsSequence[frame], *(data.get("SharedFunctionalGroupsSequence") or ())[:1])


def macro(groups: tuple[Any, ...], sequence: str) -> Any:
    """The item of a macro such as PlanePositionSequence; an empty one where nobody says it."""
    return next((group[sequence][0] for group in groups if group.get(sequence)), {})


def expanded(data: Any, whole: Slice, where: str) -> tuple[Slice, ...]:
    """A file as the slices it holds: one for each frame whose functional groups are given, else itself.

    Raises FedmedError FM-DAT-33.
    """
    if not data.get("PerFrameFunctionalGroupsSequence"):
        return (whole,)
    found = []
    for index, groups in enumerate(of_frames(data, whole.frames, where)):
        measures = macro(groups, "PixelMeasuresSequence")
        one = replace(
            whole,
            frame=index,
            frames=1,
            stack=str(macro(groups, "FrameContentSequence").get("StackID") or ""),
            orientation=dicomfile.numbers(macro(groups, "PlaneOrientationSequence"), "ImageOrientationPatient", 6),
            position=dicomfile.numbers(macro(groups, "PlanePositionSequence"), "ImagePositionPatient", 3),
            spacing=dicomfile.numbers(measures, "PixelSpacing", 2),
            gap=(dicomfile.numbers(measures, "SpacingBetweenSlices", 1) or (None,))[0],
        )
        found.append(one)
    return tuple(found)
