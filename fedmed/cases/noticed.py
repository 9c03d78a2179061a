"""What is noticed on the way through one study: doubts about its images, and what its files say besides pixels."""

from __future__ import annotations

import warnings
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from fedmed.cases import identifiers, nifti
from fedmed.cases.examined import Finding

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from fedmed.cases.doubts import Doubt
    from fedmed.cases.identifiers import Trace

SAMPLE = 1 << 18  # voxels that the range of an image is taken from


class Noticed:
    """Grows while a study is read. `counts` is of files: `ignored`, `dicom`, and who tells `laterality` or `view`."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.polarity: Counter[str] = Counter()
        self.range = (0.0, 0.0)
        self.regions: dict[int, str] = {}
        self.unnamed = False
        self._doubts: dict[str, list[str]] = {}
        self._traces: list[Trace] = []
        self._seen: set[str] = set()

    def findings(self) -> list[Finding]:
        return [Finding(code=code, message=_counted(texts)) for code, texts in self._doubts.items()]

    def trace(self) -> Trace:
        return identifiers.together(self._traces)

    def doubt(self, doubts: Iterable[Doubt]) -> None:
        for code, message in doubts:
            self._doubts.setdefault(code, []).append(message)

    def header(self, data: Any, relative: str) -> None:
        """Told of every DICOM header. What the reader needs of it was judged before; here nothing may fail."""
        if relative in self._seen:
            return
        self._seen.add(relative)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                trace = identifiers.of_dicom(data, relative)
                polarity = str(data.get("PhotometricInterpretation") or "")
                sided = data.get("Laterality") or data.get("ImageLaterality")
                self.counts.update(dicom=1, laterality=bool(sided), view=bool(data.get("ViewPosition")))
            except Exception:  # noqa: BLE001 - pydicom converts a value when it is asked for, and may raise anything
                self._traces.append(identifiers.UNREADABLE)
                return
        self._traces.append(trace)
        self.polarity[polarity] += 1

    def others(self, root: Path, matched: Iterable[str], alias: str) -> None:
        """What NIfTI files and pictures say in words."""
        for path in matched:
            if nifti.is_nifti(path) or identifiers.is_picture(path):
                self._traces.append(identifiers.of_other(root, path, alias))

    def measure(self, image: np.ndarray) -> None:
        """From an even sample: the percentiles of a whole-body CT would take as long as reading it."""
        step = max(1, round((image.size / SAMPLE) ** (1 / image.ndim)))
        low, high = np.percentile(image[(slice(None, None, step),) * image.ndim], (1, 99))
        self.range = float(low), float(high)


def _counted(texts: list[str]) -> str:
    """What was said of several files of a case, once."""
    return texts[0] if len(texts) == 1 else f"{texts[0]} ({len(texts)} times)"
