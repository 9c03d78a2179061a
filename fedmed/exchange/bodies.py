"""What a model, an update and a state may say in their `body`. The modules `bodies_*` hold the other kinds: together
the whole list of facts that can leave a hospital.

Numbers that are not counts are decimal strings, because canonical JSON has no floats.
"""

from collections.abc import Sequence
from typing import Annotated, Literal, Self, TypeVar

from pydantic import Field, model_validator

from fedmed.exchange.bodies_masking import Masked
from fedmed.exchange.bodies_privacy import CentralBlock, PrivacyBlock, Reservation
from fedmed.exchange.bodies_roster import Version
from fedmed.exchange.certificates import Certificate
from fedmed.exchange.fields import Count, Decimal, Digest, ErrorCode, Label, SenderName, Sent, TensorName, Text

ALL = "all"  # over all labels
_Facts = TypeVar("_Facts")


SiteStatus = Literal[
    "used", "missing", "excluded", "unapproved", "held", "refused", "late", "unused", "void", "revoked"
]


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
        if len({each.weight is None for each in self.parents}) > 1:
            raise ValueError("partly masked")
        return self

    def require_whole(self) -> None:
        """Where updates will be masked it is told how long they may be. Raises ValueError."""
        if bool(self.masks) != (self.clip is not None):
            raise ValueError("masks and clip are told together")

    @property
    def is_of_masked(self) -> bool:
        """Whether the updates that it was made of were masked."""
        return any(parent.weight is None for parent in self.parents)


class Exclusion(Sent):
    code: ErrorCode
    count: Count


class UpdateFacts(Sent):
    """What an update tells of the hospital's data and training, beside the tensors. `train_loss` is null under
    differential privacy: it is of the training patients, and has no noise.
    """

    num_cases: Annotated[int, Field(ge=1, le=1_000_000)]
    num_patients: Annotated[int, Field(ge=1, le=1_000_000)]
    num_steps: Annotated[int, Field(ge=1)]
    train_loss: Decimal | None
    base_metrics: list[Metric] = Field(max_length=200)
    exclusions: list[Exclusion] = Field(max_length=64)


class Update(Sent):
    """`chain`: in a lap the update that this one goes on from; null for the first of the order, and outside of laps.
    `facts` are null in a masked update, where nobody learns them. `reservation` names the entry of the hospital's
    budget store that the round was charged to: a random number, which the sender alone can look up. It is never
    encrypted, because a restored hospital has no more of an update than its statement.
    """

    chain: Digest | None
    facts: UpdateFacts | None
    data: Digest
    label_map: Digest
    preprocessing: Digest | None
    state: Digest | None
    reservation: Reservation | None
    privacy: PrivacyBlock | None
    masked: Masked | None
    versions: list[Version] = Field(max_length=16)

    @model_validator(mode="after")
    def _told_or_masked(self) -> Self:
        if self.masked is not None and self.facts is not None:
            raise ValueError("a masked update tells no facts")
        if self.privacy and (self.privacy.noise_multiplier is None) != (self.masked is not None):
            raise ValueError("the noise of an update is told, unless it is masked")
        require_quiet(self.facts, self.privacy)
        return self

    def require_whole(self) -> None:
        """What was spent is told together with what it was charged to. Raises ValueError."""
        if (self.privacy is None) != (self.reservation is None):
            raise ValueError("privacy and reservation are told together")

    @property
    def told(self) -> UpdateFacts:
        """Its facts, where it must have told them."""
        return require_told(self.facts)

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


def require_quiet(facts: UpdateFacts | None, privacy: PrivacyBlock | None) -> None:
    """Raises ValueError for a loss of training beside noise on the weights, and for neither."""
    if facts is not None and (facts.train_loss is None) != (privacy is not None):
        raise ValueError("the loss of training is told, unless its patients have differential privacy")


def require_told(facts: _Facts | None) -> _Facts:
    """Facts of a statement that must have told them. Raises ValueError."""
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
