"""How an update is written on its way: the part of a recipe that decides about bytes, and a little about numbers."""

from typing import Literal, Self

from pydantic import Field, model_validator

from fedmed.strict import Strict


class Update(Strict):
    """`fraction` is the share of each tensor that `topk` sends; the rest waits at the site for the next round."""

    encoding: Literal["fp32", "fp16", "bf16", "int8", "topk"] = "fp32"
    fraction: float | None = Field(default=None, ge=0.0001, le=0.5)
    compress: Literal["none", "zstd"] = "none"

    @model_validator(mode="after")
    def _a_fraction_is_of_topk(self) -> Self:
        if (self.encoding == "topk") != (self.fraction is not None):
            raise ValueError("fraction belongs to encoding: topk, and must be given there")
        return self
