"""Numbers fitted on training cases that every case goes through: a site's own, or those of the whole federation.

They belong to the model as the recipe does: whoever trains, scores or predicts uses the same. Recipes with
`normalisation: image` need none.
"""

from __future__ import annotations

import hashlib
import json
from typing import Annotated

from pydantic import Field, ValidationError, model_validator

from fedmed.errors import FedmedError
from fedmed.recipe_fields import Channel, Millimetres
from fedmed.recipe_tables import ColumnName
from fedmed.strict import Strict

MAX_BYTES = 256 * 1024


class Intensity(Strict):
    """Grey values of one channel: cut off at `low` and `high`, where they are known, then (x - mean) / sd."""

    mean: float
    sd: float = Field(gt=0)
    low: float | None = None
    high: float | None = None

    @model_validator(mode="after")
    def _both_ends_or_none(self) -> Intensity:
        if (self.low is None) != (self.high is None) or (self.low or 0) > (self.high or 0):
            raise ValueError("low and high belong together, in this order")
        return self


class ColumnNumbers(Strict):
    """A column of a table: a gap becomes `fill` (of a category the number of its level), a number (x - mean) / sd."""

    fill: float
    mean: float = 0.0
    sd: float = Field(default=1.0, gt=0)


class Preprocessing(Strict):
    """What was fitted; a part is None where the recipe does not ask for it, or where nobody may tell it.

    `spacing` in mm along the recipe's axes; `class_counts` training cases by class (0: no finding); `columns` by name.
    """

    channels: dict[Channel, Intensity] | None = None
    spacing: tuple[Millimetres, Millimetres, Millimetres] | None = None
    class_counts: dict[Annotated[int, Field(ge=0, le=32)], Annotated[int, Field(ge=0)]] | None = None
    columns: dict[ColumnName, ColumnNumbers] | None = None

    def to_bytes(self) -> bytes:
        """Canonical JSON: every field written out, keys sorted, shortest floats."""
        data = self.model_dump(mode="json")
        return json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()

    def digest(self) -> str:
        """SHA-256 of the canonical JSON: what an update says it was made with."""
        return hashlib.sha256(self.to_bytes()).hexdigest()


def from_bytes(data: bytes, name: str, next_: str = "") -> Preprocessing:
    """The twin of `to_bytes`. Raises FedmedError FM-NRM-01 (with the remedy `next_`) for what it would not write."""
    try:
        found = Preprocessing.model_validate_json(data)
    except ValidationError as error:
        words = f"{name}: expected the numbers that fedmed writes"
        raise FedmedError("FM-NRM-01", words, next=next_, local=str(error)) from error
    if found.to_bytes() != data:
        raise FedmedError("FM-NRM-01", f"{name}: not in the canonical form that fedmed writes", next=next_)
    return found


def digest_of(found: Preprocessing | None) -> str | None:
    """Of what may not be there: None for `normalisation: image`."""
    return None if found is None else found.digest()
