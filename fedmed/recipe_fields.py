"""The parts of a recipe: which images, when it ends, what is scored.

Each class is a closed list of fields with bounds. What only two parts together can break is checked in `recipe`.
"""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, field_validator, model_validator

from fedmed.severities import Severity, allowed
from fedmed.strict import Strict

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9]*(-[a-z0-9]+)*$", min_length=2, max_length=64)]
Channel = Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9]{0,15}$")]
ClassName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9]*([_-][a-z0-9]+)*$", max_length=32)]
Probability = Annotated[float, Field(ge=0, le=1)]
MAX_MILLIMETRES = 20
Millimetres = Annotated[float, Field(gt=0, le=MAX_MILLIMETRES)]
Side = Annotated[int, Field(ge=16, le=4096)]
FEDERATED: Literal["federated"] = "federated"  # found from all hospitals' fingerprints


class Series(Strict):
    """Which DICOM series of a study is meant, when there are several."""

    min_slices: int = Field(default=8, ge=2, le=5000)
    description: str = Field(default="*", max_length=64)


class Split(Strict):
    """Shares of patients kept for validation and for the final test."""

    validation: float = Field(default=0.15, ge=0, lt=0.5)
    testing: float = Field(default=0.2, ge=0, lt=0.5)


class Cohort(Strict):
    """Who is kept for what, whatever a case is."""

    split: Split = Field(default_factory=Split)
    max_excluded: Probability = 0.05
    severities: dict[str, Severity] = Field(default_factory=dict, max_length=100)

    @property
    def pools(self) -> bool:
        """Whether numbers fitted on all sites together come before the first round."""
        return False

    @field_validator("severities")
    @classmethod
    def _only_of_findings(cls, value: dict[str, Severity]) -> dict[str, Severity]:
        for code, severity in value.items():
            may = allowed(code)
            if not may:
                raise ValueError(f"{code[:20]} is no finding of the data check")
            if severity not in may:
                raise ValueError(f"{code} may be {', '.join(may)}")
        return dict(sorted(value.items()))


def _count_up(labels: dict[int, str]) -> dict[int, str]:
    if sorted(labels) != list(range(1, len(labels) + 1)):
        raise ValueError("labels must be numbered 1, 2, 3, ... without a gap; 0 is background, or no finding")
    if len(set(labels.values())) != len(labels):
        raise ValueError("two labels have the same name")
    return labels


Labels = Annotated[
    dict[Annotated[int, Field(ge=1, le=32)], ClassName],
    Field(min_length=1, max_length=32),
    AfterValidator(_count_up),
]


class Data(Cohort):
    """Which images a case consists of, and into which classes they fall."""

    modality: Literal["XR", "MR", "CT", "PT"]
    channels: tuple[Channel, ...] = Field(min_length=1, max_length=4)
    labels: Labels
    normalisation: Literal["image", "site", "federated"] = "image"
    series: Series = Field(default_factory=Series)
    grid_tolerance: float = Field(default=0.1, ge=0.001, le=0.5)

    @property
    def pools(self) -> bool:
        return self.normalisation == FEDERATED

    @property
    def zero_is_outside(self) -> bool:
        """Whether a value of 0 is no measurement but what lies outside of the patient; in CT it is water."""
        return self.modality in ("MR", "PT")

    @model_validator(mode="after")
    def _channels_differ(self) -> Self:
        if len(set(self.channels)) != len(self.channels):
            raise ValueError("two channels have the same name")
        return self


class Volumes(Data):
    """Whole volumes, as segmentation sees them."""

    modality: Literal["MR", "CT", "PT"]
    spacing: tuple[Millimetres, Millimetres, Millimetres] | Literal["federated"] = FEDERATED
    axcodes: Literal["RAS", "LPS", "LAS", "RPI"] = "RAS"

    @model_validator(mode="after")
    def _all_sites_share_a_spacing(self) -> Self:
        if self.spacing == FEDERATED and self.normalisation != FEDERATED:
            raise ValueError("spacing must be given, unless normalisation is federated")
        return self


class Slices(Strict):
    """Which slices of a volume are looked at: the middle ones, across the third of `axcodes`."""

    axcodes: Literal["LPS", "LIP", "PIR"] = "LPS"
    middle: float = Field(default=0.8, gt=0, le=1)


class Pictures(Data):
    """Two-dimensional images, as classification and localisation see them: radiographs, or slices of volumes."""

    image_size: tuple[Side, Side]
    slices: Slices | None = None

    @model_validator(mode="after")
    def _radiographs_have_no_slices(self) -> Self:
        if (self.modality == "XR") != (self.slices is None):
            raise ValueError("slices belong to volumes (MR, CT, PT), and only to them")
        return self


class Stopping(Strict):
    """The federation ends where the first metric of `evaluation`, on the validation cases of all sites, has not got
    better by more than `min_delta` for `patience` rounds.
    """

    patience: int = Field(ge=1, le=1000)
    min_delta: float = Field(default=0.0, ge=0, le=1000)


class Evaluation(Strict):
    """How a model is scored, whatever the task."""

    metrics: tuple[str, ...]


class SegmentationEvaluation(Evaluation):
    metrics: tuple[Literal["dice", "hd95", "sensitivity"], ...] = Field(
        default=("dice", "hd95", "sensitivity"), min_length=1
    )
    overlap: float = Field(default=0.5, ge=0, lt=0.9)
    window_batch: int = Field(default=2, ge=1, le=64)


ClassificationMetric = Literal["accuracy", "auroc", "auprc", "balanced_accuracy", "sensitivity_at_spec90"]


class ClassificationEvaluation(Evaluation):
    """`unit` is what is counted; a patient's score is pooled from all images and slices of that patient."""

    metrics: tuple[ClassificationMetric, ...] = Field(
        default=("auroc", "auprc", "balanced_accuracy", "sensitivity_at_spec90"), min_length=1
    )
    unit: Literal["case", "patient"] = "case"
    pooling: Literal["mean", "max"] = "mean"
    batch_size: int = Field(default=16, ge=1, le=256)


class LocalisationEvaluation(Evaluation):
    """Candidates are peaks of the heat map, at least `min_distance` of its pixels apart."""

    metrics: tuple[Literal["froc", "auroc"], ...] = Field(default=("froc", "auroc"), min_length=1)
    min_distance: int = Field(default=8, ge=1, le=512)
