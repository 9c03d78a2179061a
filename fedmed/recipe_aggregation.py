"""Whether the coordinator sees single updates: the part of a recipe that asks for secure aggregation."""

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


class Clip(Strict):
    """The length that an update is shortened to before it is masked, which is also the largest single change.

    With `times_last` it is `norm` in round 0, and later that many times the length of the last pooled update, never
    above `norm` and never below a thousandth of it.
    """

    norm: float = Field(ge=1e-3, le=1e6)
    times_last: float | None = Field(default=None, ge=0.1, le=100)


class Aggregation(Strict):
    """`dm2` is double masking in two visits a round; THREATS.md says what it hides and what it does not."""

    masking: Literal["none", "dm2"] = "none"
    colluders: int | None = Field(default=None, ge=1, le=98)
    ring: Literal[32, 64] = 32
    clip: Clip | None = None
    set_change: Literal["warn", "refuse"] = "warn"

    @property
    def masks(self) -> bool:
        return self.masking == "dm2"

    @model_validator(mode="after")
    def _fields_of_masking(self) -> Self:
        if self.masks and self.clip is None:
            raise ValueError("masking: dm2 needs clip: {norm: ...}")
        extra = sorted({"colluders", "ring", "clip", "set_change"} & self.model_fields_set)
        if not self.masks and extra and self != Aggregation():
            raise ValueError(f"{', '.join(extra)}: only with masking: dm2")
        return self

    def check(self, recipe: "Recipe") -> None:
        """Raises ValueError where masking hides what the rest of the recipe needs to see."""
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
