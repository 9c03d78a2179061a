"""Closed models for what people write: an unknown or repeated key is an error with "did you mean", never ignored."""

from __future__ import annotations

import difflib
import unicodedata
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError

from fedmed.errors import FedmedError

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails


class Strict(BaseModel):
    """A frozen model that refuses what it does not know, at every level, and NaN or infinity anywhere."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


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


PlainText = Annotated[str, AfterValidator(_plain)]
Model = TypeVar("Model", bound=Strict)


class _UniqueKeys(yaml.SafeLoader):
    """PyYAML keeps the last of two equal keys in silence; a recipe that says two things says nothing."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, (str, int)) or isinstance(key, bool):  # `true` would pass for 1
                raise yaml.constructor.ConstructorError(None, None, "expected a plain key", key_node.start_mark)
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} stands twice", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


def _load(text: str) -> Any:
    loader = _UniqueKeys(text)
    try:
        return loader.get_single_data()
    finally:
        loader.dispose()


def read_yaml(text: str, model: type[Model], *, name: str, area: str, unreadable: str = "") -> Model:
    """`text` as `model`.

    `area` names the codes: FM-<area>-01 unreadable (or `unreadable`), -02 unknown key, -03 bad value.
    Raises FedmedError with the field, what was expected and what was found.
    """
    data = read_mapping(text, name=name, area=area, unreadable=unreadable)
    return validate(data, model, name=name, area=area)


def read_mapping(text: str, *, name: str, area: str, unreadable: str = "") -> dict[str, Any]:
    """The keys and values of a YAML text. Raises FedmedError FM-<area>-01, or `unreadable`."""
    try:
        data = _load(text)
    except (yaml.YAMLError, ValueError, AttributeError, RecursionError) as error:  # PyYAML lets all four out
        where = getattr(error, "problem_mark", None)
        line = f" line {where.line + 1}" if where else ""
        problem = getattr(error, "problem", None) or "not YAML"
        raise FedmedError(
            unreadable or f"FM-{area}-01", f"{name}{line}: {problem}", next=_repair(name, area)
        ) from error
    if not isinstance(data, dict):
        message = f"{name}: expected keys and values, got {type(data).__name__}"
        raise FedmedError(unreadable or f"FM-{area}-01", message, next=_repair(name, area))
    return data


def _repair(name: str, area: str) -> str:
    """Settings that cannot be read are a file to repair; FM-SET-01's own remedy is for a folder without any."""
    return f"correct {name} in the workspace" if area == "SET" else ""


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
            raise FedmedError(f"FM-{area}-03", message, local=shown.removeprefix(", ")) from error
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
