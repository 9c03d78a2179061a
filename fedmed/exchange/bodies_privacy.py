"""What a signed file says of differential privacy: parts of the bodies of updates and models."""

from typing import Annotated, Literal

from pydantic import Field

from fedmed.exchange.fields import Decimal, Sent

Reservation = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]


class PrivacyBlock(Sent):
    """What a patient of the sender has spent in this federation so far at most: `epsilon` at `delta`, rounded up to a
    tenth, and with how much noise this round was trained: null in a masked update, because the noise that a site needs
    for an epsilon tells how many patients it has.
    """

    unit: Literal["patient"]
    epsilon: Decimal
    delta: Decimal
    noise_multiplier: Decimal | None


class CentralBlock(Sent):
    """Noise at the coordinator. The updates that answer this model will be cut to `clip_norm`; `epsilon` at `delta`,
    rounded up to a tenth, is what a site has spent in all rounds up to this model.
    """

    unit: Literal["site"]
    clip_norm: Decimal
    noise_multiplier: Decimal
    epsilon: Decimal
    delta: Decimal
