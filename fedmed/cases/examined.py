"""What looking at one study gave: the case, what was noticed about it, and what checks across cases need of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator, Field

from fedmed.cases.identifiers import Trace
from fedmed.errors import CODES
from fedmed.strict import Strict

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fedmed.cases.case import Case


def _known(code: str) -> str:
    if code not in CODES:  # of a line that was altered or damaged: it is read anew from the images
        raise ValueError("no code of fedmed")
    return code


class Finding(Strict):
    """What was noticed about a case. `part` is a channel, `label` or nothing; `local` has paths: for local.log only."""

    code: Annotated[str, AfterValidator(_known)]
    message: str
    part: str = ""
    local: str = ""


class Facts(Strict):
    """What a case tells the checks that compare cases, and the funnel. No value of a patient's is in here.

    `ignored` counts files of its folders that are no image; `low` and `high` are the 1st and 99th percentile of the
    first channel; `dicom`, `polarity`, `laterality` and `view` count DICOM files, all and by what they say; `regions`
    has what the numbers of a DICOM mask are called, as digests.
    """

    readable: bool = False
    labelled: bool = False
    unnamed: bool = False
    ignored: int = 0
    images: str = ""
    low: float = 0.0
    high: float = 0.0
    dicom: int = 0
    polarity: dict[str, int] = Field(default_factory=dict)
    laterality: int = 0
    view: int = 0
    regions: dict[int, str] = Field(default_factory=dict)
    trace: Trace = Trace()


@dataclass(frozen=True)
class Examined:
    """A study: `case` where it can be used, else at least one finding says why not. `paths` are those that matched."""

    alias: str
    paths: tuple[str, ...]
    case: Case | None
    findings: tuple[Finding, ...]
    facts: Facts


def without_patient(examined: Iterable[Examined]) -> tuple[int, str]:
    """How many they are, and what a person is told of them."""
    what = "cases do not say who the patient is: each counts as a patient of its own"
    return sum(one.facts.unnamed for one in examined), what
