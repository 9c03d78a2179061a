"""Closed models for what people write: an unknown or repeated key is an error with "did you mean", never ignored."""

from __future__ import annotations

import difflib
import unicodedata
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError

from fedmed.errors import FedmedError

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

MOST_SAID = 200  # characters


class Strict(BaseModel):
    """A frozen model that refuses what it does not know, at every level, and NaN or infinity anywhere."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, defer_build=True)


def is_plain_text(text: str) -> bool:
    """Normalised (NFC), and without control or format characters, which could forge a line on a screen."""
    if text.isascii():  # nearly all there is, and decided at once
        return text.isprintable()
    forbidden = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
    return unicodedata.is_normalized("NFC", text) and not any(unicodedata.category(char) in forbidden for char in text)


def _plain(text: str) -> str:
    if not is_plain_text(text):
        raise ValueError("text with control, format or unnormalised characters")
    return text


def require_said(option: str, text: str, what: str = "a reason") -> str:
    """What a person says on the command line and the ledger keeps. An option of the command that stands where the words
    are missing is none of them. Raises FedmedError FM-USE-01.
    """
    if not text.strip() or text.startswith("-") or not is_plain_text(text) or len(text) > MOST_SAID:
        got = f"{len(text)} characters" if len(text) > MOST_SAID else repr(text)
        raise FedmedError("FM-USE-01", f"{option}: expected {what}, in at most {MOST_SAID} plain characters, got {got}")
    return text


PlainText = Annotated[str, AfterValidator(_plain)]
Model = TypeVar("Model", bound=Strict)


def validate(data: dict[str, Any], model: type[Model], *, name: str, area: str) -> Model:
    """`data` as `model`; the first fault that pydantic finds becomes one coded error."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        faults = error.errors(include_url=False)
        unknown = [fault for fault in faults if fault["type"] == "extra_forbidden"]
        fault = unknown[0] if unknown else faults[0]
        place = ".".join(_as_written(fault["loc"], data)) or "top level"
        if unknown:
            raise FedmedError(
                f"FM-{area}-02", f"{name}: unknown key {place}{_did_you_mean(fault['loc'], model)}"
            ) from error
        got = fault.get("input")
        shown = f", got {got!r}" if isinstance(got, (str, int, float, bool, list)) and len(repr(got)) < 80 else ""
        if fault["type"] == "union_tag_invalid":  # "input tag found using name" is no sentence for a person
            place, shown = f"{place}.name", f", got {fault['ctx']['tag']!r}"
        message = f"{name}: {place}: {_in_words(fault)}"
        if area == "SET":  # local settings hold paths, and a path may name a person
            is_safe = isinstance(got, int | float) and fault["type"] != "string_type"  # no name of digits
            told = message + shown if is_safe else message
            raise FedmedError(f"FM-{area}-03", told, local=shown.removeprefix(", ")) from error
        raise FedmedError(f"FM-{area}-03", message + shown) from error


def _in_words(fault: ErrorDetails) -> str:
    """What pydantic says of a value, without its own terms."""
    if fault["type"] == "union_tag_invalid":
        return f"expected one of {fault['ctx']['expected_tags']}".replace("'", "")
    if fault["type"] in ("model_type", "model_attributes_type", "dict_type"):
        return "expected keys and values"
    words = fault["msg"].removeprefix("Value error, ")
    words = words.replace("Input should be ", "expected ", 1)
    return words[:1].lower() + words[1:]


def _as_written(place: tuple[int | str, ...], data: Any) -> list[str]:
    """The keys down to a fault as they stand in the file: pydantic puts the `name` that chose among models between."""
    keys, here = [], data
    for number, part in enumerate(place):
        if isinstance(here, dict) and part not in here and number < len(place) - 1:
            continue
        keys.append(str(part))
        if isinstance(here, list) and isinstance(part, int) and part < len(here):
            here = here[part]
        else:
            here = here.get(part) if isinstance(here, dict) else None
    return keys


def _did_you_mean(place: tuple[int | str, ...], model: type[BaseModel]) -> str:
    """The nearest known key beside the unknown one, found by walking the schema to its parent."""
    schema = model.model_json_schema()
    known = sorted({key for part in [schema, *schema.get("$defs", {}).values()] for key in part.get("properties", {})})
    if place[-1] in known:
        return ", which does not belong here"
    near = difflib.get_close_matches(str(place[-1]), known, n=1, cutoff=0.6)
    return f"; did you mean {near[0]}?" if near else ""
