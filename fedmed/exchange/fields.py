"""What the bodies of signed files are made of: strict values, each with the one form that it may have."""

from collections.abc import Callable
from datetime import datetime
from typing import Annotated

from pydantic import AfterValidator, ConfigDict, Field

from fedmed.exchange import keys
from fedmed.strict import PlainText, Strict


class Sent(Strict):
    """A part of a statement: strict types, so that 1, "1" and true are three different things."""

    model_config = ConfigDict(strict=True, validate_by_name=True, validate_by_alias=True)


def _time(text: str) -> str:
    datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ")
    return text


def _public_line(line: str) -> str:
    keys.parse_public_line(line)
    return line


def _age_recipient(text: str) -> str:
    from pyrage import RecipientError, x25519  # noqa: PLC0415 - most statements name no key

    try:
        x25519.Recipient.from_str(text)
    except RecipientError as error:
        raise ValueError("not a native age recipient") from error
    return text


def within(lowest: float, highest: float) -> Callable[[str], str]:
    def check(text: str) -> str:
        if not lowest <= float(text) <= highest:
            raise ValueError(f"expected {lowest} to {highest}")
        return text

    return check


MAX_TEXT = 200
Text = Annotated[PlainText, Field(max_length=MAX_TEXT)]
Count = Annotated[int, Field(ge=0, le=2**53)]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Fingerprint = Annotated[str, Field(pattern=r"^SHA256:[A-Za-z0-9+/]{43}$")]
SenderName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9]*(-[a-z0-9]+)*$", min_length=2, max_length=32)]
Decimal = Annotated[str, Field(pattern=r"^-?(0|[1-9][0-9]{0,14})(\.[0-9]{1,9})?$")]
Time = Annotated[str, Field(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$"), AfterValidator(_time)]
PublicKey = Annotated[str, Field(max_length=100), AfterValidator(_public_line)]
AgeRecipient = Annotated[str, Field(pattern=r"^age1[02-9ac-hj-np-z]{58}$"), AfterValidator(_age_recipient)]
ErrorCode = Annotated[str, Field(pattern=r"^FM-[A-Z]{3}-[0-9]{2}$")]
Label = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.+-]{0,39}$")]
TensorName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)*$", max_length=1000)]
