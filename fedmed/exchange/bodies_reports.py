"""What a site tells of the cases that it scored models on."""

from typing import Literal, Self

from pydantic import Field, model_validator

from fedmed.exchange.bodies import Exclusion, Metric, decimal, overall, require_told
from fedmed.exchange.fields import Count, Label, Sent

ModelName = Literal["global", "alone", "personal"]


class Score(Metric):
    """A metric of the test or validation cases; `label` is a class, or ALL."""

    model: ModelName
    missed: Count
    spurious: Count
    empty: Count
    histogram: list[Count] | None = Field(min_length=20, max_length=20)

    @classmethod
    def figure(cls, model: ModelName, metric: str, label: str, count: int, value: float | None) -> Self:
        """One number about `count` cases or boxes; of an undefined one `n` is 0."""
        n, mean = (0, None) if value is None else (count, decimal(value))
        return cls(
            model=model, metric=metric, label=label, n=n, mean=mean, sd=None, missed=0, spurious=0, empty=0,
            histogram=None,
        )  # fmt: skip


class Curve(Sent):
    """How a classifier's scores for one label are spread, in 100 bins from 0 to 1, with the finding and without it."""

    model: ModelName
    label: Label
    positives: list[Count] = Field(min_length=100, max_length=100)
    negatives: list[Count] = Field(min_length=100, max_length=100)


class Froc(Sent):
    """How the scores of candidates for one label are spread, in 100 bins from 0 to 1: of those that hit a reference box
    for the first time, and of those that hit none. Counts add up over sites.
    """

    model: ModelName
    label: Label
    hits: list[Count] = Field(min_length=100, max_length=100)
    false_positives: list[Count] = Field(min_length=100, max_length=100)
    boxes: Count
    images: Count

    @model_validator(mode="after")
    def _each_box_is_hit_once(self) -> Self:
        if sum(self.hits) > self.boxes:
            raise ValueError("more hits than boxes")
        return self


class ReportFacts(Sent):
    """What a report tells of the hospital's cases."""

    num_cases: Count
    scores: list[Score] = Field(max_length=600)
    curves: list[Curve] = Field(max_length=96)
    frocs: list[Froc] = Field(max_length=96)
    exclusions: list[Exclusion] = Field(max_length=64)


class Report(Sent):
    split: Literal["validation", "testing"]
    opening: Count
    facts: ReportFacts | None

    @property
    def told(self) -> ReportFacts:
        """Its facts, where it must have told them."""
        return require_told(self.facts)

    def overall(self, model: ModelName, metric: str) -> tuple[int, float | None]:
        """Number of cases and value over all labels; (0, None) where the report has no such row."""
        return overall([row for row in self.told.scores if row.model == model], metric)
