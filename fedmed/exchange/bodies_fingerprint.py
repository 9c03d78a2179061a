"""What a site tells of its training cases before the first model, as long as nobody trains."""

from typing import Annotated

from pydantic import Field

from fedmed.exchange.fields import Count, Decimal, Sent

Channel = Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9]{0,15}$")]
Bin = Annotated[int, Field(ge=-1000, le=1000)]
Class = Annotated[int, Field(ge=0, le=32)]


class Grey(Sent):
    """Grey values of a channel over `n` cases, each counting once; `low` and `high` are means of the cases' 0.5 and
    99.5 percentiles, null where they are of too few.
    """

    channel: Channel
    n: Count
    mean: Decimal
    sd: Decimal
    low: Decimal | None
    high: Decimal | None


class Cell(Sent):
    """Cases whose length lies in the bins `first` to `last`; bin k is what is nearest to 1.02 to the power of k."""

    first: Bin
    last: Bin
    count: Annotated[int, Field(ge=1, le=1_000_000)]


class Lengths(Sent):
    """Cases along one axis; the `untold` ones are too few to be told."""

    cells: list[Cell] = Field(max_length=200)
    untold: Count


class ClassShare(Sent):
    """The cases that show a class, and its voxels in them; null where that is not told, which is not zero."""

    label: Class
    cases: Count | None
    voxels: Decimal | None


class Input(Sent):
    """One number that a network gets of a row of a table, over the `n` rows that have it; 0 where it is not told."""

    n: Count
    mean: Decimal
    sd: Decimal


class DataFingerprint(Sent):
    """What the training cases of a site look like, before the first model. Lengths: three axes each. Of tables there
    are `inputs` alone, in the order of the recipe's columns and levels.
    """

    num_cases: Annotated[int, Field(ge=1, le=1_000_000)]
    channels: list[Grey] = Field(max_length=4)
    spacing: list[Lengths] = Field(min_length=3, max_length=3)
    shape: list[Lengths] = Field(min_length=3, max_length=3)
    classes: list[ClassShare] = Field(max_length=33)
    inputs: list[Input] = Field(max_length=2048)
