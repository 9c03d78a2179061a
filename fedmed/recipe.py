"""The recipe: all that changes the numbers, as data that two hospitals can read and neither can run.

A recipe names networks, losses, transforms and metrics out of closed tables. It travels inside the federation file as
canonical JSON, and its SHA-256 is what everybody agreed to.
"""

import functools
import hashlib
import json
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from fedmed import files
from fedmed.errors import FedmedError
from fedmed.recipe_aggregation import Aggregation
from fedmed.recipe_augment import Augment, RandFlip, RandRotate90
from fedmed.recipe_dp import DP
from fedmed.recipe_fields import (
    ClassificationEvaluation,
    Cohort,
    Data,
    Evaluation,
    LocalisationEvaluation,
    Name,
    Pictures,
    SegmentationEvaluation,
    Stopping,
    Volumes,
)
from fedmed.recipe_networks import MLP, DenseNet121, Linear, Network, ResNet, SegResNet, UNet
from fedmed.recipe_strategies import AnyStrategy, FedAvg
from fedmed.recipe_tables import (
    ClassTable,
    SurvivalEvaluation,
    SurvivalTable,
    SurvivalTraining,
    Table,
    TabularEvaluation,
    TabularTraining,
)
from fedmed.recipe_training import ClassificationTraining, LocalisationTraining, SegmentationTraining, Training
from fedmed.recipe_update import Update
from fedmed.strict import PlainText, Strict, validate

MAX_BYTES = 64 * 1024


class Recipe(Strict):
    """What all tasks share; a recipe is always one of the classes below."""

    version: Literal[1] = Field(alias="schema")
    name: Name
    task: str
    description: PlainText = Field(default="", max_length=500)
    seed: int = Field(ge=0, le=2**31 - 1)
    data: Cohort
    augment: tuple[Augment, ...] = ()
    network: Network
    training: Training
    strategy: AnyStrategy = Field(default_factory=FedAvg)
    stopping: Stopping | None = None
    update: Update = Field(default_factory=Update)
    aggregation: Aggregation = Field(default_factory=Aggregation)
    dp: DP | None = None
    evaluation: Evaluation

    @model_validator(mode="after")
    def _strategy_fits(self) -> Self:
        self.strategy.check(self.training)
        self.aggregation.check(self)
        if self.dp is not None:
            self.dp.check(self)
        if self.strategy.name in ("median", "trimmed_mean") and self.update.encoding == "topk":
            words = "where most numbers of most updates are zero, their middle is"
            raise ValueError(f"strategy {self.strategy.name} cannot have update.encoding topk: {words}")
        if self.stopping is not None and self.strategy.name == "cyclic":
            raise ValueError("stopping is not for strategy cyclic, which ends with a round that averages")
        if self.lap_seed is not None and self.update.encoding != "fp32":
            raise ValueError("strategy cyclic needs update.encoding fp32: the next site goes on from the very weights")
        return self

    @property
    def wire(self) -> dict[str, Any]:
        """What `learning.layout.agreed` is given."""
        ring = self.aggregation.ring if self.aggregation.masks else 0
        return {"control": self.strategy.controls, "ring": ring, **self.update.model_dump()}

    @property
    def lap_seed(self) -> int | None:
        """What the orders of laps are drawn from, where weights go from site to site; None where all train at once."""
        return self.seed if self.strategy.name == "cyclic" else None


class Imaging(Recipe):
    """Tasks whose cases are images."""

    data: Data

    @property
    def num_classes(self) -> int:
        """Output channels of the network: the labels, and background or no finding."""
        return len(self.data.labels) + 1


class Segmentation(Imaging):
    """Outline each label in a volume."""

    task: Literal["segmentation"]
    data: Volumes
    network: Annotated[UNet | SegResNet, Field(discriminator="name")]
    training: SegmentationTraining
    evaluation: SegmentationEvaluation = Field(default_factory=SegmentationEvaluation)

    @model_validator(mode="after")
    def _patch_fits(self) -> Self:
        patch, reduction = self.training.patch_size, self.network.reduction
        if any(side % reduction for side in patch) or all(side == reduction for side in patch):
            raise ValueError(
                f"for this network, the sides of patch_size must be multiples of {reduction}, and not all {reduction}"
            )
        for step in self.augment:
            if isinstance(step, RandRotate90) and len({patch[axis] for axis in step.spatial_axes}) > 1:
                raise ValueError("RandRotate90 needs a patch_size with equal sides along its spatial_axes")
        return self


class OfPictures(Imaging):
    """What the tasks share that look at two-dimensional images."""

    data: Pictures

    @model_validator(mode="after")
    def _pictures_are_flat(self) -> Self:
        for step in self.augment:
            axes: tuple[int, ...] = ()
            if isinstance(step, RandFlip | RandRotate90):
                axes = (step.spatial_axis,) if isinstance(step, RandFlip) else step.spatial_axes
            if any(axis > 1 for axis in axes):
                raise ValueError("an image has the axes 0 (rows) and 1 (columns) only")
            if isinstance(step, RandRotate90) and len(set(self.data.image_size)) > 1:
                raise ValueError("RandRotate90 needs an image_size with equal sides")
        return self


class Classification(OfPictures):
    """Say which label an image shows; class 0 is none of them."""

    task: Literal["classification"]
    network: Annotated[DenseNet121 | ResNet, Field(discriminator="name")]
    training: ClassificationTraining
    evaluation: ClassificationEvaluation = Field(default_factory=ClassificationEvaluation)

    @model_validator(mode="after")
    def _image_is_large_enough(self) -> Self:
        # instance norm has nothing to normalise in a single feature
        least = self.network.reduction * (2 if self.network.norm == "instance" else 1)
        if min(self.data.image_size) < least:
            raise ValueError(f"for this network, the sides of image_size must be at least {least}")
        return self

    @model_validator(mode="after")
    def _batch_norm_sees_a_batch(self) -> Self:
        if self.network.norm == "batch" and self.training.batch_size < 2:
            raise ValueError("norm: batch needs a batch_size of at least 2")
        return self


class Localisation(OfPictures):
    """Point at each finding in a radiograph: a heat map for each label."""

    task: Literal["localisation"]
    network: UNet
    training: LocalisationTraining
    evaluation: LocalisationEvaluation = Field(default_factory=LocalisationEvaluation)

    @property
    def num_classes(self) -> int:
        """Output channels of the network: a heat map for each label, and none for no finding."""
        return len(self.data.labels)

    @model_validator(mode="after")
    def _radiographs_alone(self) -> Self:
        if self.data.modality != "XR":
            raise ValueError("localisation is for radiographs: modality XR")
        return self

    @model_validator(mode="after")
    def _image_fits(self) -> Self:
        size, reduction = self.data.image_size, self.network.reduction
        if any(side % reduction for side in size) or all(side == reduction for side in size):
            raise ValueError(
                f"for this network, the sides of image_size must be multiples of {reduction}, and not both {reduction}"
            )
        return self


class Rowwise(Recipe):
    """Tasks whose cases are rows of a table."""

    data: Table
    augment: tuple[()] = ()
    network: Annotated[Linear | MLP, Field(discriminator="name")]

    @property
    def num_outputs(self) -> int:
        """Of the network: one, or one a class where there are several labels."""
        return 1

    @model_validator(mode="after")
    def _something_travels(self) -> Self:
        if self.network.name == "Linear" and self.training.personal == "head":
            raise ValueError("personal: head would keep the only layer of this network at the sites")
        return self


class Tabular(Rowwise):
    """Say which label a row belongs to; class 0 is none of them."""

    task: Literal["tabular"]
    data: ClassTable
    training: TabularTraining
    evaluation: TabularEvaluation = Field(default_factory=TabularEvaluation)

    @property
    def num_outputs(self) -> int:
        return 1 if len(self.data.labels) == 1 else len(self.data.labels) + 1


class Survival(Rowwise):
    """Say who has the event earlier: proportional hazards (Cox 1972)."""

    task: Literal["survival"]
    data: SurvivalTable
    training: SurvivalTraining
    evaluation: SurvivalEvaluation = Field(default_factory=SurvivalEvaluation)


Classifying = Classification | Tabular
TASKS: dict[str, type[Recipe]] = {
    "segmentation": Segmentation,
    "classification": Classification,
    "localisation": Localisation,
    "tabular": Tabular,
    "survival": Survival,
}


def parse(data: dict[str, Any], name: str) -> Recipe:
    """A recipe by its task. Raises FedmedError FM-RCP-02 (unknown key) or -03 (bad value)."""
    task = data.get("task")
    if not isinstance(task, str) or task not in TASKS:
        shown = f", got {task!r}" if isinstance(task, str) and len(task) < 80 else ""
        raise FedmedError("FM-RCP-03", f"{name}: task: expected {', '.join(TASKS)}{shown}")
    return validate(data, TASKS[task], name=name, area="RCP")


def load(path: Path) -> Recipe:
    """Read a recipe that a person wrote (YAML). Raises FedmedError FM-RCP-01, -02 or -03."""
    from fedmed.yaml_text import read_mapping  # noqa: PLC0415 - the one that travels is JSON

    try:
        text = files.read_bounded(path, MAX_BYTES).decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        next_ = "give the recipe itself: a YAML file, as those in recipes/"
        message = f"{path.name}: cannot be read: {files.why_unreadable(error)}"
        raise FedmedError("FM-RCP-01", message, next=next_, local=str(error)) from error
    return parse(read_mapping(text, name=path.name, area="RCP"), path.name)


def to_bytes(recipe: Recipe) -> bytes:
    """The canonical JSON that travels and is hashed: every default written out, keys sorted, shortest floats."""
    data = recipe.model_dump(mode="json", by_alias=True)
    return json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


@functools.lru_cache(maxsize=8)  # a command asks again and again for the one that was agreed
def from_bytes(data: bytes) -> Recipe:
    """A recipe out of a verified federation file. Raises FedmedError FM-RCP-*, also if the bytes are not canonical."""
    try:
        read = json.loads(data)
        recipe = parse(read if isinstance(read, dict) else {}, "recipe.json")
    except (ValueError, RecursionError) as error:
        raise FedmedError("FM-RCP-01", "recipe.json: not JSON") from error
    if to_bytes(recipe) != data:
        raise FedmedError("FM-RCP-01", "recipe.json: not in the canonical form that fedmed writes")
    return recipe


def digest(recipe: Recipe) -> str:
    return hashlib.sha256(to_bytes(recipe)).hexdigest()
