"""The parts of a recipe whose cases are rows of a table: which columns go in, what comes out, what becomes of gaps."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from fedmed.recipe_fields import FEDERATED, ClassificationMetric, Cohort, Evaluation, Labels
from fedmed.recipe_training import Calibration, Training
from fedmed.strict import PlainText, Strict

MAX_INPUTS = 2048
ColumnName = Annotated[PlainText, Field(min_length=1, max_length=100)]
Level = Annotated[int, Field(strict=True)] | ColumnName


class Column(Strict):
    """A number; or, with `levels`, a category, whose first level is the one that the others are compared with.

    `mean` and `sd` are known without looking at the patients, from a textbook or a published table.
    """

    name: ColumnName
    levels: tuple[Level, ...] | None = Field(default=None, min_length=2, max_length=64)
    mean: float = 0.0
    sd: float = Field(default=1.0, gt=0)

    @model_validator(mode="after")
    def _levels_differ(self) -> Self:
        if self.levels and len({str(level) for level in self.levels}) != len(self.levels):
            raise ValueError("a level stands twice")
        return self

    @property
    def is_scaled(self) -> bool:
        return (self.mean, self.sd) != (0.0, 1.0)

    @model_validator(mode="after")
    def _only_numbers_are_scaled(self) -> Self:
        if self.levels and self.is_scaled:
            raise ValueError("mean and sd belong to numbers, not to levels")
        return self

    @property
    def inputs(self) -> tuple[str, ...]:
        """Of the network: the number, or 0 or 1 for each level but the first."""
        return tuple(f"{self.name}: {level}" for level in self.levels[1:]) if self.levels else (self.name,)


class Table(Cohort):
    """Which columns of a row the network sees. `imputation` fills gaps from the site's own training rows, or by each
    column's `mean` and first level (`constant`).
    """

    columns: tuple[Column, ...] = Field(min_length=1, max_length=256)
    normalisation: Literal["none", "site", "federated"] = "site"
    imputation: Literal["median", "mean", "constant", "drop"] = "median"

    @model_validator(mode="after")
    def _columns_differ(self) -> Self:
        if len(set(self.names)) != len(self.names):
            raise ValueError("a column stands twice, or is both input and outcome")
        if self.width > MAX_INPUTS:
            raise ValueError(f"columns and levels make {self.width} inputs, expected at most {MAX_INPUTS}")
        return self

    @model_validator(mode="after")
    def _numbers_are_scaled_once(self) -> Self:
        if self.normalisation != "none" and any(column.is_scaled for column in self.columns):
            raise ValueError("mean and sd of a column belong to normalisation: none")
        if self.normalisation != "none" and self.imputation == "constant":
            raise ValueError("imputation: constant belongs to normalisation: none")
        return self

    @property
    def pools(self) -> bool:
        return self.normalisation == FEDERATED

    @property
    def outcomes(self) -> tuple[str, ...]:
        """The columns that say what is to be learned."""
        return ()

    @property
    def names(self) -> tuple[str, ...]:
        """Every column that a table must have."""
        return (*(column.name for column in self.columns), *self.outcomes)

    @property
    def width(self) -> int:
        """Inputs of the network."""
        return len(self.inputs)

    @property
    def inputs(self) -> tuple[str, ...]:
        """What each input is called where a person reads of it."""
        return tuple(name for column in self.columns for name in column.inputs)


class ClassOutcome(Strict):
    """A class is a whole number in `column`; with `above` it is 1 where the number there is higher, else 0."""

    column: ColumnName
    above: float | None = None


class ClassTable(Table):
    labels: Labels
    outcome: ClassOutcome

    @model_validator(mode="after")
    def _a_threshold_makes_one_class(self) -> Self:
        if self.outcome.above is not None and len(self.labels) > 1:
            raise ValueError("above makes one class: expected one label")
        return self

    @property
    def outcomes(self) -> tuple[str, ...]:
        return (self.outcome.column,)


class SurvivalOutcome(Strict):
    """`time` until the event or the last news of the patient; `event` 1 where it came, 0 where it was not seen."""

    time: ColumnName
    event: ColumnName


class SurvivalTable(Table):
    outcome: SurvivalOutcome

    @property
    def outcomes(self) -> tuple[str, ...]:
        return (self.outcome.time, self.outcome.event)

    @property
    def labels(self) -> dict[int, str]:
        """The event, as the one class there is."""
        return {1: "event"}


class TabularLoss(Strict):
    """With one label the binary cross entropy of one output, with several that of the softmax."""

    name: Literal["CrossEntropyLoss"] = "CrossEntropyLoss"


class TabularTraining(Training):
    logit_calibration: Calibration = 0.0
    loss: TabularLoss = Field(default_factory=TabularLoss)


class CoxLoss(Strict):
    name: Literal["CoxPHLoss"] = "CoxPHLoss"


class SurvivalTraining(Training):
    batch_size: int = Field(ge=2, le=256)  # of one row alone nothing can be learned
    loss: CoxLoss = Field(default_factory=CoxLoss)


class TabularEvaluation(Evaluation):
    metrics: tuple[ClassificationMetric, ...] = Field(default=("accuracy", "auroc"), min_length=1)


class SurvivalEvaluation(Evaluation):
    metrics: tuple[Literal["c_index"], ...] = Field(default=("c_index",), min_length=1)
