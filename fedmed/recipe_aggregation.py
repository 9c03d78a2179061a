"""What is hidden when updates become a model: single updates from the coordinator (masking), or single sites from who
gets the model (central noise).
"""

from typing import TYPE_CHECKING, Literal, Self

from pydantic import Field, model_validator

from fedmed.strict import Strict

if TYPE_CHECKING:
    from fedmed.recipe import Recipe

# what each of the others would need to know of single sites
_SINGLE_UPDATES = {
    "cyclic": "one site goes on from another's very weights",
    "fednova": "it divides each update by that site's steps",
    "scaffold": "control variates would travel beside the masked weights",
    "norm_clipped_mean": "it cuts each update to the others' length",
    "krum": "it compares single updates",
    "multi_krum": "it compares single updates",
    "geometric_median": "it compares single updates",
    "median": "it compares single updates",
    "trimmed_mean": "it compares single updates",
}

_OF_A_MEAN = ("fedavg", "fedavgm", "fedadam", "fedyogi", "fedadagrad")


class Clip(Strict):
    """The length that an update is shortened to before it is masked, which is also the largest single change.

    With `times_last` it is `norm` in round 0, and later that many times the length of the last pooled update, never
    above `norm` and never below a thousandth of it.
    """

    norm: float = Field(ge=1e-3, le=1e6)
    times_last: float | None = Field(default=None, ge=0.1, le=100)


class AdaptiveClip(Strict):
    """The clip norm follows the quantile `target_quantile` of the updates' lengths, from round to round by a factor of
    exp(`rate`) at most (Andrew et al. 2021). `count_noise` is the standard deviation of the noise on how many updates
    are no longer than the clip; a twentieth of the number of sites if it is left out.
    """

    target_quantile: float = Field(default=0.5, ge=0.01, le=0.99)
    rate: float = Field(default=0.2, gt=0, le=1)
    count_noise: float | None = Field(default=None, ge=0.1, le=1000)


class Central(Strict):
    """Differential privacy of sites: the coordinator, who sees every update, cuts each to `clip_norm` and adds noise of
    `noise_multiplier` clip norms to the sum of a round, as much as `target_epsilon` at `delta` needs over all rounds.

    With few sites the noise is far longer than what they learned; below 30 it takes `force`.
    """

    clip_norm: float = Field(ge=1e-6, le=1e6)
    noise_multiplier: float | None = Field(default=None, ge=0.01, le=1000)
    target_epsilon: float | None = Field(default=None, ge=0.01, le=100)
    delta: float = Field(default=1e-5, ge=1e-9, le=0.01)
    adaptive: AdaptiveClip | None = None
    force: bool = False

    @model_validator(mode="after")
    def _one_measure(self) -> Self:
        if (self.noise_multiplier is None) == (self.target_epsilon is None):
            raise ValueError("give noise_multiplier or target_epsilon")
        return self


class Aggregation(Strict):
    """`dm2` is double masking in two visits a round; THREATS.md says what it hides and what it does not."""

    masking: Literal["none", "dm2"] = "none"
    colluders: int | None = Field(default=None, ge=1, le=98)
    ring: Literal[32, 64] = 32
    clip: Clip | None = None
    set_change: Literal["warn", "refuse"] = "warn"
    central: Central | None = None

    @property
    def masks(self) -> bool:
        return self.masking == "dm2"

    @model_validator(mode="after")
    def _fields_of_masking(self) -> Self:
        if self.masks and self.clip is None:
            raise ValueError("masking: dm2 needs clip: {norm: ...}")
        default = {name: type(self).model_fields[name].default for name in ("colluders", "ring", "clip", "set_change")}
        extra = sorted(name for name, value in default.items() if getattr(self, name) != value)
        if not self.masks and extra:
            raise ValueError(f"{', '.join(extra)}: only with masking: dm2")
        if self.masks and self.central:
            raise ValueError("central: not with masking: dm2, which would hide from the coordinator what it has to cut")
        return self

    def check(self, recipe: "Recipe") -> None:
        """Raises ValueError where masking or noise takes away what the rest of the recipe needs."""
        if self.central is not None:
            _check_central(recipe)
        if not self.masks:
            return
        training, update = recipe.training, recipe.update
        staying = training.personal != "none" or getattr(recipe.network, "batch_norm", "shared") == "local"
        faults = {
            _SINGLE_UPDATES.get(recipe.strategy.name, ""): f"strategy {recipe.strategy.name}",
            "only whole numbers of one size add up": ""
            if (update.encoding, update.compress) == ("fp32", "none")
            else f"update.encoding {update.encoding}, compress {update.compress}",
            "no update says how good the model was": "stopping" if recipe.stopping else "",
            "what fewer sites learn than the others would show them": "layers that stay at the sites"
            if staying
            else "",
            "the model that it keeps belongs to one update, and a masked one may take several attempts": "ditto_lambda"
            if training.ditto_lambda
            else "",
        }
        for why, what in faults.items():
            if why and what:
                raise ValueError(f"aggregation.masking: dm2 is not for {what}: {why}")


def _check_central(recipe: "Recipe") -> None:
    """Raises ValueError where a model would tell more of a site than the noise covers."""
    faults = {
        "it does not follow from the mean of the updates": ""
        if recipe.strategy.name in _OF_A_MEAN
        else f"strategy {recipe.strategy.name}",
        "every site counts the same": "" if recipe.strategy.weight == "equal" else "strategy.weight other than equal",
        "running statistics get no noise": "batch_norm: average"
        if getattr(recipe.network, "batch_norm", None) == "average"
        else "",
        "it decides by numbers without noise": "stopping" if recipe.stopping else "",
    }
    for why, what in faults.items():
        if what:
            raise ValueError(f"aggregation.central is not for {what}: {why}")
