"""What the numbers in a DICOM mask are called there: planning systems number regions anew for each patient, and a
number that means an organ in one file and a tumour in the next is learned as one class. Names are compared as digests:
somebody may have typed a patient's name.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

from fedmed.cases import dicomfile, nifti, paths, pixels

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

SEQUENCES = {"StructureSetROISequence": ("ROINumber", "ROIName"), "SegmentSequence": ("SegmentNumber", "SegmentLabel")}
HEX = 16


def names(root: Path, relative: str, label_map: Mapping[int, int], where: str) -> dict[int, str]:
    """A digest of the name of each region or segment that `label_map` does not map to 0; empty for NIfTI.

    Of a mask that was read. Capitals, blanks and punctuation do not matter.

    Raises FedmedError FM-DAT-15, -16, -25 or -33.
    """
    if nifti.is_nifti(relative):
        return {}
    path = paths.locate(root, relative, where)
    with paths.open_file(path, where) as stream, pixels.damage(path, where, "the names in a mask cannot be read"):
        found = dicomfile.parse(stream, where, stop_before_pixels=True, specific_tags=[*SEQUENCES])
        return {number: name for number, name in _named(found) if name and label_map.get(number) != 0}


def _named(found: Any) -> Iterator[tuple[int, str]]:
    for sequence, (number, name) in SEQUENCES.items():
        for item in found.get(sequence) or ():
            plain = re.sub(r"[\W_]+", "", str(item.get(name) or "")).casefold()
            yield int(item.get(number) or 0), hashlib.sha256(plain.encode()).hexdigest()[:HEX] if plain else ""


def otherwise(by_case: Mapping[str, Mapping[int, str]]) -> dict[str, list[int]]:
    """The numbers by case that have another name there than in most cases."""
    counts: dict[int, Counter[str]] = defaultdict(Counter)
    for numbers in by_case.values():
        for number, name in numbers.items():
            counts[number][name] += 1
    usual = {number: max(sorted(counter), key=counter.__getitem__) for number, counter in counts.items()}
    odd = {case: [n for n, name in sorted(numbers.items()) if name != usual[n]] for case, numbers in by_case.items()}
    return {case: numbers for case, numbers in odd.items() if numbers}
