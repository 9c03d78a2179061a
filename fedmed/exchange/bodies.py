"""What each kind of signed file may say in its `body`: the whole list of facts that can leave a hospital.

Numbers that are not counts are decimal strings, because canonical JSON has no floats.
"""

from collections.abc import Sequence
from typing import Annotated, Literal, Self, TypeVar

from pydantic import AfterValidator, Field, model_validator

from fedmed.exchange.bodies_masking import Masked
from fedmed.exchange.bodies_privacy import CentralBlock, PrivacyBlock
from fedmed.exchange.certificates import Certificate
from fedmed.exchange.fields import (
    AgeRecipient,
    Count,
    Decimal,
    Digest,
    ErrorCode,
    Label,
    PublicKey,
    SenderName,
    Sent,
    TensorName,
    Text,
    within,
)

ModelName = Literal["global", "alone", "personal"]
ALL = "all"  # over all labels
_Facts = TypeVar("_Facts")


SiteStatus = Literal[
    "used", "missing", "excluded", "unapproved", "held", "refused", "late", "unused", "void", "revoked"
]


class Version(Sent):
    name: Label
    version: Label


class Join(Sent):
    """A hospital asks to take part. No fact about its data. `mask` is its first mask certificate; what is for it alone
    is encrypted to `age`.
    """

    name: SenderName
    key: PublicKey
    age: AgeRecipient
    contact: Text
    mask: Certificate
    nonce: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
    versions: list[Version] = Field(max_length=16)


class Member(Sent):
    """One site of the roster; `join` is the id of the join statement whose fingerprint was read over the phone."""

    name: SenderName
    key: PublicKey
    age: AgeRecipient
    join: Digest
    max_num_cases: Annotated[int, Field(ge=1, le=1_000_000)]


class Limits(Sent):
    """What the round's rules may rely on; `max_norm_ratio` and `min_cosine` decide which updates a person must see."""

    rounds: Annotated[int, Field(ge=1, le=10_000)]
    min_sites: Annotated[int, Field(ge=1, le=100)]
    max_share: Decimal
    deadline_days: Decimal | None
    valid_days: Annotated[int, Field(ge=1, le=3650)]
    min_count: Annotated[int, Field(ge=1, le=1000)]
    max_norm_ratio: Annotated[Decimal, AfterValidator(within(1, 1_000_000))]
    min_cosine: Annotated[Decimal, AfterValidator(within(-1, 1))]


class Federation(Sent):
    """The trust root: who takes part with which key, under which limits, and whether payloads are encrypted."""

    coordinator: PublicKey
    coordinator_age: AgeRecipient
    roster: list[Member] = Field(min_length=1, max_length=100)
    limits: Limits
    encryption: Literal["none", "age"]

    @model_validator(mode="after")
    def _one_seat_each(self) -> Self:
        names = {"coordinator", *(member.name for member in self.roster)}
        owners = {self.coordinator, *(member.key for member in self.roster)}
        readers = {self.coordinator_age, *(member.age for member in self.roster)}
        if not len(names) == len(owners) == len(readers) == len(self.roster) + 1:
            raise ValueError("a name or key stands twice")
        return self


class Approval(Sent):
    """A person of the hospital consents to this federation; the federation's digest is the statement's subject."""

    by: Text


class Parent(Sent):
    """One update that a model was made of: `weight` by the recipe's rule, `share` what it counted after the cap; null
    where the updates were masked, because nobody knows them.
    """

    site: SenderName
    update: Digest
    weight: Count | None
    share: Decimal | None

    @model_validator(mode="after")
    def _both_or_neither(self) -> Self:
        if (self.weight is None) != (self.share is None):
            raise ValueError("weight and share are known together")
        return self


class SiteAck(Sent):
    """What became of a site's file: its receipt."""

    site: SenderName
    id: Digest | None
    status: SiteStatus
    reason: Text


class Metric(Sent):
    """One metric of one class over cases; `missed` cases are in the mean, with the value the rules give them."""

    metric: Label
    label: Label
    n: Count
    mean: Decimal | None
    sd: Decimal | None


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


class Model(Sent):
    """`order`: who trains when, where the next round is a lap; else nobody, and all train at once. `masks`: with which
    certificates updates are masked that answer this model, one a site by name, and `clip` how long they may be.
    `central`: the noise of the coordinator, where the recipe asks for it.
    """

    parents: list[Parent] = Field(max_length=100)
    order: list[SenderName] = Field(max_length=100)
    masks: list[Certificate] = Field(max_length=100)
    clip: Decimal | None
    central: CentralBlock | None
    previous: Digest | None
    state: Digest | None
    last: bool
    pooled: list[Metric] = Field(max_length=200)

    @model_validator(mode="after")
    def _one_turn_each(self) -> Self:
        if len(set(self.order)) < len(self.order):
            raise ValueError("a site stands twice in the order")
        return self

    @model_validator(mode="after")
    def _of_one_kind(self) -> Self:
        if bool(self.masks) != (self.clip is not None) or len({each.weight is None for each in self.parents}) > 1:
            raise ValueError("partly masked")
        return self

    @property
    def is_of_masked(self) -> bool:
        """Whether the updates that it was made of were masked."""
        return any(parent.weight is None for parent in self.parents)


class Exclusion(Sent):
    code: ErrorCode
    count: Count


class UpdateFacts(Sent):
    """What an update tells of the hospital's data and training, beside the tensors."""

    num_cases: Annotated[int, Field(ge=1, le=1_000_000)]
    num_patients: Annotated[int, Field(ge=1, le=1_000_000)]
    num_steps: Annotated[int, Field(ge=1)]
    train_loss: Decimal
    base_metrics: list[Metric] = Field(max_length=200)
    exclusions: list[Exclusion] = Field(max_length=64)


class Update(Sent):
    """`chain`: in a lap the update that this one goes on from; null for the first of the order, and outside of laps.
    `facts` are null in a masked update, where nobody learns them.
    """

    chain: Digest | None
    facts: UpdateFacts | None
    data: Digest
    label_map: Digest
    preprocessing: Digest | None
    state: Digest | None
    privacy: PrivacyBlock | None
    masked: Masked | None
    versions: list[Version] = Field(max_length=16)

    @model_validator(mode="after")
    def _told_or_masked(self) -> Self:
        if self.masked is not None and self.facts is not None:
            raise ValueError("a masked update tells no facts")
        if self.privacy and (self.privacy.noise_multiplier is None) != (self.masked is not None):
            raise ValueError("the noise of an update is told, unless it is masked")
        return self

    @property
    def told(self) -> UpdateFacts:
        """Its facts, where it must have told them."""
        return _told(self.facts)

    def overall(self, metric: str) -> tuple[int, float | None]:
        """Number of cases and value over all labels of the model it started from; (0, None) where it does not say."""
        return overall(self.facts.base_metrics if self.facts else [], metric)


class StatePart(Sent):
    """One thing that is remembered. `tensors` are the rows of the federation's table that it has: all, those of group
    `param`, or the ones named.
    """

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,31}$")]
    tensors: Literal["all", "param"] | list[TensorName]

    @model_validator(mode="after")
    def _each_name_once(self) -> Self:
        if isinstance(self.tensors, list) and not 0 < len(self.tensors) == len(set(self.tensors)):
            raise ValueError("a tensor stands twice, or there is none")
        return self


class State(Sent):
    """What a site or a strategy remembers between rounds; its tensors are called PART/NAME."""

    parts: list[StatePart] = Field(min_length=1, max_length=8)

    @model_validator(mode="after")
    def _each_part_once(self) -> Self:
        if len({part.name for part in self.parts}) < len(self.parts):
            raise ValueError("a part stands twice")
        return self


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
        return _told(self.facts)

    def overall(self, model: ModelName, metric: str) -> tuple[int, float | None]:
        """Number of cases and value over all labels; (0, None) where the report has no such row."""
        return overall([row for row in self.told.scores if row.model == model], metric)


def _told(facts: _Facts | None) -> _Facts:
    if facts is None:
        raise ValueError("facts are asked for where a statement tells none")
    return facts


def overall(rows: Sequence[Metric], metric: str) -> tuple[int, float | None]:
    """Number of cases and value over all labels; (0, None) where no row is about that."""
    row = next((each for each in rows if (each.metric, each.label) == (metric, ALL)), None)
    return (0, None) if row is None else (row.n, None if row.mean is None else float(row.mean))


def decimal(value: float) -> str:
    """A float as the decimal string of a statement: at most nine places, no exponent, no minus zero."""
    text = f"{value:.9f}".rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text
