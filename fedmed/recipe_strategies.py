"""How the coordinator makes the next model: the strategies of `learning.strategies`, each with its fields.

Where updates are averaged, `weight` says by what. The robust ones count every site alike: no hospital shall gain by the
number of cases that it says it has.
"""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from fedmed.recipe_training import Training
from fedmed.strict import Strict

ServerRate = Annotated[float, Field(gt=0, le=100)]
Decay = Annotated[float, Field(ge=0, lt=1)]
Tau = Annotated[float, Field(gt=0, le=1)]


class Strategy(Strict):
    """What all strategies share."""

    name: str
    weight: Literal["cases", "patients", "equal"] = "cases"

    @property
    def controls(self) -> bool:
        """Whether control variates travel beside the weights."""
        return False

    def settings(self, training: Training, round: int, rounds: int, num_sites: int) -> dict[str, Any]:  # noqa: A002, ARG002
        """What the function of this name in `learning.strategies` is given in round 0 ... rounds - 1.

        `num_sites` is how many sites the federation has, whether they take part in the round or not.
        """
        return self.model_dump(exclude={"name", "weight"})

    def check(self, training: Training) -> None:
        """Raises ValueError where hospitals train in a way that this strategy cannot follow."""


class FedAvg(Strategy):
    name: Literal["fedavg"] = "fedavg"


class Cyclic(Strategy):
    """A round is a lap from site to site, but the last of several, which averages by `weight`."""

    name: Literal["cyclic"]


class FedNova(Strategy):
    """It works out what SGD makes of steps, and takes its settings from `training`."""

    name: Literal["fednova"]

    def settings(self, training: Training, round: int, rounds: int, num_sites: int) -> dict[str, Any]:  # noqa: A002, ARG002
        return {
            "momentum": training.optimizer.momentum,
            "proximal_mu": training.proximal_mu,
            "client_lr": training.learning_rate(round, rounds),
        }

    def check(self, training: Training) -> None:
        _require_sgd(training, self.name)
        if training.optimizer.client_lr * training.proximal_mu >= 1:
            raise ValueError("strategy fednova needs client_lr * proximal_mu below 1: beyond it no step would hold")


class FedAvgM(Strategy):
    name: Literal["fedavgm"]
    server_lr: ServerRate = 1.0
    momentum: Decay = 0.9


class Adaptive(Strategy):
    """`server_lr` has no default: the right one differs between tasks by orders of magnitude."""

    server_lr: ServerRate
    beta1: Decay = 0.9
    tau: Tau = 1e-3


class FedAdam(Adaptive):
    name: Literal["fedadam"]
    beta2: Decay = 0.99


class FedYogi(Adaptive):
    name: Literal["fedyogi"]
    beta2: Decay = 0.99


class FedAdagrad(Adaptive):
    name: Literal["fedadagrad"]
    beta1: Decay = 0.0


class Equal(Strategy):
    """All sites count alike, however many cases they say they have."""

    weight: Literal["equal"] = "equal"


class Scaffold(Equal):
    """A control variate is a mean gradient, as plain SGD steps show it."""

    name: Literal["scaffold"]
    server_lr: ServerRate = 1.0

    @property
    def controls(self) -> bool:
        return True

    def settings(self, training: Training, round: int, rounds: int, num_sites: int) -> dict[str, Any]:  # noqa: A002, ARG002
        return {"server_lr": self.server_lr, "num_sites": num_sites}

    def check(self, training: Training) -> None:
        _require_sgd(training, self.name)
        if training.optimizer.momentum:
            raise ValueError("strategy scaffold needs SGD without momentum: training.optimizer.momentum must be 0")


class NormClippedMean(Strategy):
    name: Literal["norm_clipped_mean"]
    clip_norm: float | None = Field(default=None, gt=0, le=1e9)


class Krum(Equal):
    name: Literal["krum"]
    f: int = Field(ge=1, le=48)


class MultiKrum(Equal):
    name: Literal["multi_krum"]
    f: int = Field(ge=1, le=48)
    m: int | None = Field(default=None, ge=1, le=99)


class GeometricMedian(Equal):
    name: Literal["geometric_median"]


class Median(Equal):
    name: Literal["median"]


class TrimmedMean(Equal):
    name: Literal["trimmed_mean"]
    trim: float = Field(ge=0.01, le=0.49)


def _require_sgd(training: Training, name: str) -> None:
    """What is worked out of `num_steps` is true of SGD that trains everything in each of them."""
    if training.optimizer.name != "SGD":
        raise ValueError(f"strategy {name} needs SGD at the hospitals: training.optimizer.name must be SGD")
    if training.head_steps:
        raise ValueError(f"strategy {name} needs all layers to learn in every step: training.head_steps must be 0")


def _named(value: Any) -> Any:
    """Without a name it is federated averaging."""
    return {"name": "fedavg", **value} if isinstance(value, dict) else value


AnyStrategy = Annotated[
    Annotated[
        FedAvg
        | Cyclic
        | FedNova
        | FedAvgM
        | FedAdam
        | FedYogi
        | FedAdagrad
        | Scaffold
        | NormClippedMean
        | Krum
        | MultiKrum
        | GeometricMedian
        | Median
        | TrimmedMean,
        Field(discriminator="name"),
    ],
    BeforeValidator(_named),
]
